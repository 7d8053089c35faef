"""Random damage that knows what it damages, for the tests and for `make stress`.

Each function takes a file's bytes and a `random.Random`, and returns other bytes in
which sizes and checksums are right as far as a reader compares them: what is behind
them shall be reached.
"""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import re
import struct
import warnings
import zipfile
import zlib

# What the documentation of the loaders names; OSError is for the disk.
KINDS = (ValueError, TypeError, NotImplementedError)
# A file and a module that are there, and that nothing may ever open.
SECRET, MODULE = "lamina_fuzz_secret", "lamina_fuzz_module"
_MAGIC = b"lamina snapshot 1\n"


# ---- bytes -------------------------------------------------------------------------


def damaged(data, rng):
    """Return bytes with one to four kinds of damage."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 64)))
        match rng.randrange(7):
            case 0:
                data[at:end] = rng.randbytes(end - at)
            case 1:
                data[at:end] = b"\xff" * (end - at)
            case 2:
                data[at:end] = bytes(end - at)
            case 3:
                del data[at:end]
            case 4:
                source = rng.randrange(len(data) or 1)
                data[at:end] = data[source : source + end - at]
            case 5:
                number = rng.choice((0, 1, 127, 255, 65535, 1 << 31, 1 << 62))
                number = number.to_bytes(8, "little")[: end - at]
                data[at : at + len(number)] = number
            case 6 if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


# ---- JSON --------------------------------------------------------------------------

_VALUES = (
    None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, -(10**30), 1e308, 0.5, float("nan"),
    float("inf"), "", "x", "../x", "/etc/passwd", SECRET, "http://localhost/x", "a" * 9,
    "\ud800", [], {}, [None], [[]], "os", "system", MODULE, [1, 2, 3], [-1], [0, 0],
    {"class_name": "__lambda__", "config": {"value": ["AAAA", None, None]}},
    {"class_name": "function", "config": "eval", "module": "builtins"},
    {"class_name": "function", "config": "relu", "module": "builtins"},
    {"class_name": "class", "config": "Dense", "module": "builtins"},
    {"class_name": "Thing", "config": {}, "module": MODULE, "registered_name": "Thing"},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
    {"class_name": "__slice__", "config": {"start": 0, "stop": 9, "step": 0}},
    {"class_name": "__keras_tensor__", "config": {"shape": [None, 4],
     "dtype": "float32", "keras_history": ["dense", 0, 0]}},
    {"class_name": "__tuple__", "items": [1]}, {"class_name": "__bytes__", "config": 3},
    {"class_name": "__typespec__", "spec_name": "x", "config": []},
    {"class_name": "Dense", "config": {"units": 2**40}},
    {"class_name": "Dense", "config": {"units": 3}},
    {"class_name": "StringLookup", "config": {"vocabulary": SECRET}},
    {"class_name": "Bidirectional", "config": {"layer": {"class_name": "LSTM",
     "config": {"units": 2}}}},
)  # fmt: skip


def _copied(value):
    return json.loads(json.dumps(value))


def altered(tree, rng, entries=()):
    """Return a JSON tree in which some places hold something else.

    Args:
        tree: the tree; a dict or a list.
        rng: the random numbers.
        entries: values to put in besides the usual ones.
    """
    tree = _copied(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = _place(tree, rng)
        if place is not None:
            _alter(*place, tree, rng, entries)
    return tree


def _place(tree, rng):
    """Return a container in a tree and a key of it, often one near the root."""
    place = None
    while isinstance(tree, (dict, list)) and tree:
        key = rng.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        place, tree = (tree, key), tree[key]
        if rng.random() < 0.1:
            break
    return place


def _alter(inside, key, tree, rng, entries):
    old = inside[key]
    match rng.randrange(10):
        case 0 | 1:
            inside[key] = rng.choice(_VALUES)
        case 2:
            inside[key] = rng.choice(entries or _VALUES)
        case 3:
            other, there = _place(tree, rng)
            inside[key] = _copied(other[there])
        case 4:
            del inside[key]
        case 5:  # another type of the same
            inside[key] = rng.choice((str(old), [old], {"a": old}, [old, old]))
        case 6 if isinstance(old, (int, float)):
            inside[key] = rng.choice((-old, old + 1, old * 1000, old * 10**9, old / 3))
        case 6 | 7:
            for _ in range(rng.choice((3, 30, 300))):
                old = rng.choice(({"class_name": "Sequential", "config": old}, [old]))
            inside[key] = old
        case 8 if isinstance(inside, list):
            inside.insert(key, _copied(old))
        case 8:
            inside[rng.choice(("name", "config", "dtype", "trainable", "x"))] = old
        case 9 if isinstance(old, list) and old:
            inside[key] = old * rng.choice((2, 9, 999 // len(old) + 1))
        case 9:
            inside[key] = f"{old}" * rng.choice((2, 99))


def json_file(data, rng, entries=()):
    """Alter a file that is JSON."""
    if rng.random() < 0.1:
        return damaged(data, rng)
    return json.dumps(altered(json.loads(data), rng, entries)).encode()


# ---- archives ----------------------------------------------------------------------


def members(data):
    """Return the members of a zip by name; `data` is a path, or bytes."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    with zipfile.ZipFile(source) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(found, method=zipfile.ZIP_STORED):
    """Return a zip with these members."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, value in found.items():
            archive.writestr(name, value)
    return data.getvalue()


def zip_file(data, rng, entries=()):
    """Alter a zip: a member as what it is, the list of members, or its bytes."""
    found = members(data)
    part = rng.random()
    if part < 0.1:
        return damaged(data, rng)
    if part < 0.2:
        return _other_directory(data, rng)
    if part < 0.3:
        name = rng.choice(list(found))
        other = rng.choice(("../x", "/x", "x", "a/b", f"assets/{SECRET}", "x" * 3000))
        match rng.randrange(3):
            case 0:
                found[other] = found.pop(name)
            case 1:
                found[other] = found[name] * rng.choice((1, 9))
            case 2:
                del found[name]
    else:
        # What the weights take in their place does not say how often they are hit.
        name = rng.choice([*found, *[n for n in found if n.endswith("config.json")]])
        found[name] = member(name, found[name], rng, entries)
    return zipped(found, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def member(name, data, rng, entries=()):
    """Alter a file by what its name says that it is."""
    if name.endswith(".json"):
        return json_file(data, rng, entries)
    if name.endswith(".h5"):
        return hdf5_file(data, rng, entries)
    return damaged(data, rng)


def _other_directory(data, rng):
    """Change a number in the list of members, or in what stands before a member."""
    data = bytearray(data)
    marks = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data)]
    at = rng.choice(marks) + rng.randrange(4, 44, 2)
    number = rng.choice((0, 1, 8, 99, 65535)).to_bytes(2, "little")
    data[at : at + 2] = number
    return bytes(data)


def tar_file(data, rng, entries=()):
    """Alter a tar: the header of a member, with its checksum, or its bytes."""
    packed = data[:2] == b"\x1f\x8b"
    if packed and rng.random() < 0.1:
        return damaged(data, rng)
    data = bytearray(gzip.decompress(data) if packed else data)
    if rng.random() < 0.2:
        data = bytearray(damaged(data, rng))
    else:
        headers = range(0, len(data) - 1024, 512)
        at = rng.choice([n for n in headers if data[n + 257 : n + 262] == b"ustar"])
        start, size = rng.choice(
            ((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100))
        )
        value = rng.choice(
            (b"../x", b"/etc/passwd", b"x", b"7" * size, bytes(size), b"\xff" * size,
             b"\x80" + b"\xff" * size, b"1", b"2", b"3", b"5", b"6", b"g", b"x", b"L",
             b"K", b"S", b"-1", f"{rng.randrange(99999):o}".encode())
        )[:size]  # fmt: skip
        data[at + start : at + start + len(value)] = value
        data[at + 148 : at + 156] = b" " * 8
        total = sum(data[at : at + 512])
        data[at + 148 : at + 156] = b"%06o\0 " % total
    return gzip.compress(bytes(data), mtime=0) if packed else bytes(data)


# ---- HDF5 --------------------------------------------------------------------------


def hdf5_file(data, rng, entries=()):
    """Alter an HDF5 file: its bytes, or what is in it."""
    spans = _checked_spans(data)
    if spans and rng.random() < 0.4:
        return _rechecked(data, rng, spans)
    if rng.random() < 0.5:
        return damaged(data, rng)
    import h5py

    file = io.BytesIO(data)
    with h5py.File(file, "a") as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(rng.randint(1, 2)):
            try:
                _other_thing(f, rng, entries)
            except (OSError, ValueError, TypeError, RuntimeError, KeyError):
                continue  # HDF5 does not write it
    return file.getvalue()


# How the structures of HDF5 begin that end with a checksum of theirs.
_SIGNED = (
    b"\x89HDF", b"OHDR", b"OCHK", b"BTHD", b"BTLF", b"BTIN", b"FRHP", b"FHDB", b"FHIB",
    b"SMTB", b"SMLI", b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EASB", b"EADB",
)  # fmt: skip


@functools.cache
def _checked_spans(data):
    """Return where structures with a checksum begin and where it stands."""
    spans = []
    for sign in _SIGNED:
        for found in re.finditer(re.escape(sign), data):
            begin = found.start()
            ends = range(begin + 8, min(begin + 700, len(data) - 3))
            for end in ends:
                if lookup3(data[begin:end]) == struct.unpack_from("<I", data, end)[0]:
                    spans.append((begin, end))
                    break
    return spans


def _rechecked(data, rng, spans):
    """Alter structures of HDF5 whose checksums are made to fit."""
    altered = bytearray(data)
    for begin, end in rng.choices(spans, k=rng.randint(1, 2)):
        for _ in range(rng.randint(1, 3)):
            size = min(rng.choice((1, 2, 4, 8)), end - begin - 4)
            at = rng.randrange(begin + 4, end - size + 1)
            value = rng.choice((0, 1, 0xFF, 0x7F, rng.randrange(256)))
            altered[at : at + size] = bytes([value]) * size
        struct.pack_into("<I", altered, end, lookup3(bytes(altered[begin:end])))
    return bytes(altered)


def lookup3(data):
    """Return Bob Jenkins' hash of bytes, the checksum of HDF5's newer structures."""

    def turned(x, by):
        return (x << by | x >> 32 - by) & (1 << 32) - 1

    state = [0xDEADBEEF + len(data)] * 3
    parts = [data[i : i + 12] for i in range(0, len(data), 12)]
    for part in parts:
        words = struct.unpack("<III", part.ljust(12, b"\0"))
        added = zip(state, words, strict=True)
        state = [(x + word) & (1 << 32) - 1 for x, word in added]
        if part is not parts[-1]:
            for i, by in enumerate((4, 6, 8, 16, 19, 4)):
                x, y, z = (i % 3, (i + 2) % 3, (i + 1) % 3)
                state[x] = (state[x] - state[y]) & (1 << 32) - 1 ^ turned(state[y], by)
                state[y] = (state[y] + state[z]) & (1 << 32) - 1
    for i, by in enumerate((14, 11, 25, 16, 4, 14, 24)):
        x, y = (i + 2) % 3, (i + 1) % 3
        state[x] = ((state[x] ^ state[y]) - turned(state[y], by)) & (1 << 32) - 1
    return state[2]


def _other_thing(f, rng, entries):
    import h5py

    found = [f]
    f.visititems(lambda _, thing: found.append(thing))
    thing = rng.choice(found)
    other = rng.choice(found)
    if len(thing.attrs) and rng.random() < 0.7:
        return _other_attribute(thing, rng, entries)
    if thing is f:
        f.attrs["more"] = _hdf5_value(rng)
        return None
    name, above = thing.name, thing.parent
    match rng.randrange(7):
        case 0:
            del f[name]
        case 1:
            del f[name]
            f[name] = _hdf5_value(rng)
        case 2:
            above[rng.choice(("x", "0", "vars", "é", "a" * 500))] = thing
        case 3:
            del f[name]
            f[name] = other
        case 4:
            f.move(name, rng.choice(("x", "layers/x", name + "x")))
        case 5:
            del f[name]
            f[name] = rng.choice(
                (h5py.SoftLink(other.name), h5py.ExternalLink(SECRET, "/x"))
            )
        case 6 if isinstance(thing, h5py.Dataset):
            value, kind = thing[()], rng.choice(("f2", "f8", "i8", "u1", "c8", "?"))
            del f[name]
            options = rng.choice(({}, {"chunks": True, "compression": "gzip"}))
            f.create_dataset(name, data=value.astype(kind), **options)
    return None


def _other_attribute(thing, rng, entries):
    name = rng.choice(list(thing.attrs))
    value = thing.attrs[name]
    text = value if isinstance(value, str) else getattr(value, "decode", str)()
    if text[:1] == "{" and rng.random() < 0.8:
        thing.attrs[name] = json.dumps(altered(json.loads(text), rng, entries))[:60_000]
    elif getattr(value, "ndim", 0) and rng.random() < 0.6:
        rows = list(value)
        rng.shuffle(rows)
        thing.attrs[name] = rows[rng.randrange(2) :] or rng.choice(([b"x"], [b"../x"]))
    else:
        thing.attrs[name] = _hdf5_value(rng)


def _hdf5_value(rng):
    import numpy as np

    return rng.choice(
        ("", "x", "{}", "[", 0, -1.5, b"\xff", np.zeros((2, 3)), np.zeros((0, 4)),
         np.array([b"a", b"../x"]), np.array(["a" * 99] * 9, "S"), np.array(b""),
         np.zeros((3,), "i1"), np.array([True]), np.zeros(2, "c8"),
         np.zeros(3, [("a", "f4")]), np.zeros((1,) * 20), np.array([b"dense"] * 3))
    )  # fmt: skip


# ---- tensors, snapshots, programs --------------------------------------------------


def safetensors_file(data, rng, entries=()):
    """Alter a `.safetensors` file: its header, or its bytes."""
    if rng.random() < 0.2:
        return damaged(data, rng)
    header, body = _split(data)
    if rng.random() < 0.2:
        body = damaged(body, rng)
    else:
        header = altered(header, rng, entries)
    text = json.dumps(header)
    if rng.random() < 0.1:
        text = text[:1] + text[1:].replace('"', '"__metadata__": {}, "', 1)
    return _joined(text.encode(), body)


def _split(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(text, body):
    return struct.pack("<Q", len(text)) + text + body


def snapshot_file(data, rng, entries=()):
    """Alter a snapshot: a part of its tree, or an array; the checksum is made right."""
    if rng.random() < 0.1:
        return damaged(data, rng)
    start = len(_MAGIC) + 8
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    head, body = json.loads(data[start : start + length]), data[start + length : -32]
    if rng.random() < 0.2:
        body = damaged(body, rng)
    else:
        part = rng.choice(head["dict"])  # all parts alike, however large they are
        part[:] = altered(part, rng, entries)
    text = json.dumps(head).encode()
    whole = _MAGIC + len(text).to_bytes(8, "little") + text + body
    return whole + hashlib.sha256(whole).digest()


def program_file(data, rng, entries=()):
    """Alter an exported program: its description, its weights, or StableHLO."""
    part = rng.random()
    if part < 0.1:
        return safetensors_file(data, rng, entries)
    header, body = _split(data)
    about = json.loads(header["__metadata__"]["lamina.export"])
    tensors = {
        name: body[slice(*entry["data_offsets"])]
        for name, entry in header.items()
        if name != "__metadata__"
    }
    name = rng.choice([name for name in tensors if name.startswith("program/")])
    if part < 0.35:
        about = altered(about, rng, entries)
    elif part < 0.4:
        name = rng.choice(list(tensors))
        tensors[name] = damaged(tensors[name], rng)
    elif part < 0.7:
        tensors[name] = damaged(tensors[name], rng)
    else:
        tensors[name] = _other_program(tensors[name], rng)
    if isinstance(about.get("checksums") if isinstance(about, dict) else 0, dict):
        about["checksums"] |= {n: zlib.crc32(v) for n, v in tensors.items()}
    at = 0
    for name, value in tensors.items():
        entry, end = header[name], at + len(value)
        if entry["data_offsets"] != [at, end]:
            entry["data_offsets"] = [at, end]
            if entry["dtype"] == "U8":
                entry["shape"] = [len(value)]
        at = end
    header["__metadata__"]["lamina.export"] = json.dumps(about)
    return _joined(json.dumps(header).encode(), b"".join(tensors.values()))


_OPERATIONS = (
    "add maximum divide abs while sort custom_call gather rng infeed send after_all "
    "remainder"
).split()
_TYPES = ("f32", "f64", "i32", "i8", "i1", "ui32", "complex<f32>", "index", "f16")


def _other_program(data, rng):
    """Change the text of a program; its bytes, where the text can no more be read."""
    from jax import export
    from jax.interpreters import mlir
    from jaxlib.mlir.dialects import stablehlo

    exported = export.deserialize(bytearray(data))
    text = exported.mlir_module()
    for _ in range(20):
        other = _other_text(text, rng)
        try:
            with mlir.make_ir_context():
                written = stablehlo.serialize_portable_artifact_str(
                    str(mlir.ir.Module.parse(other)), stablehlo.get_current_version()
                )
        except Exception:  # whatever MLIR says of it
            continue
        new = dataclasses.replace(exported, mlir_module_serialized=written)
        return bytes(new.serialize())
    # Its bytes inside of their frame, which says nothing of them but how many.
    inner = exported.mlir_module_serialized
    return data.replace(inner, damaged(inner, rng)[: len(inner)].ljust(len(inner)), 1)


def _other_text(text, rng):
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                numbers = [*re.finditer(r"(?<![%\w#])\d+", lines[at])]
                if numbers:
                    one = rng.choice(numbers)
                    new = rng.choice((0, 1, 2, int(one[0]) + 1, 2**31, 2**62, 2**40))
                    lines[at] = (
                        lines[at][: one.start()] + str(new) + lines[at][one.end() :]
                    )
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 3:
                kind, new = rng.choice(_TYPES), rng.choice(_TYPES)
                # A type in all places of a program is likelier to fit.
                if rng.random() < 0.5:
                    lines = [line.replace(kind, new) for line in lines]
                else:
                    lines[at] = lines[at].replace(kind, new, 1)
            case 4:
                new = f"stablehlo.{rng.choice(_OPERATIONS)}"
                lines[at] = re.sub(r"stablehlo\.\w+", new, lines[at], count=1)
            case 5:
                sizes = sorted(set(re.findall(r"(?<=[<x])\d+(?=x)", text)))
                if sizes:
                    old = rng.choice(sizes)
                    new = str(rng.choice((0, 1, 7, 2**20, 2**33)))
                    lines = [re.sub(rf"(?<=[<x]){old}(?=x)", new, x) for x in lines]
    return "\n".join(lines)


# ---- pictures, sounds, texts -------------------------------------------------------


def png_file(data, rng, entries=()):
    """Alter a chunk of a PNG, with its checksum; other pictures by their bytes."""
    if not data.startswith(b"\x89PNG") or rng.random() < 0.2:
        return damaged(data, rng)
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = rng.choice(chunks)
    if chunk[0] == b"IDAT" and rng.random() < 0.5:
        chunk[1] = zlib.compress(bytes(rng.choice((0, 1, 1 << 20))))
    elif chunk[0] == b"IHDR":
        at, size = rng.choice(((0, 4), (4, 4), (8, 1), (9, 1), (10, 1), (12, 1)))
        number = rng.choice((0, 1, 2, 3, 4, 6, 16, 255, 9000, 1 << 20))
        new = (number % 256**size).to_bytes(size, "big")
        chunk[1] = chunk[1][:at] + new + chunk[1][at + size :]
    else:
        chunk[rng.randrange(2)] = damaged(chunk[1], rng)
        chunk[0] = chunk[0][:4].ljust(4, b"x")
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), chunk)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )  # fmt: skip


def wav_file(data, rng, entries=()):
    """Alter a number in the head of a sound, or its bytes."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    at, size = rng.choice(
        ((4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (34, 2), (40, 4))
    )
    number = rng.choice((0, 1, 2, 3, 7, 24, 32, 64, 0xFFFE, 44100, 1 << 20, 2**32 - 1))
    new = (number % 256**size).to_bytes(size, "little")
    return data[:at] + new + data[at + size :]


def gzip_file(data, rng, entries=()):
    """Alter what a gzip holds, or its bytes."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    inside = damaged(gzip.decompress(data), rng)
    if rng.random() < 0.05:
        inside += bytes(rng.choice((1, 1 << 20)))
    return gzip.compress(inside, mtime=0)


def text_file(data, rng, entries=()):
    """Alter lines of a text."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            return damaged(data, rng)
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            lines[at] = b"" if rng.random() < 0.5 else b"x" * 9999
        case 3:
            lines = lines * rng.choice((2, 99))
        case 4:
            lines[at] = rng.choice(
                (b"[UNK]", b"\xff\xfe", b"\r", b"\0", b"-1", b"9" * 40)
            )
    return b"\n".join(lines)
