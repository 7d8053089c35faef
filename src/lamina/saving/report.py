"""What is in a file, format by format, in the words of a report."""

import contextlib
import dataclasses
import pathlib
import re

from lamina.core.budget import errors_about
from lamina.core.naming import snake_case
from lamina.core.op import OPS
from lamina.core.registry import located, public
from lamina.saving import hdf5 as _hdf5
from lamina.saving import legacy_hdf5
from lamina.saving.archive import ASSETS, CONFIG, METADATA, WEIGHTS, Archive
from lamina.saving.safetensors import Tensors
from lamina.saving.shards import Shards

# Layers whose configs hold another engine's programs, or where they are.
_FOREIGN = ("TorchModuleWrapper", "TFSMLayer")
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
            with errors_about(repr(str(self.path))):
                yield
        except (ValueError, OSError) as error:
            self.refused.append(str(error))


def archive(report, path):
    """Describe a `.keras` file, or a folder with its members."""
    report.kind = "Keras model" + (
        " in a folder" if path.is_dir() else ", a zip archive"
    )
    with Archive(path) as members:
        with report.guarded():
            _metadata(report, members.json(METADATA))
        rows = []
        with report.guarded():
            rows = _architecture(report, members.config())
        names = members.names
        more = [n for n in names if n not in _MEMBERS and not n.startswith(ASSETS)]
        assets = [n for n in names if n.startswith(ASSETS) and n[-1] != "/"]
        report.tell("Assets", ", ".join(assets[:5]) + ("..." if assets[5:] else ""))
        if more:
            report.notes.append(f"members that no Keras file has: {more[:5]}")
        with report.guarded(), members.weights() as weights:
            _objects(report, weights, rows)
            return
        report.rows += rows


def hdf5(report, path):
    """Describe an HDF5 file, of weights or of Keras 2."""
    with _hdf5.opened(path) as weights:
        whole = weights.texts("", "model_config")
        if not whole and not weights.texts("", "layer_names"):
            report.kind = "weights, HDF5"
            _objects(report, weights, [])
            return
        root = "model_weights" if weights.values("model_weights") is not None else ""
        report.kind = "legacy HDF5, " + ("a whole model" if root else "weights alone")
        versions = weights.texts("", "keras_version") or weights.texts(
            root, "keras_version"
        )
        report.tell("Keras version", (versions or [""])[0])
        rows = _architecture(report, legacy_hdf5.config_of(weights)) if whole else []
        for row in rows:
            # Here a layer's weights are in a group of its own name.
            row.place = f"{root}/{row.name}" if row.depth == 0 else "\0"
        _objects(report, weights, rows, everywhere=True)


def shards(report, path):
    """Describe a list of files of weights."""
    report.kind = "list of weights in several HDF5 files"
    with Shards(path) as weights:
        report.tell("Files", len(weights.parts))
        for part in weights.parts:
            _objects(report, part, [])


def tensors(report, path):
    """Describe a `.safetensors` file."""
    report.kind = "weights, safetensors"
    file = Tensors(path)
    for name, value in file.metadata.items():
        report.tell(f"Metadata {name}", value)
    rows: dict = {}
    for name, (kind, shape, first, end) in file.tensors.items():
        end_of_path = max(name.rfind("/"), name.rfind("."))
        above = name[:end_of_path] if end_of_path >= 0 else name
        rows.setdefault(above, Row(above)).add(shape, str(kind), end - first)
    report.rows += rows.values()


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
    code, foreign, custom, addresses = 0, 0, set(), set()
    todo: list = [("", config)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            kind = value.get("class_name")
            code += kind == "__lambda__"
            foreign += kind in _FOREIGN
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
    if foreign:
        report.notes.append(
            f"programs of another engine ({', '.join(_FOREIGN)}), {foreign} time(s): "
            "they load only with `safe_mode=False` and then run with your rights. Do "
            "that only if you trust their author."
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
        known = located(None if name is not kind else module, name, registered)
    except (TypeError, ValueError, AttributeError):
        known = None
    return set() if known else {registered or name}


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
