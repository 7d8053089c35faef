"""Training on several devices: where weights and batches lie.

One line before the model is made is enough:

    lamina.distribution.set_distribution(lamina.distribution.DataParallel())

`fit`, `evaluate` and `predict` then divide every batch among the devices.
`FullyShardedDataParallel` divides the weights as well, and `ModelParallel` does it as a
`LayoutMap` says. The numbers are those of one device, up to rounding.
"""

import math as _math
import os as _os
import re as _re
from collections.abc import MutableMapping as _MutableMapping
from typing import Any as _Any

import jax as _jax
import numpy as _np

from lamina.core.checks import positive_int as _positive_int
from lamina.core.naming import listed as _listed
from lamina.core.placement import (
    DeviceMesh,
    TensorLayout,
    distribution,
    get_device_count,
    list_devices,
    set_distribution,
)
from lamina.core.placement import (
    Distribution as _Distribution,
)
from lamina.core.placement import (
    constrained as _constrained,
)
from lamina.core.random import agree_on_seed as _agree_on_seed
from lamina.core.tracebacks import boundary as _boundary
from lamina.core.tracebacks import warn as _warn

__all__ = [
    "DataParallel",
    "DeviceMesh",
    "FullyShardedDataParallel",
    "LayoutMap",
    "ModelParallel",
    "TensorLayout",
    "distribute_tensor",
    "distribution",
    "get_device_count",
    "initialize",
    "list_devices",
    "set_distribution",
]


# Seconds after which a process that says nothing counts as dead, and the others end.
_SILENCE = 20


class DataParallel(_Distribution):
    """Divides batches among all devices; each has all weights.

    Args:
        device_mesh: a `DeviceMesh` of one axis. Of one with more, the first divides
            batches, and a warning says so.
        devices: names of devices, in place of a mesh; None for `list_devices()`.
        auto_shard_dataset: with several processes, whether each gives the whole batch
            (True) or its own rows of it.

    Raises:
        ValueError: both a mesh and devices are given, or the mesh is none.

    >>> import lamina
    >>> with lamina.distribution.DataParallel(devices=["cpu:0"]).scope():
    ...     layer = lamina.layers.Dense(2)
    ...     layer.build((None, 3))
    >>> layer.kernel.value.sharding.spec
    P(None, None)
    """

    def __init__(
        self,
        device_mesh: _Any = None,
        devices: _Any = None,
        auto_shard_dataset: bool = True,
    ):
        if device_mesh is not None and devices is not None:
            raise ValueError(
                "`DataParallel` takes `device_mesh` or `devices`, not both."
            )
        if device_mesh is None:
            devices = _np.array(list_devices() if devices is None else devices).ravel()
            device_mesh = DeviceMesh(devices.shape, ["batch"], devices)
        _check_mesh("DataParallel", device_mesh)
        super().__init__(device_mesh, device_mesh.axis_names[0], auto_shard_dataset)
        if device_mesh.devices.ndim > 1:
            _warn(
                "Expect the input mesh to be 1D, but received a mesh of "
                f"{device_mesh.devices.ndim} axes. The first axis divides batches; the "
                "devices along the others repeat its work."
            )

    @property
    def num_model_replicas(self) -> int:
        """The number of devices."""
        return self.device_mesh.devices.size

    def get_variable_layout(self, variable):
        """Return the layout that it has already, else that it is whole everywhere."""
        return _own_layout(variable) or _whole(variable, self.device_mesh)

    def get_tensor_layout(self, path):
        """Return None: XLA finds out."""


class ModelParallel(_Distribution):
    """Divides weights as a `LayoutMap` says, and batches along one axis of its mesh.

    Args:
        layout_map: the `LayoutMap`.
        batch_dim_name: the axis of the mesh that divides batches; None for the first.
        auto_shard_dataset: as in `DataParallel`.

    Raises:
        ValueError: there is no `LayoutMap`, or its mesh has no such axis.

    >>> import lamina
    >>> mesh = lamina.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    >>> layouts = lamina.distribution.LayoutMap(mesh)
    >>> layouts["dense.*/kernel"] = (None, "model")
    >>> with lamina.distribution.ModelParallel(layout_map=layouts).scope():
    ...     layer = lamina.layers.Dense(2, name="dense")
    ...     layer(lamina.ops.ones((1, 3))).shape
    (1, 2)
    >>> layer.kernel.value.sharding.spec
    P(None, 'model')
    """

    def __init__(
        self,
        *,
        layout_map: _Any = None,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        **kwargs,
    ):
        kwargs.pop("device_mesh", None)  # of older programs: the map has one
        if kwargs:
            raise TypeError(f"`ModelParallel` got unknown arguments: {sorted(kwargs)}")
        if not isinstance(layout_map, LayoutMap):
            raise ValueError(
                "`ModelParallel` expected `layout_map` to be a `LayoutMap`, which says "
                f"how each Variable is divided. Received: layout_map={layout_map!r}"
            )
        mesh = layout_map.device_mesh
        _check_mesh("ModelParallel", mesh)
        batch_dim_name = batch_dim_name or mesh.axis_names[0]
        if batch_dim_name not in mesh.axis_names:
            raise ValueError(
                "`ModelParallel` expected `batch_dim_name` to be an axis of the mesh: "
                f"{tuple(mesh.axis_names)}. Received: batch_dim_name={batch_dim_name!r}"
            )
        super().__init__(mesh, batch_dim_name, auto_shard_dataset)
        self._layout_map = layout_map
        replicas, processes = self.num_model_replicas, self.num_processes
        if processes > replicas and processes % replicas:
            raise ValueError(
                "If `num_processes` is greater than `num_model_replicas`, "
                "`num_processes` must be divisible by `num_model_replicas`. Got "
                f"num_processes={processes}, num_model_replicas={replicas}."
            )

    @property
    def num_model_replicas(self) -> int:
        """The number of devices along the axis that divides batches."""
        mesh = self.device_mesh
        return mesh.shape[list(mesh.axis_names).index(self.batch_dim_name)]

    def get_variable_layout(self, variable):
        """Return the layout that it has already, else that of the map, else whole."""
        found = _own_layout(variable) or self._layout_map[variable.path]
        return found or _whole(variable, self.device_mesh)

    def get_tensor_layout(self, path):
        """Return what the map says of the path, or None."""
        return self._layout_map[path]

    def remarks(self, variables, outputs) -> list[str]:
        """Return a warning for each key that has matched nothing, here or before."""
        layouts = self._layout_map
        paths = [v.path for v in variables]
        for path in (*paths, *outputs):
            _ = layouts[path]
        return [
            f"The key {key!r} of the `LayoutMap` matches nothing: no variable, and no "
            "layer's output. What it was meant for is whole on every device. The "
            f"variables are: {_listed(paths, 8)}. `[v.path for v in model.variables]` "
            "lists all."
            for key in layouts
            if key not in layouts._met
        ]


class FullyShardedDataParallel(_Distribution):
    """Divides batches and the whole state of training among all devices.

    Each Variable is divided along its longest axis that the devices divide, and
    collected when it is used: each device holds one of the parts of the weights and of
    the optimizer's state. Small Variables, and those without such an axis, are whole
    everywhere.

    Args:
        devices: names of devices; None for `list_devices()`.
        model: how many devices share the work on one row. Only 1 so far.

    Raises:
        NotImplementedError: `model` is more than 1.

    >>> import lamina
    >>> fsdp = lamina.distribution.FullyShardedDataParallel(["cpu:0"])
    >>> fsdp.num_model_replicas
    1
    """

    # Numbers in a Variable that is not worth to be divided.
    _SMALL = 2**8

    def __init__(self, devices: _Any = None, model: int = 1):
        if _positive_int("FullyShardedDataParallel", "model", model) > 1:
            raise NotImplementedError(
                "`FullyShardedDataParallel` finds no layouts for tensor parallelism "
                f"yet (model={model}). Use `ModelParallel` with a `LayoutMap`."
            )
        devices = _np.array(list_devices() if devices is None else devices).ravel()
        mesh = DeviceMesh(devices.shape, ["batch"], devices)
        super().__init__(mesh, "batch")

    @property
    def num_model_replicas(self) -> int:
        """The number of devices."""
        return self.device_mesh.devices.size

    def get_variable_layout(self, variable):
        """Return the layout that it has already, else the one that divides it most."""
        if (own := _own_layout(variable)) is not None:
            return own
        n, shape = self.num_model_replicas, variable.shape
        axes: list = [None] * len(shape)
        fitting = [axis for axis, size in enumerate(shape) if size and size % n == 0]
        if fitting and _math.prod(shape) >= self._SMALL:
            axes[max(fitting, key=lambda axis: shape[axis])] = self.batch_dim_name
        return TensorLayout(axes, self.device_mesh)

    def get_tensor_layout(self, path):
        """Return None: XLA finds out."""

    def remarks(self, variables, outputs) -> list[str]:
        """Return a warning where much is whole that was to be divided."""
        whole = [v for v in variables if self._stays_whole(v)]
        numbers, of = (sum(v.size for v in some) for some in (whole, variables))
        if self.num_model_replicas == 1 or numbers <= of / 10:
            return []
        shown = _listed([f"{v.path} {v.shape}" for v in whole], 4)
        return [
            f"{numbers / of:.0%} of the state of training is whole on every device: no "
            f"axis is a multiple of {self.num_model_replicas} in {shown}. Choose such "
            "sizes, or another number of devices."
        ]

    def _stays_whole(self, variable):
        large = variable.size >= self._SMALL
        return large and variable.raw_value.sharding.is_fully_replicated


def _check_mesh(name, mesh):
    if not isinstance(mesh, DeviceMesh):
        raise ValueError(
            f"`{name}`: expect `mesh` to be an instance of `DeviceMesh`. Received: "
            f"mesh={mesh!r} (of type {type(mesh).__name__})"
        )


def _own_layout(variable):
    return getattr(variable, "_layout", None)


def _whole(variable, mesh):
    return TensorLayout([None] * len(variable.shape), mesh)


class LayoutMap(_MutableMapping):
    """Layouts by the paths of Variables, and of what layers return.

    A key is a path, or a regular expression for the whole of it. What a layer returns
    has the path of the layer with `/output` after it. Values are `TensorLayout`s, or
    just their axes; the mesh is then that of the map.

    Args:
        device_mesh: the `DeviceMesh`.

    >>> import lamina
    >>> mesh = lamina.distribution.DeviceMesh((1,), ("model",), ["cpu:0"])
    >>> layouts = lamina.distribution.LayoutMap(mesh)
    >>> layouts[".*/kernel"] = (None, "model")
    >>> layouts["dense/kernel"].axes
    (None, 'model')
    >>> layouts["dense/bias"]
    """

    def __init__(self, device_mesh: _Any):
        self._layouts: dict[str, TensorLayout] = {}
        self._met: set[str] = set()  # keys that matched something
        self._device_mesh = device_mesh

    @property
    def device_mesh(self) -> DeviceMesh:
        """The mesh."""
        return self._device_mesh

    def __getitem__(self, key):
        """Return the layout of a path; None where no key matches.

        Raises:
            ValueError: more than one key matches.
        """
        if key in self._layouts:
            self._met.add(key)
            return self._layouts[key]
        found = [k for k in self._layouts if _re.fullmatch(k, key)]
        self._met.update(found)
        if len(found) > 1:
            raise ValueError(
                f"Path {key!r} matches multiple layout specification keys: {found}. "
                "Make them exclude each other, or add the path itself as a key, which "
                "comes before all patterns."
            )
        return self._layouts[found[0]] if found else None

    def __setitem__(self, key, layout):
        """Add a key.

        Raises:
            ValueError: the key is there already, is not a regular expression, or the
                layout is none or names an axis that the mesh does not have.
        """
        if key in self._layouts:
            raise ValueError(
                f"{key!r} already exist in the LayoutMap with value "
                f"{self._layouts[key]}. Delete it first."
            )
        try:
            _re.compile(key)
        except (TypeError, _re.error) as error:
            raise ValueError(f"{key!r} is no regular expression: {error}") from None
        if isinstance(layout, (tuple, list)):
            layout = TensorLayout(layout)
        if not isinstance(layout, TensorLayout):
            raise ValueError(
                f"{layout!r} should be a TensorLayout type, or a tuple of axes. Got "
                f"{type(layout)}"
            )
        if layout.device_mesh is None and self._device_mesh is not None:
            layout.device_mesh = self._device_mesh
        self._layouts[key] = layout

    def __delitem__(self, key):
        del self._layouts[key]

    def __len__(self):
        return len(self._layouts)

    def __iter__(self):
        return iter(self._layouts)


@_boundary
def distribute_tensor(tensor, layout):
    """Return a tensor in a layout, also inside of compiled code.

    Args:
        tensor: an array; a symbolic tensor stays as it is.
        layout: a `TensorLayout` or one of JAX's shardings.

    Raises:
        ValueError: the layout does not fit the shape.

    >>> import lamina
    >>> mesh = lamina.distribution.DeviceMesh((1,), ("batch",), ["cpu:0"])
    >>> layout = lamina.distribution.TensorLayout(("batch",), mesh)
    >>> lamina.distribution.distribute_tensor(lamina.ops.ones((2, 3)), layout).shape
    (2, 3)
    """
    return _constrained(tensor, layout, "The tensor")


@_boundary
def initialize(job_addresses=None, num_processes=None, process_id=None) -> None:
    """Join the processes of a run; each calls it before anything else computes.

    What is not given comes from the environment variables
    `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `KERAS_DISTRIBUTION_NUM_PROCESSES` and
    `KERAS_DISTRIBUTION_PROCESS_ID`, and else from what JAX knows of SLURM, Kubernetes,
    Open MPI and cloud TPUs. Where no seed was set, all take that of process 0.

    Args:
        job_addresses: the address and port of process 0; those of the others may
            follow, with commas between.
        num_processes: how many there are.
        process_id: the number of this one, from 0.

    Raises:
        ValueError: as many addresses are given as there are no processes, or a number
            is none.
        RuntimeError: something was computed already.

    >>> import lamina
    >>> lamina.distribution.initialize("10.0.0.1:1234,10.0.0.2:1234", num_processes=3)
    Traceback (most recent call last):
    ValueError: There are 2 addresses, but num_processes=3: ...
    """
    addresses = job_addresses or _environment("JOB_ADDRESSES")
    if num_processes is None:
        num_processes = _whole_number("NUM_PROCESSES")
    if process_id is None:
        process_id = _whole_number("PROCESS_ID")
    first, *others = addresses.split(",") if addresses else [None]
    if others and num_processes not in (None, len(others) + 1):
        raise ValueError(
            f"There are {len(others) + 1} addresses, but num_processes={num_processes}:"
            f" {_listed([first, *others], 8)}. The address of process 0 is enough."
        )
    _jax.distributed.initialize(
        first and first.strip(),
        num_processes,
        process_id,
        heartbeat_timeout_seconds=_SILENCE,
    )
    _agree_on_seed()


def _environment(name):
    return _os.environ.get(f"KERAS_DISTRIBUTION_{name}") or None


def _whole_number(name):
    text = _environment(name)
    if text is None or text.strip().isdigit():
        return None if text is None else int(text)
    raise ValueError(
        f"The environment variable KERAS_DISTRIBUTION_{name} should be a whole number. "
        f"Received: {text!r}"
    )
