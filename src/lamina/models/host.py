"""Text in models: the calls that take it run on the host, before each compiled step.

No device holds text. Layers that take it (`_takes_text`) and hang on nothing but a
graph's inputs, or on other such layers, are the graph's prefix. Training, evaluation
and prediction run the prefix in NumPy for each batch, and compile the rest, which
takes what the prefix made in place of the inputs that it read.
"""

from typing import NamedTuple


class Prepared(NamedTuple):
    """The inputs of a graph for one batch, when its prefix has run.

    Attributes:
        inputs: one array for each input, None for those that only the prefix reads.
        made: what the prefix gives to the rest of the graph.
    """

    inputs: list
    made: list


class Prefix:
    """The calls at the beginning of a graph that run on the host.

    Attributes:
        nodes: these calls, in order.
        rest: all other calls, in order.
        gives: the symbolic tensors that they give to the rest.
    """

    def __init__(self, graph):
        known = {id(t) for t in graph.inputs}
        self.nodes, self.rest = [], []
        for node in graph.nodes:
            # Of the class: a model that has such layers inside has others too.
            text = getattr(type(node.operation), "_takes_text", False)
            first = text and all(id(t) in known for t in node.input_tensors)
            if first and not node.is_input:
                self.nodes.append(node)
                known.update(id(t) for t in node.outputs)
            else:
                self.rest.append(node)
        read = [t for node in self.rest for t in node.input_tensors]
        self._wanted = {id(t) for t in (*read, *graph.outputs)}
        made = [t for node in self.nodes for t in node.outputs]
        self.gives = [t for t in made if id(t) in self._wanted]

    def run(self, graph, leaves) -> Prepared:
        """Run the calls on arrays for the graph's inputs."""
        values = graph.follow(self.nodes, leaves)
        given = zip(graph.inputs, leaves, strict=True)
        return Prepared(
            [x if id(t) in self._wanted else None for t, x in given],
            [values[id(t)] for t in self.gives],
        )
