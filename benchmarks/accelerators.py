"""Compiles for accelerators that this machine does not have.

usage: make accelerators

The training step and the prediction of every workload, and a call of every layer, are
lowered for CUDA and for TPUs: all of it has to lower, and none of the kernels compiled
for CPUs may be in it. Where `libtpu` is installed (`pip install libtpu`), the workloads
are compiled for a TPU chip too, with the memory that the compiler says they take.
"""

import functools
import importlib.util
import re
import sys
import warnings

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from peers import keras_peer
from workloads import MEASURED, WORKLOADS, arrays

import lamina
from lamina.core.variable import pure
from lamina.training.drive import CompiledStep
from lamina.training.prepare import prepare
from lamina.training.step import StateVariables
from tests.models import test_one_way as table

PLATFORMS = ("cuda", "tpu")
TOPOLOGY = "v5e:2x2"


def lowered(function, platform, *args):
    """Lower a function as a machine with that accelerator would.

    None is returned where it asks the host, which JAX lowers only on such a machine.

    Raises:
        AssertionError: a kernel for CPUs is in it.
    """
    traced = jax.jit(function).trace(*args)
    if "pure_callback" in str(traced.jaxpr):
        return None
    found = traced.lower(lowering_platforms=(platform,))
    kernels = re.findall(r"custom_call @(lamina_\w+)", found.as_text())
    assert not kernels, f"kernels for CPUs: {kernels}"
    return found


def on(platform):
    """Let what is chosen by the platform be chosen for this one."""
    kind = "gpu" if platform == "cuda" else platform
    jax.default_backend = lambda: kind
    jax.clear_caches()


def programs(name):
    """Yield the name, the function and the arguments of a workload's programs."""
    workload = WORKLOADS[name]
    x, y = arrays(workload, workload.batch)
    model = keras_peer.Peer(name, x, y).model
    prepare(model, (x, y, None))
    variables = StateVariables(model)
    state = variables.read()
    step = CompiledStep(model, "train", variables)
    step.trace(state, (x, y, None))
    yield "train", step._made, (state, (x, y, None))
    call = functools.partial(model, training=False)
    yield "predict", pure(call, variables.groups), (state, x)


def compiled(function, args):
    """Return the bytes of arguments and of temporaries on a TPU chip."""
    chip = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGY)
    there = SingleDeviceSharding(chip.devices[0])
    args = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=there), args
    )
    memory = lowered(function, "tpu", *args).compile().memory_analysis()
    return memory.argument_size_in_bytes, memory.temp_size_in_bytes


def workloads(has_tpu):
    """Lower all workloads, and say what the compiler for TPUs says of them."""
    failed = []
    for platform in PLATFORMS:
        on(platform)
        for name in MEASURED:
            for kind, function, args in programs(name):
                label = f"{name} {kind}, {platform}"
                try:
                    if platform == "tpu" and has_tpu:
                        sizes = [f"{n / 2**20:.1f}" for n in compiled(function, args)]
                        print(
                            f"{label}: arguments {sizes[0]}, temporary {sizes[1]} MiB"
                        )
                    else:
                        lowered(function, platform, *args)
                        print(f"{label}: lowered")
                except Exception as error:
                    failed.append(f"{label}: {type(error).__name__}: {error:.300}")
    return failed


def layers():
    """Lower a call of the variants of every layer."""
    failed, count, asking = [], 0, set()
    for platform in PLATFORMS:
        on(platform)
        for name, cases in table.TABLE.items():
            for i, case in enumerate(cases):
                if case.refuses or "string" in jax.tree.leaves(table.dtypes_of(case)):
                    continue  # texts are the host's
                lamina.utils.clear_session()
                try:
                    model = table.Variant(case, None).model
                    x = table.data_of(case, case.rows or case.only or 3)
                    values = [v.value for v in model.variables]
                    call = pure(model, model.variables)
                    if lowered(call, platform, values, x) is None:
                        asking.add(name)
                    count += 1
                except Exception as error:
                    said = f"{type(error).__name__}: {str(error):.300}"
                    failed.append(f"{name}[{i}], {platform}: {said}")
    print(f"{count} calls of {len(table.TABLE)} layers lowered")
    print(f"traced only, because they ask the host: {', '.join(sorted(asking))}")
    return failed


def main():
    warnings.simplefilter("ignore")
    has_tpu = importlib.util.find_spec("libtpu") is not None
    if not has_tpu:
        print("libtpu is not installed: nothing is compiled for TPUs, only lowered")
    failed = workloads(has_tpu) + layers()
    print(*failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
