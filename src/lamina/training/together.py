"""What the processes of a run agree on; each has to come by for that."""

import contextlib
import functools
import itertools
import pathlib
import re
import secrets
import zlib
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lamina.core import placement, processes
from lamina.core.context import having
from lamina.core.tracebacks import warn
from lamina.core.variable import binding
from lamina.data import ArraySource

_SHOWN = 200  # bytes of what differs in an error
_SEEN, _PIECE = 2**20, 2**10  # bytes of an array in a checksum, and of each piece of it
_LOOKED_AT = 4096  # numbers of a weight that are compared after an epoch
_DRIFT = 1e-3, 0.05  # how far those may be apart by rounding: one number, or many


def of_first(number) -> int:
    """Return the number that process 0 has; on one process, the number itself."""
    if not several():
        return number
    return int(_gathered(number)[0])


def check_alike(arrays, problem) -> None:
    """Raise unless all processes have the same arrays.

    Args:
        arrays: arrays in any structure; parts of divided ones are compared where
            several processes have them.
        problem: what to say where they are not.

    Raises:
        ValueError: they differ.
    """
    if not several():
        return
    found = [_sums(array) for array in jax.tree.leaves(arrays)]
    size = _gathered(sum(map(len, found)))
    alike = (size == size[0]).all()
    if alike:
        sums = _gathered(*np.concatenate([*found, [1]])).reshape(len(size), -1)
        known = np.where(sums == 0, sums.max(axis=0), sums)  # 0: not there
        alike = (known == known[0]).all()
    if not alike:
        raise ValueError(problem)


def check_settings(settings) -> None:
    """Raise unless all processes were told to do the same.

    Args:
        settings: what was said to this one, plain values in dicts and lists.

    Raises:
        ValueError: they differ. The message says in what first.
    """
    if not several():
        return
    found = _first_apart([f"{path}={value!r}" for path, value in _leaves(settings, "")])
    if found is not None:
        first, said, other = found
        raise ValueError(
            f"The processes do not do the same: process 0 has {first}, and process "
            f"{other} has {said}. Every process runs the same script with the same "
            "arguments."
        )


def _first_apart(lines):
    """Return the first line that differs from that of process 0, or None.

    Returns:
        That of process 0, that of another process, and the number of this.
    """
    sums = [zlib.crc32(line.encode()) for line in lines]
    counts = _gathered(len(sums))
    if (counts == counts[0]).all() and alike(sums):
        return None
    most = int(counts.max())
    sums, lines = sums + [0] * (most - len(sums)), lines + [""] * (most - len(lines))
    found = _gathered(*sums).reshape(len(counts), most)
    differing = int((found != found[0]).any(axis=0).argmax())
    text = lines[differing].encode()[:_SHOWN].ljust(_SHOWN, b"\0")
    said = _gathered(*text).reshape(len(counts), -1).astype(np.uint8)
    said = [bytes(row).rstrip(b"\0").decode(errors="replace") for row in said]
    other = next((i for i, one in enumerate(said) if one != said[0]), 0)
    return said[0] or "nothing", said[other] or "nothing", other


def data_text(data) -> str:
    """Return what data are, as text that differs where they do: likely, not surely."""
    leaves = jax.tree.leaves(data)
    if not all(isinstance(a, (np.ndarray, jax.Array)) for a in leaves):
        return f"a {type(data).__name__}"
    shapes = ", ".join(f"{a.shape} {a.dtype}" for a in leaves)
    return f"{shapes or 'none'} (checksum {brief(data):x})"


def form_text(data, whole=False, parts=1) -> str:
    """Return of what form data are, which each process has rows of its own of.

    Args:
        data: arrays; of other data nothing is told.
        whole: whether all have as many rows.
        parts: of how many parts data are, one of which is asked for.
    """
    leaves = jax.tree.leaves(data)
    if not all(isinstance(a, (np.ndarray, jax.Array)) for a in leaves):
        return "data"
    shapes = (
        (a.shape[0] // parts if whole else "rows", *a.shape[1:]) if a.ndim else ()
        for a in leaves
    )
    texts = (
        f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)}) {a.dtype}"
        for shape, a in zip(shapes, leaves, strict=True)
    )
    return ", ".join(texts) or "none"


def brief(arrays, begin=0, batches=1) -> int:
    """Return a checksum of arrays: of large ones, of pieces at even distances.

    It takes microseconds for a small batch, and some 200 for 1 MiB, which is the most
    of an array that is looked at.

    Args:
        arrays: arrays in any structure; those on devices of others, and text, count by
            their shapes alone.
        begin: a checksum to go on from.
        batches: how many batches an array holds, each of which may be looked at so.
    """
    for array in jax.tree.leaves(arrays):
        begin = zlib.crc32(f"{array.shape}".encode(), begin)
        if placement.is_here(array) and array.size and not array.dtype.hasobject:
            pieces = _pieces(np.asarray(array), batches * _SEEN)
            begin = zlib.crc32(pieces.data, begin)
    return begin


def _pieces(array, most):
    """Return at most so many bytes of an array, in order."""
    if array.nbytes > most and not array.flags.c_contiguous:  # few rows, not a copy
        rows = max(1, most * len(array) // array.nbytes)
        array = array[:: -(-len(array) // rows)]
    found = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if found.size <= most:
        return found
    count = most // _PIECE
    parts = found[: found.size // count * count].reshape(count, -1)
    return np.ascontiguousarray(parts[:, :_PIECE])


def check_batches(place) -> None:
    """Raise unless all processes took the same batches.

    Args:
        place: what placed those of this one.

    Raises:
        ValueError: they differ. The message names a process.
    """
    if several():
        check_shared_rows(place.seen)


def check_shared_rows(seen) -> None:
    """Raise unless all processes that give the same rows have the same number.

    Args:
        seen: a checksum of what this one gave.

    Raises:
        ValueError: they differ. The message names a process.
    """
    if several():
        _check_rows(_gathered(seen))


def _check_rows(seen):
    by = placement.distribution()
    for first, *others in placement.row_groups(by):
        other = next((i for i in others if seen[i] != seen[first]), None)
        if other is not None:
            raise ValueError(
                f"The processes did not take the same batches: process {other} had "
                f"others than process {first}. What draws or shuffles in a data set "
                "needs a seed that all have. "
                + (
                    "Where each has rows of its own, say so: "
                    f"`{type(by).__name__}(..., auto_shard_dataset=False)`."
                    if by.auto_shard_dataset
                    else f"In {by.device_mesh}, the devices of both work on the same "
                    f"rows: along {by.batch_dim_name!r}, they are at one place."
                )
            )


def after_epoch(stops, place, variables) -> bool:
    """Tell whether one of several processes stops after an epoch.

    Args:
        stops: whether this one does.
        place: what placed its batches; of an epoch that was cut short, it says
            nothing.
        variables: Variables; those that every process has whole are compared.

    Raises:
        ValueError: a process has other batches or values than process 0. The message
            names it, and the Variable.
    """
    whole = [v for v in variables if v.raw_value.is_fully_replicated]
    sums = np.array([_summary(v.raw_value) for v in whole], np.float32)
    found = _gathered(stops, place.seen, *sums.reshape(-1).view(np.uint32))
    found = found.reshape(jax.process_count(), -1)
    stopped = bool(found[:, 0].any())
    if not stopped:
        _check_rows(found[:, 1])
    sums = found[:, 2:].copy().view(np.float32).reshape(len(found), -1, 2)
    apart = np.abs(sums - sums[0])[:, :, 0] > sums[:, :, 1]
    if apart.any():
        other, place = np.argwhere(apart)[0]
        raise ValueError(
            f"Process {other} has other values of {whole[place].path!r} than process 0 "
            "after an epoch: something changed them in one process alone, such as a "
            "callback. What changes a model has to run in every process."
        )
    return stopped


def _summary(value):
    """Return a number that stands for an array, and how far another may be from it.

    Hosts of different kinds round differently: numbers with a fraction may drift.
    """
    value = value.addressable_data(0)
    value = np.asarray(_thinned(value) if value.size > _LOOKED_AT else value)
    if value.dtype.kind not in "fV":
        return zlib.crc32(value.tobytes()) % 2**24, 0
    value = np.nan_to_num(value.astype(np.float64).reshape(-1), posinf=0, neginf=0)
    terms = value * np.cos(np.arange(value.size))
    return terms.sum(), _DRIFT[value.size > 1] * np.abs(terms).sum()


@jax.jit
def _thinned(value):
    return value.reshape(-1)[:: value.size // _LOOKED_AT]


def alike(numbers) -> bool:
    """Tell whether all processes have the same numbers, as many in each."""
    found = _gathered(*numbers).reshape(-1, len(numbers))
    return bool((found == found[0]).all())


def _leaves(value, path):
    """Yield the leaves of plain settings with their paths; names decide nothing."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in ("name", "seed"):
                yield from _leaves(one, f"{path}.{key}" if path else key)
    elif isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            yield from _leaves(one, f"{path}[{i}]")
    else:
        yield path, value


def check_program(step, state, rest) -> None:
    """Raise unless all processes run the same compiled step; they would hang.

    Args:
        step: what `jax.jit` returned.
        state: the State that it is given.
        rest: what else it is given.

    Raises:
        ValueError: the programs differ.
    """
    if not several() or not hasattr(step, "lower"):
        return
    text = step.lower(state, *rest).as_text()
    # A callback in one process that keeps what it reads lets no memory be reused there.
    text = re.sub(r"(tf\.aliasing_output|jax\.buffer_donor) = [^,}]*", "", text)
    if not alike([zlib.crc32(text.encode())]):
        _check_batch(*rest)
        raise ValueError(
            "The processes have compiled different steps: a layer, a loss or a metric "
            "computes something else in one of them. Let nothing in the model hang on "
            "the process that it runs in."
        )


def _check_batch(batch, *rest):
    """Raise where what steps are given has another form in one process."""
    if all(isinstance(part, tuple) and len(part) == 3 for part in batch):
        batch = batch[0]  # of several
    names = ("x", "y", "sample_weight")
    forms = [form_text(part, whole=True) for part in batch]
    check_settings({"global batch": dict(zip(names, forms, strict=False))})


def _sums(array) -> list[int]:
    """Return a checksum for each part of an array; 0 for those of others."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return [_sum(np.asarray(array))]
    parts = array.sharding.devices_indices_map(array.shape).values()
    mine = {str(s.index): s.data for s in array.addressable_shards}
    return [
        _sum(np.asarray(mine[part])) if part in mine else 0
        for part in dict.fromkeys(map(str, parts))
    ]


def _sum(array):
    begin = zlib.crc32(f"{array.shape} {array.dtype}".encode())
    if array.dtype.hasobject:  # text, which reaches no step
        return begin or 1
    bytes_ = np.ascontiguousarray(array).view(np.uint8).reshape(-1).data
    return zlib.crc32(bytes_, begin) or 1


def several() -> bool:
    """Tell whether there are several processes that do the same."""
    return placement.several(placement.distribution())


def any_of(flag) -> bool:
    """Tell whether something is so in one of the processes."""
    return first_with(flag) is not None


def first_with(flag) -> int | None:
    """Return the number of the first process in which something is so, or None."""
    flags = _gathered(bool(flag)) if several() else [flag]
    return next((i for i, found in enumerate(flags) if found), None)


def check_shared(folder, who) -> None:
    """Raise unless all processes see the same folder.

    Args:
        folder: its path; it is made if it is not there.
        who: what writes there, in all of them.

    Raises:
        ValueError: one does not see what the first process puts there.
    """
    if not several():
        return
    processes.meet(who)
    mark = pathlib.Path(folder) / f".shared-{of_first(secrets.randbits(32))}"
    if jax.process_index() == 0:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    any_of(False)  # it is there now
    lost = any_of(not mark.exists())
    if jax.process_index() == 0:
        mark.unlink()
    if lost:
        raise ValueError(
            f"Not all processes see the same folder {str(folder)!r}. What several "
            f"processes write together, by `{who}`, goes to a folder that all hosts "
            "share."
        )


def stopped(flag, each) -> bool:
    """Tell whether a running loop was stopped: of several processes, in one of them.

    Args:
        flag: whether it was, in this process.
        each: whether somebody in some process listens to each batch. Where nobody
            does, nobody stops the loop, and the processes do not ask each other.
    """
    return any_of(flag) if each or not several() else False


def is_terminated(step) -> bool:
    """Tell whether SIGTERM came to one of several processes, in all at one step.

    Args:
        step: a number that grows, the same in all.
    """
    return several() and processes.is_terminated(step)


def first_batch() -> Any:
    """Return a block in which a process takes its first batch; all meet at its end.

    Raises:
        RuntimeError: another process has none. The message names it, and says why.
    """
    return processes.met_after("first") if several() else contextlib.nullcontext()


def least_batches(source):
    """Return what an epoch of all processes is cut to; None where none has fewer.

    Args:
        source: the source of this process.

    Raises:
        ValueError: the numbers of rows or batches differ where they must not.
    """
    if not several():
        return None
    rows, batches = _gathered(source.rows or 0), _gathered(source.batches or 0)
    whole = placement.distribution().auto_shard_dataset
    if len({*rows}) > 1:
        raise ValueError(
            f"The processes have {_listed(rows)} rows. "
            + (
                "Each has to give the same whole data."
                if whole
                else "With `auto_shard_dataset=False` each has rows of its own, and "
                "as many as the others: leave some out."
            )
        )
    if len({*batches}) == 1:
        return None
    if whole or not batches.all():
        raise ValueError(
            f"The processes have {_listed(batches)} batches in an epoch (0: not "
            "known). Let each have as many, or give `steps_per_epoch`."
        )
    if placement.is_first(placement.distribution()):
        warn(
            f"The processes have {_listed(batches)} batches in an epoch. Each epoch "
            f"ends after {min(batches)}, and processes that have more go on there in "
            "the next one."
        )
    return int(min(batches))


def in_step(batches, source, place, skip=0, size=1):
    """Return batches for as long as all processes have one, of one form in all.

    They agree on the next batches while the step before these is running.

    Args:
        batches: the batches of this process.
        source: where they come from.
        place: what places them.
        skip: how many of an epoch are left out.
        size: on how many batches they agree at once.

    Raises:
        ValueError: the batches have other numbers of rows, other shapes or dtypes, or
            those of one process end before others, though all give the same.
    """
    cut = isinstance(source, ArraySource) and source.change is None  # all is known
    if cut or not several():
        return batches
    return _in_step(iter(batches), place, size)


def _in_step(batches, place, size):
    done = 0

    def begun():
        some = list(itertools.islice(batches, size))
        sums = [_form_sum(batch) for batch in some]
        return some, _begun(*sums, *[0] * (size - len(some)))

    some, sums = begun()
    while True:
        found = np.asarray(sums)
        alike = (found == found[0]).all(axis=0) & (found[0] > 0)
        if alike.all():
            done += size
            given, (some, sums) = some, begun()
            yield from given
            continue
        good = int(alike.argmin())
        ended, done = found[:, good] == 0, done + good
        if not ended.any():
            _refuse_forms(some[good], done)
        # Judged by what all processes know, so that all go on or none does.
        if not ended.all():
            by, first = placement.distribution(), ended.argmax()
            if not placement.has_own_rows(by):
                raise ValueError(
                    f"The data of process {first} ran out after {done} batches, and "
                    "other processes have more. Let each have as many."
                )
            place.compare_no_more()  # others may have read on
            if placement.is_first(by):
                warn(
                    f"The data of process {first} ran out after {done} batches. This "
                    "epoch ends there, and processes that have more go on there in the "
                    "next one."
                )
        yield from some[:good]
        return


def _form_sum(batch):
    """Return a checksum of the shapes and dtypes of a batch; never 0."""
    form = [(a.shape, str(a.dtype)) for a in jax.tree.leaves(batch)]
    return zlib.crc32(f"{form}".encode()) or 1


def _refuse_forms(batch, number):
    """Say in all processes which of them has another form of a batch."""
    by = placement.distribution()
    parts = len(placement.row_groups(by))  # which are a batch on the devices
    lines = [
        f"{name} {form_text(leaf, whole=True, parts=parts)}"
        for name, part in zip(("x", "y", "sample_weight"), batch, strict=True)
        for leaf in jax.tree.leaves(part)
    ]
    first, said, other = _first_apart(lines) or ("", "", 0)
    raise ValueError(
        f"In batch {number}, process 0 has {first}, and process {other} has {said}. "
        + (
            "With rows of its own, each process gives as many rows in a batch, of the "
            "same shape: pad rows to one length in all, and leave out a shorter last "
            "batch."
            if placement.has_own_rows(by)
            else "Each has to give the same whole batch. Where each has rows of its "
            f"own, say so: `{type(by).__name__}(..., auto_shard_dataset=False)`."
        )
    )


def until_all_end(batches):
    """Yield batches until no process has one; those without give no rows of their last.

    Args:
        batches: the batches of this process.
    """
    batches, batch = iter(batches), None
    while True:
        found = next(batches, None)
        if not any_of(found is not None):
            return
        if found is None:
            found = jax.tree.map(lambda a: a[:0], batch)
        yield (batch := found)


def most_rows(x, rows, may_differ) -> int:
    """Return the most rows that a process has in a batch of rows of its own.

    Args:
        x: the inputs of this process.
        rows: how many rows it has.
        may_differ: whether each may have another number.

    Raises:
        ValueError: they differ where they must not, or in what a row is.
    """
    check_settings({"x": form_text(x)})
    sizes = _gathered(rows)
    if len({*sizes}) > 1 and not may_differ:
        raise ValueError(
            f"The processes have {_listed(sizes)} rows in a batch. Only where each "
            "row is predicted by itself may they differ. Let each process have as "
            "many batches, of as many rows."
        )
    return int(sizes.max())


def _listed(numbers):
    return ", ".join(f"{n} (process {i})" for i, n in enumerate(numbers[:8])) + (
        " ..." if len(numbers) > 8 else ""
    )


def _gathered(*numbers):
    """Return the numbers of all processes, one process after the other."""
    return np.ravel(_begun(*numbers))


def _begun(*numbers) -> jax.Array:
    """Return the numbers of all processes, a row for each, as they will come."""
    processes.note_met()
    rows, gather = _gathering()
    mine = np.array([numbers], np.uint32)
    found = gather(jax.make_array_from_process_local_data(rows, mine))
    return found.addressable_data(0)


@functools.cache
def _gathering():
    devices = np.array(jax.devices()).reshape(jax.process_count(), -1)
    mesh = Mesh(devices, ("processes", "devices"))
    whole = NamedSharding(mesh, PartitionSpec())
    rows = NamedSharding(mesh, PartitionSpec("processes"))
    return rows, jax.jit(lambda a: a, out_shardings=whole)


@contextlib.contextmanager
def gathered(variables):
    """Let divided Variables be whole in the process that writes; give whether this is.

    All processes that hold parts of them come here, and one that fails does not leave
    the others waiting. Weights are collected one by one, and stay with the process that
    writes; there, nothing is laid out in the block.
    """
    by = placement.distribution_of(variables)
    first = placement.is_first(by)
    with having(distribution=by), processes.watched("save", placement.several(by)):
        whole = {}
        for variable in variables:
            value = variable.raw_value
            # All processes collect what is divided, for the one that writes.
            if placement.own_layout(variable) is not None and (
                first or not value.is_fully_replicated
            ):
                value = placement.fetched(value)
                if first:
                    whole[variable] = value
        if not whole:
            yield first
            return
        with binding(whole, whole.values()), having(distribution=None):
            yield first
