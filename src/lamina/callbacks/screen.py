"""What live lines can be drawn on: a terminal, or the output of a notebook."""

import os
import shutil
import sys
import weakref
from html import escape
from typing import Any

BOLD, GREEN, GREY, RESET = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"
# The same on a page, light or dark.
_STYLES = {
    BOLD: '<span style="font-weight: bold">',
    GREEN: '<span style="color: #2e9e44">',
    GREY: '<span style="opacity: 0.3">',
    RESET: "</span>",
}
_PAGE_STYLE = (
    "white-space: pre-wrap; word-break: normal; font-family: monospace; "
    "line-height: 1.3"
)
_MOST = 20  # lines that are kept


def find_screen(file):
    """Return what live lines can be drawn on, or None."""
    file = file or sys.stdout
    if _is_terminal(file):
        return _Terminal(file)
    if "ipykernel" in sys.modules and type(file).__module__.startswith("ipykernel"):
        return _Notebook()
    return None


def _is_terminal(file):
    try:
        return file.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def _can_write(text, file):
    try:
        text.encode(getattr(file, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True


class _Terminal:
    """A terminal in which some lines are drawn again and again.

    Whatever else is printed meanwhile appears above them: the standard streams
    are watched, and the lines are wiped before foreign text comes.
    """

    stays = False  # each run of lines has one of its own

    def __init__(self, file):
        self._file = file
        self._drawn = []
        self._at_line_start = True
        self._watched = []
        if file is sys.stdout:
            self._watch("stdout")
            if _is_terminal(sys.stderr):
                self._watch("stderr")

    def _watch(self, name):
        stream = getattr(sys, name)
        while isinstance(stream, _Watched) and stream.owner() is None:
            stream = stream.stream  # left by a run that was broken off
        watched = _Watched(stream, self)
        setattr(sys, name, watched)
        self._watched.append((name, stream, watched))
        if name == "stdout":
            self._file = stream

    def columns(self):
        return self._size()[0] - 1  # a full last column makes some terminals wrap

    def _size(self):
        try:
            size = os.get_terminal_size(self._file.fileno())
        except (OSError, ValueError, AttributeError):
            size = shutil.get_terminal_size((80, 24))
        return (size[0] or 80, size[1] or 24)

    def bar(self, done, width):
        full, rest = ("━", "━") if _can_write("━", self._file) else ("=", "-")
        return f"{GREEN}{full * done}{RESET}{GREY}{rest * (width - done)}{RESET}"

    def print(self, line):
        self._write(line + "\n")

    def draw(self, lines, last=False):
        if not last:
            lines = lines[: max(self._size()[1] - 1, 1)]
        text = self._to_top() + "\x1b[K\n".join(lines) + "\x1b[J"
        self._drawn = [] if last else lines
        self._write(text + ("\n" if last else ""))

    def _to_top(self):
        if not self._drawn:
            return "" if self._at_line_start else "\n"
        columns = self._size()[0]  # it may have shrunk and wrapped what is there
        rows = sum(max(-(-cells(line) // columns), 1) for line in self._drawn)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    def make_room(self, text):
        """Wipe the live lines because `text` is about to be written."""
        if self._drawn:
            self._write(self._to_top() + "\x1b[J")
            self._drawn = []
        self._at_line_start = text.endswith("\n")

    def _write(self, text):
        self._at_line_start = True
        self._file.write(text)
        self._file.flush()

    def release(self):
        if self._drawn:
            self._write("\n")
            self._drawn = []
        for name, stream, watched in reversed(self._watched):
            if getattr(sys, name) is watched:
                setattr(sys, name, stream)
        self._watched = []


class _Watched:
    """A standard stream that tells a `_Terminal` before it writes."""

    def __init__(self, stream, owner):
        self.stream = stream
        self.owner = weakref.ref(owner)

    def write(self, text):
        owner = self.owner()
        if owner is not None and text:
            owner.make_room(text)
        return self.stream.write(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self.stream, name)


class _Notebook:
    """The output of a notebook cell: one display, which is written over as a whole.

    A saved notebook holds its last state alone, and of many lines the last ones.
    """

    stays = True

    def __init__(self):
        self._lines: list[str] = []
        self._handle: Any = None
        self.below = ""

    def columns(self):
        return 1_000_000  # the page wraps

    def bar(self, done, width):
        return f"{GREEN}{'━' * done}{RESET}{GREY}{'━' * (width - done)}{RESET}"

    def print(self, line):
        self._lines.append(line)
        if len(self._lines) > _MOST:
            first = 2 + (self._lines[0] == "...")  # an epoch has two lines
            self._lines = ["...", *self._lines[first:]]

    def draw(self, lines, last=False):
        text = "\n".join([*self._lines, *lines])
        bundle = {"text/plain": _plain(text), "text/html": self._page(text)}
        if self._handle is None:
            display = sys.modules["IPython"].display.display
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
        if last:
            self._lines += lines

    def _page(self, text):
        text = escape(text)
        for code, style in _STYLES.items():
            text = text.replace(code, style)
        return f'<pre style="{_PAGE_STYLE}">{text}</pre>{self.below}'

    def release(self):
        """Nothing is held."""


def cell_number():
    """Return the number of the cell that a notebook runs; None outside of one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "execution_count", None)


def _plain(text):
    for code in _STYLES:
        text = text.replace(code, "")
    return text


def cells(text):
    """Return how many columns a text takes, colours aside."""
    if "\x1b" in text:
        text = _plain(text)
    if text.replace("━", "-").isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
