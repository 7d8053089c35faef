"""`lamina inspect FILE`: what a file holds; nothing in it is built or run."""

import contextlib
import dataclasses
import math
import pathlib
import re
from typing import Any

from lamina.core.budget import readable
from lamina.core.naming import snake_case
from lamina.core.op import OPS
from lamina.core.registry import find_class, public
from lamina.saving import legacy, shards
from lamina.saving.archive import ASSETS, CONFIG, METADATA, WEIGHTS, Archive
from lamina.saving.hdf5 import Weights
from lamina.saving.safetensors import Tensors
from lamina.saving.texts import parsed

_ADDRESS = re.compile(r"([a-z][a-z0-9+]*://|/|~|\\\\|[A-Za-z]:[\\/])\S+")
_MEMBERS = (CONFIG, METADATA, WEIGHTS)


@dataclasses.dataclass
class Row:
    """One layer, or another object with weights."""

    name: str
    kind: str = ""
    depth: int = 0
    place: str = ""
    shapes: list = dataclasses.field(default_factory=list)
    dtypes: list = dataclasses.field(default_factory=list)
    size: int = 0

    def add(self, shape, dtype, size):
        """Count one weight."""
        self.shapes.append(tuple(shape))
        self.size += size
        if dtype not in self.dtypes:
            self.dtypes.append(dtype)


@dataclasses.dataclass
class Report:
    """What a file holds.

    `facts` are pairs of words; `notes` is what a reader should know before loading it;
    `refused` is why Lamina would not load it.
    """

    path: pathlib.Path
    kind: str = "unknown"
    facts: list = dataclasses.field(default_factory=list)
    rows: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    refused: list = dataclasses.field(default_factory=list)

    def tell(self, name, value):
        """Add a fact, if there is one."""
        if value not in (None, "", []):
            self.facts.append((name, str(value)))

    @contextlib.contextmanager
    def guarded(self):
        """Keep a refusal as a part of the report."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.refused.append(str(error))


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
        report.kind = "Keras model in a folder"
        with report.guarded():
            _archive(report, path)
        return report
    with path.open("rb") as file:
        start = file.read(8)
    report.tell("Size", readable(path.stat().st_size))
    with report.guarded():
        if start.startswith(b"PK"):
            report.kind = "Keras model, a zip archive"
            _archive(report, path)
        elif start == b"\x89HDF\r\n\x1a\n":
            _hdf5(report, path)
        elif path.name.endswith(".json"):
            report.kind = "list of weights in several HDF5 files"
            with shards.Shards(path) as weights:
                report.tell("Files", len(weights.parts))
                for part in weights.parts:
                    _objects(report, part, [])
        elif path.name.endswith(".safetensors"):
            report.kind = "weights, safetensors"
            _tensors(report, path)
        else:
            report.refused.append("This is no format that Lamina reads.")
    _total(report)
    return report


def _archive(report, path):
    with Archive(path) as archive:
        with report.guarded():
            _metadata(report, parsed(archive.text(METADATA), METADATA))
        rows = []
        with report.guarded():
            rows = _architecture(report, _parsed(archive.text(CONFIG)))
        names = archive.names()
        more = [n for n in names if n not in _MEMBERS and not n.startswith(ASSETS)]
        assets = [n for n in names if n.startswith(ASSETS) and n[-1] != "/"]
        report.tell("Assets", ", ".join(assets[:5]) + ("..." if assets[5:] else ""))
        if more:
            report.notes.append(f"members that no Keras file has: {more[:5]}")
        if WEIGHTS not in names:
            report.refused.append(f"There is no {WEIGHTS}.")
            report.rows += rows
            return
        with report.guarded(), archive.open(WEIGHTS) as (file, stored):
            with Weights(file, stored, WEIGHTS) as weights:
                _objects(report, weights, rows)
                return
        report.rows += rows


def _hdf5(report, path):
    with Weights(path, path.stat().st_size, repr(path.name)) as weights:
        if not weights.texts("", "model_config") and not weights.texts(
            "", "layer_names"
        ):
            report.kind = "weights, HDF5"
            _objects(report, weights, [])
            return
        root = "model_weights" if weights.values("model_weights") is not None else ""
        report.kind = "legacy HDF5, " + ("a whole model" if root else "weights alone")
        versions = weights.texts("", "keras_version") or weights.texts(
            root, "keras_version"
        )
        report.tell("Keras version", (versions or [""])[0])
        rows = []
        if weights.texts("", "model_config"):
            config: Any = legacy.config_of(weights)
            training = weights.texts("", "training_config")
            if training:
                settings = _parsed(training[0])
                config["compile_config"] = {
                    **settings, "optimizer": settings.get("optimizer_config")
                }  # fmt: skip
            rows = _architecture(report, config)
        for row in rows:
            # Here a layer's weights are in a group of its own name.
            row.place = f"{root}/{row.name}" if row.depth == 0 else "\0"
        _objects(report, weights, rows, everywhere=True)


def _tensors(report, path):
    tensors = Tensors(path)
    for name, value in tensors.metadata.items():
        report.tell(f"Metadata {name}", value)
    rows: dict = {}
    for name, (kind, shape, first, end) in tensors.tensors.items():
        above = re.split(r"[/.](?=[^/.]*$)", name)[0]
        rows.setdefault(above, Row(above)).add(shape, str(kind), end - first)
    report.rows += rows.values()


def _parsed(text):
    config = parsed(text, "The config")
    if not isinstance(config, dict):
        raise ValueError("The config describes no model.")
    return config


def _metadata(report, metadata):
    if isinstance(metadata, dict):
        for name in ("keras_version", "lamina_version", "date_saved"):
            report.tell(name.replace("_", " ").capitalize(), metadata.get(name))


# ---- the architecture --------------------------------------------------------------


def _architecture(report, config):
    """Tell what a config says, and return a row for each layer."""
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    report.tell("Model", f"{config.get('class_name')} {name!r}" if name else None)
    compiled = config.get("compile_config")
    if isinstance(compiled, dict):
        report.tell("Optimizer", _short(compiled.get("optimizer")))
        report.tell("Loss", _short(compiled.get("loss")))
    rows = list(_layers(config, "", 0))
    report.tell("Layers", len(rows))
    _suspect(report, config)
    return rows


def _short(config):
    if isinstance(config, dict) and "class_name" in config:
        named = config["class_name"] in ("function", "class")
        return config.get("config") if named else config["class_name"]
    if isinstance(config, (list, dict)):
        values = config.values() if isinstance(config, dict) else config
        return ", ".join(str(_short(x)) for x in values)
    return config


def _layers(config, place, depth):
    """Yield a row for each layer, with its place in a file of weights."""
    inner = config.get("config")
    entries = inner.get("layers") if isinstance(inner, dict) else None
    counts: dict = {}
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
            continue
        kind, own = str(entry.get("class_name")), entry["config"]
        if kind == "InputLayer" and config.get("class_name") == "Sequential":
            yield Row(str(own.get("name")), kind, depth, "\0")
            continue
        name = snake_case(kind)
        count = counts[name] = counts.get(name, -1) + 1
        where = f"{place}layers/{name}" + (f"_{count}" if count else "")
        yield Row(str(own.get("name")), kind, depth, where)
        if depth < 20:
            yield from _layers(entry, f"{where}/", depth + 1)


def _suspect(report, config):
    """Note all in a config that a stranger's file should not need."""
    public("ops")  # fills OPS
    code, custom, addresses = 0, set(), set()
    todo: list = [("", config)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            kind = value.get("class_name")
            code += kind == "__lambda__"
            if isinstance(kind, str) and "config" in value and kind[:2] != "__":
                custom |= _unknown(kind, value)
            todo += value.items()
        elif isinstance(value, list):
            todo += [(key, x) for x in value]
        elif isinstance(value, str) and _ADDRESS.fullmatch(value):
            addresses.add(f"{key}={value}")
    if code:
        report.notes.append(
            f"Python bytecode, {code} time(s): it loads only with `safe_mode=False` "
            "and then runs with your rights. Do that only if you trust its author."
        )
    if custom:
        names = ", ".join(sorted(map(str, custom))[:10])
        report.notes.append(
            f"names that are not Lamina's: {names}. Lend them: `custom_objects=`."
        )
    if addresses:
        shown = ", ".join(sorted(addresses)[:5])
        report.notes.append(f"paths or addresses, which are not opened: {shown}")


def _unknown(kind, entry):
    module, registered = entry.get("module"), entry.get("registered_name")
    name = entry["config"] if kind in ("function", "class") else kind
    if (module, kind) in OPS or not isinstance(name, str):
        return set()
    try:
        find_class(None if name is not kind else module, name, registered)
    except (TypeError, ValueError, AttributeError):
        return {registered or name}
    return set()


# ---- weights -----------------------------------------------------------------------


def _objects(report, weights, rows, everywhere=False):
    """Count the weights of a file with the layers that they belong to."""
    rows, whole = list(rows), everywhere or bool(rows)
    known = {row.place: row for row in rows}
    for path in weights.paths():
        section = weights.values(path)
        owner = path if everywhere else path.removesuffix("vars").removesuffix("/")
        row = _row_of(owner, known)
        if row is None:
            where = owner.split("/")[0] if whole else owner
            name = None if whole else weights.saved_name(owner)
            shown = where or "(the model)"
            row = Row(f"{shown} ({name})" if name else shown, place=where)
            known[where] = row
            rows.append(row)
        for key in section:
            row.add(section.shape(key), section.dtype(key), section.size(key))
    report.rows += rows


def _row_of(path, known):
    """Return the row of the innermost object that a path leads into."""
    while path not in known:
        if "/" not in path:
            return None
        path = path.rpartition("/")[0]
    return known[path]


def _total(report):
    count = sum(math.prod(shape) for row in report.rows for shape in row.shapes)
    arrays = sum(len(row.shapes) for row in report.rows)
    size = readable(sum(row.size for row in report.rows))
    report.tell("Values", f"{count:,} in {arrays} arrays, {size}" if arrays else "none")


# ---- drawing -----------------------------------------------------------------------


def _plain(text):
    """Show a file's words without what a terminal would obey."""
    text = str(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:2000])
    return shown + ("..." if len(text) > 2000 else "")


def draw(report, console: Any = None):
    """Print a report.

    Args:
        report: what `inspect` gave.
        console: a console of rich; None for the terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    title = Text(_plain(report.path.name), style="bold")
    console.print(title.append(f"  {report.kind}", style="not bold dim"))
    facts = Table.grid(padding=(0, 2))
    for name, value in report.facts:
        facts.add_row(Text(_plain(name), style="dim"), Text(_plain(value)))
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
        for row in report.rows:
            cells = [Text("  " * row.depth + _plain(row.name))]
            cells += [Text(_plain(row.kind))] if types else []
            shapes = "  ".join(map(_times, row.shapes[:6]))
            shapes += f"  and {len(row.shapes) - 6} more" if row.shapes[6:] else ""
            size = readable(row.size) if row.shapes else "-"
            cells += [
                Text(shapes),
                Text("\n".join(map(_plain, row.dtypes))),
                Text(size),
            ]
            table.add_row(*cells)
        console.print(table)
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

    return Text("  ").append(word, style=style).append(end + _plain(text))
