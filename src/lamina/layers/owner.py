"""`LayerOwner`: which Variables a layer and the layers inside hold, and train."""

import functools
import itertools
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.core.constructor import all_parameters
from lamina.core.context import context
from lamina.core.owner import Owner, changes, held_in, layers_in, split, unique
from lamina.core.placement import fetched
from lamina.core.random import SeedGenerator
from lamina.core.registry import author_of, ours
from lamina.core.tracebacks import boundary
from lamina.core.variable import Variable

# Counts layers and assignments, to tell which came first.
_clock = itertools.count(1)
_MISSING = object()


# Attributes that hold owners or Variables without owning them.
NOT_OWNED = frozenset(
    {"_inbound_nodes", "_given", "_times", "_losses", "_build_shapes", "_replaced"}
)


class _Known:
    """What subclasses know from Keras under a private name.

    It can be read; a subclass may keep something else there.
    """

    def __init__(self, read):
        self._read = read

    def __get__(self, owner, cls=None):
        return self if owner is None else self._read(owner)


class LayerOwner(Owner):
    """The part of a Layer that knows its Variables and the layers inside."""

    _not_owned = NOT_OWNED
    name: str
    built: bool
    _trainable: bool
    _times: dict[str, int]
    _made_at: int

    if not TYPE_CHECKING:

        def __new__(cls, *args, **kwargs):
            """Note when it was made."""
            owner = super().__new__(cls)
            owner.__dict__["_times"] = {}
            owner.__dict__["_made_at"] = owner.__dict__["_changed_at"] = next(_clock)
            return owner

    def __setattr__(self, name, value):
        if self.__dict__.get(name, _MISSING) is value:
            return  # nothing is new: it keeps its place among the parts
        calling = context.calling
        if calling:
            self._check_new(name, value)
        if isinstance(value, (LayerOwner, list, tuple, dict)):
            self._times[name] = next(_clock)
        super().__setattr__(name, value)
        if _matters(type(self), name) and (not calling or ours(type(self))):
            changes.last = now = next(_clock)
            if name != "_trainable":
                self.__dict__["_changed_at"] = now

    def __delattr__(self, name):
        deleted = self.__dict__.get(name)
        super().__delattr__(name)
        if isinstance(deleted, Variable):
            self._untrack_variable(deleted)
        if _matters(type(self), name):
            changes.last = self.__dict__["_changed_at"] = next(_clock)

    def _check_new(self, name, value):
        """Raise where a part comes too late."""

    @classmethod
    def _is_setting(cls, name):
        """Tell whether compiled programs hang on the attribute of this name.

        A class that a user wrote keeps what it likes, besides the parameters of the
        built-in class that it is made from, and may set these too while it is called.
        """
        return ours(cls) or name in all_parameters(author_of(cls))

    def _own_variables(self):
        """Return the Variables of this layer alone: trained ones first."""
        found = unique([x for _, x in self._owned() if isinstance(x, Variable)])
        return sorted(found, key=operator.attrgetter("made_trainable"), reverse=True)

    def _saved_variables(self):
        """Return its own Variables in the order of files."""
        return self._own_variables()

    def _saved_names(self) -> list | None:
        """Return the names that files have for `_saved_variables`; None for places."""

    def _inner_layers(self):
        """Return the layers directly inside, in the order in which they came in.

        Weights and files go by this order. What is in a list or dict came in with it,
        or was put into it when it was made.
        """
        found = [
            (max(self._times.get(name, 0), x._made_at), x)
            for name, x in self._owned()
            if isinstance(x, LayerOwner)
        ]
        found.sort(key=operator.itemgetter(0))
        return unique(map(operator.itemgetter(1), found))

    _flatten_layers = layers_in  # its name in Keras

    _seed_generators = _Known(
        lambda self: [x for _, x in self._owned() if isinstance(x, SeedGenerator)]
    )
    _layers = _Known(lambda self: self._inner_layers())
    _metrics = _Known(lambda self: metrics_among(x for _, x in self._owned()))
    _trainable_variables = _Known(
        lambda self: [v for v in self._own_variables() if v.made_trainable]
    )
    _non_trainable_variables = _Known(
        lambda self: [v for v in self._own_variables() if not v.made_trainable]
    )

    @property
    def variables(self) -> list:
        """All state: weights, then the states of random generators, layer by layer."""
        own = self._own_variables()
        seeds = [x.state for _, x in self._owned() if isinstance(x, SeedGenerator)]
        inner = [v for layer in self._inner_layers() for v in layer.variables]
        return unique([*own, *seeds, *inner])

    @property
    def weights(self) -> list:
        """The weights of this layer and of those inside."""
        inner = [v for layer in self._inner_layers() for v in layer.weights]
        return unique([*self._own_variables(), *inner])

    @property
    def trainable_variables(self) -> list:
        """The Variables that optimizers change."""
        return split(self, self.variables)[0]

    @property
    def non_trainable_variables(self) -> list:
        """All other Variables."""
        return split(self, self.variables)[1]

    @property
    def trainable_weights(self) -> list:
        """The weights that optimizers change."""
        return split(self, self.weights)[0]

    @property
    def non_trainable_weights(self) -> list:
        """All other weights."""
        return split(self, self.weights)[1]

    @property
    def metrics(self) -> list:
        """The metrics that it and the layers inside own."""
        # Not what a model inside was compiled with.
        return metrics_among(held_in(layers_in(self)))

    @property
    def metrics_variables(self) -> list:
        """The Variables of its metrics."""
        return [v for metric in self.metrics for v in metric.variables]

    @property
    def trainable(self) -> bool:
        """Whether its weights are trained; setting it sets the layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = bool(value)
        self._trainable = value
        for variable in self._own_variables():
            if variable.made_trainable:
                variable.trainable = value
        for layer in self._inner_layers():
            layer.trainable = value

    def get_weights(self) -> list:
        """Return the weights as NumPy arrays."""
        return [np.array(fetched(v.raw_value)) for v in self.weights]

    @boundary
    def set_weights(self, weights: Any) -> None:
        """Put NumPy arrays into the weights, in the order of `weights`.

        Raises:
            ValueError: their number or a shape differs.
        """
        own = self.weights
        if len(own) != len(weights):
            raise ValueError(
                f"You called `set_weights(weights)` on layer {self.name!r} with a "
                f"weight list of length {len(weights)}, but the layer was expecting "
                f"{len(own)} weights."
            )
        for variable, value in zip(own, weights, strict=True):
            if tuple(variable.shape) != tuple(np.shape(value)):
                raise ValueError(
                    f"Layer {self.name!r} weight {variable.path!r} has shape "
                    f"{variable.shape}, which is not that of the given weight: "
                    f"{np.shape(value)}."
                )
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Return the number of scalars in the weights.

        Raises:
            ValueError: the layer is not built yet.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer {self.name!r}, but the "
                "layer isn't built. You can build it manually via: "
                "`layer.build(input_shape)`."
            )
        return sum(v.size for v in self.weights)


def own_variables(layer) -> list:
    """Return the Variables of a layer alone, without those of layers inside."""
    return layer._own_variables()


def saved_variables(layer) -> dict:
    """Return a layer's own Variables by the names that files have for them."""
    own = layer._saved_variables()
    names = layer._saved_names() or map(str, range(len(own)))
    return dict(zip(names, own, strict=True))


def metrics_among(items) -> list:
    """Return the metrics among some items, each once."""
    from lamina.metrics import Metric

    return unique([x for x in items if isinstance(x, Metric)])


@functools.lru_cache(1 << 14)
def _matters(cls, name):
    """Tell whether programs made before are out of date when an attribute changes."""
    if isinstance(getattr(cls, name, None), property):
        return False  # its setter assigns what it is about itself
    return cls._is_setting(name)
