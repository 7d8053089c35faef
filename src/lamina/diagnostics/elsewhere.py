"""What a training step costs on devices that this machine does not have.

The step is compiled for them and not run. XLA compiles for as many CPU devices as one
asks for, and where the package `libtpu` is installed for TPUs that are elsewhere. What
the State takes is counted from the layouts, exactly.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lamina.core import placement
from lamina.core.checks import positive_int
from lamina.core.context import having
from lamina.core.extras import extra
from lamina.core.owner import layers_in
from lamina.core.placement import output_path
from lamina.training.compiled import training_of
from lamina.training.compiling import step_laid_out
from lamina.training.placing import row_remarks
from lamina.training.step import State, StateVariables

# XLA takes minutes for programs of more devices; what a device does changes no more.
_MOST = 256

# Bytes of memory of a chip, by the beginning of a topology's name.
_CHIPS = {"v4": 32e9, "v5e": 16e9, "v5p": 95e9, "v6e": 32e9}


@dataclass(frozen=True)
class Collective:
    """What devices exchange in one step, by operations of one kind.

    Attributes:
        count: how many operations.
        bytes: what each device sends, if it goes around in rings.
    """

    count: int
    bytes: int


@dataclass(frozen=True)
class DeviceForecast:
    """What one of several devices holds and sends in a training step.

    Attributes:
        devices: how many devices there are.
        kind: what they are.
        compiled_for: for how many the step was compiled.
        distribution: the distribution, as text.
        state_bytes: weights, optimizer and metrics on a device.
        whole_bytes: the same, if nothing was divided.
        batch_bytes: the rows of a batch on a device.
        temp_bytes: what the compiler needs in between.
        collectives: what is exchanged, by the name of the operation.
        memory: the memory that a device has, in bytes; None where it is not known.
        advice: what to try where that is not enough.
        remarks: what was hardly meant, such as weights that no device divides.
    """

    devices: int
    kind: str
    compiled_for: int
    distribution: str
    state_bytes: int
    whole_bytes: int
    batch_bytes: int
    temp_bytes: int
    collectives: dict[str, Collective]
    memory: float | None
    advice: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        """The most memory that a device holds at once."""
        return self.state_bytes + self.batch_bytes + self.temp_bytes

    @property
    def fits(self) -> bool | None:
        """Whether that is less than a device has; None where this is not known."""
        return None if self.memory is None else self.peak_bytes <= self.memory


def on_devices(
    model,
    batch_of: Callable[[int], Any],
    rows: int,
    devices: int | None,
    distribution: Any,
    topology: str | None,
    memory: float | None,
) -> DeviceForecast:
    """Say what a device holds and sends; see `Model.forecast`.

    Args:
        model: the model, compiled and ready to train.
        batch_of: gives the shapes of a batch of as many rows.
        rows: the rows of a batch of all devices.
        devices: how many devices.
        distribution: a `Distribution`, or a function that makes one; None for the one
            that holds.
        topology: the name of a TPU topology, such as `"v5e:4x4"`.
        memory: bytes of memory that a device has.
    """
    if topology is None:
        many, platform = positive_int("forecast", "devices", devices), "cpu"
        everywhere: list = [f"cpu:{i}" for i in range(many)]
        kind = "CPU devices" if memory is None else "devices"
    else:
        everywhere, platform = _tpus(topology), "tpu"
        many, kind = len(everywhere), everywhere[0].device_kind
        memory = memory or _CHIPS.get(topology.partition(":")[0])
        if devices not in (None, many):
            raise ValueError(
                f"`forecast`: the topology {topology!r} has {many} devices. Received: "
                f"devices={devices}. Leave `devices` out."
            )
    training = training_of(model)
    training.programs.drop()  # they hold layouts of other devices
    try:
        with having(devices=everywhere):
            by = _made(distribution)
        with having(devices=everywhere, distribution=by):
            by.plan_for(model)
            held = _state_bytes(model, by)
            outputs = list(map(output_path, layers_in(model)))
            remarks = by.remarks(_variables(model), outputs) + row_remarks(by, rows)
        small, here = by, everywhere
        if topology is None:
            here = _cpus(_fewer(many, by))
            with having(devices=here):
                small = by.on_all_devices()
        with having(devices=here):
            compiled, batch = _compiled(model, batch_of, rows, by, small, platform)
    finally:
        training.programs.drop()
    memory_of: Any = compiled.memory_analysis()
    text = compiled.as_text() or ""
    whole = sum(_bytes(v) for v in _variables(model))
    found = DeviceForecast(
        devices=many,
        kind=kind,
        compiled_for=len(here),
        distribution=by.described(),
        state_bytes=held,
        whole_bytes=whole,
        batch_bytes=batch,
        temp_bytes=int(memory_of.temp_size_in_bytes),
        collectives=collectives(text, len(here)),
        memory=memory,
        remarks=remarks,
    )
    if not found.fits and memory is not None:
        found.advice.extend(_advice(found, by, model, text))
    return found


def _fewer(many, by):
    """Return for how many devices to compile: as many of them as work on each row."""
    together = many // by.row_parts
    fitting = [n for n in range(1, _MOST + 1) if many % n == 0 and n % together == 0]
    return max(fitting, default=many)


def _cpus(count):
    # JAX has a client of its own with the devices of this machine. This one compiles.
    from jax._src import lib

    client: Any = lib.xla_client  # pyright: ignore
    return list(client.make_cpu_client(num_devices=count).devices())


def _tpus(topology):
    extra("libtpu", "`forecast(topology=...)`", "libtpu")
    # Nobody has to say which machine a TPU is in that is not there.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:
        raise ValueError(
            f"`forecast`: libtpu knows no topology {topology!r}; names are such as "
            f"'v5e:2x2', 'v5p:2x2x1' or 'v4:2x2x4'. It said: {error}"
        ) from error
    return list(found.devices)


def _made(distribution):
    """Return the distribution for the devices that there are in this context."""
    if distribution is None:
        distribution = placement.distribution()
    if distribution is None:
        raise ValueError(
            "`forecast` needs a `distribution` to know what devices hold: "
            "`distribution=lamina.distribution.FullyShardedDataParallel`, say."
        )
    if isinstance(distribution, placement.Distribution):
        return distribution.on_all_devices()
    made = distribution() if callable(distribution) else distribution
    if not isinstance(made, placement.Distribution):
        raise ValueError(
            "`forecast` expected `distribution` to be a `Distribution`, or a class or "
            "function that makes one, such as "
            f"`lamina.distribution.FullyShardedDataParallel`. Received: {made!r}"
        )
    return made


def _compiled(model, batch_of, rows, by, small, platform):
    """Return the step compiled, and the bytes of a batch on a device.

    Each device has the parts of Variables along the axes, and as many rows, as it would
    have where there are all of them.

    Args:
        model: the model.
        batch_of: gives the shapes of a batch.
        rows: the rows of the batch of all devices.
        by: the distribution of all devices.
        small: the one of those that the step is compiled for.
        platform: what they are.
    """
    here, many = (b.device_mesh.devices.size for b in (small, by))
    rows = rows if here == many else max(rows * here // many, 1)

    def sharding(variable):
        layout = placement.TensorLayout(by.layout_for(variable).axes, small.device_mesh)
        name = f"Variable {variable.path!r}"
        return placement.sharding_of(layout, variable.shape, name)

    def spec(array, sharding):
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    with having(distribution=small):
        small.plan_for(model, show=False)
        variables = StateVariables(model)
        shardings = _each(variables.groups, sharding)
        state = _each(variables.groups, lambda v: spec(v.value, sharding(v)))
        batch = jax.tree.map(
            lambda a: spec(a, small.rows_sharding(a.shape)), batch_of(rows)
        )
        step = step_laid_out(model, variables, shardings)
        traced = step.trace(state, batch)
        compiled = traced.lower(lowering_platforms=(platform,)).compile()
    return compiled, sum(
        math.prod(a.sharding.shard_shape(a.shape)) * np.dtype(a.dtype).itemsize
        for a in jax.tree.leaves(batch)
    )


def _each(groups, function):
    return State(*(tuple(map(function, group)) for group in groups))


def _variables(model):
    return [v for group in StateVariables(model).groups for v in group]


def _bytes(variable):
    return variable.size * np.dtype(variable.value.dtype).itemsize


def _state_bytes(model, by):
    return sum(
        _bytes(v) // math.prod(by.layout_for(v).parts()) for v in _variables(model)
    )


def _advice(found, by, model, text):
    """Return what to try, and is not done yet, where a device has too little memory.

    Args:
        found: the forecast.
        by: the distribution.
        model: the model.
        text: the compiled step as XLA's text.
    """
    room = found.memory - found.temp_bytes - found.batch_bytes
    room = room if room > 0 else found.memory  # of a device that does nothing else
    tries, least = [], found.whole_bytes / found.devices
    uneven = found.state_bytes > 2 * least
    divided = least if uneven else found.state_bytes
    fully = "FullyShardedDataParallel"
    changes = uneven and type(by).__name__ != fully
    if divided > room:
        more = math.ceil(divided * found.devices / room)
        by_what = f" with `{fully}`" if changes else ""
        tries.append(f"at least {more} devices{by_what}, for the state to fit")
    elif changes:
        tries.append(
            f"`{fully}`, with which {units(least)}B of state are on each device in "
            f"place of {units(found.state_bytes)}B"
        )
    if uneven and not changes:
        tries.append(f"sizes of weights that {found.devices} devices divide")
    if found.temp_bytes > found.memory / 4:
        steps = getattr(model.optimizer, "gradient_accumulation_steps", None)
        how = "" if steps else ", with `gradient_accumulation_steps`"
        tries.append(f"fewer rows in a batch{how}")
        if "rematted_computation" not in text:
            tries.append("a `RematScope`")
        computed_in = {layer.compute_dtype for layer in layers_in(model)}
        if computed_in.isdisjoint(("bfloat16", "float16")):
            tries.append("`mixed_bfloat16`")
        together = 2 * found.devices // by.row_parts
        if found.devices % together == 0:
            tries.append(
                f"`{fully}(model={together})`, which divides the work on a row"
            )
    return tries or ["more devices"]


def units(number) -> str:
    """Return a number in thousands, millions and so on: `"1.50 M"`."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 1000:
            return f"{number:.0f} " if not unit else f"{number:.2f} {unit}"
        number /= 1000
    return f"{number:.2f} P"


# ---- collectives ---------------------------------------------------------------

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_LINE = re.compile(rf" = (.*?) ({_KINDS})(-start)?\(")
_SHAPE = re.compile(r"([a-z]+)(\d+)\w*\[([\d,]*)\]|pred\[([\d,]*)\]")


def collectives(text: str, devices: int) -> dict[str, Collective]:
    """Return what devices exchange, from XLA's text of a compiled program.

    What a loop repeats counts once.

    Args:
        text: the text.
        devices: how many devices it is for.
    """
    found: dict[str, Collective] = {}
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        kind, group = match[2], _group_size(line, devices)
        sizes = [_shape_bytes(shape) for shape in _SHAPE.finditer(match[1])]
        if match[3] and kind in ("all-gather", "collective-permute"):
            sizes = sizes[len(sizes) // 2 :]  # what goes in is named as well
        size, others = sum(sizes), (group - 1) / group
        sent = {
            "all-reduce": 2 * size * others,
            "reduce-scatter": size * (group - 1),
            "collective-permute": size,
        }.get(kind, size * others)
        if sent:
            before = found.get(kind, Collective(0, 0))
            found[kind] = Collective(before.count + 1, before.bytes + int(sent))
    return found


def _shape_bytes(match):
    sizes = match[3] if match[1] else match[4]
    numbers = math.prod(int(n) for n in sizes.split(",") if n)
    return numbers * (max(int(match[2]) // 8, 1) if match[1] else 1)


def _group_size(line, devices):
    if match := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(match[2])
    match = re.search(r"replica_groups=\{\{([\d,]*)\}", line)
    return len(match[1].split(",")) if match and match[1] else devices
