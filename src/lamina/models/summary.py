"""`summary`: a model as a table."""

import io
import math
import re
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from lamina.core.extras import load_rich
from lamina.core.naming import printable
from lamina.core.operation import graph_of
from lamina.core.symbolic import nodes_of
from lamina.layers.building import built_on
from lamina.layers.layer import Layer

# Without a line length the table is as wide as it must be, but no less than this.
_LEAST_WIDTH = 65
_LEAST_COLUMN = 8
_GLUE = "\xa0"  # a space inside a shape, where a line is broken only at need
# What stands out in a column, where there are colours: the type, numbers.
_COLOURS = {
    "Layer (type)": (r"(?<=\()\w+(?=\)$)", "cyan"),
    "Output Shape": (r"\d+", "cyan"),
    "Param #": (r"[\d,]+", "green"),
}
_JUSTIFY: dict[str, Any] = {
    "Param #": "right",
    "Trainable": "center",
    "Train": "center",
}


def print_summary(
    model,
    line_length: Any = None,
    positions: Any = None,
    print_fn: Any = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
):
    """Print the layers of a model with their shapes and numbers of parameters.

    Args:
        model: the model.
        line_length: the width of the table in characters; None takes what the
            content needs, at most the width of the terminal.
        positions: where each column ends, as rising fractions of the width (or as
            numbers of characters); None lets the content decide.
        print_fn: a function that takes the whole text; None prints it.
        expand_nested: whether models inside the model are opened.
        show_trainable: whether a column says what is trained.
        layer_range: the first and the last layer to show, as patterns.

    Raises:
        ValueError: `layer_range` is not a pair, or matches no layer; `positions` has
            not one number for each column.

    >>> import lamina
    >>> layer = lamina.layers.Dense(4, name="a")
    >>> model = lamina.Sequential([lamina.Input((3,)), layer], name="small")
    >>> model.summary(line_length=40)
    Model: "small"
    ┏━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━┓
    ┃              ┃ Output      ┃         ┃
    ┃ Layer (type) ┃ Shape       ┃ Param # ┃
    ┡━━━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━┩
    │ a (Dense)    │ (None, 4)   │      16 │
    └──────────────┴─────────────┴─────────┘
     Total params: 16 (64.00 B)
     Trainable params: 16 (64.00 B)
     Non-trainable params: 0 (0.00 B)
    """
    load_rich()
    from rich.console import Console

    rows = _Rows(model, expand_nested, show_trainable)
    for layer in _in_range(_operations(model), layer_range):
        rows.add(layer, model, 0)
    if print_fn is None:
        console = Console(width=line_length, highlight=False)
        _print(console, model, rows, line_length, positions)
        return
    width = line_length or Console().width
    file = io.StringIO()
    console = Console(
        file=file, width=width, highlight=False, color_system=None, force_jupyter=False
    )
    _print(console, model, rows, line_length, positions)
    print_fn(file.getvalue().rstrip("\n"))


# A picture of more layers is too large to be looked at under a cell.
_MOST_DRAWN = 60


def html(model) -> str:
    """Return the table of a model for a notebook, and its picture below.

    There is a picture where matplotlib is installed, of a graph that can be looked at.

    >>> import lamina
    >>> from lamina.models.summary import html
    >>> html(lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(4, name="a")]))
    '<p>Model: <b>sequential</b></p><table...
    """
    rows = _Rows(model, expand_nested=False, show_trainable=False)
    operations = _operations(model)
    for operation in operations:
        rows.add(operation, model, 0)
    table = "".join(
        f"<tr>{''.join(map(_cell, rows.columns, row))}</tr>" for row in rows.cells
    )
    heads = "".join(_cell(column, column, "th") for column in rows.columns)
    totals = "<br>".join(
        f"{label} params: {number:,} ({size})" for label, number, size in _totals(model)
    )
    drawn = graph_of(model) is not None and len(operations) <= _MOST_DRAWN
    return (
        f"<p>Model: <b>{escape(printable(model.name))}</b></p>"
        f'<table style="color: inherit"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{table}</tbody></table>"
        f"<p>{totals}</p>{_picture(model) if drawn else ''}"
    )


def _cell(column, text, tag="td"):
    side = _JUSTIFY.get(column, "left")
    return f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'


def _picture(model):
    import lamina

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.svg")
        try:
            lamina.utils.plot_model(
                model, path, show_shapes=True, show_layer_names=True
            )
        except ImportError:
            return ""
        svg = path.read_text("utf-8")
    svg = svg[svg.index("<svg") :]
    # Without the page's white, and the day it was drawn on: dark pages, small diffs.
    return re.sub(r'(?s)<metadata>.*?</metadata>|<g id="patch_1">.*?</g>', "", svg)


class _Rows:
    """The cells of the table."""

    def __init__(self, model, expand_nested, show_trainable):
        self.columns = ["Layer (type)", "Output Shape", "Param #"]
        self.connected = not _is_chain(model)
        if self.connected:
            self.columns.append("Connected to")
        if show_trainable:
            self.columns.append("Trainable")
        self.cells = []
        self.depths = []
        self._expand = expand_nested
        self._trainable = show_trainable

    def add(self, operation, model, depth):
        nodes = _nodes(operation, model)
        self.depths.append(depth)
        name = printable(f"{operation.name} ({type(operation).__name__})")
        row = [name, _shapes(operation, nodes), _parameters(operation)]
        if self.connected:
            row.append(_connections(nodes) if depth == 0 else "-")
        if self._trainable:
            has_weights = isinstance(operation, Layer) and bool(operation.weights)
            row.append(("N", "Y")[operation.trainable] if has_weights else "-")
        self.cells.append(row)
        if self._expand:
            for inner in _operations(operation) if _is_model(operation) else ():
                self.add(inner, operation, depth + 1)


def _operations(model):
    """Return the rows of a model: for a drawn graph its ops as well."""
    graph = _shown_graph(model)
    return list(model.layers if graph is None else graph.operations)


def _is_model(operation):
    return isinstance(operation, Layer) and hasattr(operation, "_is_stack")


def _shown_graph(model):
    """Return the graph of a model; None for a class without one, and for a stack."""
    return None if getattr(model, "_is_stack", False) else graph_of(model)


def _is_chain(model):
    """Tell whether each layer takes what the one before gave, and only that."""
    graph = _shown_graph(model)
    if graph is None:
        return True
    before = None
    for node in graph.nodes:
        parents = {id(t.node) for t in node.input_tensors}
        if before is not None and parents != {id(before)}:
            return False
        before = node
    return len(graph.inputs) <= 1 and len(graph.nodes) == len(graph.operations)


def _in_range(operations, layer_range):
    if layer_range is None:
        return operations
    if not isinstance(layer_range, (list, tuple)) or len(layer_range) != 2:
        raise ValueError(
            "layer_range must be a list or tuple of length 2. Received: "
            f"layer_range = {layer_range!r}"
        )
    places = []
    for pattern in layer_range:
        found = [i for i, o in enumerate(operations) if re.match(pattern, o.name)]
        if not found:
            raise ValueError(
                "Passed layer_names do not match the layer names in the model. "
                f"Received: {layer_range}. No layer matches {pattern!r}; there are: "
                f"{', '.join(o.name for o in operations)}"
            )
        places.append(found)
    # A pattern may match several layers: the widest range counts.
    first, last = places
    if first[0] > last[-1]:
        first, last = last, first
    return operations[first[0] : last[-1] + 1]


def _nodes(operation, model):
    """Return the calls of an operation in a model's graph, or all of its calls."""
    nodes = list(nodes_of(operation))
    graph = graph_of(model)
    if graph is None:
        return nodes
    inside = {id(node) for node in graph.nodes}
    return [node for node in nodes if id(node) in inside] or nodes


def _shapes(operation, nodes):
    """Return the shapes it gives, those of all calls where they differ."""
    texts = dict.fromkeys(_shape_text([t.shape for t in n.outputs]) for n in nodes)
    return ", ".join(texts) or _inferred_shapes(operation)


def _inferred_shapes(operation):
    graph = graph_of(operation)
    if graph is not None:
        return _shape_text([t.shape for t in graph.outputs])
    shapes = built_on(operation)
    if not getattr(operation, "built", False) or not shapes:
        return "?"
    try:
        result = operation.compute_output_shape(*shapes.values())
    except Exception:
        # A layer of the user may need more than shapes to tell its own.
        return "?"
    return _shape_text(list(_shape_leaves(result)))


def _shape_leaves(shapes):
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    if all(d is None or isinstance(d, int) for d in shapes):
        yield tuple(shapes)
    else:
        for shape in shapes:
            yield from _shape_leaves(shape)


def _shape_text(shapes):
    texts = [str(tuple(shape)).replace(" ", _GLUE) for shape in shapes]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _parameters(operation):
    if not isinstance(operation, Layer):
        return "0"
    if not operation.built:
        return "0 (unbuilt)"
    return f"{operation.count_params():,}"


def _connections(nodes):
    sources = [
        f"{tensor.node.operation.name}[{tensor.node.position}][{tensor.index}]"
        for node in nodes
        for tensor in node.input_tensors
        if tensor.node is not None
    ]
    return printable(", ".join(dict.fromkeys(sources))) or "-"


def _print(console, model, rows, line_length, positions):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    widths = _widths(rows, line_length, console.width, positions)
    table = Table(box=box.HEAVY_HEAD, show_lines=True)
    for column, width in zip(rows.columns, widths, strict=True):
        table.add_column(
            "\n".join(_fold(column, width)),
            justify=_JUSTIFY.get(column, "left"),
            min_width=width,
            max_width=width,
        )
    branch = "└ " if console.encoding.startswith("utf") else "+ "
    for depth, cells in zip(rows.depths, rows.cells, strict=True):
        # Deep nesting in a narrow table: the tree gives way to the names.
        indent = min(3 * depth, max(widths[0] - 14, 0))
        tree = " " * indent + branch if indent else ""
        name = _fold(cells[0], widths[0] - len(tree))
        name = [(" " * len(tree) if i else tree) + line for i, line in enumerate(name)]
        others = map(_fold, cells[1:], widths[1:])
        row = [Text("\n".join(lines)) for lines in (name, *others)]
        for text, column in zip(row, rows.columns, strict=True):
            text.highlight_regex(*_COLOURS.get(column, ("", "")))
        table.add_row(*row)
    console.print(Text(f'Model: "{printable(model.name)}"', style="bold"))
    console.print(table)
    for label, number, size in _totals(model):
        line = Text.assemble((f" {label} params: ", "bold"), f"{number:,} ({size})")
        console.print(line)


def _widths(rows, line_length, available, positions):
    """Return the width of the text in each column."""
    count = len(rows.columns)
    frame = 3 * count + 1
    if positions is not None:
        return _given_widths(positions, line_length or available, count)
    room = (line_length or available) - frame
    needed = _needed(rows, rows.columns)
    if sum(needed) > room:
        if rows.columns[-1] == "Trainable":
            rows.columns[-1] = "Train"
        needed = _needed(rows, [max(c.split(), key=len) for c in rows.columns])
    # The widest columns give way first, from the right.
    while sum(needed) > room and max(needed) > _LEAST_COLUMN:
        widest = max(needed)
        needed[max(i for i, n in enumerate(needed) if n == widest)] -= 1
    wanted = line_length or min(_LEAST_WIDTH, available)
    spare = max(wanted - frame - sum(needed), 0)
    share, odd = divmod(spare, count)
    return [n + share + (i < odd) for i, n in enumerate(needed)]


def _needed(rows, headers):
    """Return the width each column would like to have."""
    trees = [3 * depth + 2 if depth else 0 for depth in rows.depths]
    lengths = [[len(cell) for cell in row] for row in rows.cells]
    for row, tree in zip(lengths, trees, strict=True):
        row[0] += tree
    return [max(column) for column in zip(map(len, headers), *lengths, strict=True)]


def _given_widths(positions, length, count):
    positions = list(positions)
    if len(positions) < count:
        raise ValueError(
            f"`summary` expected `positions` to hold {count} rising numbers, one for "
            f"each column. Received: positions={positions}"
        )
    ends = positions[:count]
    scale = length / ends[-1] if ends[-1] <= 1 else 1
    ends = [round(end * scale) for end in ends]
    starts = [0, *ends[:-1]]
    widths = [end - start - 3 for start, end in zip(starts, ends, strict=True)]
    widths[-1] -= 1
    if min(widths) < 1:
        raise ValueError(
            "`summary` expected `positions` to leave room for each column. Received: "
            f"positions={positions} for a width of {length}"
        )
    return widths


def _fold(text, width):
    """Break a text into lines: at spaces, else inside a shape or after a `_`."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        while len(word) > width:
            after = (word.rfind("_", 0, width), word.rfind(_GLUE, 0, width))
            cut = max(word.find("[", 0, width), *(i + 1 for i in after))
            cut = cut if cut >= width // 2 else width
            lines[-1] = word[:cut]
            lines.append("")
            word = word[cut:]
        lines[-1] = word
    return [line.replace(_GLUE, " ").rstrip() for line in lines]


def _totals(model):
    weights = model.weights
    trainable = model.trainable_weights
    frozen = model.non_trainable_weights
    optimizer: Any = getattr(model, "optimizer", None)
    state = list(optimizer.variables) if getattr(optimizer, "built", False) else []
    groups = {
        "Total": [*weights, *state],
        "Trainable": trainable,
        "Non-trainable": frozen,
    }
    if state:
        groups["Optimizer"] = state
    for label, variables in groups.items():
        unique = {id(v): v for v in variables}.values()
        number = sum(math.prod(v.shape) for v in unique)
        size = sum(math.prod(v.shape) * jnp.dtype(v.dtype).itemsize for v in unique)
        yield label, number, _readable(size)


def _readable(size):
    """Return a number of bytes as text: 694474 scalars of float32 are 2.65 MB."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"
