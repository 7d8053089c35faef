"""What `fit` returns, as a terminal and a notebook show it."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from lamina.callbacks import History


def made(**logs):
    history = History()
    history.on_train_begin()
    for epoch, values in enumerate(zip(*logs.values(), strict=True)):
        history.on_epoch_end(epoch, dict(zip(logs, values, strict=True)))
    return history


def charts(history):
    """Return the pictures by their titles; each is well-formed."""
    found = re.findall(r"<svg.*?</svg>", history._repr_html_())
    return {(svg := ElementTree.fromstring(x)).get("aria-label"): svg for x in found}


def lines(svg):
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in svg.iter("polyline")
    ]


def test_a_terminal_shows_a_table():
    history = made(loss=[4.0, 2.0, 0.0], val_loss=[np.float32(1), float("nan"), 3.0])
    assert repr(history).splitlines() == [
        "History of 3 epochs",
        "loss      4 → 0  █▅▁",
        "val_loss  1 → 3  ▁!█",
    ]
    assert repr(made(loss=[0.5])) == "History of 1 epoch\nloss  0.5"
    assert repr(History()) == "History of 0 epochs"


@pytest.mark.parametrize("count", [41, 100, 1001])
def test_many_epochs_are_few_bars(count):
    bars = repr(made(loss=range(count))).split()[-1]
    assert 20 < len(bars) <= 40
    assert bars[-1] == "█"


def test_a_notebook_shows_a_curve_for_each_log():
    found = charts(made(loss=[4.0, 2.0, 0.0], val_loss=[4.0, 3.0, 2.0], lr=[1.0] * 3))
    assert list(found) == ["loss over the epochs", "lr over the epochs"]
    mine, held_out = lines(found["loss over the epochs"])
    assert len(mine) == len(held_out) == 3
    assert mine[0] == held_out[0] and mine[2][1] > held_out[2][1]  # y points down
    width = float(found["loss over the epochs"].get("width"))
    assert all(0 < x < width for x, _ in mine)
    words = [text.text for text in found["loss over the epochs"].iter("text")]
    assert words == ["loss", "val", "4", "0", "3 epochs"]


def test_odd_logs_are_drawn_all_the_same():
    found = made(a=[float("nan")] * 2, b=[float("inf"), 1.0], word=["x", "y"], d=[1, 2])
    assert len(charts(found)) == 3
    assert "word" not in repr(found)
    name = 'a<b&"c"'
    (only,) = charts(made(**{name: [1.0, 2.0]})).values()
    assert only.get("aria-label") == f"{name} over the epochs"
