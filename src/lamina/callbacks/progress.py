"""The progress of `fit`, `evaluate` and `predict`, drawn as text.

What is drawn depends on where it goes: one live line in a terminal or a notebook,
one plain line at the end anywhere else. Values are asked for only when something
is drawn, because they live on the device and fetching them waits for it.
"""

import sys
import time
from typing import Any

import numpy as np

from lamina.callbacks.screen import BOLD, RESET, cells, find_screen
from lamina.core import settings
from lamina.core.naming import printable
from lamina.core.tracebacks import boundary

_SECONDS_BETWEEN_DRAWINGS = 0.1
_NEVER = float("inf")
_SHORTEST_BAR = 8  # characters


class Progress:
    """Steps that the user sees counted.

    Args:
        total: the number of steps, or None when it is not known.
        epochs: the number of epochs; None draws no line `Epoch 1/5`.
        verbose: 0 nothing, 1 a live line, 2 a plain line at the end, "auto" a live
            line unless interactive logging is off.
        unit: what is counted.
        file: where to write; the standard output when None.
        width: the length of the bar in characters.
        interval: the least time between two drawings, in seconds.

    >>> progress = Progress(total=2, epochs=3, verbose=2)
    >>> progress.begin(epoch=0)
    >>> progress.update(2, lambda: {"loss": 0.25})
    >>> progress.end({"loss": 0.25})
    Epoch 1/3 - 2/2 - ...s - ...s/step - loss: 0.2500
    """

    def __init__(
        self,
        total=None,
        epochs=None,
        verbose: int | str = "auto",
        unit="step",
        file=None,
        width=20,
        interval=_SECONDS_BETWEEN_DRAWINGS,
    ):
        self.total = total
        self.epochs = epochs
        self.verbose = _verbosity(verbose)
        self.unit = unit
        self.step = 0
        self._file = file
        self._width = width
        self._interval = interval
        self._screen: Any = None
        self._page: Any = None
        self._title = ""
        self._due = _NEVER
        self._clock = (0.0, None, 0, 0.0)
        self._bar = width
        self._running = False

    def begin(self, epoch=None):
        """Start counting afresh.

        Args:
            epoch: the epoch's number from 0, for the line above the bar.
        """
        self.close()
        self.step = 0
        now = time.perf_counter()
        # When it began, when the first steps were done, how many these were, and
        # when the latest were: the first ones compile and would spoil the average.
        self._clock = (now, None, 0, now)
        self._bar = self._width
        self._running = True
        self._title = "" if epoch is None else f"Epoch {epoch + 1}"
        if self._title and self.epochs:
            self._title += f"/{self.epochs}"
        if self.verbose != 1:
            return
        self._screen = self._page or find_screen(self._file)
        if self._screen:
            self._page = self._screen if self._screen.stays else None
            self._due = now
            if self._title:
                self._screen.print(self._title)

    def update(self, step, logs=None):
        """Tell how many steps are done; draw if it is time to.

        Args:
            step: the steps done since `begin`.
            logs: the values by name, or a function that returns them. It is
                called only when something is drawn.
        """
        self.step = step
        now = time.perf_counter()
        began, first, steps, _ = self._clock
        if first is None:
            first, steps = now, step
        self._clock = (began, first, steps, now)
        if now < self._due or self._screen is None:
            return
        self._screen.draw(self._lines(logs))
        # Counted from the end of the drawing, so that slow values cost no more.
        self._due = time.perf_counter() + self._interval

    def end(self, logs=None, note="", below: Any = None):
        """Draw the final line and keep it.

        Args:
            logs: the values by name, or a function that returns them.
            note: something to say after them.
            below: a function that returns what a notebook shows below, as HTML.
        """
        if not self._running:
            return
        self._running = False
        self.total = self.total or self.step
        if self.verbose == 0:
            return
        if self._screen is None:
            # One `write`, so that lines of several processes do not mix.
            file = self._file or sys.stdout
            file.write(self._plain(logs, note) + "\n")
            file.flush()
            return
        if below is not None and self._screen.stays:
            self._screen.below = below()
        self._screen.draw(self._lines(logs, note, last=True), last=True)
        self.close()

    def close(self):
        """Leave what is drawn, and give the terminal back."""
        if self._screen:
            self._screen.release()
        self._screen = None
        self._running = False
        self._due = _NEVER

    def _lines(self, logs, note="", last=False):
        """Return the live lines: with the time left, and at last the time spent."""
        spent = self._spent()
        if self.total and not last:
            left = max(self.total - self.step, 0)
            spent = f"ETA {_clock_time(left * self._seconds_per_step())}"
        items = [*_items(logs), *filter(None, [note])]
        lines, self._bar = self._layout(f"{spent} {self._per_step()}", items, self._bar)
        return lines

    def _spent(self):
        return _clock_time(time.perf_counter() - self._clock[0])

    def _layout(self, times, items, width):
        """Return the lines, and the length of their bar.

        It halves, and at last goes, where that saves a line, and does not grow again
        in this epoch.
        """
        columns = self._screen.columns()
        head = self._count()
        plain = _wrap([f"{head} {times}", *items], columns)
        if not width or not self.total:
            return [_bold(line, head, i == 0) for i, line in enumerate(plain)], 0
        wide = _wrap([f"{head} {'━' * width} {times}", *items], columns)
        if len(wide) > len(plain) or cells(wide[0]) > columns:
            half = width // 2
            return self._layout(times, items, half if half >= _SHORTEST_BAR else 0)
        done = min(self.step * width // self.total, width)
        drawn = self._screen.bar(done, width)
        wide[0] = _bold(wide[0].replace("━" * width, drawn, 1), head, True)
        return wide, width

    def _plain(self, logs, note):
        times = [f"{self.step}/{self.total}", self._spent(), self._per_step()]
        return " - ".join(filter(None, [self._title, *times, *_items(logs), note]))

    def _count(self):
        if not self.total:
            return f"{self.step}/Unknown"
        return f"{self.step:>{len(str(self.total))}}/{self.total}"

    def _seconds_per_step(self):
        began, first, steps, latest = self._clock
        if first is not None and self.step > steps:
            return (latest - first) / (self.step - steps)
        return (latest - began) / max(self.step, 1)

    def _per_step(self):
        seconds = self._seconds_per_step()
        for unit, size in (("s", 1.0), ("ms", 1e-3)):
            if seconds >= size:
                return f"{seconds / size:.0f}{unit}/{self.unit}"
        return f"{seconds * 1e6:.0f}us/{self.unit}"


class Progbar:
    """A progress bar for the caller's own loops.

    Args:
        target: the number of steps, or None when it is not known.
        width: the length of the bar in characters.
        verbose: 0 nothing, 1 a live line, 2 a plain line at the end.
        interval: the least time between two drawings, in seconds.
        stateful_metrics: names whose values are shown as they are; the others are
            averaged over the steps.
        stateless_metrics: when given, the only names that are averaged.
        unit_name: what is counted.

    Raises:
        ValueError: both lists of names are given.

    >>> bar = Progbar(4, verbose=2)
    >>> bar.update(2, [("loss", 1.0)])
    >>> bar.add(2, [("loss", 0.5)])
    4/4 - ...s - ...s/step - loss: 0.7500
    """

    @boundary
    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: Any = 1,
        interval: float = 0.05,
        stateful_metrics: Any = None,
        stateless_metrics: Any = None,
        unit_name: str = "step",
    ):
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Only one of `stateful_metrics` and `stateless_metrics` can be given "
                "to `Progbar`."
            )
        self.target = target
        self.verbose = verbose
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = stateless_metrics
        self._progress = Progress(
            target, verbose=verbose, unit=unit_name, width=width, interval=interval
        )
        self._progress.begin()
        self._sums = {}

    def update(self, current, values=None, finalize=None):
        """Show that `current` steps are done.

        Args:
            current: the steps done so far.
            values: `(name, value)` pairs, or a dict.
            finalize: whether this is the last one; None asks `target`.
        """
        steps = max(current - self._progress.step, 1)
        pairs = values.items() if isinstance(values, dict) else values or ()
        for name, value in pairs:
            value = np.asarray(value) if isinstance(value, (list, tuple)) else value
            if self._is_averaged(name):
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (total + value * steps, count + steps)
            else:
                self._sums[name] = (value, 1)
        self._progress.update(current, self._averages)
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if finalize:
            self._progress.end(self._averages)

    def add(self, n, values=None):
        """Show that `n` more steps are done."""
        self.update(self._progress.step + n, values)

    def _is_averaged(self, name):
        if self.stateless_metrics is not None:
            return name in self.stateless_metrics
        return name not in self.stateful_metrics

    def _averages(self):
        return {
            name: value if count == 1 else value / count
            for name, (value, count) in self._sums.items()
        }


def _verbosity(verbose):
    if verbose == "auto":
        return 1 if settings.get("interactive_logging") else 2
    if verbose not in (0, 1, 2):
        raise ValueError(
            "`verbose` must be 0 (silent), 1 (a progress bar), 2 (a line for each "
            f"epoch) or 'auto'. Received: verbose={verbose!r}"
        )
    return int(verbose)


def _items(logs):
    values: Any = logs() if callable(logs) else logs
    return [f"{printable(k)}: {_number(v)}" for k, v in (values or {}).items()]


def _number(value):
    if value is None or isinstance(value, str):
        return printable(value)
    if getattr(value, "size", 1) != 1:
        shown = [_number(v) for v in value.ravel()[:4]]
        return f"[{', '.join(shown)}{', ...' if value.size > 4 else ''}]"
    value = float(value.item() if hasattr(value, "item") else value)
    if value == 0 or 1e-3 <= abs(value) < 1e7 or value != value:
        return f"{value:.4f}"
    return f"{value:.4e}"


def _clock_time(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds}s"


def _wrap(items, columns):
    """Join items by dashes into lines of at most `columns` cells."""
    lines = [items[0]]
    for item in items[1:]:
        joined = f"{lines[-1]} - {item}"
        if cells(joined) <= columns:
            lines[-1] = joined
        else:
            lines.append(f"  {item}")
    return [piece for line in lines for piece in _pieces(line, columns)]


def _pieces(line, columns):
    while cells(line) > columns > 2:
        cut = columns if line.isascii() else columns // 2
        yield line[:cut]
        line = line[cut:]
    yield line


def _bold(line, head, first):
    return line.replace(head, f"{BOLD}{head}{RESET}", 1) if first else line
