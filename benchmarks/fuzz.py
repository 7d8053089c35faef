"""Files that were damaged on purpose, at every door that opens files.

    python benchmarks/fuzz.py                      # 20,000 files, in half an hour
    python benchmarks/fuzz.py --files 500 --door resume --seed 7
    python benchmarks/fuzz.py --open resume FILE   # what a file that was kept does

Good files are made here, changed by `mutations` (atheris chooses which to change
further, where it is installed), and opened in processes that may be lost, some hundred
in each. What no file may do is counted, and the file kept in `build/fuzz`: an error of
another kind than is documented, the end of the process, more than ten seconds, much
memory, a file, an address or a process that it names. The exit code is 1 if one did.
"""

import argparse
import collections
import contextlib
import ctypes
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import io
import json
import math
import os
import pathlib
import pickle
import random
import re
import resource
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import warnings
import wave
import zipfile
from collections.abc import Callable

import mutations
import numpy as np

SECONDS, PATIENCE = 10, 30  # what a file may take, and when its process is ended
BATCH = 400  # files for each process
_IN_OPEN = 0x20  # of inotify
_ADDRESSES = 16 << 30  # bytes, of which far fewer are used
_LONGEST = 6000  # characters of an error
# What Python itself says of values that nobody looked at.
_BARE = re.compile(
    r"unsupported operand|'[^']*' (object|not supported)|.?\w+.? object is|"
    r"[^ ]+\(\) (got|missing|takes) .*('|given)$|cannot unpack|"
    r"unhashable|can only concatenate|argument of type|int\(\) argument|bad operand|"
    r"(not enough|too many) values|invalid literal|could not convert|\w+ indices must|"
    r".*must be (real number|str|int|a string|an integer), not|can't multiply|"
    r".*cannot be interpreted as an|list index|sequence item|object of type|strict mode"
)
KINDS = ("accepted", "refused")
WRONG = ("wrong error", "crash", "slow", "memory", "reached")


@dataclasses.dataclass
class Door:
    """A function that opens files.

    Attributes:
        files: the endings of the good files that it takes, each a pattern.
        change: makes another file of a good one.
        open: opens a path.
        share: of all files, how many come to this door; the parts of all shares.
        memory: how many MiB a file may take here.
        kinds: what its documentation says that it raises.
        folder: whether files are zips of what stands in a folder.
    """

    files: str
    change: Callable
    open: Callable
    share: int = 10
    memory: int = 512
    kinds: tuple = mutations.KINDS
    folder: bool = False


# ---- good files --------------------------------------------------------------------


def make_files(folder):
    """Write good files of each kind, and what the doors need besides."""
    (folder / mutations.SECRET).write_text("secret\n" * 20)
    (folder / f"{mutations.MODULE}.py").write_text("class Thing: pass\n")
    with contextlib.chdir(folder):  # where a lambda opens the secret
        _make_models(folder)
    _make_snapshots(folder)
    _make_archives(folder)
    _make_data(folder)
    (folder / "entries").write_text(json.dumps(entries()))


def _make_models(folder):
    import lamina

    lamina.utils.set_random_seed(0)
    for name, model in models().items():
        for ending in (".keras", ".h5"):
            if name != "texts" or ending == ".keras":
                model.save(folder / f"{name}{ending}")
        (folder / f"{name}.json").write_text(model.to_json())
        if name == "stack":
            for ending in (".weights.h5", ".safetensors"):
                model.save_weights(folder / f"{name}{ending}")
            model.save_weights(folder / "parts.weights.json", max_shard_size=1e-7)
            parts = {p.name: p.read_bytes() for p in folder.glob("parts*")}
            (folder / "parts.shards").write_bytes(mutations.zipped(parts))
            _other_hdf5(folder, model)
    for name in ("stack", "texts"):
        shutil.copy(folder / f"{name}.keras", folder / f"{name}.opened")
    for name, model in programs().items():
        model.export(folder / f"{name}.stablehlo", verbose=False)


@functools.cache
def stack():
    """Return a small model, compiled and trained; the one that weights are put into."""
    import lamina

    layers = lamina.layers
    model = lamina.Sequential(
        [
            lamina.Input((4,)),
            layers.Dense(3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(2, kernel_regularizer="l2", kernel_constraint="max_norm"),
        ]
    )
    model.compile("adam", "mse", metrics=["mae", lamina.metrics.AUC()])
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    return model


def models():
    """Return models of different kinds by name, small ones."""
    import lamina

    layers, ops = lamina.layers, lamina.ops
    words = lamina.Input((3,), dtype="int32")
    image = lamina.Input((6, 6, 1))
    x = layers.Bidirectional(layers.LSTM(3))(layers.Embedding(9, 4)(words))
    y = layers.MaxPooling2D()(layers.Conv2D(2, 3, activation="relu")(image))
    shared = layers.Dense(3)
    y = layers.Dense(6)(layers.Dropout(0.1)(layers.Flatten()(y)))
    nested = lamina.Sequential([lamina.Input((6,)), layers.Dense(6, "tanh")])
    outputs = layers.Concatenate()([shared(nested(x)), shared(nested(y[:, :6]))])
    outputs = ops.sum(outputs * 2.0 + ops.softmax(outputs), axis=-1, keepdims=True)
    wide = lamina.Model([words, image], layers.LayerNormalization()(outputs))

    heads = lamina.Input((5, 4), name="heads")
    z = layers.MultiHeadAttention(2, 3)(heads, heads)
    z = layers.TimeDistributed(layers.Dense(3, dtype="mixed_bfloat16"))(z)
    z = layers.GRU(2, return_sequences=True)(layers.Masking()(z))
    z = layers.RNN(layers.StackedRNNCells([layers.SimpleRNNCell(2)]))(z)
    attention = lamina.Model({"a": heads}, {"b": layers.Dense(2)(z)})
    attention.compile(
        lamina.optimizers.AdamW(lamina.optimizers.schedules.CosineDecay(0.1, 9)),
        {"b": lamina.losses.Huber()},
    )

    norm = layers.Normalization(mean=[1.0], variance=[2.0])
    pictures = lamina.Sequential(
        [
            lamina.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            norm,
            layers.RandomFlip(),
            layers.SeparableConv2D(2, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    text = layers.TextVectorization(output_sequence_length=3)
    text.adapt(["a b c", "b c d"])
    lookup = layers.StringLookup()
    lookup.adapt(["a\nb", "c"])
    strings = lamina.Input((1,), dtype="string")
    texts = lamina.Model(
        strings, [layers.Embedding(9, 2)(text(strings)), lookup(strings)]
    )
    code = lamina.Sequential(
        [
            lamina.Input((4,)),
            layers.Lambda(lambda x: open("lamina_fuzz_secret") and x),  # noqa: SIM115, PTH123
            layers.Dense(2),
        ]
    )
    return {
        "stack": stack(), "wide": wide, "attention": attention, "pictures": pictures,
        "texts": texts, "code": code,
    }  # fmt: skip


def programs():
    """Return models to export by name: a loop, a routine of LAPACK, sorting."""
    import lamina

    layers, ops = lamina.layers, lamina.ops
    x = lamina.Input((3, 3))
    factors = ops.qr(x)[0] + ops.cholesky(ops.matmul(ops.swapaxes(x, 1, 2), x))
    steps = lamina.Input((4, 2))
    return {
        "dense": lamina.Sequential([lamina.Input((3,)), layers.Dense(2, "relu")]),
        "factors": lamina.Model(x, ops.sort(factors)),
        "loop": lamina.Model({"s": steps}, {"a": layers.GRU(2)(steps), "b": steps}),
    }


def entries():
    """Return entries of configs of each public class, with arguments of all kinds."""
    import lamina

    rng, found = random.Random(0), []
    for place in (
        "layers", "optimizers", "losses", "metrics", "initializers", "regularizers",
        "constraints", "dtype_policies", "optimizers.schedules", "models",
    ):  # fmt: skip
        space = importlib.import_module(f"lamina.{place}")
        for name in dir(space):
            cls = getattr(space, name)
            if not inspect.isclass(cls):
                continue
            parameters = [*inspect.signature(cls).parameters, "name", "dtype"]
            for _ in range(6):
                chosen = rng.sample(parameters, min(len(parameters), rng.randrange(4)))
                config = {key: rng.choice(mutations._VALUES) for key in chosen}
                entry = {"module": f"keras.{place}", "class_name": name}
                found.append({**entry, "config": config, "registered_name": None})
    for module, name in lamina.core.op.OPS:
        config = {
            rng.choice(("axis", "n", "shape", "name")): rng.choice((0, -1, [1], 9))
        }
        found.append({"module": module, "class_name": name, "config": config})
    return found


def _other_hdf5(folder, model):
    """Write the weights of a model as other programs might: newer, packed."""
    import h5py

    with h5py.File(folder / "stack.weights.h5") as old:
        for name, version in (("packed", None), ("newer", "latest")):
            path = folder / f"{name}.weights.h5"
            with h5py.File(path, "w", libver=version, track_order=True) as new:

                def copied(place, thing, new=new, version=version):
                    if isinstance(thing, h5py.Dataset):
                        packed = {"compression": "gzip", "shuffle": True}
                        # Chunks of the newer form are refused whatever they hold.
                        options = packed if thing.shape and not version else {}
                        new.create_dataset(place, data=thing[()], **options)
                    else:
                        new.require_group(place).attrs.update(thing.attrs)

                old.visititems(copied)
                for i in range(30):  # more than eight are kept in a heap
                    new.create_group(f"more/{i}")


def training():
    """Return a function that trains a model with snapshots in a folder."""
    import lamina

    lamina.utils.set_random_seed(1)
    model = lamina.Sequential(
        [lamina.Input((4,)), lamina.layers.Dense(3, "relu"), lamina.layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")

    def fit(folder, log, **more):
        folder.mkdir(exist_ok=True)
        names = lamina.callbacks
        watching = [
            names.EarlyStopping("loss"),
            names.ReduceLROnPlateau("loss"),
            names.CSVLogger(log),
            names.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True),
        ]  # fmt: skip
        options = {"save_freq": None, "seconds": 1e9, **more}
        keep = names.BackupAndRestore(folder, delete_checkpoint=False, **options)
        model.fit(
            x, x[:, :1], batch_size=8, epochs=3, verbose=0, callbacks=watching,
            resume=keep,
        )  # fmt: skip

    return fit


def _make_snapshots(folder):
    fit = training()
    for number, often in enumerate((5, "epoch")):
        place = folder / f"run {number}"
        fit(place, folder / "log.csv", save_freq=often)
        for i, path in enumerate(place.glob("*.snapshot")):
            shutil.copy(path, folder / f"{number}{i}.snapshot")


def _make_archives(folder):
    for ending, mode in ((".tar.gz", "w:gz"), (".tar", "w"), (".tar.xz", "w:xz")):
        with tarfile.open(folder / f"data{ending}", mode) as archive:
            for name, size in (("a/b.txt", 9), ("a/" + "c" * 120, 600), ("d", 0)):
                entry = tarfile.TarInfo(name)
                entry.size = size
                archive.addfile(entry, io.BytesIO(b"x" * size))
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, "a/b.txt"
            archive.addfile(entry)
    found = {"a/b.txt": b"text" * 9, "config.json": b"{}", "c": bytes(2000)}
    data = mutations.zipped(found, zipfile.ZIP_DEFLATED)
    (folder / "data.zip").write_bytes(data)


def _make_data(folder):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), "uint8")
    for ending in (".png", ".jpg", ".gif", ".bmp"):
        Image.fromarray(pixels).save(folder / f"image{ending}")
    Image.fromarray(pixels[..., 0].astype("uint16") * 9).save(folder / "deep.png")
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(200)))
    (folder / "text.txt").write_text("line\n" * 9 + "é")
    (folder / "words.vocabulary").write_text("a\nb\nsome word\né\n")
    (folder / "numbers.vocabulary").write_text("1\n2\n33\n")
    array = np.empty(3, object)
    array[:] = [[1, 2], [3], []]
    data = {b"data": pixels, "labels": [1, 2.5, None, True], "t": ("a", b"b", 1 << 40)}
    for protocol in (2, 3, 4):
        for name, value in (("dict", data), ("lists", array)):
            path = folder / f"{name}{protocol}.pickle"
            path.write_bytes(pickle.dumps(value, protocol))
    np.savez(folder / "arrays.npz", x=array, y=np.arange(3))
    np.savez_compressed(folder / "packed.npz", x=array, y=np.arange(99))
    shutil.move(folder / "arrays.npz", folder / "arrays.arrays")
    shutil.move(folder / "packed.npz", folder / "packed.arrays")
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (4, 3, 2))
    (folder / "images.idx.gz").write_bytes(
        mutations.gzip.compress(header + bytes(range(24)), mtime=0)
    )


# ---- doors -------------------------------------------------------------------------


def _json(path):
    return json.loads(path.read_bytes())


def _from_config(path):
    import lamina

    config = _json(path)
    config = config if isinstance(config, dict) else {"config": config}
    kind = lamina.Sequential if "Seq" in path.read_text()[:99] else lamina.Model
    kind.from_config(config.get("config"))


def _edited(path):
    import lamina

    with contextlib.redirect_stdout(io.StringIO()):
        editor = lamina.saving.KerasFileEditor(path)
        editor.summary()
        editor.compare(stack())
        editor.save(path.with_name("other.weights.h5"))


def _inspected(path):
    from lamina.__main__ import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(["inspect", str(path)])
    if code:
        raise ValueError(said.getvalue()[-200:])


def _exported(path):
    import lamina

    lamina.export.load(path)


@functools.cache
def _trainer():
    return training()


def _resumed(path):
    """Go on with a run whose snapshot this is; no other file is in its folder."""
    shutil.rmtree(path.parent / "run", ignore_errors=True)
    (path.parent / "run").mkdir()
    shutil.copy(path, path.parent / "run" / "000000000000.snapshot")
    try:
        _trainer()(path.parent / "run", path.parent / "log.csv")
    except ValueError as error:
        if "another run" not in str(error):
            _trainer.cache_clear()
        raise


def _fetched(path):
    import lamina

    cache = path.parent / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    lamina.utils.get_file("data", path.as_uri(), extract=True, cache_dir=cache)


def _of_folder(kind, **options):
    """Return a function that reads a file as the only one of a folder."""

    def read(path):
        import lamina

        make = getattr(lamina.utils, f"{kind}_dataset_from_directory")
        folder = path.parent / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(path, folder)
        for _ in make(folder, labels=None, format="lamina", verbose=False, **options):
            pass

    return read


def _read_image(path):
    import lamina

    _of_folder("image", image_size=(4, 4))(path)
    np.asarray(lamina.utils.load_img(path, "rgba", target_size=(3, 3)))


def _vocabulary(path):
    import lamina

    layers = lamina.layers
    if random.Random(path.read_bytes()).random() < 0.3:
        layers.IntegerLookup(vocabulary=str(path))
    else:
        layers.StringLookup(vocabulary=str(path))(np.array(["a", "zz"]))
        layers.TextVectorization(vocabulary=str(path))


def _pickled(path):
    from lamina.datasets import pickled

    pickled.read(path)


def _arrays(path):
    from lamina.datasets import pickled

    pickled.arrays(path)


def _fashion(path):
    """Read the file as one of those of Fashion-MNIST, whatever its hash."""
    from lamina.datasets import fashion_mnist

    fashion_mnist._entries(path)


def doors():
    """Return all doors by name."""
    import lamina

    m, load = mutations, lamina.saving.load_model
    disk = (*m.KINDS, OSError)

    def weights(path):
        stack().load_weights(path)

    def by_name(path):
        stack().load_weights(path, by_name=True, skip_mismatch=True)

    def opened(path):
        with path.open("rb") as file:
            load(file)

    def from_json(path):
        lamina.models.model_from_json(path.read_text())

    def deserialized(path):
        lamina.saving.deserialize_keras_object(_json(path))

    inspected = r"stack\.\w+(\.\w+)?|.*\.weights\.h5|texts\.keras|code\.keras"
    return {
        "load_model .keras": Door(r".*\.keras", m.zip_file, load, 40),
        "load_model folder": Door(r".*\.opened", m.zip_file, load, 5, folder=True),
        "load_model open file": Door(r".*\.keras", m.zip_file, opened, 5),
        "load_model .h5": Door(r"(?!.*weights).*\.h5", m.hdf5_file, load, 20),
        "load_weights .keras": Door(r"stack\.keras", m.zip_file, weights, 8),
        "load_weights .weights.h5": Door(
            r"(?!parts).*\.weights\.h5", m.hdf5_file, weights, 15
        ),
        "load_weights .h5": Door(r"stack\.h5", m.hdf5_file, weights, 8),
        "load_weights by name": Door(r"stack\.h5", m.hdf5_file, by_name, 5),
        "load_weights .safetensors": Door(
            r".*\.safetensors", m.safetensors_file, weights, 10
        ),
        "load_weights shards": Door(
            r".*\.shards", m.zip_file,
            lambda path: weights(path / "parts.weights.json"), 8, folder=True,
        ),
        "model_from_json": Door(r"\w+\.json", m.json_file, from_json, 25, 2048),
        "from_config": Door(r"\w+\.json", m.json_file, _from_config, 10, 2048),
        "deserialize": Door(r"\w+\.json", m.json_file, deserialized, 10, 2048),
        "KerasFileEditor .keras": Door(r".*\.keras", m.zip_file, _edited, 6),
        "KerasFileEditor .h5": Door(r".*\.weights\.h5", m.hdf5_file, _edited, 6),
        "inspect": Door(inspected, _any_file, _inspected, 15),
        "export.load": Door(r".*\.stablehlo", m.program_file, _exported, 15),
        "resume": Door(r".*\.snapshot", m.snapshot_file, _resumed, 15),
        "get_file tar": Door(
            r"data\.tar.*", m.tar_file, _fetched, 6, kinds=disk
        ),
        "get_file zip": Door(r"data\.zip", m.zip_file, _fetched, 4, kinds=disk),
        "images": Door(r".*\.(png|jpg|gif|bmp)", m.png_file, _read_image, 6),
        "sounds": Door(
            r".*\.wav", m.wav_file, _of_folder("audio", sampling_rate=8000), 3
        ),
        "texts": Door(r"text\.txt", m.text_file, _of_folder("text"), 2),
        "vocabularies": Door(r".*\.vocabulary", m.text_file, _vocabulary, 4),
        "datasets pickles": Door(
            r".*\.pickle", lambda data, rng, _=(): m.damaged(data, rng), _pickled, 5
        ),
        "datasets .npz": Door(r".*\.arrays", m.zip_file, _arrays, 4),
        "datasets IDX": Door(r".*\.idx\.gz", m.gzip_file, _fashion, 2),
    }  # fmt: skip


def _any_file(data, rng, entries=()):
    change = (
        mutations.zip_file if data[:2] == b"PK"
        else mutations.hdf5_file if data[1:4] == b"HDF"
        else mutations.json_file if data[:1] == b"{"
        else mutations.safetensors_file
    )  # fmt: skip
    return change(data, rng, entries)


# ---- one process -------------------------------------------------------------------


class Watch:
    """Notes what a file makes the process open, start or import."""

    _NEVER = (
        "os.exec os.fork os.posix_spawn os.spawn os.system socket.connect socket.bind "
        "socket.getaddrinfo pickle.find_class ctypes.dlopen code.__new__"
    ).split()

    def __init__(self, folder):
        self.seen = None
        self._secret = os.path.realpath(folder / mutations.SECRET)
        # HDF5 and other libraries open files without a word to Python.
        libc = ctypes.CDLL(None)
        self._opened = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self._opened, self._secret.encode(), _IN_OPEN)
        self._roots = tuple(
            os.path.realpath(p)
            for p in (folder, tempfile.gettempdir(), sys.prefix, sys.base_prefix,
                      *site.getsitepackages(), pathlib.Path(__file__).parents[1],
                      "/proc", "/sys", "/dev", *filter(None, sys.path))
        )  # fmt: skip
        sys.addaudithook(self)

    def taken(self):
        """Return what was noted since `seen` was made a list, and note no more."""
        seen, self.seen = self.seen, None
        with contextlib.suppress(BlockingIOError):
            os.read(self._opened, 1 << 16)
            seen.append("a library opened the secret")
        return seen

    def __call__(self, event, args):
        if self.seen is None:
            return
        bad = event in self._NEVER
        if event == "open":
            path = args[0]
            if isinstance(path, (str, bytes)):
                path = os.path.realpath(os.fsdecode(path))
                bad = path == self._secret or not path.startswith(self._roots)
        elif event == "import":
            bad = args[0].startswith(mutations.MODULE)
        elif event == "urllib.Request":
            bad = not args[0].startswith("file:")
        elif event == "subprocess.Popen":
            from lamina.export import reading

            bad = reading._START not in args[1]
        if bad:
            self.seen.append(f"{event} {str(args)[:200]}")


_watch_over = functools.cache(Watch)  # a hook stays as long as the process


def _peak():
    """Return the largest resident memory since the last call, in MiB."""
    text = pathlib.Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", text)[1]) >> 10
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    return peak


def _unpack(data, folder):
    """Write the members of a zip into a folder, as far as they can be."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        found = mutations.members(data)
    except Exception:  # whatever zipfile says of a damaged one
        return
    for name, value in found.items():
        parts = [p[:99] for p in name.split("/") if p not in ("", "..")]
        with contextlib.suppress(OSError, ValueError):
            target = pathlib.Path(folder, *parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(value)


class Opener:
    """Opens files at a door, one after the other, and says what came of each."""

    def __init__(self, name, folder, work):
        self.door, self.work = doors()[name], work
        self.good = good = {
            path.name: path.read_bytes()
            for path in sorted(folder.iterdir())
            if re.fullmatch(self.door.files, path.name)
        }
        self.entries = json.loads((folder / "entries").read_text())
        # What a process does once: it reads modules, starts the reader of programs.
        for known, data in good.items():
            self.open(data, "." + known.partition(".")[2])
        self.watch = _watch_over(folder)

    def open(self, data, ending):
        """Write a file and open it."""
        self.path = path = self.work / f"file{ending}"
        path.write_bytes(data)
        if self.door.folder:
            path = self.work / "members"
            _unpack(data, path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.door.open(path)
            return "accepted", ""
        except Exception as error:
            return self._of(error)

    def _of(self, error):
        text = str(error)
        known = isinstance(error, self.door.kinds) and not _BARE.match(text)
        if known and text and len(text) <= _LONGEST:
            return "refused", ""
        return "wrong error", f"{type(error).__name__}: {text[:300]!r}"

    def tried(self, data, ending):
        """Open a file and return `(outcome, what to say of it)`."""
        _peak()
        before = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) >> 8
        start = time.perf_counter()
        self.watch.seen = []
        outcome, said = self.open(data, ending)
        seen = self.watch.taken()
        seconds, taken = time.perf_counter() - start, _peak() - before
        if seen:
            return "reached", seen[0]
        if taken > self.door.memory:
            return "memory", f"{taken} MiB; {said}"
        if seconds > SECONDS:
            return "slow", f"{seconds:.0f} s; {said}"
        return outcome, said or f"{seconds:.2f} {taken}"

    def mutated(self, seed):
        """Return the bytes and the ending of another file."""
        rng = random.Random(seed)
        name = rng.choice(list(self.good))
        data = self.changed(self.good[name], rng)
        return data, "." + name.partition(".")[2]

    def changed(self, data, rng):
        """Return other bytes, changed once or twice."""
        for _ in range(rng.choice((1, 1, 1, 1, 2))):
            try:
                data = self.door.change(data, rng, self.entries)
            except Exception:  # it is no more what such a change is for
                data = mutations.damaged(data, rng)
        return data


def serve(name, folder, work, kept, seed, first, last):
    """Open files and print a line before and after each: the life of a process."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    sys.path.append(str(folder))  # where a module is that nothing may import
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    guided = importlib.util.find_spec("atheris") is not None
    if guided:
        atheris = importlib.import_module("atheris")
        # From here on, for lamina is imported as it is used.
        atheris.instrument_imports(include=["lamina"]).__enter__()
    opener = Opener(name, folder, work)
    numbers = iter(range(first, last))
    print("ready", file=out)

    def one(data, ending):
        if (number := next(numbers, None)) is None:
            os._exit(0)
        print(number, file=out)
        outcome, said = opener.tried(data, ending)
        if outcome in WRONG:
            _keep(name, number, work, kept)
        print(outcome, " ".join(said.split("\n")), sep="\t", file=out)

    if guided:
        _guide(atheris, opener, one, work, f"{seed} {name} {first}")
    for number in range(first, last):
        one(*opener.mutated(f"{seed} {name} {number}"))


def _guide(atheris, opener, one, work, seed):
    """Let atheris choose which files to change further, by the lines they reach."""
    endings = {data[:4]: "." + n.partition(".")[2] for n, data in opener.good.items()}
    usual = next(iter(endings.values()))
    if not (corpus := work / "corpus").exists():
        corpus.mkdir()
        for name, data in opener.good.items():
            (corpus / name).write_bytes(data)

    def changed(data, most, number):
        return opener.changed(data, random.Random(number))[:most]

    number = random.Random(seed).randrange(1, 1 << 31)
    options = (
        f"-seed={number} -max_len=1000000 -rss_limit_mb=0 -malloc_limit_mb=0 "
        "-timeout=1000 -detect_leaks=0 -len_control=0"
    )
    atheris.Setup(
        ["fuzz", *options.split(), str(corpus)],
        lambda data: one(data, endings.get(data[:4], usual)),
        custom_mutator=changed,
    )
    atheris.Fuzz()


# ---- all of them -------------------------------------------------------------------


class Count:
    """What came of the files at one door."""

    def __init__(self):
        self.of = collections.Counter()
        self.slowest = self.largest = 0.0
        self.errors = collections.Counter()

    def add(self, outcome, said):
        self.of[outcome] += 1
        if outcome in KINDS:
            seconds, taken = said.split() if said else (0, 0)
            self.slowest = max(self.slowest, float(seconds))
            self.largest = max(self.largest, int(taken))

    @property
    def wrong(self):
        return sum(self.of[name] for name in WRONG)


def fuzz_door(name, count, folder, kept, seed):
    """Open so many changed files at a door; return the `Count`."""
    found, first = Count(), 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        while first < count:
            last = min(count, first + BATCH)
            first = _watch(name, folder, work, seed, first, last, found, kept)
    return found


def _environment():
    """Return the variables of a process that works in another folder."""
    import lamina

    found = [str(pathlib.Path(lamina.__file__).parents[1]), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found), "LAMINA_CACHE": "0"}


def _watch(name, folder, work, seed, first, last, found, kept):
    """Follow one process; return the number of the file to go on with."""
    given = name, folder, work, kept, seed, first, last
    command = [sys.executable, __file__, "--serve", *map(str, given)]
    with (work / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
            env=_environment(),
        )  # fmt: skip
        if process.stdout.readline() != "ready\n":
            process.wait()
            raise RuntimeError((work / "stderr").read_text()[-3000:])
        number = first - 1
        while line := process.stdout.readline():
            number = int(line)
            late = threading.Timer(PATIENCE, process.kill)
            late.start()
            answer = process.stdout.readline().rstrip("\n")
            hung = not late.is_alive()
            late.cancel()
            outcome, _, said = answer.partition("\t")
            if not answer:
                process.wait()
                outcome = "slow" if hung else "crash"
                said = "" if hung else f"exit code {process.returncode}"
                _keep(name, number, work, kept)
            found.add(outcome, said)
            if outcome in WRONG:
                print(f"{name}, file {number}: {outcome}: {said}", flush=True)
        process.stdout.close()
        process.wait()
    # HDF5 may crash as the first file is changed, before it is opened: it is left out.
    return last if number == last - 1 else max(number, first) + 1


def _keep(name, number, work, kept):
    """Keep the file that was opened last."""
    kept.mkdir(parents=True, exist_ok=True)
    path = max(work.glob("file*"), key=lambda p: p.stat().st_mtime_ns)
    shutil.copy(path, kept / f"{name.replace(' ', '_')}-{number}{path.name[4:]}")


def fuzz(count, names=None, seed=0):
    """Open changed files at all doors and print a table.

    Args:
        count: how many files in all.
        names: the doors; all when None.
        seed: what the changes are drawn from.

    Returns:
        How many files were opened, or refused as they should be, and how many there
        were.
    """
    kept = pathlib.Path(__file__).parents[1] / "build" / "fuzz"
    all_doors = doors()
    names = names or list(all_doors)
    shares = sum(all_doors[name].share for name in names)
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--make", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for name in names:
            part = math.ceil(count * all_doors[name].share / shares)
            start = time.perf_counter()
            counts[name] = fuzz_door(name, part, pathlib.Path(folder), kept, seed)
            seconds = time.perf_counter() - start
            print(f"{name}: {part} files in {seconds:.0f} s", flush=True)
    _print_table(counts)
    of = sum(sum(found.of.values()) for found in counts.values())
    return of - sum(found.wrong for found in counts.values()), of


def _print_table(counts):
    heads = ("door", "files", *KINDS, *WRONG, "longest s", "most MiB")
    rows = [
        (name, sum(c.of.values()), *(c.of[key] for key in (*KINDS, *WRONG)),
         f"{c.slowest:.1f}", f"{c.largest:.0f}")
        for name, c in counts.items()
    ]  # fmt: skip
    sums = [sum(column) for column in list(zip(*rows, strict=True))[1:9]]
    rows.append(("all", *sums, "", ""))
    widths = [
        max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))
    ]
    for row in [heads, *rows]:
        cells = [str(row[0]).ljust(widths[0])]
        cells += [str(x).rjust(w) for x, w in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells), flush=True)


def main():
    """Read the arguments."""
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--files", type=int, default=20_000, help="how many in all")
    cli.add_argument("--door", action="append", help="one door alone, or some")
    cli.add_argument("--seed", type=int, default=0, help="the same one: the same files")
    cli.add_argument("--open", nargs=2, metavar=("DOOR", "FILE"), help="one file again")
    cli.add_argument("--make", help=argparse.SUPPRESS)
    cli.add_argument("--serve", nargs=7, help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.make:
        warnings.simplefilter("ignore")
        make_files(pathlib.Path(options.make))
    elif options.serve:
        name, *rest = options.serve
        serve(name, *map(pathlib.Path, rest[:3]), *map(int, rest[3:]))
    elif options.open:
        name, path = options.open
        with tempfile.TemporaryDirectory() as work:
            copy = pathlib.Path(shutil.copy(path, work))
            if doors()[name].folder:
                _unpack(copy.read_bytes(), copy := pathlib.Path(work, "members"))
            doors()[name].open(copy)
    else:
        right, of = fuzz(options.files, options.door, options.seed)
        sys.exit(right != of)


if __name__ == "__main__":
    main()
