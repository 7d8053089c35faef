"""`lamina inspect FILE`: what a file holds; nothing in it is built or run."""

import math
import pathlib
from typing import Any

from lamina.core.budget import readable
from lamina.core.extras import load_rich
from lamina.core.naming import printable
from lamina.saving import formats
from lamina.saving.report import Report

_ROWS = 2000  # that are drawn: the file decides how many there are


def inspect(filepath) -> Report:
    """Return what a file holds, from its own words and sizes; nothing is run.

    Args:
        filepath: a `.keras`, `.weights.h5`, `.weights.json`, `.safetensors`, `.h5` or
            `.hdf5` file, or a folder with the members of a `.keras` file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(filepath)
    report = Report(path)
    if path.is_dir():
        found = formats.of_folder(path) or formats.KERAS
    elif path.exists() and not path.is_file():
        report.refused.append("This is not a file, but a device or a pipe.")
        return report
    else:
        with path.open("rb") as file:
            start = file.read(8)
        found = formats.of_start(start) or formats.of(path.name, "describe")
        report.tell("Size", readable(path.stat().st_size))
    if found is None or not (path.is_dir() or start.startswith(found.begins)):
        report.refused.append(
            "Lamina writes ONNX programs, and reads none: onnxruntime runs them."
            if path.suffix == ".onnx"
            else "This is not in a format that Lamina reads."
        )
    else:
        with report.guarded():
            found.describe(report, path)
    _total(report)
    return report


def _total(report):
    count = sum(math.prod(shape) for row in report.rows for shape in row.shapes)
    arrays = sum(len(row.shapes) for row in report.rows)
    size = readable(sum(row.size for row in report.rows))
    report.tell("Values", f"{count:,} in {arrays} arrays, {size}" if arrays else "none")


# ---- drawing -----------------------------------------------------------------------


def draw(report, console: Any = None):
    """Print a report.

    Args:
        report: what `inspect` gave.
        console: a console of rich; None for the terminal.
    """
    load_rich()
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    title = Text(printable(report.path.name), style="bold")
    console.print(title.append(f"  {report.kind}", style="not bold dim"))
    facts = Table.grid(padding=(0, 2))
    for name, value in report.facts:
        facts.add_row(Text(printable(name), style="dim"), Text(printable(value)))
    console.print(Padding(facts, (1, 0, 0, 2)))
    if report.rows:
        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=True)
        types = any(row.kind for row in report.rows)
        table.add_column("Layer" if types else "Object", overflow="fold")
        if types:
            table.add_column("Type", overflow="fold", style="cyan")
        table.add_column("Weights", overflow="fold", min_width=12)
        table.add_column("Dtype", style="dim", no_wrap=True)
        table.add_column("Size", justify="right", no_wrap=True)
        for row in report.rows[:_ROWS]:
            cells = [Text("  " * row.depth + printable(row.name))]
            cells += [Text(printable(row.kind))] if types else []
            shapes = "  ".join(map(_times, row.shapes[:6]))
            shapes += f"  and {len(row.shapes) - 6} more" if row.shapes[6:] else ""
            size = readable(row.size) if row.shapes else "-"
            cells += [
                Text(shapes),
                Text("\n".join(map(printable, row.dtypes))),
                Text(size),
            ]
            table.add_row(*cells)
        console.print(table)
        if report.rows[_ROWS:]:
            console.print(Text(f"  and {len(report.rows) - _ROWS} more\n"))
    else:
        console.print()
    for reason in report.refused:
        console.print(_mark("Refused", "bold red", reason))
    for note in report.notes:
        console.print(_mark("Look out", "bold yellow", note))
    if not report.refused and not report.notes:
        console.print(_mark("Nothing suspicious", "green", "", end="."))


def _times(shape):
    return "×".join(map(str, shape)) or "scalar"


def _mark(word, style, text, end=": "):
    from rich.text import Text

    return Text("  ").append(word, style=style).append(end + printable(text))
