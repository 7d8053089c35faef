import io
import os
import pty
import re
import struct
import sys
import termios
import threading
import types

import numpy as np
import pytest

import lamina
from lamina.callbacks.progress import Progbar, Progress

METRICS = {"loss": 0.494, "mae": 0.6145, "mse": 0.494}
MORE = {**METRICS, "val_loss": 0.3186, "val_mae": 0.4798, "val_mse": 1e-5}


class Screen:
    """A terminal that keeps what stands on it, fed by a real pseudo-terminal."""

    def __init__(self, columns, rows=40):
        import fcntl

        self.columns = columns
        self.raw = ""
        self._main, child = pty.openpty()
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(child, termios.TIOCSWINSZ, size)
        self.file = os.fdopen(child, "w", encoding="utf-8")
        self._chunks = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._main, 65536)
            except OSError:
                return
            if not data:
                return
            self._chunks.append(data)

    def lines(self):
        self.file.close()
        self._thread.join()
        os.close(self._main)
        self.raw = b"".join(self._chunks).decode()
        return show(self.raw, self.columns)


def show(text, columns):
    """What stands on a terminal after `text`: colours dropped, cursor obeyed."""
    grid, row, column = [[]], 0, 0
    for part in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|[^\x1b]", text):
        if part.startswith("\x1b"):
            count = int(re.sub(r"\D", "", part) or 1)
            if part.endswith("A"):
                row = max(row - count, 0)
            elif part.endswith("K"):
                del grid[row][column:]
            elif part.endswith("J"):
                del grid[row][column:], grid[row + 1 :]
            else:
                assert part.endswith("m"), part
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
        else:
            if column == columns:
                row, column = row + 1, 0
            while len(grid) <= row:
                grid.append([])
            line = grid[row]
            line.extend(" " * (column + 1 - len(line)))
            line[column] = part
            column += 1
        while len(grid) <= row:
            grid.append([])
    return ["".join(line).rstrip() for line in grid if line]


def run(screen, steps=5, live=METRICS, final=MORE, **kwargs):
    progress = Progress(steps, 2, 1, file=screen.file, interval=0.0, **kwargs)
    progress.begin(0)
    for step in range(steps):
        progress.update(step + 1, lambda: live)
    progress.end(final)


def without_times(line):
    return re.sub(r"\d+(s|ms|us)\b", "T", line)


def test_a_wide_terminal_holds_bar_and_metrics():
    screen = Screen(columns=120)
    run(screen, final=METRICS)
    assert [without_times(line) for line in screen.lines()] == [
        "Epoch 1/2",
        f"5/5 {'━' * 20} T T/step - loss: 0.4940 - mae: 0.6145 - mse: 0.4940",
    ]
    assert "ETA 0s" in screen.raw
    # Five live drawings and the final one, all on the same line.
    assert screen.raw.count("loss: 0.4940") == 6


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(columns):
    screen = Screen(columns)
    run(screen)
    lines = screen.lines()
    assert max(map(len, lines)) < columns
    shown = " ".join(lines)
    for name in MORE:
        assert f"{name}: " in shown
    assert lines[0] == "Epoch 1/2"
    assert sum(line.startswith("5/5") for line in lines) == 1


def test_the_bar_is_dropped_where_that_saves_a_line():
    screen = Screen(columns=50)
    run(screen, live={"loss": 0.5, "mae": 0.5}, final={"loss": 0.5, "mae": 0.5})
    lines = screen.lines()
    assert len(lines) == 2
    assert "━" not in lines[1]


def test_the_bar_halves_before_it_is_dropped():
    screen = Screen(columns=62)
    run(screen, live={"loss": 0.5, "mae": 0.5}, final={"loss": 0.5, "mae": 0.5})
    _, line = screen.lines()
    assert (
        without_times(line) == f"5/5 {'━' * 10} T T/step - loss: 0.5000 - mae: 0.5000"
    )


def test_a_name_wider_than_the_terminal_is_broken():
    screen = Screen(columns=30)
    name = "a_metric_of_a_name_that_is_far_too_long"
    run(screen, live={name: 1.0}, final={name: 1.0})
    lines = screen.lines()
    assert max(map(len, lines)) < 30
    assert f"{name}: 1.0000" in "".join(line.strip() for line in lines)


def test_wide_characters_count_twice():
    screen = Screen(columns=40)
    run(screen, live={"精度" * 6: 1.0}, final={"精度" * 6: 1.0})
    lines = screen.lines()
    assert all(len(line) + 12 * ("精" in line) < 40 for line in lines)


def test_an_unknown_total_counts_up_and_becomes_known():
    screen = Screen(columns=80)
    progress = Progress(verbose=1, file=screen.file, interval=0.0)
    progress.begin()
    progress.update(1, {"loss": 1.0})
    progress.update(2, {"loss": 1.0})
    progress.end({"loss": 1.0})
    (line,) = screen.lines()
    assert "1/Unknown" in screen.raw
    assert line.startswith("2/2 ")
    assert progress.total == 2


def test_what_others_print_appears_above_the_live_line(monkeypatch):
    screen = Screen(columns=80)
    monkeypatch.setattr(sys, "stdout", screen.file)
    progress = Progress(3, verbose=1, interval=0.0)
    progress.begin(0)
    progress.update(1, METRICS)
    print("from a callback")
    progress.update(2, METRICS)
    print("no newline", end="")
    progress.update(3, METRICS)
    progress.end(METRICS)
    assert sys.stdout is screen.file
    lines = screen.lines()
    assert lines[:3] == ["Epoch 1", "from a callback", "no newline"]
    assert lines[3].startswith("3/3 ")
    assert len(lines) == 4


def test_closing_keeps_the_line_and_gives_the_stream_back(monkeypatch):
    screen = Screen(columns=80)
    monkeypatch.setattr(sys, "stdout", screen.file)
    progress = Progress(3, verbose=1, interval=0.0)
    progress.begin()
    progress.update(1, METRICS)
    progress.close()
    assert sys.stdout is screen.file
    print("after")
    lines = screen.lines()
    assert lines[0].startswith("1/3")
    assert lines[1] == "after"


def test_a_stream_left_watched_is_replaced(monkeypatch):
    screen = Screen(columns=80)
    monkeypatch.setattr(sys, "stdout", screen.file)
    for _ in range(3):
        progress = Progress(3, verbose=1, interval=0.0)
        progress.begin()
        del progress  # broken off: nobody called `close`
    progress = Progress(3, verbose=1, interval=0.0)
    progress.begin()
    progress.close()
    assert sys.stdout is screen.file
    screen.lines()


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_elsewhere_an_epoch_is_one_plain_line(verbose):
    file = io.StringIO()
    progress = Progress(2, 3, verbose, file=file)
    for epoch in range(3):
        progress.begin(epoch)
        progress.update(1, {"loss": 0.5})
        progress.update(2, {"loss": 0.5})
        progress.end({"loss": 0.5, "val_loss": 0.25}, note="12% waiting for data")
    text = file.getvalue()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert [without_times(line) for line in text.splitlines()] == [
        f"Epoch {e}/3 - 2/2 - T - T/step - loss: 0.5000 - val_loss: 0.2500 - "
        "12% waiting for data"
        for e in (1, 2, 3)
    ]


class Notebook(io.StringIO):
    """The standard output of a cell, and what is displayed: by id, the last state."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.shown, self.updates, self.execution_count = [], 0, 1
        monkeypatch.setattr(type(self), "__module__", "ipykernel.iostream")
        monkeypatch.setattr(sys, "stdout", self)
        shell = types.SimpleNamespace(display=self, get_ipython=lambda: self)
        monkeypatch.setitem(sys.modules, "IPython", shell)
        monkeypatch.setitem(sys.modules, "ipykernel", shell)

    def display(self, bundle, raw, display_id):
        assert raw and display_id
        self.shown.append(bundle)
        place = len(self.shown) - 1

        def update(bundle, raw):
            self.updates += 1
            self.shown[place] = bundle

        return types.SimpleNamespace(update=update)


def test_a_notebook_draws_curves_below_the_bar(monkeypatch):
    page = Notebook(monkeypatch)
    model = lamina.Sequential([lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2), "float32")
    history = model.fit(x, x[:, :1], epochs=14, validation_data=(x, x[:, :1]))
    (shown,) = page.shown
    assert page.updates >= 14 and page.getvalue() == ""
    bar, curves = shown["text/html"].split("</pre>")
    plain = shown["text/plain"].splitlines()
    assert plain[:2] == ["...", "Epoch 5/14"] and "val_loss" in plain[-1]
    assert re.sub("<.*?>", "", bar) == shown["text/plain"]
    assert curves.count("<svg") == 1 and "14 epochs" in curves
    # The same cell shows them once; another one again.
    assert history._repr_html_() is None
    page.execution_count = 2
    assert history._repr_html_() == curves
    model.evaluate(x, x[:, :1])
    assert len(page.shown) == 2 and page.shown[0] is shown
    assert "<svg" not in page.shown[1]["text/html"]


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(columns=80)
    run(screen)
    screen.lines()
    assert "\x1b" not in screen.raw


def test_silence_asks_for_nothing():
    def never():
        raise AssertionError("the values were fetched")

    file = io.StringIO()
    progress = Progress(2, 1, verbose=0, file=file)
    progress.begin(0)
    progress.update(1, never)
    progress.end(never)
    assert file.getvalue() == ""


def test_values_are_fetched_only_to_be_drawn():
    calls = []

    def logs():
        calls.append(1)
        return METRICS

    plain = Progress(100, 1, verbose=1, file=io.StringIO())
    plain.begin(0)
    for step in range(100):
        plain.update(step + 1, logs)
    assert len(calls) == 0
    plain.end(logs)
    assert len(calls) == 1

    calls.clear()
    screen = Screen(columns=80)
    live = Progress(100, 1, verbose=1, file=screen.file, interval=3600.0)
    live.begin(0)
    for step in range(100):
        live.update(step + 1, logs)
    assert len(calls) == 1  # the first step; the next would be due in an hour
    live.end(logs)
    assert len(calls) == 2
    screen.lines()


def test_a_wrong_verbosity_is_refused():
    with pytest.raises(ValueError, match="verbose=3"):
        Progress(verbose=3)


@pytest.mark.parametrize(
    "value, text",
    [
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (1e-5, "1.0000e-05"),
        (-2.0, "-2.0000"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (12345.678, "12345.6780"),
        ("text", "text"),
    ],
)
def test_values_are_shown_with_four_digits(capsys, value, text):
    progress = Progress(1, verbose=2)
    progress.begin()
    progress.update(1)
    progress.end({"x": value})
    assert capsys.readouterr().out.endswith(f" - x: {text}\n")


class TestProgbar:
    def last(self, capsys):
        return capsys.readouterr().out.splitlines()[-1].split("step - ")[-1]

    def test_it_averages_over_steps(self, capsys):
        bar = Progbar(10, verbose=2)
        bar.update(2, [("loss", 1.0)])
        bar.update(10, [("loss", 2.0)])
        assert self.last(capsys) == "loss: 1.8000"

    def test_stateful_values_are_shown_as_they_are(self, capsys):
        bar = Progbar(4, verbose=2, stateful_metrics=["acc"])
        bar.add(2, [("loss", 1.0), ("acc", 0.5)])
        bar.add(2, [("loss", 0.0), ("acc", 0.75)])
        assert self.last(capsys) == "loss: 0.5000 - acc: 0.7500"

    def test_it_ends_when_told_to(self, capsys):
        bar = Progbar(None, verbose=1, unit_name="file")
        bar.add(3, {"size": 2.0})
        assert capsys.readouterr().out == ""
        bar.update(3, finalize=True)
        printed = capsys.readouterr().out
        assert re.fullmatch(r"3/3 - 0s - \w+/file - size: 2\.0000\n", printed)

    def test_only_the_named_ones_are_averaged(self, capsys):
        bar = Progbar(4, verbose=2, stateless_metrics=["loss"])
        bar.add(1, [("loss", 1.0), ("acc", 0.5)])
        bar.add(3, [("loss", 0.0), ("acc", 0.75)])
        assert self.last(capsys) == "loss: 0.2500 - acc: 0.7500"

    def test_both_lists_are_refused(self):
        with pytest.raises(ValueError, match="Only one of"):
            Progbar(4, stateful_metrics=["a"], stateless_metrics=["b"])
