"""`History`: what `fit` returns."""

import math
from html import escape

from lamina.callbacks.callback import Callback
from lamina.callbacks.screen import cell_number
from lamina.callbacks.snapshot import is_list_of, is_value
from lamina.core.naming import printable


class History(Callback):
    """The values of each epoch; what `fit` returns.

    Attributes:
        epoch: the numbers of the epochs, from 0.
        history: a dict from names to lists, one value for each epoch.

    >>> import lamina
    >>> history = lamina.callbacks.History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.on_epoch_end(1, {"loss": 0.25})
    >>> history.history
    {'loss': [0.5, 0.25]}
    >>> history
    History of 2 epochs
    loss  0.5 → 0.25  █▁
    """

    def __init__(self):
        super().__init__()
        self.epoch = []
        self.history: dict[str, list] = {}
        self._drawn_in = None  # the cell of a notebook where its curves are

    def on_train_begin(self, logs=None):
        """Forget the epochs of the training before."""
        self.epoch = []
        # A new dict: the caller may still hold the one of the training before.
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        """Note the values of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self._model is not None:
            self._model.history = self

    def _may_become(self, name, value):
        if name == "history":
            lists = isinstance(value, dict) and is_list_of(list, [*value.values()])
            named = lists and is_list_of(str, [*value])
            return named and all(is_value(v) for one in value.values() for v in one)
        return name != "epoch" or is_list_of(int, value)

    def __repr__(self):
        count = len(self.epoch)
        title = f"History of {count} epoch{'' if count == 1 else 's'}"
        found = _numbers(self.history)
        ends = {name: _ends(values) for name, values in found.items()}
        widths = [max(map(len, texts), default=0) for texts in (ends, ends.values())]
        lines = [
            f"{name:{widths[0]}}  {ends[name]:{widths[1]}}  {_sparks(values)}".rstrip()
            for name, values in found.items()
        ]
        return "\n".join([title, *lines])

    def draw_live(self):
        """Return its curves as HTML, which `fit` shows below its bar in a notebook."""
        self._drawn_in = cell_number()
        return self._curves()

    def _repr_html_(self):
        if self._drawn_in is not None and self._drawn_in == cell_number():
            return None  # they are there: the table is left to say
        return self._curves()

    def _curves(self):
        found = _numbers(self.history)
        charts = [
            _chart(name, [(w, found[w]) for w in (name, f"val_{name}") if w in found])
            for name in dict.fromkeys(name.removeprefix("val_") for name in found)
        ]
        return f"<div>{''.join(charts)}</div>"


def _numbers(history):
    """Return the logs that are one number for each epoch, by name."""
    found = {}
    for name, values in history.items():
        try:
            found[printable(name)] = [float(value) for value in values]
        except (TypeError, ValueError):
            continue
    return found


def _ends(values):
    first, last = f"{values[0]:.4g}", f"{values[-1]:.4g}"
    return first if len(values) == 1 else f"{first} → {last}"


def _thinned(values, most):
    """Return at most `most` of the values, the last one among them."""
    step = max(1, -(-len(values) // most))
    return values[::-1][::step][::-1]


def _sparks(values, most=40):
    """Return a line of small bars, one for an epoch or for several."""
    values = _thinned(values, most)
    finite = [v for v in values if math.isfinite(v)]
    if not finite or len(values) == 1:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(
        "▁▂▃▄▅▆▇█"[round(7 * (v - low) / span)] if math.isfinite(v) else "!"
        for v in values
    )


_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 150, 48, 24
_COLOURS = ("#1f8fd6", "#d55e00")  # told apart on white and on black, by all eyes


def _chart(title, lines):
    """Return curves over the epochs as a picture for a notebook, light or dark."""
    count = max(len(values) for _, values in lines)
    lines = [(name, _thinned(values, _WIDTH)) for name, values in lines]
    finite = [v for _, values in lines for v in values if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if low == high:  # in the middle
        low, high = low - 0.5, high + 0.5
    span, bottom = high - low, _HEIGHT - 20
    parts = []
    for i, (name, values) in enumerate(lines):
        step = (_WIDTH - _LEFT - 8) / max(len(values) - 1, 1)
        points = [
            f"{_LEFT + step * k:.1f},{bottom - (bottom - _TOP) * (v - low) / span:.1f}"
            for k, v in enumerate(values)
            if math.isfinite(v)
        ]
        pen = f'fill="none" stroke="{_COLOURS[i]}" stroke-width="2"'
        if len(points) == 1:
            x, y = points[0].split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" {pen}/>')
        parts.append(f'<polyline points="{" ".join(points)}" {pen}/>')
        # The second line is that of the validation data.
        word = name if i == 0 else "val"
        parts.append(_text(_WIDTH - 8 if i else _WIDTH - 40, 14, word, i))
    epochs = f"{count} epoch{'' if count == 1 else 's'}"
    for x, y, text in (
        (_LEFT - 4, _TOP + 8, f"{high:.4g}"),
        (_LEFT - 4, bottom, f"{low:.4g}"),
        (_WIDTH - 8, _HEIGHT - 6, epochs),
    ):
        parts.append(_text(x, y, text))
    axis = f"M{_LEFT},{_TOP} V{bottom} H{_WIDTH - 8}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(title)} over the epochs">'
        f'<path d="{axis}" fill="none" stroke="currentColor" opacity="0.4"/>'
        f"{''.join(parts)}</svg>"
    )


def _text(x, y, text, line=None):
    colour = "currentColor" if line is None else _COLOURS[line]
    style = f'text-anchor="end" font-size="11" font-family="sans-serif" fill="{colour}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'
