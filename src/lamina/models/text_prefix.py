"""Text in models: the calls that take it run on the host, before each compiled step.

No device holds text. Layers that take it (`_takes_text`) and hang on nothing but a
graph's inputs, or on other such layers, are the graph's prefix. Training, evaluation
and prediction run the prefix in NumPy for each batch, and compile the rest, which
takes what the prefix made in place of the inputs that it read. A model inside with a
prefix of its own is prepared by it, and the rest takes the `Prepared` inputs.
"""

import copy
import operator
from typing import NamedTuple

from lamina.core.operation import graph_of
from lamina.core.symbolic import SymbolicTensor, find_symbolic
from lamina.models.inputs import fit_inputs


class Prepared(NamedTuple):
    """The inputs of a graph for one batch, when its prefix has run.

    Attributes:
        inputs: one array for each input, None for those that only the prefix reads.
        made: what the prefix gives to the rest of the graph.
    """

    inputs: list
    made: list | SymbolicTensor


class Prefix:
    """The calls at the beginning of a graph that run on the host.

    Attributes:
        nodes: these calls, in order.
        models: models inside that have a prefix of their own, each with what this
            reads of what the model is called on, by `id` of its input, and the place
            of what it makes.
        rest: all other calls, in order.
        gives: the symbolic tensors that they give to the rest.
        reads: the `id` of each of the graph's inputs that they take.
    """

    def __init__(self, graph):
        known = {id(t) for t in graph.inputs}
        self.nodes, self.models, self.rest = [], [], []
        for node in graph.nodes:
            inner = None if node.is_input else _prefix_of(node.operation)
            if inner and not inner.is_all:
                drawn = graph_of(node.operation)
                given = node.args[0] if node.args else node.kwargs["inputs"]
                given = zip(drawn.inputs, drawn.leaves(given), strict=True)
                taken = {id(t): x for t, x in given}
                if all(id(taken[t]) in known for t in inner.reads):
                    self._prepare(node, inner, taken)
                    continue
            text = inner or getattr(type(node.operation), "_takes_text", False)
            if text and all(id(t) in known for t in node.input_tensors):
                self.nodes.append(node)
                known.update(id(t) for t in node.outputs)
            else:
                self.rest.append(node)
        read = [t for node in self.rest for t in node.input_tensors]
        self._wanted = {id(t) for t in (*read, *graph.outputs)}
        made = [t for node in self.nodes for t in node.outputs]
        made += [place for *_, place in self.models]
        self.gives = [t for t in made if id(t) in self._wanted]
        read = [t for node in self.nodes for t in node.input_tensors]
        read += [x for _, reads, _ in self.models for x in reads.values()]
        self.reads = {id(t) for t in graph.inputs} & {id(t) for t in read}

    def _prepare(self, node, inner, taken):
        """Note the call of a model inside, whose prefix runs with this one."""
        place = SymbolicTensor(())
        read = {t: taken[t] for t in inner.reads}
        self.models.append((node.operation, read, place))
        inputs = [x if t in inner._wanted else None for t, x in taken.items()]
        rest = copy.copy(node)
        rest.args = (Prepared(inputs, place), *node.args[1:])
        rest.kwargs = {k: v for k, v in node.kwargs.items() if k != "inputs"}
        rest.input_tensors = find_symbolic((rest.args, rest.kwargs))
        self.rest.append(rest)

    def __bool__(self):
        return bool(self.nodes or self.models)

    @property
    def is_all(self) -> bool:
        """Whether nothing is left to compile."""
        return not self.models and all(node.is_input for node in self.rest)

    def run(self, graph, leaves, drawn=False) -> Prepared:
        """Run the calls on values of the graph's inputs.

        Args:
            graph: the graph.
            leaves: one array for each input; or, with `drawn`, one symbolic tensor.
            drawn: whether to give what the calls would give.
        """
        spec = operator.attrgetter("compute_output_spec") if drawn else None
        values = graph.follow(self.nodes, leaves, instead=spec)
        for model, reads, place in self.models:
            inner = model._drawn_graph
            taken = [reads.get(id(t)) for t in inner.inputs]
            taken = [None if t is None else values[id(t)] for t in taken]
            taken = fit_inputs(model, taken)
            values[id(place)] = inner.prefix.run(inner, taken, drawn).made
        given = zip(graph.inputs, leaves, strict=True)
        return Prepared(
            [x if id(t) in self._wanted else None for t, x in given],
            [values[id(t)] for t in self.gives],
        )


def _prefix_of(operation):
    """Return the prefix of a graph model; None where it has none."""
    graph = graph_of(operation)
    return graph.prefix if graph and graph.prefix else None
