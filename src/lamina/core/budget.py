"""Limits on what a config may make, before any memory is taken for it.

A config says how large layers are and how often they are called; whoever wrote it
pays nothing for large numbers. While one is read, `context.configs.budget` is asked.
What a user writes in a script has no budget.
"""

import contextlib
import functools
import math
import os
import pathlib

import numpy as np

from lamina.core.context import context, having
from lamina.core.registry import ours

_CALLS = 2_000  # of layers while a config is read, and for each thing it makes:
_CALLS_EACH = 20
# The largest number that an argument of a layer or metric may be, and those that may
# be larger: they make nothing, or weights, which are counted as such.
_NUMBER = 1 << 17
_FREE = set(
    (
        "axis batch_input_shape batch_shape embeddings_dim filters ignore_class "
        "input_dim input_length input_shape mask_token mask_value max_tokens maximum "
        "minimum normalized_shape num_bins oov_token output_dim padding sampling_rate "
        "seed sequence_length shape target_shape units vocabulary"
    ).split()
)


def readable(size) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


class Budget:
    """What a config may make: here, as much as this machine has memory for.

    Args:
        name: what to call the source in errors.
        limit: the bytes that all Variables may take together.
        against: what the limit comes from, for errors.
    """

    def __init__(self, name, limit=None, against="this machine has {} of memory"):
        self.name = name
        self.limit = memory() if limit is None else limit
        self.against = against
        self.spent = 0
        self.calls = 0
        self.allowed = _CALLS

    def take(self, shape, dtype):
        """Count a Variable.

        Raises:
            ValueError: it is one too many.
        """
        self.spent += math.prod(shape) * np.dtype(dtype).itemsize
        if self.spent > self.limit:
            raise ValueError(
                f"Not allowed: the architecture in {self.name} makes weights of more "
                f"than {readable(self.spent)}, the last one of shape {tuple(shape)}, "
                f"but {self.against.format(readable(self.limit))}."
            )

    def first_value(self, initializer, shape, dtype):
        """Return the first value of a Variable that was counted."""
        return initializer(shape, dtype=dtype)

    def make(self, cls, config):
        """Count a thing, and look at the numbers that a layer or metric is made with.

        Raises:
            ValueError: one of them is larger than any that is meant well.
        """
        self.allowed += _CALLS_EACH
        if not (ours(cls) and getattr(cls, "_numbers_are_sizes", False)):
            return
        for name, value in config.items():
            several = isinstance(value, (list, tuple)) and len(value) < 9
            for number in value if several else (value,):
                if type(number) is int and abs(number) > _NUMBER and name not in _FREE:
                    raise ValueError(
                        f"Not allowed: {self.name} asks `{cls.__name__}` for "
                        f"{name}={value}; {_NUMBER} is the most in a config."
                    )

    def call(self, layer):
        """Count a call of a layer.

        Models in models that each call the next one twice make calls without end.

        Raises:
            ValueError: it is one too many.
        """
        self.calls += 1
        if self.calls > self.allowed:
            raise ValueError(
                f"Not allowed: the architecture in {self.name} calls its layers more "
                f"than {self.allowed} times while it is built, the last one "
                f"{layer.name!r}."
            )


@contextlib.contextmanager
def budgeted(name="the config", **fields):
    """Read a config under a budget: the one that holds already, or a new one.

    A copy of what is in this process already is made without.

    Args:
        name: what to call the config in errors.
        fields: other fields of the context to set.
    """
    outermost = context.configs.budget is None and context.configs.references is None
    if outermost:
        fields["budget"] = Budget(name)
    with having(context.configs, **fields):
        try:
            yield
        except RecursionError as error:
            if not outermost:
                raise
            raise ValueError(f"Not allowed: {name} is nested too deeply.") from error


@functools.cache
def memory() -> int:
    """Return how many bytes of memory this process may use."""
    limit = 1 << 40
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        # A container may have less than its machine; `max` is no number.
        limit = min(limit, int(pathlib.Path("/sys/fs/cgroup/memory.max").read_text()))
    return limit
