"""How data sets look: as a line, as a table or picture, in a notebook."""

import base64
import io
import math
from html import escape

import numpy as np

from lamina.core.extras import extra, load_rich

_SIDE = 96  # pixels of an image in a notebook
_LONG = 60  # characters of a value


def line(data) -> str:
    """Return what a data set is in one line; nothing is made for it."""
    count = data.cardinality()
    noun = "batch" if data.batched else "element"
    plural = noun + ("es" if data.batched else "s") * (count != 1)
    number = {-1: "endless ", -2: "some "}.get(count, f"{count:,} ")
    text = f"{number}{plural}"
    if getattr(data, "batch_size", None) is not None:
        text += f" of {data.batch_size}, from {data.count:,} samples"
    if data.class_names:
        names = ", ".join(data.class_names[:5])
        more = ", ..." * (len(data.class_names) > 5)
        text += f" in {len(data.class_names)} classes: {names}{more}"
    return f"<Dataset: {text}>"


def columns(element, batched, rows):
    """Return the parts of an element by name, each as a list of rows."""
    found = {}

    def walk(name, value):
        if isinstance(value, dict):
            for key, part in value.items():
                walk(f"{name}[{key!r}]" if name else str(key), part)
        elif isinstance(value, (tuple, list)):
            names = ("x", "y", "sample_weight") if not name and len(value) <= 3 else ()
            for place, part in enumerate(value):
                walk(names[place] if names else f"{name}[{place}]", part)
        else:
            array = np.asarray(value)
            found[name or "x"] = array[:rows] if batched else array[None]

    walk("", element)
    return found


def _is_image(column):
    return column.ndim == 4 and column.shape[-1] in (1, 3, 4) and min(column.shape) > 0


def _text(value, names=None):
    value = np.asarray(value)
    if (
        names
        and value.ndim == 0
        and value.dtype.kind in "iu"
        and 0 <= value < len(names)
    ):
        return f"{names[int(value)]} ({value})"
    if value.ndim == 0:
        text = str(value.item())
    else:
        text = np.array2string(value, threshold=8, edgeitems=2, precision=4)
        text = " ".join(text.split())
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _form(column, batched):
    dtype = "text" if column.dtype.kind in "OUS" else column.dtype.name
    return f"{(None, *column.shape[1:]) if batched else column.shape[1:]} {dtype}"


def _names(data, name):
    return data.class_names if name == "y" else None


def html(data, element, rows=8) -> str:
    """Return the first rows as a table, images as pictures."""
    found = columns(element, data.batched, rows)
    head = "".join(
        f"<th>{escape(name)}<br>"
        f"<small>{escape(_form(column, data.batched))}</small></th>"
        for name, column in found.items()
    )
    lines = []
    for row in range(max(map(len, found.values()), default=0)):
        cells = [
            _picture(column[row])
            if _is_image(column)
            else escape(_text(column[row], _names(data, name)))
            for name, column in found.items()
        ]
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    body = "".join(f"<tr>{cells}</tr>" for cells in lines)
    return (
        f"<p>{escape(line(data)[1:-1])}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _picture(image):
    """Return an image as HTML: small, and within the page."""
    try:
        from PIL import Image
    except ImportError:
        return escape(_text(image))
    shown = Image.fromarray(_bytes(image).squeeze())
    shown.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    shown.save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/png;base64,{text}" alt="image">'


def _bytes(image):
    """Return pixels from 0 to 255: those of floats up to 1 are taken for shares."""
    image = np.nan_to_num(np.asarray(image, "float32"))
    low, high = float(image.min()), float(image.max())
    if low < 0:
        image, high = image - low, high - low
        image, high = image / (high or 1.0), 1.0
    if high <= 1:
        image = image * 255
    return np.clip(image, 0, 255).astype("uint8")


def show(data, element, rows):
    """Show the first rows: images as a picture, else a table in the terminal."""
    found = columns(element, data.batched, rows)
    images = next((c for c in found.values() if _is_image(c)), None)
    if images is not None:
        plt = extra("matplotlib.pyplot", "`show()`", "lamina[plot]")
    if images is None or plt.get_backend().lower() == "agg":  # no screen: in numbers
        _print(data, found)
        return
    from lamina.visualization import plot_image_gallery

    labels, names = found.get("y"), None
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        labels = None
    if labels is not None:
        known = dict(enumerate(data.class_names or ()))
        names = {int(n): known.get(int(n), str(n)) for n in labels}
    side = math.ceil(math.sqrt(len(images)))
    shown = np.stack([_bytes(image) for image in images])
    if shown.shape[-1] == 1:
        shown = np.repeat(shown, 3, axis=-1)
    plot_image_gallery(shown, labels, label_map=names, cols=side)


def _print(data, found):
    load_rich()
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name, column in found.items():
        table.add_column(f"{name}\n{_form(column, data.batched)}")
    for row in range(max(map(len, found.values()), default=0)):
        cells = [_text(c[row], _names(data, n)) for n, c in found.items()]
        table.add_row(*cells)
    console = Console()
    console.print(line(data)[1:-1], markup=False, highlight=False)
    console.print(table)
