"""Where arrays lie on several devices.

A `DeviceMesh` names the axes of a grid of devices, and a `TensorLayout` says which axes
of an array are divided by which axes of the mesh. The `Distribution` that holds says
both for Variables and batches; XLA divides the work accordingly. Nothing here computes.
"""

import contextlib
import functools
import math
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from lamina.core import processes, registry
from lamina.core.checks import bad_argument, is_integer
from lamina.core.context import context, having
from lamina.core.naming import listed
from lamina.core.tracebacks import boundary


@boundary
def list_devices(device_type=None) -> list[str]:
    """Return the names of all devices of one kind, those of other processes too.

    Args:
        device_type: `"cpu"`, `"gpu"` or `"tpu"`; None for the kind that computes by
            default.

    >>> import lamina
    >>> lamina.distribution.list_devices("cpu")[0]
    'cpu:0'
    """
    return [_name(d) for d in _devices(device_type)]


@boundary
def get_device_count(device_type=None) -> int:
    """Return the number of all devices of one kind; see `list_devices`.

    >>> import lamina
    >>> lamina.distribution.get_device_count("cpu") >= 1
    True
    """
    return len(_devices(device_type))


def platform() -> str:
    """Return the kind of devices that are compiled for: `"cpu"`, `"gpu"` or `"tpu"`."""
    if context.devices is not None:
        return _name(context.devices[0]).partition(":")[0]
    return jax.default_backend()


def _devices(kind):
    devices = _process["devices"] if context.devices is None else context.devices
    if devices is not None:
        kind = kind or _name(devices[0]).partition(":")[0]
        return [d for d in devices if _name(d).startswith(kind)]
    return jax.devices(kind.lower() if kind else None)


def _name(device):
    if isinstance(device, str):
        return device
    return f"{device.platform}:{device.id}"


class DeviceMesh:
    """A grid of devices whose axes have names.

    Args:
        shape: the number of devices along each axis.
        axis_names: the name of each axis.
        devices: as many devices as the grid has places, by name (`"cpu:0"`) or JAX's
            own; None for `list_devices()`.

    Raises:
        ValueError: the shape, the names and the devices do not go together.

    >>> import lamina
    >>> lamina.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    <DeviceMesh shape=(1, 1), axis_names=('batch', 'model')>
    """

    @boundary
    def __init__(self, shape: Any, axis_names: Any, devices: Any = None):
        if not shape or not axis_names:
            raise ValueError(
                "Shape and axis_names cannot be empty. Received: "
                f"shape={shape}, axis_names={axis_names}"
            )
        if len(shape) != len(axis_names) or len(set(axis_names)) < len(axis_names):
            raise ValueError(
                "Shape and axis_names should have same size: each axis of a mesh needs "
                f"a name of its own. Received: shape={shape}, axis_names={axis_names}"
            )
        if not all(is_integer(size) and size > 0 for size in shape):
            raise bad_argument(self, "shape", shape, "positive integers")
        devices = np.array(list_devices() if devices is None else devices)
        if math.prod(shape) != devices.size:
            raise ValueError(
                "Shape does not match the number of devices. A mesh of shape "
                f"{tuple(shape)} has {math.prod(shape)} places, but there are "
                f"{devices.size} devices: {listed(devices.ravel().tolist(), 8)}. Give "
                "another shape, or `devices`."
            )
        if len(set(map(str, devices.flat))) < devices.size:
            raise ValueError(
                "Each device has one place in a mesh. Received: "
                f"devices={devices.ravel().tolist()}"
            )
        self._shape, self._axis_names = shape, axis_names
        self._devices = devices.reshape(shape)
        self._mesh: Any = None

    @property
    def shape(self):
        """The number of devices along each axis."""
        return self._shape

    @property
    def axis_names(self):
        """The name of each axis."""
        return self._axis_names

    @property
    def devices(self) -> np.ndarray:
        """The devices, as they were given, in the shape of the mesh."""
        return self._devices

    @property
    def backend_mesh(self) -> Mesh:
        """The mesh as JAX has it.

        Raises:
            ValueError: there is no device of a name.
        """
        if self._mesh is None:
            devices = np.array([_device(d) for d in self._devices.flat], object)
            devices = devices.reshape(self._devices.shape)
            self._mesh = Mesh(devices, tuple(self._axis_names))
        return self._mesh

    def __repr__(self):
        return f"<DeviceMesh shape={self._shape}, axis_names={self._axis_names}>"


def _device(name):
    if isinstance(name, jax.Device):
        return name
    if _process["devices"] is not None:
        raise ValueError(
            "A worker process of a data set has the names of the devices of the "
            f"process that it works for, and not the devices. Received: {name}"
        )
    kind, _, number = str(name).partition(":")
    try:
        return {str(d.id): d for d in _devices(kind)}[number or "0"]
    except (KeyError, RuntimeError):
        raise ValueError(
            f"Device not found: {name}. There are {listed(list_devices(), 8)}."
        ) from None


class TensorLayout:
    """Which axes of an array are divided by which axes of a mesh.

    Args:
        axes: for each axis of the array, the name of an axis of the mesh, a tuple of
            such names, or None for one that every device has whole. Axes at the end
            may be left out.
        device_mesh: the `DeviceMesh`; None where it is to follow.

    Raises:
        ValueError: the mesh has no axis of a name, or one is used twice.

    >>> import lamina
    >>> mesh = lamina.distribution.DeviceMesh((1,), ("model",), ["cpu:0"])
    >>> lamina.distribution.TensorLayout((None, "model"), mesh).axes
    (None, 'model')
    """

    @boundary
    def __init__(self, axes: Any, device_mesh: Any = None):
        self._axes = tuple(axes)
        self._device_mesh = device_mesh
        self._sharding: Any = None
        self._check()

    @property
    def axes(self) -> tuple:
        """The axes of the mesh, one for each axis of the array."""
        return self._axes

    @property
    def device_mesh(self):
        """The mesh. It can be assigned once.

        Raises:
            ValueError: there is one already.
        """
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, device_mesh):
        if self._device_mesh is not None:
            raise ValueError(
                "Cannot override device mesh value. Existing value is "
                f"{self._device_mesh}"
            )
        self._device_mesh = device_mesh
        self._check()

    @property
    def backend_layout(self) -> NamedSharding:
        """The layout as JAX has it.

        Raises:
            ValueError: there is no mesh.
        """
        if self._device_mesh is None:
            raise ValueError(
                "Cannot create sharding when device mesh is not set for TensorLayout: "
                f"{self}. Give it one: `TensorLayout(axes, device_mesh)`."
            )
        if self._sharding is None:
            spec = PartitionSpec(*self._axes)
            self._sharding = NamedSharding(self._device_mesh.backend_mesh, spec)
        return self._sharding

    def _check(self):
        names = [name for axis in self._axes for name in _names(axis)]
        if len(set(names)) < len(names):
            raise ValueError(
                "An axis of the mesh can divide one axis of an array. Received: "
                f"axes={self._axes}"
            )
        known = self._device_mesh.axis_names if self._device_mesh else names
        if unknown := set(names) - set(known):
            raise ValueError(
                f"Invalid axis names for Layout. Valid axis names: {sorted(known)}, "
                f"Got {sorted(unknown)}"
            )

    def parts(self) -> list[int]:
        """Return into how many parts each of the axes is divided."""
        mesh = self._device_mesh
        sizes: Any = dict(zip(mesh.axis_names, mesh.shape, strict=True)) if mesh else {}
        return [math.prod(sizes[name] for name in _names(axis)) for axis in self._axes]

    def __repr__(self):
        return f"<TensorLayout axes={self._axes}, device_mesh={self._device_mesh}>"


def _names(axis):
    return () if axis is None else axis if isinstance(axis, tuple) else (axis,)


class Distribution:
    """Says where Variables, batches and the tensors between layers lie.

    Args:
        device_mesh: the `DeviceMesh`.
        batch_dim_name: the axis of the mesh that divides batches.
        auto_shard_dataset: with several processes, whether each gives the whole batch
            (True) or its own rows of it.
    """

    # Whether there is one. Where there is none, nothing looks for it.
    any_made = False
    # Whether it only says how batches lie, beside Variables that were put by hand.
    by_hand = False

    def __init__(
        self,
        device_mesh: Any,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
    ):
        Distribution.any_made = True
        self._device_mesh = device_mesh
        self._batch_dim_name = batch_dim_name
        self._auto_shard_dataset = auto_shard_dataset
        self._said: set = set()

    @property
    def device_mesh(self) -> DeviceMesh:
        """The mesh."""
        return self._device_mesh

    @property
    def batch_dim_name(self):
        """The axis of the mesh that divides batches."""
        return self._batch_dim_name

    @property
    def auto_shard_dataset(self) -> bool:
        """Whether each process gives the whole batch; it can be assigned."""
        return self._auto_shard_dataset

    @auto_shard_dataset.setter
    def auto_shard_dataset(self, value):
        self._auto_shard_dataset = value

    @property
    def num_processes(self) -> int:
        """The number of processes."""
        return jax.process_count()

    @property
    def num_model_replicas(self) -> int:
        """The number of parts that a batch is divided into."""
        raise NotImplementedError

    @property
    def data_shard_id(self) -> int:
        """Which part of a batch this process has."""
        replicas, processes = self.num_model_replicas, self.num_processes
        return jax.process_index() // max(1, processes // replicas)

    def get_data_layout(self, data_shape) -> TensorLayout:
        """Return the layout of an array of a batch: its rows are divided."""
        rest = [None] * (len(data_shape) - 1)
        return TensorLayout((self.batch_dim_name, *rest), self.device_mesh)

    def get_variable_layout(self, variable):
        """Return the layout of a Variable."""
        raise NotImplementedError

    def get_tensor_layout(self, path):
        """Return the layout of what a layer returns, or None to leave it to XLA.

        Args:
            path: the names of the calls that lead to it, and `output`:
                `"model/dense/output"`.
        """
        raise NotImplementedError

    def layout_for(self, variable):
        """Return the layout of a Variable, wherever it lies now."""
        return self.get_variable_layout(variable)

    def on_all_devices(self):
        """Return a distribution like this one for all devices that there are."""
        raise NotImplementedError(
            f"`{type(self).__name__}` does not say what it would be with other "
            "devices. Give a function that makes it, `lambda: ...`."
        )

    def plan_for(self, model, show: bool = True) -> bool:
        """Find layouts for a model, where it does, and tell whether there are new ones.

        Args:
            model: the model; where it is not built, nothing is found.
            show: whether to print what is found.
        """
        return False

    def remarks(self, variables, outputs) -> list[str]:
        """Return warnings: what somebody who trains will hardly have meant.

        Args:
            variables: all Variables that training changes.
            outputs: the paths of what layers return.
        """
        return []

    def described(self) -> str:
        """Return what processes that share it have to agree on, as text."""
        mesh = self.device_mesh
        axes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
        text = f"{type(self).__name__}, mesh {axes}"
        return text if self.auto_shard_dataset else f"{text}, rows of its own"

    def once(self, text) -> bool:
        """Tell whether a text comes for the first time."""
        new = text not in self._said
        self._said.add(text)
        return new

    @property
    def row_parts(self) -> int:
        """The number of parts that the rows of a batch are divided into."""
        return self.get_data_layout((1,)).parts()[0]

    def rows_sharding(self, shape, before=0) -> NamedSharding:
        """Return how an array of a batch lies, as JAX has it.

        Where its rows cannot be divided by the devices, every device has all of them.

        Args:
            shape: the array's shape.
            before: how many axes come before that of the rows.
        """
        axes = self.get_data_layout(shape[before:]).axes if shape[before:] else ()
        layout = TensorLayout((*[None] * before, *axes), self.device_mesh)
        parts = zip(shape, layout.parts(), strict=False)
        if any(size % n for size, n in parts):
            layout = TensorLayout((), self.device_mesh)
        return layout.backend_layout

    def lay_out_output(self, tensor, path):
        """Return what a layer returned, as `get_tensor_layout` says.

        Rows that the devices cannot divide, as those of a last batch, stay whole.

        Args:
            tensor: what it returned, or a part of it.
            path: its path.
        """
        layout = self.get_tensor_layout(path)
        if layout is None or not isinstance(tensor, jax.Array):
            return tensor
        if isinstance(layout, TensorLayout):
            sizes = zip(layout.axes, tensor.shape, layout.parts(), strict=False)
            rest = layout.axes[len(tensor.shape) :]
            axes = [
                None if self.batch_dim_name in _names(axis) and size % n else axis
                for axis, size, n in sizes
            ]
            layout = TensorLayout((*axes, *rest), layout.device_mesh)
        return constrained(tensor, layout, f"{path!r}")

    def distribute_dataset(self, dataset):
        """Return the data set: `fit` divides the batches of every source itself."""
        return dataset

    distribute_tf_dataset = distribute_dataset

    @contextlib.contextmanager
    def scope(self):
        """Let it hold for a `with` block, in this thread."""
        with having(distribution=self):
            yield

    def __repr__(self):
        return f"<{type(self).__name__} device_mesh={self.device_mesh}>"


_process: dict[str, Any] = {"distribution": None, "devices": None}


def of_run() -> tuple | None:
    """Return what `stand_for` takes, in a worker process of this one; or None."""
    names = None
    if Distribution.any_made:
        names = list(dict.fromkeys([*list_devices(), *list_devices("cpu")]))
    process = processes.of_how_many()
    return None if process is None and names is None else (process, names)


def stand_for(process, devices) -> None:
    """Let a worker process see the run as the process that it works for does.

    A script that it imports makes the same meshes and distributions. Nothing is laid
    out by them: the devices are not there.

    Args:
        process: the number of that process and how many there are, or None.
        devices: the names of the devices of the run, or None.
    """
    if process is not None:
        processes.stand_for(*process)
    _process["devices"] = devices


def distribution() -> Any:
    """Return the `Distribution` that holds, or None.

    >>> import lamina
    >>> with lamina.distribution.DataParallel(devices=["cpu:0"]).scope():
    ...     lamina.distribution.distribution().num_model_replicas
    1
    >>> lamina.distribution.distribution()
    """
    now = context.distribution
    return _process["distribution"] if now is ... else now


def distribution_of(variables) -> Any:
    """Return the `Distribution` that holds, else the one that Variables lie by.

    Where they are on several devices by JAX's shardings, batches are divided as well.
    """
    now = distribution()
    if _process["devices"] is not None:
        return None
    if now is None and Distribution.any_made:
        found = (v._laid_out_by for v in variables)
        now = next((by for by in found if by is not None), None)
    if now is None and jax.device_count() > 1:
        found = (sharding_by_hand(v._value) for v in variables)
        now = _by_hand(tuple(dict.fromkeys(s for s in found if s is not None)))
    return now


def sharding_by_hand(value):
    """Return how an array lies on several devices; None where it is on one."""
    if not isinstance(value, jax.Array) or isinstance(value, Tracer):
        return None
    return value.sharding if value.sharding.num_devices > 1 else None


@functools.cache
def _by_hand(shardings):
    """Return what shardings by hand come to; None where nobody can know.

    An axis of the mesh that divides no Variable divides batches. Where there is none,
    several processes that are all in the mesh give one batch all the same.
    """
    if several := jax.process_count() > 1:
        shardings = [s for s in shardings if not s.is_fully_addressable]
    named: Any = [s for s in shardings if isinstance(s, NamedSharding)]
    meshes = list({s.mesh: None for s in named})
    used = {name for s in named for axis in s.spec for name in _names(axis)}
    if not shardings or not (several or len(meshes) == 1):
        return None
    devices = sorted(shardings[0].device_set, key=lambda d: d.id)
    if meshes:  # JAX takes no other order beside it
        devices = meshes[0].devices.ravel().tolist()
    if len({d.process_index for d in devices}) < jax.process_count():
        return None
    if len(meshes) == 1:
        [mesh] = meshes
        free = [n for n in mesh.axis_names if n not in used and mesh.shape[n] > 1]
        if free or (several and len(mesh.axis_names) == 1):
            return _along(mesh, [*free, *mesh.axis_names][0])
    return _along(Mesh(np.array(devices), ("batch",)), "batch") if several else None


@functools.cache
def _along(mesh, axis):
    """Return what divides batches along an axis of a mesh of JAX's."""
    public = registry.public("distribution")
    mesh = DeviceMesh(mesh.devices.shape, mesh.axis_names, mesh.devices)
    made = public.ModelParallel(layout_map=public.LayoutMap(mesh), batch_dim_name=axis)
    made.by_hand = True
    return made


def several(by) -> bool:
    """Tell whether several processes share a `Distribution`; without one, none do."""
    return by is not None and by.num_processes > 1


def is_first(by) -> bool:
    """Tell whether this process prints and writes for all of a `Distribution`'s.

    Args:
        by: the `Distribution`; without one, a process is on its own.
    """
    return not several(by) or jax.process_index() == 0


@boundary
def set_distribution(value) -> None:
    """Let a `Distribution` hold, in the whole process or until the scope around ends.

    Args:
        value: the `Distribution`, or None for one device.

    Raises:
        ValueError: `value` is neither.

    >>> import lamina
    >>> parallel = lamina.distribution.DataParallel(devices=["cpu:0"])
    >>> lamina.distribution.set_distribution(parallel)
    >>> lamina.distribution.distribution() is parallel
    True
    >>> lamina.distribution.set_distribution(None)
    """
    if value is not None and not isinstance(value, Distribution):
        raise ValueError(
            "`set_distribution` expected a `Distribution`, such as "
            f"`lamina.distribution.DataParallel()`, or None. Received: {value!r}"
        )
    if context.distribution is ...:
        _process["distribution"] = value
    else:
        context.distribution = value


# ---- arrays --------------------------------------------------------------------


def sharding_of(layout, shape, name) -> Sharding:
    """Return a layout as JAX has it, checked for an array.

    Args:
        layout: a `TensorLayout` or one of JAX's shardings.
        shape: the array's shape.
        name: what to call the array in errors.

    Raises:
        ValueError: the layout has no mesh or more axes than the array, its mesh has no
            device of this process, or the devices do not divide an axis.
    """
    if not isinstance(layout, TensorLayout):
        try:
            layout.check_compatible_aval(tuple(shape))
            layout.shard_shape(tuple(shape))
        except ValueError as error:
            raise ValueError(
                f"{name} has shape {shape}, which its layout does not fit: {error}"
            ) from None
        return layout
    sharding = layout.backend_layout
    if context.devices is None and not sharding.addressable_devices:
        raise ValueError(
            f"Process {jax.process_index()} has no device in {layout.device_mesh}. All "
            "processes of a run share its work: give a mesh that has devices of each, "
            "as `list_devices()` has."
        )
    axes, parts = layout.axes, layout.parts()
    if len(axes) > len(shape):
        raise ValueError(
            f"{name} has shape {shape}, of {len(shape)} axes. Its layout has "
            f"{len(axes)}: {axes}. Give one name of an axis of the mesh, or None, for "
            "each axis of the shape."
        )
    for place, (axis, size, n) in enumerate(zip(axes, shape, parts, strict=False)):
        if size % n:
            raise ValueError(
                f"{name} has shape {shape}, whose axis {place} of size {size} cannot "
                f"be divided by the {n} devices along {axis!r} of the mesh, as its "
                f"layout {axes} says. Choose a size that is a multiple of {n}, or None "
                f"in place of {axis!r}."
            )
    return sharding


def constrained(tensor, layout, name) -> Any:
    """Return an array in a layout, a symbolic tensor as it is.

    Args:
        tensor: the array.
        layout: the layout.
        name: what to call the array in errors.
    """
    arrays = (jax.Array, np.ndarray)
    if not isinstance(tensor, arrays) or _process["devices"] is not None:
        return tensor
    sharding = sharding_of(layout, tensor.shape, name)
    if isinstance(tensor, Tracer):
        return jax.lax.with_sharding_constraint(tensor, sharding)
    return put(tensor, sharding)


def layout_of(variable, layout) -> tuple[Any, Any]:
    """Return the sharding of a Variable, and the Distribution that it comes from.

    Both are None on one device.

    Args:
        variable: the Variable; it has a path and a shape.
        layout: the layout it was given, or None.
    """
    if _process["devices"] is not None:
        return None, None
    by = distribution() if layout is None else None
    if by is not None:
        layout = by.get_variable_layout(variable)
    if layout is None:
        return None, None
    return sharding_of(layout, variable.shape, f"Variable {variable.path!r}"), by


def own_layout(variable) -> Any:
    """Return how a Variable is laid out on devices; None for as JAX would."""
    return getattr(variable, "_layout", None)


def note_first_call(layer) -> None:
    """Keep where a layer was first called, as long as it is not built anywhere."""
    if layer.path is None:
        layer.__dict__.setdefault("_called_as", "/".join(context.scopes))


def output_path(layer) -> str:
    """Return the path that a layout of what a layer returns goes by."""
    called_as = layer.__dict__.get("_called_as")
    return f"{layer.path or called_as or layer.name}/output"


def is_here(value) -> bool:
    """Tell whether this process has all of an array; it traces for itself."""
    if isinstance(value, Tracer) or not isinstance(value, jax.Array):
        return True
    return value.is_fully_addressable


def put(value, sharding) -> jax.Array:
    """Return an array on the devices, as a sharding says.

    Each device gets no more than its part of a NumPy array.
    """
    if is_here(value) and not sharding.is_fully_addressable:
        value = np.asarray(value)  # devices of other processes: theirs to fill
        return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
    return jax.device_put(value, sharding)


def fetched(value) -> np.ndarray:
    """Return an array in NumPy; that of several processes, each has to ask for.

    Raises:
        RuntimeError: another process does not ask for it; see `meet`.
    """
    if _is_divided(value) and value.is_fully_addressable:
        # NumPy's own view of it would stay in memory for as long as the array does.
        whole = np.empty(value.shape, value.dtype)
        for part in value.addressable_shards:
            whole[part.index] = part.data
        return whole
    if not _is_divided(value):
        return np.asarray(value)
    from jax.experimental.multihost_utils import process_allgather

    processes.meet("get")
    return np.asarray(process_allgather(value, tiled=True))


def _is_divided(value):
    known = isinstance(value, jax.Array) and not isinstance(value, Tracer)
    return known and not value.is_fully_replicated


def has_own_rows(by) -> bool:
    """Tell whether each of several processes gives rows of its own to a batch."""
    return several(by) and not by.auto_shard_dataset


def row_groups(by) -> list[list[int]]:
    """Return the processes in groups: those of one group give the same rows of a batch.

    Args:
        by: the `Distribution`.

    Raises:
        ValueError: each is to give rows of its own, and what their devices hold
            overlaps, or is more than that of others.
    """
    count = by.num_processes
    if not has_own_rows(by):
        return [list(range(count))]
    held = _parts_held(by.rows_sharding((by.row_parts,)), by.row_parts)
    groups: dict[tuple, list[int]] = {}
    for process, parts in held.items():
        groups.setdefault(parts, []).append(process)
    apart = sum(map(len, groups)) == by.row_parts  # all parts are held
    if len(held) == count and apart and len({len(parts) for parts in groups}) == 1:
        return list(groups.values())
    shown = [
        f"process {i} has {listed(held.get(i, ()), 4) or 'none'}" for i in range(count)
    ]
    raise ValueError(
        "With `auto_shard_dataset=False` each process gives the rows of its devices. "
        f"In {by.device_mesh}, the axis {by.batch_dim_name!r} divides a batch into "
        f"{by.row_parts} parts, of which {listed(shown, 8)}. They have to have as many "
        "each, and the same ones or none in common: let devices that work on the same "
        "rows be of one process, or all devices of some processes. Or give the whole "
        "batch in each process, with `auto_shard_dataset=True`."
    )


@functools.cache
def _parts_held(sharding, count):
    """Return the parts of rows that each process has on its devices, in order."""
    held: dict[int, set] = {}
    for device, [rows] in sharding.devices_indices_map((count,)).items():
        held.setdefault(device.process_index, set()).add(rows.start or 0)
    return {process: tuple(sorted(held[process])) for process in sorted(held)}


def own_rows(value, by) -> np.ndarray:
    """Return the rows of this process in NumPy; all processes ask for theirs.

    Args:
        value: an array whose rows the devices of `by` can divide.
        by: the `Distribution`, where each process has rows of its own.
    """
    wanted = by.rows_sharding(value.shape)
    if not value.sharding.is_equivalent_to(wanted, value.ndim):
        value = _divided_as(wanted)(value)
    parts = {part.index[0].start or 0: part for part in value.addressable_shards}
    return np.concatenate([np.asarray(parts[at].data) for at in sorted(parts)])


@functools.cache
def _divided_as(sharding):
    return jax.jit(lambda a: a, out_shardings=sharding)


def is_of_all(value) -> bool:
    """Tell whether an array is divided, and each process has parts of it."""
    return _is_divided(value) and _holds_all(value.sharding)


@functools.cache
def _holds_all(sharding):
    holders = {device.process_index for device in sharding.device_set}
    return len(holders) == jax.process_count() > 1


def on_host() -> Any:
    """Return a block whose arrays take no accelerator's memory, where JAX has a CPU."""
    with contextlib.suppress(RuntimeError):
        if jax.default_backend() != "cpu":
            return jax.default_device(jax.local_devices(backend="cpu")[0])
    return contextlib.nullcontext()


def from_parts(shape, part) -> jax.Array:
    """Return an array that is made on the host, in parts where it is divided.

    Where a Variable of this shape is being made, it comes to lie as the Variable will.

    Args:
        shape: its shape.
        part: a function from slices to the part of the array in NumPy; from none to all
            of it.
    """
    wanted, sharding = context.birth
    if sharding is None or tuple(shape) != wanted:
        return jax.device_put(part(()))
    made = {}  # several devices may have the same part

    def once(index):
        key = tuple((s.start, s.stop) for s in index)
        if key not in made:
            made[key] = part(index)
        return made[key]

    return jax.make_array_from_callback(tuple(shape), sharding, once)
