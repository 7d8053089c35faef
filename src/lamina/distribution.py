"""Training on several devices: where weights and batches lie.

One line before the model is made is enough:

    lamina.distribution.set_distribution(lamina.distribution.DataParallel())

`fit`, `evaluate` and `predict` then divide every batch among the devices.
`FullyShardedDataParallel` divides the weights as well, and `ModelParallel` does it as a
`LayoutMap` says. The numbers are those of one device, up to rounding.
"""

import collections.abc as _abc
import math as _math
import os as _os
import re as _re
import weakref as _weakref
from typing import Any as _Any

import jax as _jax
import numpy as _np

from lamina.core import placement as _placement
from lamina.core import settings as _settings
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
from lamina.core.placement import Distribution as _Distribution
from lamina.core.placement import constrained as _constrained
from lamina.core.placement import is_first as _is_first
from lamina.core.processes import joining as _joining
from lamina.core.processes import note_ends as _note_ends
from lamina.core.processes import service as _service
from lamina.core.random import agree_on_seed as _agree_on_seed
from lamina.core.tracebacks import boundary as _boundary
from lamina.core.tracebacks import warn as _warn
from lamina.data.worker import is_worker as _is_worker
from lamina.layers.parallel import AXIS as _AXIS
from lamina.layers.parallel import Plan as _Plan

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
_TO_JOIN = 300  # seconds in which all processes have to join
_LINES = 64  # Variables that a table of layouts shows


class _Watched(_Distribution):
    """Lets processes that others than `initialize` joined hear of each other, too."""

    def __init__(self, *args):
        super().__init__(*args)
        _note_ends()


class DataParallel(_Watched):
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

    @_boundary
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
        return _placement.own_layout(variable) or self.layout_for(variable)

    def layout_for(self, variable):
        """Return the layout of a Variable that is whole everywhere."""
        return TensorLayout([None] * len(variable.shape), self.device_mesh)

    def on_all_devices(self):
        """Return one like this for all devices that there are."""
        return DataParallel(auto_shard_dataset=self.auto_shard_dataset)

    def get_tensor_layout(self, path):
        """Return None: XLA finds out."""


class ModelParallel(_Watched):
    """Divides weights as a `LayoutMap` says, and batches along one axis of its mesh.

    Args:
        layout_map: the `LayoutMap`; `"auto"` finds layouts from how layers are
            connected, when a model is first trained or asked, and prints them.
        batch_dim_name: the axis of the mesh that divides batches; None for the first.
        auto_shard_dataset: as in `DataParallel`.
        device_mesh: with `"auto"`, a mesh with an axis `"model"`, whose devices share
            the work on each row; None for one of all devices,
            `DeviceMesh((1, n), ("batch", "model"))`. A `LayoutMap` has its own.

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

    @_boundary
    def __init__(
        self,
        *,
        layout_map: _Any = None,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        device_mesh: _Any = None,
        **kwargs,
    ):
        if kwargs:
            raise TypeError(f"`ModelParallel` got unknown arguments: {sorted(kwargs)}")
        auto = isinstance(layout_map, str) and layout_map == "auto"
        if not (auto or isinstance(layout_map, LayoutMap)):
            raise ValueError(
                "`ModelParallel` expected `layout_map` to be a `LayoutMap`, which says "
                'how each Variable is divided, or "auto", which finds it out. '
                f"Received: layout_map={layout_map!r}"
            )
        mesh = device_mesh
        if isinstance(layout_map, LayoutMap):  # in older programs the mesh came as well
            mesh = layout_map.device_mesh
        elif device_mesh is None:
            mesh = DeviceMesh((1, get_device_count()), ("batch", _AXIS))
        _check_mesh("ModelParallel", mesh)
        if auto and _AXIS not in mesh.axis_names:
            raise ValueError(
                f'`ModelParallel(layout_map="auto")` divides work on a row along an '
                f"axis {_AXIS!r} of the mesh. Received: device_mesh={mesh}"
            )
        batch_dim_name = batch_dim_name or mesh.axis_names[0]
        if batch_dim_name not in mesh.axis_names:
            raise ValueError(
                "`ModelParallel` expected `batch_dim_name` to be an axis of the mesh: "
                f"{tuple(mesh.axis_names)}. Received: batch_dim_name={batch_dim_name!r}"
            )
        super().__init__(mesh, batch_dim_name, auto_shard_dataset)
        self._layout_map: _Any = LayoutMap(mesh) if auto else layout_map
        self._found: _Any = _Found(mesh, batch_dim_name) if auto else None
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
        return _placement.own_layout(variable) or self.layout_for(variable)

    def layout_for(self, variable):
        """Return the layout that the map says, or that was found."""
        if self._found is not None:
            return TensorLayout(self._found.axes(variable), self.device_mesh)
        leader = _leader(variable)
        if leader is not variable:
            return self.layout_for(leader)
        whole = TensorLayout([None] * len(variable.shape), self.device_mesh)
        return self._layout_map[variable.path] or whole

    def on_all_devices(self):
        """Return one like this for all devices: they divide batches further."""
        mesh, rows = self.device_mesh, self.batch_dim_name
        sizes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
        others = _math.prod(n for name, n in sizes.items() if name != rows)
        devices = get_device_count()
        if devices % others:
            raise ValueError(
                f"{devices} devices cannot be put into a mesh like {mesh}: {others} of "
                "them work on each row."
            )
        sizes[rows] = devices // others
        mesh = DeviceMesh(tuple(sizes.values()), tuple(sizes))
        layouts: _Any = "auto"
        if self._found is None:
            layouts = LayoutMap(mesh)
            for key, layout in self._layout_map.items():
                layouts[key] = TensorLayout(layout.axes, mesh)
        return ModelParallel(
            layout_map=layouts,
            batch_dim_name=rows,
            auto_shard_dataset=self.auto_shard_dataset,
            device_mesh=mesh,
        )

    def get_tensor_layout(self, path):
        """Return what the map says of the path, or None."""
        return self._layout_map[path]

    def lay_out_output(self, tensor, path):
        """Return what a layer returned, as the map or what was found says."""
        if self._found is not None:
            return self._found.lay_out_output(tensor, path)
        return super().lay_out_output(tensor, path)

    def plan_for(self, model, show: bool = True) -> bool:
        """With `"auto"`, find layouts for a model that is built, and print them."""
        return self._found is not None and self._found.learn(model, self, show)

    def remarks(self, variables, outputs) -> list[str]:
        """Return a warning for each key that has matched nothing, here or before."""
        if self._found is not None:
            return self._found.remarks(variables)
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


class FullyShardedDataParallel(_Watched):
    """Divides batches and the whole state of training among all devices.

    Each Variable is divided along its longest axis that the devices divide, and
    collected when it is used: each device holds one of the parts of the weights and of
    the optimizer's state. Small Variables, and those without such an axis, are whole
    everywhere.

    With `model` devices that share the work on each row, products are divided among
    them first, as `ModelParallel(layout_map="auto")` does.

    Args:
        devices: names of devices; None for `list_devices()`.
        model: how many devices share the work on one row.
        auto_shard_dataset: as in `DataParallel`.

    Raises:
        ValueError: `model` does not divide the number of devices.

    >>> import lamina
    >>> fsdp = lamina.distribution.FullyShardedDataParallel(["cpu:0"])
    >>> fsdp.num_model_replicas
    1
    """

    # Numbers in a Variable that is not worth to be divided.
    _SMALL = 2**8

    @_boundary
    def __init__(
        self, devices: _Any = None, model: int = 1, auto_shard_dataset: bool = True
    ):
        _positive_int("FullyShardedDataParallel", "model", model)
        devices = _np.array(list_devices() if devices is None else devices).ravel()
        if devices.size % model:
            raise ValueError(
                "`FullyShardedDataParallel` expected `model` to divide the number of "
                f"devices, which is {devices.size}. Received: model={model}"
            )
        grid = (devices.size // model, model)
        mesh = DeviceMesh(grid, ("batch", _AXIS), devices)
        super().__init__(mesh, "batch", auto_shard_dataset)
        self._found = _Found(mesh, "batch") if model > 1 else None

    @property
    def num_model_replicas(self) -> int:
        """The number of parts that a batch is divided into."""
        return self.device_mesh.shape[0]

    def get_variable_layout(self, variable):
        """Return the layout that it has already, else the one that divides it most."""
        return _placement.own_layout(variable) or self.layout_for(variable)

    def on_all_devices(self):
        """Return one like this for all devices: as many work on each row."""
        return FullyShardedDataParallel(
            model=self.device_mesh.shape[1], auto_shard_dataset=self.auto_shard_dataset
        )

    def layout_for(self, variable):
        """Return the layout that divides a Variable most."""
        n, shape = self.num_model_replicas, variable.shape
        axes: list = [None] * len(shape)
        if self._found is not None:
            axes = self._found.axes(variable)
        if _math.prod(shape) >= self._SMALL:
            axes = _further_divided(axes, shape, self.batch_dim_name, n)
        return TensorLayout(axes, self.device_mesh)

    def lay_out_output(self, tensor, path):
        """Return what a layer returned, as products were divided."""
        if self._found is None:
            return tensor
        return self._found.lay_out_output(tensor, path)

    def plan_for(self, model, show: bool = True) -> bool:
        """With `model` above 1, find layouts for a model, and print them."""
        return self._found is not None and self._found.learn(model, self, show)

    def get_tensor_layout(self, path):
        """Return None: XLA finds out."""

    def remarks(self, variables, outputs) -> list[str]:
        """Return a warning where much is whole that was to be divided."""
        whole = [v for v in variables if self._stays_replicated(v)]
        numbers, of = (sum(v.size for v in some) for some in (whole, variables))
        parts = [n for n in self.device_mesh.shape if n > 1]
        if not parts or numbers <= of / 10:
            return []
        shown = _listed([f"{v.path} {v.shape}" for v in whole], 4)
        return [
            f"{numbers / of:.0%} of the state of training is whole on every device: no "
            f"axis is a multiple of {' or '.join(map(str, parts))} in {shown}. Choose "
            "such sizes, or another number of devices."
        ]

    def _stays_replicated(self, variable):
        parts = _math.prod(self.layout_for(variable).parts())
        return variable.size >= self._SMALL and parts == 1


def _further_divided(axes, shape, name, parts) -> list:
    """Divide the longest axis that is whole, and that the devices divide, too."""
    axes = list(axes)
    fitting = [
        place
        for place, size in enumerate(shape)
        if axes[place] is None and size and size % parts == 0
    ]
    if fitting:
        axes[max(fitting, key=lambda place: shape[place])] = name
    return axes


class _Found:
    """The layouts that were found for models, by how their layers are connected.

    Args:
        mesh: the `DeviceMesh`.
        rows: the axis of it that divides batches.
    """

    def __init__(self, mesh, rows):
        self._mesh, self._rows = mesh, rows
        self._parts = TensorLayout((_AXIS,), mesh).parts()[0]
        self._of: _Any = _weakref.WeakKeyDictionary()  # a model: the Variables it had
        # By the id of a Variable, which compares as its value does: it, its axis, and
        # why it has none.
        self._places: dict[int, tuple] = {}
        self._outputs: dict[str, tuple] = {}

    def learn(self, model, by, show) -> bool:
        """Find the layouts of a model; tell whether it was not known."""
        if not model.built:
            return False
        variables = model.variables
        known = frozenset(map(id, variables))
        if self._of.get(model) == known:
            return False
        plan = _Plan(model, self._parts)
        self._of[model] = known
        for variable in variables:
            found = plan.axes.get(variable), plan.reasons.get(variable)
            self._places[id(variable)] = _weakref.ref(variable), *found
        self._outputs |= plan.outputs
        if show and _is_first(by) and _settings.get("interactive_logging"):
            print(self._table(model, plan, by))
        return True

    def axes(self, variable) -> list:
        """Return the axes of a Variable's layout; as they may be until it is known."""
        axes: list = [None] * len(variable.shape)
        found = self._place(_leader(variable))
        if found is None:
            return _further_divided(axes, variable.shape, _AXIS, self._parts)
        if found[0] is not None:
            axes[found[0]] = _AXIS
        return axes

    def _place(self, variable):
        it, *found = self._places.get(id(variable), (lambda: None,))
        return found if it() is variable else None

    def lay_out_output(self, tensor, path):
        """Return what a layer returned; an axis that does not fit stays whole."""
        last = self._outputs.get(path)
        if last is None or not isinstance(tensor, _jax.Array):
            return tensor
        between = tensor.ndim - len(last) - 1
        if between < 0:
            return tensor
        axes = (self._rows, *[None] * between, *last)
        parts = TensorLayout(axes, self._mesh).parts()
        axes = [
            None if size % n else axis
            for axis, size, n in zip(axes, tensor.shape, parts, strict=True)
        ]
        return _constrained(tensor, TensorLayout(axes, self._mesh), f"{path!r}")

    def remarks(self, variables) -> list[str]:
        """Return a warning where many weights are whole that were to be divided."""
        known = [(v, *found) for v in variables if (found := self._place(v))]
        whole = [(v, why) for v, place, why in known if place is None and v.ndim > 1]
        numbers = sum(v.size for v, _ in whole)
        share = numbers / max(sum(v.size for v, *_ in known), 1)
        if self._parts == 1 or share <= 1 / 10:
            return []
        whole.sort(key=lambda pair: -pair[0].size)
        shown = _listed([f"{v.path} {v.shape}: {why}" for v, why in whole], 4)
        return [
            f"{share:.0%} of the weights are whole on every device that works on a "
            f"row: {shown}."
        ]

    def _table(self, model, plan, by):
        lines, total, here = [], 0, 0
        for variable in model.variables:
            layout = by.layout_for(variable)
            size = variable.size * _np.dtype(variable.dtype).itemsize
            part = size // _math.prod(layout.parts())
            total, here = total + size, here + part
            axes = ", ".join(str(axis) for axis in layout.axes)
            why = plan.reasons.get(variable, "") if variable.ndim > 1 else ""
            shape = str(variable.shape)
            lines.append((variable.path, shape, f"({axes})", f"{part:,}", why))
        more, lines = len(lines) - _LINES, lines[:_LINES]
        head = ("path", "shape", "layout", "bytes a device", "why whole")
        widths = [max(len(line[i]) for line in [head, *lines]) for i in range(5)]
        rows = [
            "  ".join(text.ljust(n) for text, n in zip(line, widths, strict=True))
            for line in (head, *lines)
        ]
        return "\n".join(
            [
                f"Layouts found for {model.name!r}, {self._parts} devices a row:",
                *(row.rstrip() for row in rows),
                *([f"... and {more} more"] if more > 0 else []),
                f"{here:,} bytes of weights on each device, of {total:,}.",
            ]
        )


def _check_mesh(name, mesh):
    if not isinstance(mesh, DeviceMesh):
        raise ValueError(
            f"`{name}`: expect `mesh` to be an instance of `DeviceMesh`. Received: "
            f"mesh={mesh!r} (of type {type(mesh).__name__})"
        )


def _leader(variable):
    """Return the Variable that a slot of an optimizer follows, else itself."""
    leader = getattr(variable, "follows", None)
    return variable if leader is None else leader


class LayoutMap(_abc.MutableMapping):
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
            raise ValueError(f"{key!r} is not a regular expression: {error}") from None
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
    Open MPI and cloud TPUs. Where a launcher has joined them already, as Ray Train
    does, they stay so. Where no seed was set, all take the same one. A worker process
    of a data set, which imports the script, joins nothing.

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
    if _is_worker():  # it imports the script, and works for a process that has joined
        return
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
    known = None not in (first, num_processes, process_id)
    if _service() is None:
        # JAX would ask Kubernetes what it was told here, or warn that it cannot.
        asks_nobody = known and "KUBERNETES_SERVICE_HOST" in _os.environ
        with _joining(_TO_JOIN):
            _jax.distributed.initialize(
                first and first.strip(),
                num_processes,
                process_id,
                initialization_timeout=_TO_JOIN,
                heartbeat_timeout_seconds=_SILENCE,
                cluster_detection_method="deactivate" if asks_nobody else None,
            )
    _note_ends()
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
