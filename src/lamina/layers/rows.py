"""`Rows`: whether each row of a batch is computed from this row alone.

Layers declare it; nothing guesses. What hangs on it: whether a batch may be filled up
with rows that are cut off again.
"""

import itertools
from typing import Any

from lamina.core.registry import ours
from lamina.layers.owner import Owner

# Methods that say nothing about how the rows of a batch are computed.
_NO_PART_OF_CALLS = frozenset(
    """__init__ build compute_mask compute_output_shape compute_output_spec get_config
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
    # Whether a call runs a function that was given to the layer.
    _runs_given_code = False
    _flatten_layers: Any

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        later = list(itertools.takewhile(_is_silent, cls.__mro__))
        home = _package(cls.__mro__[len(later)])
        # What was declared holds for the package in which it was declared.
        if any(
            cls._takes_part(name, value)
            for c in later
            if _package(c) != home
            for name, value in vars(c).items()
        ):
            cls.rows_independent = False

    @staticmethod
    def _takes_part(name, value):
        """Tell whether an attribute of a class may be code that calls run."""
        code = callable(value) or isinstance(value, (property, staticmethod))
        return code and name not in _NO_PART_OF_CALLS

    def _rows_apart(self, training=None) -> bool:
        """Tell whether rows of a batch have no effect on each other, for certain."""
        declared = self.rows_independent
        if not declared or (training and declared == "inference"):
            return False
        return not any(x._holds_function for x in self._flatten_layers())

    @property
    def _holds_function(self):
        """Whether its calls run a function or callable that was given to it."""
        return self._runs_given_code or any(
            callable(value)
            and not isinstance(value, Owner)
            and not name.endswith(_NOT_CALLED)
            and not ours(value)
            for name, value in vars(self).items()
        )


def _is_silent(cls):
    return "rows_independent" not in vars(cls)


def _package(cls):
    return cls.__module__.partition(".")[0]


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
