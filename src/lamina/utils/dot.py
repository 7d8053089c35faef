"""`model_to_dot`: a model as a graph for Graphviz."""

from typing import Any

from lamina.core.extras import extra
from lamina.core.tracebacks import boundary
from lamina.utils.plot_boxes import Options, read
from lamina.utils.plot_colors import COLORS, TRAINED


@boundary
def model_to_dot(
    model,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: Any = "ortho",
    **kwargs,
):
    """Return a model as a graph of pydot, for Graphviz to draw.

    `lamina.utils.plot_model` draws without either of them.

    Args:
        model: a model that has been built.
        show_shapes: whether boxes tell the shapes of what they give.
        show_dtype: whether they tell the dtype.
        show_layer_names: whether they tell the name beside the type.
        rankdir: where the data flow, in Graphviz' words: `"TB"`, `"LR"`, ...
        expand_nested: whether models inside the model are opened, as clusters.
        dpi: the pixels per inch of an image.
        subgraph: whether the result is a `pydot.Cluster`, for a graph of your own.
        show_layer_activations: whether boxes tell the activation.
        show_trainable: whether boxes with weights tell if they are trained.
        splines: how Graphviz draws lines.
        kwargs: nothing; anything here is refused.

    Raises:
        ImportError: pydot is not installed.
        ValueError: the model is not built, or an argument is unknown.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    >>> dot = lamina.utils.model_to_dot(model)  # doctest: +SKIP
    >>> dot.write("model.svg", format="svg")  # doctest: +SKIP
    """
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
    pydot = extra(
        "pydot",
        "`model_to_dot`",
        "pydot",
        "`lamina.utils.plot_model` draws without it.",
    )
    options = Options(
        shapes=show_shapes,
        dtype=show_dtype,
        activations=show_layer_activations,
        trainable=show_trainable,
        expand=expand_nested,
    )
    graph = read(model, options)
    if subgraph:
        dot: Any = pydot.Cluster(_plain(model.name), label=_quoted([model.name]))
    else:
        dot = pydot.Dot(
            "model", graph_type="digraph", rankdir=rankdir, dpi=dpi, splines=splines
        )
    dot.set_node_defaults(shape="box", style='"rounded,filled"', fontname="Helvetica")
    _Writer(pydot, show_layer_names).write(dot, _Scope(graph, _plain(model.name)))
    return dot


class _Scope:
    """A graph, and the box of the outer graph it is inside of.

    Args:
        graph: the graph.
        name: what the names of its boxes begin with.
        outer: the scope around it.
        place: the position of its box there.
    """

    def __init__(self, graph, name, outer=None, place=None):
        self.graph = graph
        self.name = name
        self.outer: Any = outer  # None around the whole model, which has no ends
        self.place = place

    def node(self, place):
        """Return the name of a box: no two in the whole picture share one."""
        return f'"{self.name}/{place}"'

    def inner(self, place):
        """Return the scope inside an opened box."""
        graph = self.graph.boxes[place].inner
        return _Scope(graph, f"{self.name}/{place}", self, place)

    def givers(self, place, output):
        """Return the plain boxes whose results come out of a box or an end."""
        box = self.graph.boxes[place]
        if box is None:
            number = self.graph.inputs.index(place)
            return self.outer._arriving(self.place, number)
        if box.inner is None:
            return [self.node(place)]
        return self.inner(place)._arriving(box.inner.outputs[output], 0)

    def _arriving(self, place, number):
        return [
            name
            for source, target, output, into in self.graph.edges
            if (target, into) == (place, number)
            for name in self.givers(source, output)
        ]


class _Writer:
    """Writes scopes into graphs of pydot."""

    def __init__(self, pydot, names):
        self._pydot = pydot
        self._names = names

    def write(self, dot, scope):
        """Add the boxes and lines of a scope."""
        for place, box in enumerate(scope.graph.boxes):
            if box is None:
                continue
            lines = [box.kind, *([box.name] if self._names else []), *box.details]
            if box.inner is not None:
                inner = scope.inner(place)
                head = [f"{box.kind} {box.name}", *box.details]
                cluster = self._pydot.Cluster(f'"{inner.name}"', label=_quoted(head))
                self.write(cluster, inner)
                dot.add_subgraph(cluster)
                continue
            if box.trained is not None:
                lines.append(TRAINED[box.trained])
            fill, border = COLORS[box.family]
            node = self._pydot.Node(
                scope.node(place),
                label=_quoted(lines),
                fillcolor=f'"{fill}"',
                color=f'"{border}"',
            )
            dot.add_node(node)
        for source, target, output, _ in scope.graph.edges:
            box = scope.graph.boxes[target]
            if box is None or box.inner is not None:
                continue
            for giver in scope.givers(source, output):
                dot.add_edge(self._pydot.Edge(giver, scope.node(target)))


def _plain(name):
    """Return a name without what would end it in a text of Graphviz."""
    return name.replace("\\", "/").replace('"', "'")


def _quoted(lines):
    texts = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + "\\n".join(texts) + '"'
