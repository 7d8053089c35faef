"""`Rows`: whether each row of a batch is computed from this row alone.

Layers declare it; nothing guesses. What hangs on it: whether a batch may be filled up
with rows that are cut off again.
"""

import inspect
from typing import Any

from lamina.core.naming import package_of
from lamina.core.owner import layers_in

# Methods that say nothing about how the rows of a batch are computed.
_NO_PART_OF_CALLS = frozenset(
    """build compute_mask compute_output_shape compute_output_spec get_config
    get_build_config build_from_config save_own_variables load_own_variables adapt
    quantize""".split()
)
# Attributes by these names are functions that no call runs.
_NOT_CALLED = ("_initializer", "_regularizer", "_constraint")


class Rows:
    """The part of a Layer that tells whether rows of a batch are independent."""

    # False, True, or "inference". Declared with `call`; a subclass in another package
    # that overrides what takes part in a call declares it anew.
    rows_independent: Any = False
    # The least rank of an input whose first axis are rows: with fewer axes it is one
    # sample, or the axis that the layer works along.
    _least_rank = 2
    # Whether a call runs a function that was given to the layer.
    _runs_given_code = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # What was declared holds for the package in which it was declared.
        declares = next(c for c in cls.__mro__ if "rows_independent" in c.__dict__)
        nearer = cls.__mro__[: cls.__mro__.index(declares)]
        others = (c for c in nearer if package_of(c) != package_of(declares))
        if any(cls._takes_part(name) for c in others for name in c.__dict__):
            cls.rows_independent = False

    @classmethod
    def _takes_part(cls, name):
        """Tell whether an attribute of the class may be code that calls run."""
        if name in _NO_PART_OF_CALLS or (name[:2] == "__" and name != "__call__"):
            return False
        value = inspect.getattr_static(cls, name)
        return callable(value) or hasattr(value, "__get__")

    @property
    def _functions(self):
        """The functions and callables that it was given and that its calls run."""
        return [
            value
            for name, value in vars(self).items()
            if callable(value)
            and not name.endswith(_NOT_CALLED)
            and (not isinstance(value, Rows) or name.endswith("activation"))
        ]


def rows_apart(layer, training=None) -> bool:
    """Tell whether rows of a batch have no effect on each other, for certain."""
    declared = layer.rows_independent
    if not declared or (training and declared == "inference"):
        return False
    layers = layers_in(layer)
    return not any(x._runs_given_code for x in layers) and all(
        getattr(f, "elementwise", False) or getattr(f, "rows_independent", False)
        for x in layers
        for f in x._functions
    )


def holds_function(layer) -> bool:
    """Tell whether a layer's calls run a user's code that was given to it."""
    packages = map(package_of, layer._functions)
    return layer._runs_given_code or not {"lamina", "jax"}.issuperset(packages)


def least_rank(operation) -> int:
    """Return the least rank of an input whose first axis are rows."""
    return getattr(operation, "_least_rank", 2)


def off_rows(axes) -> bool:
    """Tell whether axes leave out the first one of two or more, whatever the rank.

    Of the negative ones, only the last one surely does.
    """
    axes = axes if isinstance(axes, (list, tuple)) else (axes,)
    return all(a is not None and (a > 0 or a == -1) for a in axes)


def weakest(*declared):
    """Return what holds of layers together of what each declares of its rows."""
    if not all(declared):
        return False
    return "inference" if "inference" in declared else True
