"""Limits on what a config may make, before any memory or time is taken for it.

A config says how large layers are and how often they are called; large numbers
cost its author nothing. While one is read, `context.configs.budget` is asked.
What a user writes in a script has no budget.
"""

import contextlib
import functools
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray

from lamina.core import bounds, structure
from lamina.core.context import Scope, context, having
from lamina.core.naming import shortened
from lamina.core.registry import ours
from lamina.core.tracebacks import boundary

# What takes time besides the equations that are traced, in the same unit.
_THING, _LAYER, _CALL, _TRACE, _WEIGHT, _MIB_DRAWN = 2, 15, 20, 10, 5, 64
# Arguments that say how often something is written out, and what each time takes; a
# layer's `n` is a size.
_LOOPS, _ROUND = {"n", "num", "indices_or_sections", "power_iterations"}, 20
_PLACES = 2000  # in memory that are listed in such a time
# Arguments that may be larger than an axis is long: they make nothing, or weights,
# which are counted as such.
_FREE = set(
    (
        "alpha axis batch_input_shape batch_shape bin_boundaries cropping "
        "embeddings_dim filters ignore_class input_dim input_length input_shape "
        "mask_token mask_value max_tokens max_value maximum min_value minimum "
        "normalized_shape num_bins offset oov_token output_dim padding sampling_rate "
        "scale seed sequence_length shape target_shape threshold units value_range "
        "vocabulary"
    ).split()
)


def readable(size) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    size = min(size, 1 << 1000)  # no float is larger, and a file may say so
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


class Budget:
    """What a config may make, and how much work may be done for it.

    Args:
        name: what to call the source in errors.
        held: the bytes that all Variables may take together, where a file holds them.
        against: what that comes from, for errors.

    Attributes:
        replaced: a list that gets what is made under another class' name, with that
            name; or None.
    """

    replaced: list | None = None

    def __init__(self, name, held=None, against=None):
        self.name = name
        raised = context.configs.limits or {}
        usual = min(bounds.MEMORY, memory() // 2) if held is None else held
        self.limit: float = raised.get("memory", usual)
        self.against = against
        if "memory" in raised or held is None:
            here = f": this machine has {readable(memory())} of memory"
            has = "" if "memory" in raised else here
            self.against = f"{readable(self.limit)} are allowed{has}"
        self.allowed = raised.get("work", bounds.WORK)
        self._each = 0 if "work" in raised else bounds.WORK_EACH
        self.taken = 0
        self.work = 0

    def take(self, shape, dtype):
        """Count a Variable.

        Raises:
            ValueError: it is one too many.
        """
        self.taken += math.prod(shape) * np.dtype(dtype).itemsize
        if self.taken > self.limit:
            raise ValueError(
                f"Not allowed: the architecture in {self.name} makes weights of more "
                f"than {readable(self.taken)}, the last one of shape {tuple(shape)}, "
                f"but {self.against}."
                + _raised("memory", f"{2 * self.taken >> 30 or 1} * 2**30")
            )
        self.spend(_WEIGHT)

    def first_value(self, initializer, shape, dtype):
        """Return the first value of a Variable that was counted."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        work = getattr(initializer, "_work", None)
        self.spend((_MIB_DRAWN * size >> 20) + (work(shape) if work else 0))
        return initializer(shape, dtype=dtype)

    def make(self, cls, config):
        """Count a thing, and look at the numbers that it is made with.

        Raises:
            ValueError: one of them is larger than any that is meant well.
        """
        sizes = getattr(cls, "_numbers_are_sizes", None)  # None for what has no calls
        self.work += _THING if sizes is None else _LAYER
        if self.work > self.allowed:
            self.spend(0)
        if self.allowed < bounds.WORK_MOST:
            self.allowed += self._each
        name = config.get("name")
        if isinstance(name, str) and len(name) > bounds.NAME:
            raise ValueError(
                f"Not allowed: {self.name} holds a name of {len(name)} characters, "
                f"{name[:40]!r}...; {bounds.NAME} are allowed."
            )
        for name in (_LOOPS - {"n"} if sizes else _LOOPS) & config.keys():
            value = config[name] if ours(cls) else None
            rounds = value if isinstance(value, (list, tuple)) else (value,)
            self.spend(_ROUND * sum(abs(n) for n in rounds if type(n) is int))
        if not (ours(cls) and sizes):
            return
        for name, value in config.items():
            several = isinstance(value, (list, tuple)) and len(value) < 9
            for number in value if several else (value,):
                if (
                    type(number) is int
                    and abs(number) > bounds.NUMBER
                    and name not in _FREE
                ):
                    raise ValueError(
                        f"Not allowed: {self.name} asks `{cls.__name__}` for "
                        f"{name}={value}; {bounds.NUMBER} is the most, as no axis is "
                        "longer. Make the object in a script, if you trust the file's "
                        "author."
                    )

    def call(self, layer):
        """Count a call of a layer.

        Models in models that each call the next one twice make calls without end.

        Raises:
            ValueError: it is one too many.
        """
        self.spend(_CALL, layer.name)

    def traced(self, fn, arguments):
        """Return the shapes that a function gives, and count its equations.

        Raises:
            ValueError: they are too many, or there are too many axes.
        """
        self.spend(_TRACE)
        _check_axes(self.name, arguments)
        _count_iterations()
        jaxpr, shapes = jax.make_jaxpr(fn, return_shape=True)(arguments)
        self.spend(_equations(jaxpr.jaxpr))
        _check_axes(self.name, shapes)
        return shapes

    def spend(self, units, last=None):
        """Count work.

        Raises:
            ValueError: it is too much.
        """
        self.work += units
        if self.work > self.allowed:
            raise ValueError(
                f"Not allowed: to build the architecture in {self.name} takes as much "
                f"work as more than {self.allowed} equations: it has too many layers, "
                "calls them too often, or draws too many numbers"
                + (f"; the last call was of {last[:80]!r}." if last else ".")
                + _raised("work", 10 * self.allowed)
            )


def rounds(count):
    """Count what a trace writes out, before it does.

    Raises:
        ValueError: a config is read, and it is too much.
    """
    if context.configs.budget is not None:
        context.configs.budget.spend(_ROUND * count)


def listed(count):
    """Count places that are listed in memory, before they are.

    Raises:
        ValueError: a config is read, and they are too many.
    """
    rounds(count // _PLACES)


def constant(shape, dtype, copies=1):
    """Count an array that a layer makes while it is traced, before it does.

    Args:
        shape: its shape.
        dtype: its dtype.
        copies: how many of its size there are while it is made.

    Raises:
        ValueError: a config is read, and all that it makes is too much.
    """
    if context.configs.budget is not None:
        size = copies * math.prod(shape) * np.dtype(dtype).itemsize
        context.configs.budget.spend(_MIB_DRAWN * size >> 20)


def looked_at(values):
    """Count values of which each takes time, and no equation.

    Raises:
        ValueError: a config is read, and they are too many.
    """
    if context.configs.budget is not None:
        count = 1 if isinstance(values, str) else len(structure.flatten(values))
        context.configs.budget.spend(_THING * count)


def _check_axes(name, shapes):
    axes = max((len(x.shape) for x in jax.tree.leaves(shapes)), default=0)
    if axes > bounds.AXES:
        raise ValueError(
            f"Not allowed: an operation in {name} works on an array of {axes} axes; "
            f"{bounds.AXES} are allowed."
        )


@functools.cache
def _count_iterations():
    """Count what a loop over a traced array writes out: JAX itself writes it all."""
    parts: Any = ShapedArray._iter

    def counted(array):
        rounds(array.shape[0])
        return parts(array)

    ShapedArray._iter = staticmethod(counted)


def _raised(name, value):
    return (
        " If you trust its author, allow more around this call: "
        f"`with lamina.saving.limits({name}={value}): ...`"
    )


def _equations(jaxpr) -> int:
    """Return how many equations were traced for a function.

    What a loop repeats is traced several times, until its types agree.
    """
    count = len(jaxpr.eqns)
    for equation in jaxpr.eqns:
        times = 3 if equation.primitive.name in ("scan", "while", "cond") else 1
        for value in equation.params.values():
            for inner in value if isinstance(value, (list, tuple)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    count += times * _equations(inner)
    return count


class limits(Scope):  # noqa: N801
    """Allow configs more than usual, in a `with` block.

    For architectures that are larger than any that is opened without a word, from
    authors whom you trust.

    Args:
        memory: the bytes that the weights of a config may take. Usually 1.5 GiB, or
            a half of the machine's memory if that is less; for a model in a file, six
            times what the file holds for them and 256 MiB.
        work: how many equations JAX may trace to build it, about a tenth of a
            millisecond each. Usually 50,000, and 100 more for each object in the
            config up to 200,000.

    Raises:
        ValueError: one of them is not a positive integer.

    >>> import lamina
    >>> config = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> config = config.get_config()
    >>> with lamina.saving.limits(memory=8 * 2**30):
    ...     lamina.Sequential.from_config(config).count_params()
    8
    """

    @boundary
    def __init__(self, memory: float | None = None, work: float | None = None):
        given = {"memory": memory, "work": work}
        self._limits = {k: v for k, v in given.items() if v is not None}
        for name, value in self._limits.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"`limits` expected `{name}` to be a positive integer. "
                    f"Received: {name}={value!r}"
                )

    def _block(self):
        around = context.configs.limits or {}
        return having(context.configs, limits={**around, **self._limits})


class budgeted:  # noqa: N801
    """Read a config under a budget: the one that holds already, or a new one.

    A copy of what is in this process already is made without.

    Args:
        name: what to call the config in errors.
        fields: other fields of the context to set.
    """

    def __init__(self, name="the config", **fields):
        configs = context.configs
        outermost = configs.budget is None and configs.references is None
        if outermost:
            fields["budget"] = Budget(name)
        self._name = name if outermost else None
        self._block = having(configs, **fields)

    def __enter__(self):
        self._block.__enter__()

    def __exit__(self, kind, error, trace):
        self._block.__exit__()
        if error is not None and self._name is not None:
            with errors_about(self._name):
                raise error


# What code raises for configs whose parts are not what they should be; it raises errors
# of the other kinds in words as well.
_DAMAGES = (
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    jax.errors.InconclusiveDimensionOperation,
)
_WORDED = (TypeError, ValueError)


@contextlib.contextmanager
def errors_about(name, what="describes no model"):
    """Say in a config's errors what was read, in messages of bounded length.

    Args:
        name: what to call the config, or whatever else is read.
        what: what is wrong with it.
    """
    with quoting():
        try:
            yield
        except RecursionError as error:
            raise ValueError(f"Not allowed: {name} is nested too deeply.") from error
        except _WORDED as error:
            if len(error.args) == 1 and isinstance(error.args[0], str):
                if name not in error.args[0]:
                    error.args = (f"In {name}: {error.args[0]}",)
            raise
        except (*_DAMAGES, NameError) as error:
            if isinstance(error, NameError) and error.name is not None:
                raise  # a lambda lacks the name; the errors of JAX's axes have none
            said = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name} {what}: {said}") from error


@contextlib.contextmanager
def quoting():
    """Let errors, what caused them and their notes quote only a part of a file."""
    try:
        yield
    except Exception as error:
        link: Any = error
        while link is not None:
            if len(text := str(link)) > bounds.MESSAGE:
                link.args = (shortened(text, bounds.MESSAGE),)
            notes = getattr(link, "__notes__", [])
            notes[:] = [shortened(note, bounds.MESSAGE) for note in notes]
            link = link.__cause__ or link.__context__
        raise


@functools.cache
def memory() -> int:
    """Return how many bytes of memory this process may use."""
    limit = 1 << 40
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        # A container may have less than its machine; `max` is not a number.
        limit = min(limit, int(pathlib.Path("/sys/fs/cgroup/memory.max").read_text()))
    return limit
