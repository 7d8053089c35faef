"""The cache of a model's compiled programs.

A model runs compiled in two forms: as its forward pass (`model(x)`, `predict`), a
function of all Variables' values and the inputs; and as a step of training or
evaluation, a function of the State and a batch. Both are kept while the model's layers
stay as they are, and both find out by being traced which Variables they reach besides
the model's own.
"""

from typing import Any

from lamina.core import structure
from lamina.core.operation import graph_of, takes_text
from lamina.core.owner import (
    changed_at,
    changes,
    held_in,
    layers_in,
    trains_by_default,
)
from lamina.core.random import SeedGenerator
from lamina.core.registry import ours
from lamina.core.rows import holds_function
from lamina.core.variable import Variable

_ROUNDS = 8  # traces on end that may make Variables, each reached by way of the last
_LAYOUTS = 8  # states of `trainable` and the like whose programs are kept


class Programs:
    """The compiled programs of one model.

    Attributes:
        adopted: Variables that its programs reach and that are not its own, such as
            the slots of a second optimizer or a generator of the module.
        adopts: how programs are traced, see `binding`.
    """

    def __init__(self):
        self.adopted: tuple = ()
        self.adopts: Any = "all"
        self._kept: dict = {}
        self._seen, self._now = None, None
        self._rounds = 0  # traces on end that made Variables

    def adopt(self, found, before):
        """Note more Variables that a program reaches.

        Args:
            found: the `Unbound` that tracing it raised.
            before: the Variables that the trace before this one made.
        """
        self._rounds = self._rounds + 1 if before and found.made else 0
        if self._rounds > _ROUNDS:
            raise ValueError(
                "Each call of the model makes new weights, which would never be "
                f"trained: {sorted(v.path for v in found.made)[:4]}. Make weights and "
                "layers in `__init__()` or in `build()`, once."
            )
        adopted = dict.fromkeys((*self.adopted, *found.variables))
        lost = before - found.used
        if lost:  # each trace makes Variables of its own
            self.adopts = "old"
            adopted = [v for v in adopted if v not in lost | found.made]
        self.adopted = tuple(adopted)

    def forget(self):
        """Drop what was made for what `compile` was given before."""
        self.adopted, self.adopts = (), "all"
        for kept in self._kept.values():
            kept.made = {}
            if not kept.one_program:
                kept.forward = {}

    def drop(self):
        """Drop all programs."""
        self._kept, self._now = {}, None

    def of(self, model) -> "Kept":
        """Return what is kept for the model's present layers."""
        seen, kept = changes.last, self._now
        # Code that a user wrote may change anything, and nobody is told.
        if kept is None or seen != self._seen or not kept.one_program:
            layers = layers_in(model)
            held = held_in(layers)  # Variables come of it, in whatever order
            of = (
                tuple((id(x), x.trainable, changed_at(x)) for x in layers),
                tuple(id(x) for x in held if isinstance(x, Variable)),
                tuple(id(x.state) for x in held if isinstance(x, SeedGenerator)),
            )
            # Assigned at once: other threads may be using the one from before.
            kept = self._kept.pop(of, None) or Kept(model, layers)
            self._kept[of] = self._now = kept
            if len(self._kept) > _LAYOUTS:
                self._kept.pop(next(iter(self._kept)))
            self._seen = seen
        return kept


class Kept:
    """The programs of a model whose layers stay as they are.

    Args:
        model: the model.
        layers: all layers in it, itself included.

    Attributes:
        forward: forward passes, by their kind.
        made: steps and other things that are worked out once, by a key.
        one_program: whether a call outside of compiled code may run as one program: it
            has no layer, function or activity regularizer that a user may watch at
            work.
        trains: whether some layer trains unless it is told otherwise.
        refuses: whether some layer says that it cannot be compiled.
        order: outputs with the order of their keys, where JAX has another; else None.
    """

    def __init__(self, model, layers):
        self._layers = layers  # held, so that no other layer gets the `id` of one
        self.forward: dict = {}
        self.made: dict = {}
        self.one_program = model.built and _is_ours(model, layers)
        self.trains = any(map(trains_by_default, layers))
        self.refuses = not all(layer.supports_jit for layer in layers)
        outputs = graph_of(model).output if self.one_program else None
        self.order = None if structure.is_in_order(outputs) else outputs


def _is_ours(model, layers):
    """Tell whether a graph holds no code that a user may want to watch at work."""
    graph = graph_of(model)
    if graph is None or takes_text(model) or not ours(type(model).call):
        return False
    graphs = [graph for x in layers if (graph := graph_of(x)) is not None]
    parts = [*layers, *(x for graph in graphs for x in graph.operations)]
    return (
        ours(type(model).__call__)
        and all(ours(type(x)) for x in parts if x is not model)
        and not any(holds_function(x) or x.activity_regularizer for x in layers)
    )
