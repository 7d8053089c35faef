"""What the loaders of PyTorch, grain and TensorFlow yield trains as arrays do."""

import numpy as np
import pytest

import lamina
from lamina.data import as_arrays, open_source

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 3)).astype("float32")
Y = X.sum(1, keepdims=True)
WEIGHT = np.linspace(0.5, 2, 10, dtype="float32")


def fitted(*data, **arguments):
    """Return the history and the weights after two epochs."""
    lamina.utils.set_random_seed(1)
    inputs = lamina.Input((3,), name="a")
    output = lamina.layers.Dense(1)(inputs)
    named = arguments.pop("named", False)
    model = lamina.Model({"a": inputs} if named else inputs, output)
    model.compile("adam", "mse", weighted_metrics=["mae"])
    history = model.fit(*data, epochs=2, verbose=0, **arguments).history
    return history, [w.tolist() for w in model.get_weights()]


@pytest.fixture(scope="module")
def expected():
    """What the arrays give: three batches in order, the last one short."""
    arrays = {"batch_size": 4, "shuffle": False}
    return {
        "plain": fitted(X, Y, **arrays),
        "weighted": fitted(X, Y, sample_weight=WEIGHT, **arrays),
        "named": fitted({"a": X}, Y, named=True, **arrays),
    }


# ---- PyTorch -----------------------------------------------------------------


class Named:
    """Rows as a dict and a scalar, for the loader to collate."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"a": X[index]}, Y[index]


def rows(torch, *arrays, **arguments):
    tensors = map(torch.from_numpy, arrays)
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*tensors), batch_size=4, **arguments
    )


def test_torch_loaders(expected):
    torch = pytest.importorskip("torch")
    loader = rows(torch, X, Y)
    assert open_source(loader).batches == 3
    assert fitted(loader) == expected["plain"]
    assert fitted(loader, shuffle=True) == expected["plain"]
    assert fitted(rows(torch, X, Y, WEIGHT)) == expected["weighted"]
    named = torch.utils.data.DataLoader(Named(), batch_size=4)
    assert fitted(named, named=True) == expected["named"]


# PyTorch forks its workers: what it says of threads is its own affair.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")
def test_torch_loaders_with_workers(expected):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(Named(), batch_size=4, num_workers=2)
    assert fitted(loader, named=True) == expected["named"]


def test_torch_data_without_a_length(expected):
    torch = pytest.importorskip("torch")

    class Rows(torch.utils.data.IterableDataset):
        def __init__(self, passes):
            self.passes = passes

        def __iter__(self):
            for _ in range(self.passes):
                yield from zip(X, Y, strict=True)

    source = torch.utils.data.DataLoader(Rows(1), batch_size=4)
    assert fitted(source) == expected["plain"]
    endless = torch.utils.data.DataLoader(Rows(10**6), batch_size=4)
    assert len(fitted(endless, steps_per_epoch=2)[0]["loss"]) == 2


def test_torch_tensors(expected):
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)
    assert fitted(x, y, batch_size=4, shuffle=False) == expected["plain"]
    half = as_arrays(torch.tensor([1.0, 2.5], dtype=torch.bfloat16, requires_grad=True))
    assert half.dtype == "bfloat16" and half.tolist() == [1.0, 2.5]
    turned = torch.tensor([1 + 2j]).conj()
    assert as_arrays(turned).tolist() == [1 - 2j]


# ---- grain -------------------------------------------------------------------


def test_grain(expected):
    grain = pytest.importorskip("grain")
    pairs = grain.MapDataset.source(list(zip(X, Y, strict=True)))
    batched = pairs.batch(4)
    assert open_source(batched).batches == 3
    assert fitted(batched) == expected["plain"]
    assert fitted(pairs.to_iter_dataset().batch(4)) == expected["plain"]
    weighted = grain.MapDataset.source(list(zip(X, Y, WEIGHT, strict=True)))
    assert fitted(weighted.batch(4)) == expected["weighted"]
    assert (
        fitted(grain.MapDataset.source(Named()).batch(4), named=True)
        == (expected["named"])
    )
    history, _ = fitted(batched.repeat(), steps_per_epoch=3)
    assert history == expected["plain"][0]


def test_grain_loaders(expected):
    grain = pytest.importorskip("grain")
    sampler = grain.samplers.IndexSampler(10, num_epochs=1)
    loader = grain.DataLoader(
        data_source=Named(),
        sampler=sampler,
        operations=[grain.transforms.Batch(4)],
    )
    assert fitted(loader, named=True) == expected["named"]


# ---- TensorFlow --------------------------------------------------------------


def test_tensorflow(expected):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    assert open_source(data).batches == 3
    assert fitted(data) == expected["plain"]
    assert fitted(data, shuffle=True) == expected["plain"]
    weighted = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).batch(4)
    assert fitted(weighted) == expected["weighted"]
    named = tf.data.Dataset.from_tensor_slices(({"a": X}, Y)).batch(4)
    assert fitted(named, named=True) == expected["named"]
    assert fitted(named.filter(lambda x, y: True), named=True) == expected["named"]
    assert fitted(iter(data.repeat()), steps_per_epoch=3) == expected["plain"]
    assert (
        fitted(tf.constant(X), tf.constant(Y), batch_size=4, shuffle=False)
        == (expected["plain"])
    )
    with pytest.raises(ValueError, match="has no end.*steps_per_epoch"):
        fitted(data.repeat())
    ragged = tf.data.Dataset.from_tensors((tf.ragged.constant([[1.0], [2.0, 3.0]]),))
    with pytest.raises(ValueError, match="ragged tensors.*pad_sequences"):
        fitted(ragged)
