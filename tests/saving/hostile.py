"""Files meant to do harm, made here, and the door that each of them knocks at.

`python tests/saving/hostile.py FOLDER` makes them all in FOLDER, tries each, and
prints as JSON what came of it: the error's class and text, the seconds, what reached
out of the process, and by how many bytes its memory grew.
"""

import base64
import io
import json
import marshal
import os
import pathlib
import pickle
import resource
import stat
import struct
import sys
import tarfile
import time
import warnings
import zipfile
import zlib

import h5py
import numpy as np

import lamina

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
from mutations import lookup3  # noqa: E402

PLACE = "layers/dense/vars"


# ---- good files, changed -----------------------------------------------------------


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, found, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return path


def rewritten(path, **changes):
    """Write the members of a file again, some of them changed; None leaves one out."""
    found = {**members(path), **{k.replace("__", "."): v for k, v in changes.items()}}
    return zipped(path, {k: v for k, v in found.items() if v is not None})


def with_config(path, change):
    config = json.loads(members(path)["config.json"])
    change(config)
    return rewritten(path, config__json=json.dumps(config))


def with_weights(path, change):
    data = io.BytesIO(members(path)["model.weights.h5"])
    with h5py.File(data, "a") as file:
        change(file)
    return rewritten(path, **{"model__weights__h5": data.getvalue()})


def put_layer(layer):
    return lambda config: config["config"]["layers"].append(layer)


def bytecode(canary):
    code = compile(f"lambda x: open({str(canary)!r}, 'w') and x", "", "eval")
    body = next(c for c in code.co_consts if hasattr(c, "co_code"))
    return base64.encodebytes(marshal.dumps(body)).decode()


def lambda_layer(canary, **more):
    code = {"code": bytecode(canary), "defaults": None, "closure": None}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": code}, **more},
    }


def layer(kind, place="keras.layers", /, **config):
    return {"module": place, "class_name": kind, "config": config}


def stack(*layers, shape=(4,)):
    first = layer("InputLayer", batch_shape=[None, *shape])
    return {"class_name": "Sequential", "config": {"layers": [first, *layers]}}


class Pickled:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


# ---- the table ---------------------------------------------------------------------

CASES = {}  # name -> (function of a Place that returns a call, part of the error)


class Place:
    """Where a case may write, and what must never be touched."""

    def __init__(self, folder, good, name):
        self.folder = folder / name.replace(" ", "_").replace("/", "_")[:60]
        self.folder.mkdir()
        self.good = self.folder / "model.keras"
        self.good.write_bytes(good.read_bytes())
        self.canary = folder / "canary"
        self.secret = folder / "secret"

    def load(self, path, **kwargs):
        return lambda: lamina.saving.load_model(path, **kwargs)


def case(name, reason):
    def keep(make):
        assert name not in CASES
        CASES[name] = make, reason
        return make

    return keep


def of_config(name, reason, change):
    """Add a `.keras` file with another config."""
    CASES[name] = lambda p: p.load(with_config(p.good, lambda c: change(p, c))), reason


def of_layer(name, reason, make):
    of_config(name, reason, lambda p, c: put_layer(make(p))(c))


def of_weights(name, reason, change):
    """Add a `.keras` file with other weights."""
    CASES[name] = lambda p: p.load(with_weights(p.good, lambda f: change(p, f))), reason


def of_json(name, reason, config):
    """Add a config for each of the doors that have no file."""
    doors = {
        "model_from_json": lambda c: lamina.models.model_from_json(json.dumps(c)),
        "from_config": lambda c: lamina.Sequential.from_config(c["config"]),
        "deserialize": lamina.saving.deserialize_keras_object,
    }
    for door, call in doors.items():
        CASES[f"{name}, {door}"] = (
            lambda p, call=call: lambda: call(config(p)),
            reason,
        )


def of_h5(name, reason, change):
    """Add a whole model as `.h5`, changed."""

    def make(p):
        path = p.folder / "model.h5"
        lamina.saving.load_model(p.good).save(path)
        with h5py.File(path, "a") as file:
            change(p, file)
        return p.load(path)

    CASES[name] = make, reason


def replaced(file, thing, at=f"{PLACE}/0"):
    del file[at]
    file[at] = thing


# The archive.

for bad, reason in (
    ("../evil", "leaves the archive"),
    ("assets/../../evil", "leaves the archive"),
    ("/etc/evil", "absolute"),
    ("C:/evil", "absolute"),
    ("assets\\..\\evil", "backslash"),
    ("assets//evil", "not a plain path"),
):
    CASES[f"member {bad}"] = (
        lambda p, bad=bad: p.load(rewritten(p.good, **{bad: b"x"})),
        reason,
    )


@case("two members of one name", "two members")
def _(p):
    with zipfile.ZipFile(p.good, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "{}")
    return p.load(p.good)


@case("a link as a member", "a link")
def _(p):
    entry = zipfile.ZipInfo("assets/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(p.good, "a") as archive:
        archive.writestr(entry, str(p.secret))
    return p.load(p.good)


@case("a zip bomb", "decompression bomb.*1 GiB")
def _(p):
    with zipfile.ZipFile(p.good, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("assets/words", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(1 << 24))
    return p.load(p.good)


@case("zip bombs, each just under the limit", "decompression bomb, 'all members")
def _(p):
    more = {f"assets/{i}": bytes(15 << 20) for i in range(12)}
    return p.load(zipped(p.good, {**members(p.good), **more}, zipfile.ZIP_DEFLATED))


@case("members that overlap", "members that overlap")
def _(p):
    found = members(p.good)
    zipped(p.good, {**found, "assets/a": b"a" * 99, "assets/b": b"a" * 99})
    data = bytearray(p.good.read_bytes())
    # The entry of `assets/b` in the directory points to the member `assets/a`.
    places = [data.rindex(name) - 46 + 42 for name in (b"assets/a", b"assets/b")]
    data[places[1] : places[1] + 4] = data[places[0] : places[0] + 4]
    p.good.write_bytes(data)
    return p.load(p.good)


@case("a member with a wrong size", "two sizes|damaged|not a zip")
def _(p):
    data = bytearray(p.good.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    p.good.write_bytes(data)
    return p.load(p.good)


@case("a gzip bomb in a zip bomb", "shape bomb.*declares 32 MiB")
def _(p):
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        values = np.zeros((1 << 23,), "f4")
        file.create_dataset(f"{PLACE}/0", data=values, compression="gzip")
    found = {**members(p.good), "model.weights.h5": data.getvalue()}
    return p.load(zipped(p.good, found, zipfile.ZIP_DEFLATED))


@case("millions of values in the JSON", "values and keys in")
def _(p):
    text = '{"class_name": "Sequential", "config": [' + "{}," * 5_000_000 + "{}]}"
    found = {**members(p.good), "config.json": text}
    return p.load(zipped(p.good, found, zipfile.ZIP_DEFLATED))


@case("JSON nested without end", "nested too deeply")
def _(p):
    return p.load(rewritten(p.good, config__json="[" * 1_000_000))


@case("a folder with links", "has no model.weights.h5")
def _(p):
    folder = p.folder / "model"
    folder.mkdir()
    (folder / "config.json").symlink_to(p.secret)
    return p.load(folder)


# HDF5.

for at in ("layers", "layers/dense", PLACE, f"{PLACE}/0"):
    of_weights(
        f"a soft link at {at}", f"'{at}'.*SoftLink",
        lambda p, f, at=at: replaced(f, h5py.SoftLink("/vars"), at),
    )  # fmt: skip
    of_weights(
        f"an external link at {at}", f"'{at}'.*ExternalLink",
        lambda p, f, at=at: replaced(f, h5py.ExternalLink(str(p.secret), at), at),
    )  # fmt: skip

of_weights(
    "a loop of hard links", "another path as well",
    lambda p, f: f.__setitem__("layers/dense/again", f["layers"]),
)  # fmt: skip
of_weights("a named type", "a named type", lambda p, f: replaced(f, np.dtype("f4")))


def dataset(shape=(4, 3), kind="f4", **options):
    def change(p, file):
        del file[f"{PLACE}/0"]
        file[PLACE].create_dataset("0", shape, kind, **options)

    return change


@case("values in another file", "in another file.*secret")
def _(p):
    place = [(str(p.secret), 0, 48)]
    change = dataset(external=place)
    return p.load(with_weights(p.good, lambda f: change(p, f)))


def virtual(p, file):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(p.secret), "x", (4, 3))
    del file[f"{PLACE}/0"]
    file[PLACE].create_virtual_dataset("0", layout)


of_weights("a virtual dataset", "virtual dataset", virtual)
for kind in (
    h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype,
    np.dtype([("a", "f4")]), np.dtype("V16"),
):  # fmt: skip
    of_weights(f"values of {kind}", "not numbers", dataset(kind=kind))
of_weights("a shape bomb", "declares 4 TiB", dataset((1 << 20, 1 << 20)))
of_weights(
    "a huge chunk for few values", "in chunks",
    dataset(maxshape=(None, None), chunks=(1 << 14, 1 << 14)),
)  # fmt: skip
of_weights(
    "a filter that cannot be measured", "the filter 32000",
    dataset(chunks=(4, 3), compression="lzf"),
)  # fmt: skip


def gzip_twice(p, file):
    del file[f"{PLACE}/0"]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4, 3))
    plan.set_deflate(9)
    plan.set_deflate(9)
    space = h5py.h5s.create_simple((4, 3))
    h5py.h5d.create(file[PLACE].id, b"0", h5py.h5t.IEEE_F32LE, space, plan)


of_weights("gzip in gzip", "in this order", gzip_twice)


@case("many datasets just under the limit", "shape bomb")
def _(p):
    def change(file):
        for i in range(2000):
            file.create_dataset(f"more/vars/{i}", (1 << 20,), "f4", chunks=(1 << 10,))

    return p.load(with_weights(p.good, change))


@case("a chunk that inflates to more than its shape", "inflates to more")
def _(p):
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 24)) for _ in range(64)]
    bomb = b"".join([*parts, packer.flush()])

    def change(file):
        del file[f"{PLACE}/0"]
        made = file[PLACE].create_dataset(
            "0", (4, 3), "f4", chunks=(4, 3), compression="gzip"
        )
        made.id.write_direct_chunk((0, 0), bomb)

    return p.load(with_weights(p.good, change))


@case("many names that are one large text", "texts of the file may take 2.93 GiB")
def _(p):
    path = p.folder / "model.h5"
    lamina.saving.load_model(p.good).save(path)
    with h5py.File(path, "a") as file:
        root = file["model_weights"]
        del root.attrs["layer_names"]
        root.attrs.create("layer_names", ["a" * 8] * 3000, dtype=h5py.string_dtype())
        file.attrs.create("x", "b" * (1 << 20), dtype=h5py.string_dtype())
    # HDF5 writes a text once for each name; each now says that it is the large one.
    data = bytearray(path.read_bytes())
    heap = _heap_with(data, b"b" * 1000)
    for at in _references(data, 8):
        data[at : at + 16] = struct.pack("<IQI", 1 << 20, heap, 1)
    path.write_bytes(data)
    return p.load(path)


def _heap_with(data, text):
    return data.rindex(b"GCOL\x01", 0, data.index(text))


def _references(data, length):
    """Return where texts of a length are referred to."""
    found, mark = [], struct.pack("<I", length)
    for at in places(data, mark):
        heap = int.from_bytes(data[at + 4 : at + 12], "little")
        if data[heap : heap + 5] == b"GCOL\x01":
            found.append(at)
    assert len(found) >= 3000
    return found


@case("a text that HDF5 walks for ever", "damaged collection of texts")
def _(p):
    data = bytearray(members(p.good)["model.weights.h5"])
    at = data.index(b"GCOL\x01") + 16
    data[at : at + 2] = bytes(2)
    data[at + 8 : at + 16] = bytes(8)
    path = p.folder / "model.weights.h5"
    path.write_bytes(data)
    return lambda: lamina.saving.KerasFileEditor(path)


def patched(change, **options):
    """Return a function that makes a file of weights and changes its bytes."""

    def make(p):
        path = p.folder / "model.weights.h5"
        with h5py.File(path, "w", **options) as file:
            for i in range(20):
                file.create_group(f"groups/{i}").attrs["a"] = 1
                file.create_group(f"more/{i}")
                file.attrs[f"a{i}"] = 1
            file.create_dataset(f"{PLACE}/0", data=np.ones((9, 9)), chunks=(1, 1))
            if not options:
                virtual(p, file)
                file.attrs["text"] = "a"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)
        model = lamina.saving.load_model(p.good)
        return lambda: model.load_weights(path)

    return make


def places(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def counted_wrong(data):
    """Say that trees of names hold one, for which HDF5 then takes the memory."""
    for at in places(data, b"BTHD"):
        struct.pack_into("<Q", data, at + 26, 1)
        checked(data, at, 34)


def checked(data, at, size):
    """Make the checksum behind a number of bytes fit."""
    struct.pack_into("<I", data, at + size, lookup3(bytes(data[at : at + size])))


def one_object(data):
    """Let all records of a tree name the same object of a heap."""
    records = {5: (11, 4), 6: (15, 8), 8: (17, 0), 9: (13, 0)}
    for at in places(data, b"BTLF"):
        width, place = records[data[at + 5]]
        for i in range(20):
            here = at + 6 + place + width * i
            data[here : here + 7] = data[at + 6 + place : at + 13 + place]
        checked(data, at, 6 + 20 * width)


def block_elsewhere(data):
    """Let a block of a heap say that it stands behind the place that is asked for."""
    for at in places(data, b"FHDB"):
        data[at + 13 : at + 17] = b"\x20\0\0\0"


def packed_heap(data):
    for at in places(data, b"FRHP"):
        struct.pack_into("<H", data, at + 7, 12)
        checked(data, at, 142)


def shared_heap(data):
    first, *more = places(data, b"FRHP\0\7")  # those of links
    assert more
    for heap in more:
        for at in [*places(data, struct.pack("<Q", heap))]:
            struct.pack_into("<Q", data, at, first)


def of_trees(at, form, value):
    def change(data):
        for tree in places(data, b"BTHD"):
            struct.pack_into(form, data, tree + at, value)
            checked(data, tree, 34)

    return change


def circular_trees(data):
    for at in places(data, b"TREE"):
        width = 16 if data[at + 4] == 0 else 40
        first = data[at + 24 + width - 8 : at + 24 + width]
        for i in range(struct.unpack_from("<H", data, at + 6)[0]):
            place = at + 16 + width * (i + 1)
            data[place : place + 8] = first


def circular_names(data):
    for at in places(data, b"HEAP"):
        gap, place = struct.unpack_from("<QQ", data, at + 16)
        if gap > 1:
            struct.pack_into("<QQ", data, place + gap, gap, 16)


def circular_texts(data):
    for at in places(data, b"GCOL"):
        data[at + 16 : at + 18] = bytes(2)
        data[at + 24 : at + 32] = bytes(8)


for name, change, options, reason in (
    ("links in a heap", counted_wrong, {"track_order": True}, "a damaged heap"),
    ("links in a heap, newer", counted_wrong, {"libver": "latest"}, "a damaged heap"),
    ("links in one place", one_object, {"track_order": True}, "a damaged heap"),
    ("a block elsewhere", block_elsewhere, {"track_order": True}, "a damaged heap"),
    ("a packed heap", packed_heap, {"track_order": True}, "packed by filters"),
    ("a heap of two groups", shared_heap, {"track_order": True}, "back to itself"),
    ("a deep tree", of_trees(12, "<H", 60000), {"libver": "latest"}, "a damaged heap"),
    ("a full node", of_trees(24, "<H", 60000), {"libver": "latest"}, "a damaged heap"),
    ("trees that lead back", circular_trees, {}, "back to itself"),
    ("names whose gaps lead back", circular_names, {}, "back to itself"),
    ("virtual values whose sources never end", circular_texts, {}, "virtual dataset"),
):
    CASES[name] = patched(change, **options), reason


@case("a list of weights of 128,000 names", "a list of 128000 names")
def _(p):
    path = p.folder / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        group = file.create_group("dense")
        group["k"] = np.zeros(1, "float32")
        for i in range(2):
            group.attrs[f"weight_names{i}"] = np.full(64_000, b"k")
    return lambda: lamina.saving.load_model(p.good).load_weights(path)


def nested_type(depth):
    """Return a type of texts in texts in texts; HDF5 copies each level for each."""
    made = h5py.h5t.STD_I8LE
    for _ in range(depth):
        made = h5py.h5t.vlen_create(made)
    return made


@case("a type of values in types of values", "type of values that takes")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((1,))
        h5py.h5d.create(file.create_group("vars").id, b"0", nested_type(1000), space)
    return lambda: lamina.saving.KerasFileEditor(path)


@case("an attribute of types in types", "type of values that takes")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((1,))
        group = file.create_group("vars")
        h5py.h5a.create(group.id, b"name", nested_type(1000), space)
    return lambda: lamina.saving.KerasFileEditor(path)


def indexed(p, **options):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("vars/0", data=np.ones((9, 9)), chunks=(1, 1), **options)
    data = bytearray(path.read_bytes())
    counted_wrong(data)
    path.write_bytes(data)
    return lambda: lamina.saving.KerasFileEditor(path)


@case("chunks in a newer tree", "chunks in the newer form")
def _(p):
    return indexed(p, maxshape=(None, None))


@case("chunks in a newer array", "chunks in the newer form")
def _(p):
    return indexed(p, compression="gzip")


@case("attributes in a heap", "type of values that takes")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        space = h5py.h5s.create_simple((1,))
        group = file.create_group("vars")
        for i in range(9):
            group.attrs[f"a{i}"] = i
        h5py.h5a.create(group.id, b"name", nested_type(200), space)
    return lambda: lamina.saving.KerasFileEditor(path)


@case("an attribute apart from its heap", "more than 4096 bytes in a heap")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(9):
            file.attrs[f"a{i}"] = np.zeros(999)
    return lambda: lamina.saving.KerasFileEditor(path)


def named_wrong(p, at, value):
    """A file in which a text is changed, with a checksum that fits."""
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("vars").attrs["name"] = "a name"
    good = path.read_bytes()
    (kind,) = places(good, bytes.fromhex("19010100100000001000000001000000"))
    begin = good.rindex(b"OHDR", 0, kind)
    end = next(n for n in range(kind, len(good)) if _ends(good, begin, n))
    data = bytearray(good)
    struct.pack_into("<I", data, kind + at, value)
    struct.pack_into("<I", data, end, lookup3(bytes(data[begin:end])))
    path.write_bytes(data)
    return lambda: lamina.saving.KerasFileEditor(path)


def _ends(data, begin, end):
    return lookup3(data[begin:end]) == struct.unpack_from("<I", data, end)[0]


@case("a text of characters of 2 GiB", "texts of characters of 1.984 GiB")
def _(p):
    return named_wrong(p, 12, 0x7F000001)


@case("a text that says it has 4 GiB", "longer than the file")
def _(p):
    return named_wrong(p, 24, 0xFFFFFFFF)


@case("a bomb after many small chunks", "inflates to more")
def _(p):
    path, count = p.folder / "model.weights.h5", 40_000
    with h5py.File(path, "w") as file:
        options = {"chunks": (1,), "compression": "gzip"}
        made = file.create_dataset("vars/0", data=np.ones(count, "f4"), **options)
        made.id.write_direct_chunk((count - 1,), zlib.compress(bytes(1 << 20)))
    return lambda: lamina.saving.KerasFileEditor(path)


@case("a name of 2000 bytes", "a name of")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["a" * 2000] = 1
    return lambda: lamina.saving.KerasFileEditor(path)


@case("a name that is not UTF-8", "damaged")
def _(p):
    path = p.folder / "model.weights.h5"
    with h5py.File(path, "w") as file:
        h5py.h5g.create(file.id, b"v\xa0rs")
        file[b"v\xa0rs"].create_group("vars").attrs["name"] = "a"
    return lambda: lamina.saving.KerasFileEditor(path)


@case("links in weights alone", "SoftLink")
def _(p):
    path = p.folder / "model.weights.h5"
    model = lamina.saving.load_model(p.good)
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        replaced(file, h5py.SoftLink("/vars"), "layers")
    return lambda: model.load_weights(path)


# Code in configs.

for mode in (True, None, 0, "no"):
    CASES[f"a lambda, safe_mode={mode}"] = (
        lambda p, mode=mode: p.load(
            with_config(p.good, put_layer(lambda_layer(p.canary))), safe_mode=mode
        ),
        "arbitrary code execution",
    )
of_json("a lambda", "arbitrary code execution", lambda p: stack(lambda_layer(p.canary)))
of_config(
    "a lambda as an activation", "arbitrary code execution",
    lambda p, c: c["config"]["layers"][1]["config"].update(
        activation={
            "class_name": "__lambda__",
            "config": {"value": [bytecode(p.canary), None, None]},
        }
    ),
)  # fmt: skip
of_config(
    "a file that turns safe mode off", "arbitrary code execution",
    lambda p, c: (
        c["config"].update(safe_mode=False),
        c["config"]["layers"].append({**lambda_layer(p.canary), "safe_mode": False}),
    ),
)  # fmt: skip
of_config(
    "safe mode turned off by a layer before", "Could not locate|no `from_config",
    lambda p, c: c["config"]["layers"].__setitem__(
        slice(1, 1),
        [layer("enable_unsafe_deserialization", "keras.config"),
         lambda_layer(p.canary)],
    ),
)  # fmt: skip


def old_lambda(p, file):
    config = json.loads(file.attrs["model_config"])
    old = {"function": [bytecode(p.canary), None, None], "function_type": "lambda"}
    config["config"]["layers"].append({"class_name": "Lambda", "config": old})
    file.attrs["model_config"] = json.dumps(config)


of_h5("a lambda in .h5", "arbitrary code execution", old_lambda)
for module, name in (
    ("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"),
    ("lamina.core.config", "function_from_bytecode"),
    ("keras.src.saving.saving_lib", "load_model"), ("keras.utils", "get_file"),
    ("keras.saving", "KerasFileEditor"), (None, "__import__"),
):  # fmt: skip
    of_layer(
        f"{module}.{name} as a layer", "Could not locate class|no `from_config",
        lambda p, m=module, n=name: layer(n, m, command=f"touch {p.canary}"),
    )  # fmt: skip
for name in ("get_file", "load_model", "eval", "save_img", "clear_session"):
    of_layer(
        f"{name} as a function", "Could not locate function|that a config may refer to",
        lambda p, n=name: layer(
            "Lambda",
            function={"module": "builtins", "class_name": "function", "config": n},
            arguments={"origin": "http://127.0.0.1:9/x", "path": str(p.canary)},
        ),
    )  # fmt: skip
of_layer(
    "a pickle in TorchModuleWrapper", "TorchModuleWrapper",
    lambda p: layer(
        "TorchModuleWrapper",
        module={
            "class_name": "__bytes__",
            "config": {
                "value": base64.b64encode(pickle.dumps(Pickled(p.canary))).decode()
            },
        },
    ),
)  # fmt: skip
of_layer(
    "a pickle of PyTorch", "TorchModuleWrapper.*pickle",
    lambda p: layer(
        "TorchModuleWrapper",
        module=base64.b64encode(pickle.dumps(Pickled(p.canary))).decode(),
    ),
)  # fmt: skip
of_layer(
    "a SavedModel", "TFSMLayer.*SavedModel",
    lambda p: layer("TFSMLayer", filepath=str(p.folder), call_endpoint="serve"),
)  # fmt: skip
of_layer(
    "our class under a name of one's own", "resolved to a Keras built-in",
    lambda p: {**layer("Dense", units=1), "registered_name": "mine>Dense"},
)  # fmt: skip
of_layer(
    "an array of objects", "must hold numbers or text",
    lambda p: layer(
        "Normalization",
        mean={"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    ),
)  # fmt: skip
of_config(
    "an initializer as an activation", "no Zeros",
    lambda p, c: c["config"]["layers"][1]["config"].update(
        activation=layer("Zeros", "keras.initializers")
    ),
)  # fmt: skip
of_config(
    "what only memory holds", "no file can hold",
    lambda p, c: c["config"]["layers"][1]["config"].update(
        activation={"class_name": "__held__", "config": 0}
    ),
)  # fmt: skip


def reference(name, kind="class"):
    return {"module": "builtins", "class_name": kind, "config": name}


for kind in ("class", "function"):
    of_json(
        f"a {kind} of the name StringLookup that opens a file",
        "takes a function|must be a function",
        lambda p, kind=kind: stack(
            layer(
                "Lambda",
                function=reference("StringLookup", kind),
                arguments={"vocabulary": str(p.secret)},
            )
        ),
    )
of_json(
    "a class as an activation", "takes a function",
    lambda p: stack(layer("Dense", units=2, activation=reference("StringLookup"))),
)  # fmt: skip
of_json(
    "a class as a metric", "takes a function",
    lambda p: {
        **layer("MeanMetricWrapper", "keras.metrics", fn=reference("StringLookup")),
        "config": {"layers": [
            layer("MeanMetricWrapper", "keras.metrics", fn=reference("StringLookup"))
        ]},
        "class_name": "Sequential", "module": "keras",
    },
)  # fmt: skip

# Paths and URLs in configs.

for name in ("StringLookup", "IntegerLookup", "TextVectorization"):
    of_layer(
        f"{name} with a path", "outside of the model archive",
        lambda p, n=name: layer(n, vocabulary=str(p.secret)),
    )  # fmt: skip
of_layer(
    "StringLookup with a URL", "outside of the model archive",
    lambda p: layer("StringLookup", vocabulary="http://127.0.0.1:9/words"),
)  # fmt: skip

# Budgets of configs.

of_config(
    "huge weights", "Not allowed: the architecture.*16 TiB",
    lambda p, c: c["config"]["layers"][1]["config"].update(units=1 << 40),
)  # fmt: skip
of_config(
    "many large weights", "Not allowed: the architecture",
    lambda p, c: c["config"]["layers"].extend(
        layer("Dense", units=2000, name=f"d{i}") for i in range(100)
    ),
)  # fmt: skip
of_json(
    "a huge Dense", "Not allowed: the architecture.*14.55 TiB",
    lambda p: stack(layer("Dense", units=10**12)),
)  # fmt: skip
of_json(
    "a huge Embedding", "Not allowed: the architecture",
    lambda p: stack(layer("Embedding", input_dim=10**12, output_dim=10**6)),
)  # fmt: skip
of_json(
    "a huge Conv", "Not allowed: the architecture",
    lambda p: stack(layer("Conv2D", filters=10**7, kernel_size=999), shape=(9, 9, 3)),
)  # fmt: skip
of_json(
    "bands of sound, made anew at each trace", "as much work as",
    lambda p: stack(
        layer(
            "TimeDistributed",
            layer=layer("MelSpectrogram", num_mel_bins=10_000, fft_length=32_768),
        ),
        shape=(2, 32_768),
    ),
)  # fmt: skip
of_json(
    "a transform of 28,000 samples", "as much work as",
    lambda p: stack(
        layer("STFTSpectrogram", frame_length=28_000, fft_length=28_000, mode="real"),
        shape=(30_000, 1),
    ),
)  # fmt: skip
of_json(
    "a pooling into a thousand million parts", "as much work as more than",
    lambda p: stack(layer("AdaptiveAveragePooling1D", output_size=10**9), shape=(6, 4)),
)  # fmt: skip


def repeated(kind, times, shape, place="keras.layers", calls=None, **config):
    """A graph with one layer, or op, that is called on its own output again."""
    args = [[_tensor("in", 0)], *([_tensor("x", i)] for i in range(times - 1))]
    args = args if calls is None else calls
    entry = layer(kind, place, **config, name="x")
    nodes = [{"args": x, "kwargs": {}} for x in args]
    begin = layer("InputLayer", batch_shape=[None, *shape], name="in")
    ends = {"input_layers": ["in", 0, 0], "output_layers": ["x", times - 1, 0]}
    layers = [
        {**begin, "name": "in", "inbound_nodes": []},
        {**entry, "name": "x", "inbound_nodes": nodes},
    ]
    return layer("Functional", "keras.models", name="m", layers=layers, **ends)


def of_graph(name, reason, make):
    CASES[name] = (
        lambda p: lambda: lamina.models.model_from_json(json.dumps(make())),
        reason,
    )


of_graph(
    "a layer called 3000 times", "as much work as",
    lambda: repeated("RandAugment", 3000, (8, 8, 3)),
)  # fmt: skip
of_graph(
    "a loss of 300,000 names", "as much work as",
    lambda: {
        **stack(layer("Dense", units=1)),
        "compile_config": {"optimizer": "sgd", "loss": ["mse"] * 300_000},
    },
)  # fmt: skip
of_graph(
    "a difference of many orders", "as much work as",
    lambda: repeated("Diff", 1, (9,), "keras.src.ops.numpy", n=100_000),
)  # fmt: skip
of_graph(
    "an axis in a million parts", "as much work as",
    lambda: repeated("Unstack", 1, (10**6,), "keras.src.ops.core", num=None, axis=1),
)  # fmt: skip
of_graph(
    "something computed at once", "on no tensor",
    lambda: repeated(
        "Arange", 1, (9,), "keras.src.ops.numpy", calls=[[0, 10**10]],
    ),
)  # fmt: skip
of_json(
    "large orthogonal matrices", "as much work as",
    lambda p: stack(
        layer("Dense", units=9000, kernel_initializer="orthogonal"), shape=(9000,)
    ),
)  # fmt: skip
of_h5(
    "a large metric in .h5", "but the file holds",
    lambda p, file: file.attrs.__setitem__(
        "training_config",
        json.dumps({"loss": "mse", "optimizer_config": layer("SGD", "keras.optimizers"),
         "metrics": [layer("MeanIoU", "keras.metrics", num_classes=30_000)]}),
    ),
)  # fmt: skip
of_json(
    "a long name", "a name of 5000 characters",
    lambda p: stack(layer("Dense", units=1, name="a" * 5000)),
)  # fmt: skip
of_json(
    "millions of characters where a number belongs", "positive integer",
    lambda p: stack(layer("Dense", units="a" * 5_000_000)),
)  # fmt: skip


def stacked(depth):
    """Cells that each hold the cells below twice, the second time by their number."""
    cell = {**layer("SimpleRNNCell", units=1, name="c"), "shared_object_id": 0}
    for i in range(1, depth):
        again = {**layer(cell["class_name"], name=cell["config"]["name"]),
                 "shared_object_id": i - 1}  # fmt: skip
        cell = {**layer("StackedRNNCells", cells=[cell, again], name=f"c{i}"),
                "shared_object_id": i}  # fmt: skip
    return cell


of_json(
    "cells that hold the same cells twice", "as much work as",
    lambda p: stack(layer("RNN", cell=stacked(40)), shape=(3, 2)),
)  # fmt: skip


def doubling(depth, inside=None):
    """A model that calls a model twice that calls a model twice ..."""
    inside = inside or layer("Dense", units=4, name="dense")
    for i in range(depth):
        calls = [
            {"args": [_tensor(f"in{i}", 0)], "kwargs": {}},
            {"args": [_tensor("inside", 0)], "kwargs": {}},
        ]
        entry = {
            **inside,
            "name": "inside",
            "inbound_nodes": calls,
            "config": {**inside["config"], "name": "inside"},
        }
        begin = {
            **layer("InputLayer", batch_shape=[None, 4], name=f"in{i}"),
            "name": f"in{i}",
            "inbound_nodes": [],
        }
        inside = {
            "module": "keras.models",
            "class_name": "Functional",
            "config": {
                "name": f"m{i}",
                "layers": [begin, entry],
                "input_layers": [f"in{i}", 0, 0],
                "output_layers": ["inside", 2 if i else 1, 0],
            },
        }
    return inside


def _tensor(name, node):
    config = {"shape": [None, 4], "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


@case("models in models, each called twice", "takes as much work as more than")
def _(p):
    return lambda: lamina.models.model_from_json(json.dumps(doubling(40)))


@case("a model of many calls around a loop", "as much work as")
def _(p):
    loop = layer("LSTM", units=4, return_sequences=True, unroll=True)
    config = doubling(40, loop)
    text = json.dumps(config).replace("[null, 4]", "[null, 9, 4]")
    return lambda: lamina.models.model_from_json(text)


@case("wrappers in wrappers", "Bidirectional|nested too deeply|takes as much work")
def _(p):
    inside = layer("LSTM", units=2)
    for _ in range(200):
        inside = layer("Bidirectional", layer=inside)
    config = stack(inside, shape=(3, 2))
    return lambda: lamina.models.model_from_json(json.dumps(config))


@case("models in models without end", "nested too deeply")
def _(p):
    inside = layer("Dense", units=2)
    for _ in range(5000):
        inside = {"class_name": "Sequential", "config": {"layers": [inside]}}
    return lambda: lamina.saving.deserialize_keras_object(inside)


@case("a pattern that never ends", "pattern")
def _(p):
    return lambda: lamina.models.model_from_json(json.dumps(patterned("(?=(a+)+$)")))


def patterned(pattern):
    place = "keras.dtype_policies"
    policy = layer("DTypePolicy", place, name="float32")
    found = layer(
        "DTypePolicyMap", place, default_policy=policy, policy_map={pattern: policy}
    )
    return stack(layer("Dense", units=2, name="a" * 60 + "!", dtype=found))


# Layers whose names are paths, in the one format that builds paths from names.


def named(name):
    def change(p, file):
        root = file["model_weights"]
        root.attrs["layer_names"] = np.array([name.encode()])

    return change


for bad in ("../../secret", "/etc/passwd", "a\\..\\b", "C:\\x"):
    of_h5(f"a layer of the name {bad}", "lists a layer", named(bad))

# Assets, and files of tensors.


@case("a vocabulary of lists", "one list of terms")
def _(p):
    model = lamina.Sequential(
        [lamina.Input((1,), dtype="string"), lamina.layers.StringLookup()]
    )
    model.layers[0].adapt(["a", "b\nc"])
    model.save(p.good)
    name = next(name for name in members(p.good) if name.endswith("vocabulary.json"))
    text = "[" + "[]," * 5_000_000 + "[]]"
    found = {**members(p.good), name: text}
    return p.load(zipped(p.good, found, zipfile.ZIP_DEFLATED))


@case("metadata that are not a dict", "__metadata__")
def _(p):
    path = p.folder / "model.safetensors"
    header = b'{"__metadata__": ["a"]}'
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return lambda: lamina.saving.load_model(p.good).load_weights(path)


@case("a pipe", "is not a file")
def _(p):
    path = p.folder / "model.weights.h5"
    os.mkfifo(path)
    return lambda: lamina.saving.KerasFileEditor(path)


@case("a tensor of 10^4000 numbers in each of 32 axes", "declares the shape")
def _(p):
    entry = {"dtype": "F32", "shape": [10**4000] * 32, "data_offsets": [0, 4]}
    header = json.dumps({"kernel": entry}).encode()
    path = p.folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    model = lamina.saving.load_model(p.good)
    return lambda: model.load_weights(path)


# What is never read.


@case("a pickle called .keras", "zip")
def _(p):
    p.good.write_bytes(pickle.dumps(Pickled(p.canary)))
    return p.load(p.good)


@case("a pickle", "not supported")
def _(p):
    path = p.folder / "model.pkl"
    path.write_bytes(pickle.dumps(Pickled(p.canary)))
    return p.load(path)


@case("an npz of objects", "not supported")
def _(p):
    path = p.folder / "model.npz"
    np.savez(path, np.array([Pickled(p.canary)], dtype=object))
    return lambda: lamina.saving.load_model(p.good).load_weights(path)


@case("an Orbax checkpoint", "not supported")
def _(p):
    folder = p.folder / "checkpoint"
    folder.mkdir()
    (folder / "_METADATA").write_text("{}")
    return p.load(folder)


@case("npz as an asset", "pickle|object|assets|not")
def _(p):
    data = io.BytesIO()
    np.savez(data, np.array([Pickled(p.canary)], dtype=object))
    return p.load(rewritten(p.good, model__weights__h5=data.getvalue()))


# Archives for `get_file`.


def tarred(p, *entries):
    path = p.folder / "data.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            archive.addfile(entry)
    return lambda: fetched(p, path)


def fetched(p, path):
    return lamina.utils.get_file(
        "data", path.as_uri(), extract=True, cache_dir=str(p.folder / "cache")
    )


for name, kind, link in (
    ("../../canary", tarfile.REGTYPE, ""),
    ("/canary", tarfile.REGTYPE, ""),
    ("a", tarfile.SYMTYPE, "../../.."),
    ("a", tarfile.LNKTYPE, "/etc/passwd"),
    ("a", tarfile.CHRTYPE, ""),
    ("C:\\canary", tarfile.REGTYPE, ""),
):
    CASES[f"tar with {name} {link} {kind.decode()}"] = (
        lambda p, entry=(name, kind, link): tarred(p, entry),
        "refused",
    )


@case("a zip that leaves the folder", "refused")
def _(p):
    path = zipped(p.folder / "data.zip", {"../../canary": b"x"})
    return lambda: fetched(p, path)


@case("a tar whose header is one long number", "a number of more than 40 digits")
def _(p):
    path = p.folder / "data.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a")
        entry.pax_headers = {"comment": "1" * 60_000}
        archive.addfile(entry)
    return lambda: fetched(p, path)


@case("a tar of headers without end", "headers go on for")
def _(p):
    path = p.folder / "data.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for i in range(300):
            entry = tarfile.TarInfo(f"a{i}")
            entry.pax_headers = {"comment": "a" * 60_000}
            archive.addfile(entry)
    return lambda: fetched(p, path)


# Images.


def pictured(p, data):
    path = p.folder / "images" / "a" / "picture.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = lamina.utils.image_dataset_from_directory(
        path.parent.parent, image_size=(4, 4), verbose=False
    )
    return lambda: list(found)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n"


@case("a picture that is a program", "picture.png' is not an image that")
def _(p):
    return pictured(p, POSTSCRIPT)


@case("a picture with a text without end", "picture.png' is not an image that.*large")
def _(p):
    text = b"a\0\0" + zlib.compress(bytes(1 << 27))
    chunk = b"zTXt" + text
    added = struct.pack(">I", len(text)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    file = io.BytesIO()
    lamina.utils.array_to_img(np.zeros((4, 4, 3))).save(file, "PNG")
    return pictured(p, file.getvalue()[:33] + added + file.getvalue()[33:])


@case("one picture that is a program", "PostScript")
def _(p):
    return lambda: lamina.utils.load_img(io.BytesIO(POSTSCRIPT))


@case("a picture in a thousand scans", "in 1006 scans")
def _(p):
    file = io.BytesIO()
    picture = lamina.utils.array_to_img(np.zeros((64, 64, 1)))
    picture.save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return pictured(p, data[:-2] + 1000 * last + data[-2:])


# ---- trying them ---------------------------------------------------------------------

_MEMORY = 12 << 30  # of addresses, of which far fewer are used

FORBIDDEN = {
    "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.connect",
    "socket.getaddrinfo", "subprocess.Popen", "pickle.find_class",
}  # fmt: skip


def run(folder):
    """Make and try all cases; return what came of each, and the memory."""
    folder = pathlib.Path(folder)
    (folder / "secret").write_bytes(b"secret\n" * 100)
    good = folder / "good.keras"
    lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)]).save(good)
    model = lamina.saving.load_model(good)
    model.save(folder / "good.h5")
    lamina.saving.load_model(folder / "good.h5").predict(np.ones((1, 4)), verbose=0)
    calls = {name: make(Place(folder, good, name)) for name, (make, _) in CASES.items()}
    reached, watching = [], [True]

    def watch(event, args):
        if not watching:
            return
        touched = event == "open" and str(args[0]).endswith(("canary", "secret"))
        if touched or event in FORBIDDEN:
            reached.append(f"{event} {args}")

    sys.addaudithook(watch)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {}
    for name, call in calls.items():
        start = time.perf_counter()
        try:
            call()
            outcome = ["", "it was let in"]
        except BaseException as error:
            outcome = [type(error).__name__, str(error)]
        found[name] = [*outcome, time.perf_counter() - start]
    watching.clear()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"cases": found, "reached": reached, "grown": grown << 10}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run(sys.argv[1])))
