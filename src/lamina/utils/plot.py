"""`plot_model`: a model as a picture."""

import importlib
import math
import sys
from pathlib import Path
from typing import Any

from lamina.core.extras import extra
from lamina.core.tracebacks import boundary
from lamina.utils.plot_boxes import Options, read
from lamina.utils.plot_colors import COLORS, TRAINED
from lamina.utils.plot_layout import Item, arrange

_INK, _PALE_INK, _LINE = "#1f2937", "#5b6472", "#6b7280"
_FRAME, _FRAME_FILL = "#a9a3cf", ("#faf9fe", "#f2f0fa")

_TITLE, _SMALL = 10.0, 8.0  # sizes of the letters, in points like all lengths
_LEADING = 1.38
_PAD_X, _PAD_Y = 12.0, 7.0
_LEAST_WIDTH, _USUAL_WIDTH = 84.0, 150.0
_ROUND = 6.0
_MARGIN = 14.0
_INSET = 14.0  # between a frame and what is in it
_ARROW = 6.5
_REACH = 12.0  # of a curve, to both sides of its middle
_MOST_PIXELS = 60_000  # matplotlib draws no larger picture

_DIRECTIONS = ("TB", "BT", "LR", "RL")
_ROUTES = {
    "ortho": "ortho",
    "curved": "curved",
    "spline": "curved",
    "splines": "curved",
    "true": "curved",
    "line": "line",
    "polyline": "line",
    "false": "line",
}


@boundary
def plot_model(
    model,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: Any = "ortho",
    **kwargs,
):
    """Draw a model as boxes and arrows into a file.

    Colours tell families of layers apart. Needs matplotlib and nothing else.

    Args:
        model: a model that has been built.
        to_file: where to write; the ending says how: `.png`, `.svg`, `.pdf` or
            another that matplotlib writes. The words of an `.svg` are text.
        show_shapes: whether boxes tell the shapes of what they give.
        show_dtype: whether they tell the dtype.
        show_layer_names: whether they tell the name beside the type.
        rankdir: where the data flow: `"TB"` downwards, `"LR"` to the right, `"BT"`
            or `"RL"`.
        expand_nested: whether models inside the model are opened, in frames.
        dpi: the pixels per inch of an image; 72 points are an inch.
        show_layer_activations: whether boxes tell the activation.
        show_trainable: whether boxes with weights tell if they are trained.
        splines: `"ortho"` for lines with right angles, `"curved"` or `"line"`.
        kwargs: nothing; anything here is refused.

    Returns:
        The picture as IPython's object where IPython runs, else None.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the model is not built, or an argument is not understood.

    >>> import lamina, pathlib, tempfile
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    >>> file = pathlib.Path(tempfile.mkdtemp(), "model.svg")
    >>> lamina.utils.plot_model(model, file, show_shapes=True)
    >>> file.exists()
    True
    """
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
    if rankdir not in _DIRECTIONS:
        raise ValueError(
            f"`plot_model` expected `rankdir` to be one of {_DIRECTIONS}. Received: "
            f"rankdir={rankdir!r}"
        )
    route = _ROUTES.get(str(splines).lower())
    if route is None:
        raise ValueError(
            "`plot_model` expected `splines` to be 'ortho', 'curved' or 'line'. "
            f"Received: splines={splines!r}"
        )
    options = Options(
        shapes=show_shapes,
        dtype=show_dtype,
        activations=show_layer_activations,
        trainable=show_trainable,
        expand=expand_nested,
    )
    graph = read(model, options)
    pen = _Pen(rankdir, route)
    figure = pen.draw(_Sheet(graph, pen, names=show_layer_names))
    path = Path(to_file)
    form = path.suffix[1:].lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if form not in known:
        raise ValueError(
            f"`plot_model` expected `to_file` to end in one of {sorted(known)}. "
            f"Received: to_file={str(to_file)!r}"
        )
    dpi = min(dpi, _MOST_PIXELS / max(figure.get_size_inches()))
    # Text that can be searched; the same names in the file for the same picture.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "lamina"}
    with pen._matplotlib.rc_context(settings):
        figure.savefig(path, format=form, dpi=dpi, facecolor="white")
    return _shown(path, form)


def _shown(path, form):
    """Return the picture for a notebook, if this is one."""
    if "IPython" not in sys.modules or form not in ("png", "jpg", "jpeg", "svg"):
        return None
    display = importlib.import_module("IPython.display")
    show = display.SVG if form == "svg" else display.Image
    return show(filename=str(path))


class _Sheet:
    """A graph with all sizes and positions; frames hold sheets of their own.

    Args:
        graph: what to place.
        pen: measures texts and knows the direction.
        names: whether names are shown.
        label: the size of the label of the frame around it, if there is one.
    """

    def __init__(self, graph, pen, names, label=None):
        self.boxes, self.edges = graph.boxes, graph.edges
        self.texts = [box and _texts(box, names) for box in graph.boxes]
        self.sheets = [
            _Sheet(box.inner, pen, names, label=pen.measure(texts))
            if box and box.inner
            else None
            for box, texts in zip(graph.boxes, self.texts, strict=True)
        ]
        plain = [
            pen.measure(texts)
            for texts, sheet in zip(self.texts, self.sheets, strict=True)
            if texts and not sheet
        ]
        # Boxes of one width look calm; a long text widens only its own.
        usual = [width for width, _ in plain if width <= _USUAL_WIDTH]
        self._width = max([_LEAST_WIDTH, *usual])
        items = [self._item(i, graph, pen) for i in range(len(graph.boxes))]
        self.layout = arrange(items, _ported(graph))
        if label is not None:
            extra = pen.room(label, self.layout.along)
            self.layout = arrange(items, _ported(graph), extra)
        self.items = items
        self.ends = [self.layout.centers[i][0] for i in graph.inputs + graph.outputs]

    def _item(self, i, graph, pen):
        if self.boxes[i] is None:
            return Item(0.0, 0.0, rank="first" if i in graph.inputs else "last")
        sheet = self.sheets[i]
        if sheet is None:
            width, height = pen.measure(self.texts[i])
            return Item(*pen.turn(max(width, self._width), height))
        # The label stands at the start of the frame, beside the first line in.
        label = pen.measure(self.texts[i])
        inner = sheet.layout
        before = label[1] + 2
        if pen.upright:
            before = max(_INSET, label[0] - min(sheet.ends))
        across = before + inner.across + _INSET
        sheet.before = before
        ports = tuple(before + x - across / 2 for x in sheet.ends)
        return Item(across, inner.along, ports=ports)


def _ported(graph):
    """Return the edges with ports as `arrange` counts them: outputs after inputs."""
    edges = []
    for source, target, output, into in graph.edges:
        box = graph.boxes[source]
        if box is not None and box.inner is not None:
            output += len(box.inner.inputs)
        edges.append((source, target, output, into))
    return edges


def _texts(box, names):
    """Return the lines of a box as (text, size, weight, colour)."""
    lines = [(box.kind, _TITLE, "bold", _INK)]
    if names:
        lines.append((box.name, _TITLE - 1, "normal", _INK))
    elif box.inner is not None:
        lines.append((box.name, _SMALL, "normal", _PALE_INK))
    lines += [(text, _SMALL, "normal", _PALE_INK) for text in box.details]
    if box.inner is None and box.trained is not None:
        lines.append((TRAINED[box.trained], _SMALL, "normal", _PALE_INK))
    return lines


class _Pen:
    """Measures and draws; turns (across, along) into the page's x and y.

    Args:
        rankdir: where the data flow.
        route: "ortho", "curved" or "line".
    """

    def __init__(self, rankdir, route):
        for part in ("figure", "font_manager", "patches", "path", "textpath"):
            extra(f"matplotlib.{part}", "`plot_model`", "lamina[plot]")
        self._matplotlib = sys.modules["matplotlib"]
        self._known = {}
        self.upright = rankdir in ("TB", "BT")
        self._reverse = rankdir in ("BT", "RL")
        self._route = route

    def turn(self, a, b):
        """Swap two lengths where the data flow sideways."""
        return (a, b) if self.upright else (b, a)

    def measure(self, texts):
        """Return the width and height of a box with these lines."""
        width = max(self._text_width(*line[:3]) for line in texts)
        height = sum(size * _LEADING for _, size, *_ in texts)
        return width + 2 * _PAD_X, height + 2 * _PAD_Y

    def room(self, label, along):
        """Return what a frame needs at its start and its end beside its boxes."""
        if self.upright:
            header = label[1] - 2 * _PAD_Y - 4
            return (0.0, header) if self._reverse else (header, 0.0)
        missing = max(label[0] - along, 0.0)
        return missing / 2, missing / 2

    def _text_width(self, text, size, weight):
        key = (text, size, weight)
        if key not in self._known:
            font = self._matplotlib.font_manager.FontProperties(weight=weight)
            # A dollar sign would begin a formula here.
            path = self._matplotlib.textpath.TextPath(
                (0, 0), text.replace("$", "S"), size=size, prop=font
            )
            self._known[key] = path.get_extents().width if text.strip() else 0.0
        return self._known[key]

    def draw(self, sheet):
        """Return a figure of the whole sheet."""
        width, height = self.turn(sheet.layout.across, sheet.layout.along)
        width, height = width + 2 * _MARGIN, height + 2 * _MARGIN
        figure = self._matplotlib.figure.Figure(figsize=(width / 72, height / 72))
        self._axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")
        self._end = sheet.layout.along + 2 * _MARGIN
        self._draw_sheet(sheet, _MARGIN, _MARGIN, depth=0)
        return figure

    def _point(self, across, along):
        if self._reverse:
            along = self._end - along
        return (across, along) if self.upright else (along, across)

    def _draw_sheet(self, sheet, across, along, depth):
        """Draw a sheet whose corner is there; what is deeper lies above."""
        for points, (_, target, *_) in zip(
            sheet.layout.lines, sheet.edges, strict=True
        ):
            points = [(across + a, along + b) for a, b in points]
            box = sheet.boxes[target]
            arrow = box is not None and box.inner is None
            self._draw_line(points, arrow, 10 * depth + 1)
        for i, box in enumerate(sheet.boxes):
            if box is None:
                continue
            a, b = sheet.layout.centers[i]
            item, inner = sheet.items[i], sheet.sheets[i]
            x, y = self._point(across + a, along + b)
            width, height = self.turn(item.across, item.along)
            place = (x - width / 2, y - height / 2, width, height)
            if inner is None:
                self._draw_box(box, sheet.texts[i], place, 10 * depth + 2)
                continue
            colors = (_FRAME_FILL[depth % 2], _FRAME)
            self._draw_rounded(place, colors, 10 * depth + 2)
            corner = (place[0] + _PAD_X, place[1] + _PAD_Y)
            self._write(sheet.texts[i], corner, "left", 10 * depth + 3)
            self._draw_sheet(
                inner,
                across + a - item.across / 2 + inner.before,
                along + b - item.along / 2,
                depth + 1,
            )

    def _draw_box(self, box, texts, place, level):
        left, top, width, height = place
        colors = COLORS[box.family]
        if box.family == "model":
            # A second sheet behind: there is more inside.
            behind = (left + 3, top + 3, width, height)
            self._draw_rounded(behind, colors, level)
        self._draw_rounded(place, colors, level)
        tall = sum(size * _LEADING for _, size, *_ in texts)
        corner = (left + width / 2, top + (height - tall) / 2)
        self._write(texts, corner, "center", level + 1)

    def _draw_rounded(self, place, colors, level):
        left, top, width, height = place
        style = f"round,pad=0,rounding_size={_ROUND}"
        patch = self._matplotlib.patches.FancyBboxPatch(
            (left, top),
            width,
            height,
            boxstyle=style,
            linewidth=1.1,
            facecolor=colors[0],
            edgecolor=colors[1],
            zorder=level,
        )
        self._axes.add_patch(patch)

    def _write(self, texts, corner, side, level):
        x, y = corner
        for text, size, weight, color in texts:
            self._axes.text(
                x,
                y + size * _LEADING / 2,
                text,
                size=size,
                weight=weight,
                color=color,
                ha=side,
                va="center_baseline",
                zorder=level,
                parse_math=False,
            )
            y += size * _LEADING

    def _draw_line(self, points, arrow, level):
        if arrow:
            across, along = points[-1]
            wings = [(across + side * _ARROW / 2, along - _ARROW) for side in (-1, 1)]
            head = [self._point(*p) for p in (points[-1], *wings)]
            patch = self._matplotlib.patches.Polygon(
                head, closed=True, color=_LINE, linewidth=0, zorder=level
            )
            self._axes.add_patch(patch)
            points = [*points[:-1], (across, along - _ARROW * 0.8)]
        vertices, codes = _route(points, self._route)
        path = self._matplotlib.path.Path([self._point(*p) for p in vertices], codes)
        patch = self._matplotlib.patches.PathPatch(
            path,
            facecolor="none",
            edgecolor=_LINE,
            linewidth=1.15,
            capstyle="round",
            zorder=level,
        )
        self._axes.add_patch(patch)


_MOVE, _LINE_TO, _QUADRATIC, _CUBIC = 1, 2, 3, 4  # codes of matplotlib's paths


def _route(points, route):
    """Return the vertices and codes of a path with its bends smoothed.

    Args:
        points: corners; bends come in pairs, at the same height.
        route: "ortho", "curved" or "line".
    """
    vertices, codes = [points[0]], [_MOVE]

    def add(code, *more):
        vertices.extend(more)
        codes.extend([code] * len(more))

    for i in range(1, len(points) - 1, 2):
        (a, y), (b, _) = points[i], points[i + 1]
        above, below = y - points[i - 1][1], points[i + 2][1] - y
        if i > 1:
            above /= 2
        if i + 3 < len(points):
            below /= 2
        if route == "ortho":
            radius = min(_ROUND, abs(b - a) / 2, above, below)
            step = math.copysign(radius, b - a)
            add(_LINE_TO, (a, y - radius))
            add(_QUADRATIC, (a, y), (a + step, y))
            add(_LINE_TO, (b - step, y))
            add(_QUADRATIC, (b, y), (b, y + radius))
            continue
        start, end = (a, y - min(above, _REACH)), (b, y + min(below, _REACH))
        add(_LINE_TO, start)
        if route == "curved":
            middle = (start[1] + end[1]) / 2
            add(_CUBIC, (a, middle), (b, middle), end)
        else:
            add(_LINE_TO, end)
    add(_LINE_TO, points[-1])
    return vertices, codes
