import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import lamina
from lamina.data import (
    ArraySource,
    IterableSource,
    as_arrays,
    open_source,
    pack,
    sources,
    split,
    unpack,
)


def batches(source):
    return list(source.epoch())


# ---- arrays ------------------------------------------------------------------


def test_numbers():
    assert as_arrays([1, 2, 3]).tolist() == [1, 2, 3]
    assert as_arrays([[1.5], [2.5]]).dtype == "float32"
    assert as_arrays(np.zeros(2)).dtype == "float32"
    assert as_arrays(np.zeros(2, "float16")).dtype == "float16"
    assert as_arrays(np.zeros(2, bool)).dtype == bool
    assert as_arrays((np.zeros(2), {"a": [1, 2]}))[1]["a"].shape == (2,)
    assert as_arrays(None) is None
    assert as_arrays(lamina.ops.ones((2,))).shape == (2,)
    assert as_arrays(["a", "b"]).dtype.kind == "U"


@pytest.mark.parametrize(
    "value", [[[1, 2], [3]], [[], [1]], [[[1]], [[1, 2]]], [[1], 2]]
)
def test_ragged_rows(value):
    with pytest.raises(
        ValueError, match="`y` is a list of rows of different lengths.*pad"
    ):
        as_arrays(value, "y")


def test_objects():
    ragged = np.empty(2, object)
    ragged[:] = [[1], [1, 2]]
    with pytest.raises(
        ValueError, match=r"`x\['a'\]` is an array of objects \(shape \(2,\)"
    ):
        as_arrays({"a": ragged})
    with pytest.raises(ValueError, match="array of objects"):
        as_arrays([1.0, None])
    with pytest.raises(TypeError, match="`x` is not data.*type object"):
        as_arrays(object())


def test_frames():
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    assert as_arrays(frame).tolist() == [[1.0, 0.5], [2.0, 1.5]]
    assert as_arrays(frame["a"]).shape == (2, 1)
    assert as_arrays(frame["a"].astype("category")).tolist() == [[0], [1]]
    assert as_arrays({"t": frame})["t"].dtype == "float32"


def test_frames_of_mixed_numbers_and_truths():
    frame = pandas.get_dummies(pandas.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]}))
    assert as_arrays(frame).tolist() == [[1.5, 1.0, 0.0], [2.0, 0.0, 1.0]]
    frame = pandas.DataFrame({"a": pandas.array([1, 2], "Int64"), "b": [0.5, 1.0]})
    assert as_arrays(frame).tolist() == [[1.0, 0.5], [2.0, 1.0]]


def test_frames_of_other_things():
    frame = pandas.DataFrame(
        {"n": [1, 2], "city": ["A", "B"], "day": pandas.to_datetime(["2020", "2021"])}
    )
    frame["kind"] = frame["city"].astype("category")
    with pytest.raises(
        ValueError, match=r"not numbers: \['city', 'day', 'kind'\].*get_dum"
    ):
        as_arrays(frame)
    missing = pandas.DataFrame({"a": pandas.array([True, None], "boolean")})
    with pytest.raises(ValueError, match=r"missing values.*\['a'\].*fillna"):
        as_arrays(missing)
    with pytest.raises(ValueError, match="`y` is a Series.*missing values"):
        as_arrays(missing["a"], "y")
    with pytest.raises(ValueError, match="`y` is a Series.*not of numbers"):
        as_arrays(frame["city"], "y")


def test_series_of_other_things():
    words = pandas.Series(["b", None, "a"], dtype="category", name="kind")
    with pytest.raises(ValueError, match=r"missing values in \['kind'\]"):
        as_arrays(words, "y")  # its code would be -1
    numbers = pandas.Series([1, 2.5], dtype=object)
    with pytest.raises(ValueError, match="Series of object.*to_numeric"):
        as_arrays(numbers)
    with pytest.raises(ValueError, match=r"\['n'\] \(of object\).*to_numeric"):
        as_arrays(numbers.to_frame("n"))
    assert as_arrays(pandas.to_numeric(numbers)).tolist() == [[1.0], [2.5]]
    assert as_arrays(pandas.Series([1, 2], dtype="Int64")).dtype == "int64"
    twice = pandas.DataFrame([[1, True], [2, False]], columns=["a", "a"])
    assert as_arrays(twice).tolist() == [[1, 1], [2, 0]]


def test_polars_frames():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    assert as_arrays(frame).tolist() == [[1.0, 0.5, 1.0], [2.0, 1.5, 0.0]]
    assert as_arrays(frame).dtype == "float32"
    assert as_arrays(frame[["a"]]).dtype == "int64"
    assert as_arrays(frame["a"]).tolist() == [[1], [2]]
    assert as_arrays({"t": frame["b"]})["t"].tolist() == [[0.5], [1.5]]
    exact = polars.Series(["1.5", "2.5"]).cast(polars.Decimal(10, 2))
    assert as_arrays(exact.to_frame("d")).tolist() == [[1.5], [2.5]]
    words = polars.Series(["b", "a"])
    assert as_arrays(words.cast(polars.Enum(["a", "b"])), "y").tolist() == [[1], [0]]
    assert as_arrays(words, "x").tolist() == [["b"], ["a"]]
    pairs = polars.Series([[1, 2], [3, 4]], dtype=polars.Array(polars.Int8, 2))
    assert as_arrays(pairs).tolist() == [[1, 2], [3, 4]]


def test_polars_frames_of_other_things():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"n": [1, None], "city": ["A", "B"], "o": [object(), object()], "l": [[1], [2]]}
    )
    with pytest.raises(ValueError, match=r"not numbers: \['city', 'o', 'l'\].*dummies"):
        as_arrays(frame)
    with pytest.raises(ValueError, match=r"missing values in \['n'\].*fill_null"):
        as_arrays(frame[["n"]])
    with pytest.raises(ValueError, match=r"Series with missing.*\['n'\].*drop_nulls"):
        as_arrays(frame["n"], "y")
    with pytest.raises(ValueError, match="`y` is a Series of String.*Enum"):
        as_arrays(frame["city"], "y")
    with pytest.raises(ValueError, match="Series of Categorical"):
        as_arrays(frame["city"].cast(polars.Categorical))
    with pytest.raises(TypeError, match=r"`x` is a LazyFrame. Give `x.collect\(\)`"):
        as_arrays(frame.lazy())


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_training_on_frames(package):
    package = pytest.importorskip(package)
    x = np.linspace(0, 1, 12).reshape(6, 2)
    columns = {"a": x[:, 0], "b": x[:, 1], "y": x.sum(1)}
    frame = package.DataFrame(columns)

    def losses(x, y):
        lamina.utils.set_random_seed(0)
        model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(x, y, 4, 2, validation_data=(x, y), verbose=0).history
        return history, model.predict(x, verbose=0).tolist()

    expected = losses(x, columns["y"])
    assert losses(frame[["a", "b"]], frame["y"]) == expected
    assert losses(frame[["a", "b"]], frame[["y"]]) == expected


def test_packing():
    assert unpack((1, 2)) == (1, 2, None) and unpack([1]) == (1, None, None)
    assert unpack({"a": 1}) == ({"a": 1}, None, None)
    for parts in ((1,), (1, 2), (1, 2, 3), ([1],), ((1,),)):
        assert unpack(pack(*parts)) == (*parts, None, None)[:3]
    with pytest.raises(ValueError, match="tuple of 4 parts"):
        unpack((1, 2, 3, 4))


# ---- batches of arrays -------------------------------------------------------


def test_batches():
    x, y = {"a": np.arange(5), "b": [np.arange(10).reshape(5, 2), None]}, np.arange(5.0)
    source = open_source(x, y, batch_size=2)
    assert (source.rows, source.batches) == (5, 3)
    got = batches(source)
    assert [b[0]["a"].tolist() for b in got] == [[0, 1], [2, 3], [4]]
    assert got[1][0]["b"][0].tolist() == [[4, 5], [6, 7]]
    assert got[1][0]["b"][1] is None and got[1][2] is None
    assert source.first()[1].tolist() == [0.0, 1.0]
    assert open_source([1.0, 2.0]).batch_size == 32


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    size=st.integers(1, 12),
    how=st.sampled_from([True, "batch"]),
)
def test_shuffling_covers_each_row_once(rows, size, how):
    x = np.arange(rows)
    source = ArraySource(x, x * 2, None, size, how, None, seed=1)
    for _ in range(2):
        got = batches(source)
        seen = np.concatenate([b[0] for b in got])
        assert sorted(seen) == x.tolist()
        assert np.concatenate([b[1] for b in got]).tolist() == (seen * 2).tolist()
        if how == "batch":
            for b, _, _ in got:
                assert np.diff(b).tolist() == [1] * (len(b) - 1) and b[0] % size == 0
        else:
            assert all(len(b[0]) == size for b in got[:-1])


def test_shuffling_differs_by_epoch_and_agrees_by_seed():
    def orders(seed):
        source = ArraySource(np.arange(50), None, None, 50, True, None, seed=seed)
        return [batches(source)[0][0].tolist() for _ in range(2)]

    assert orders(1) == orders(1) != orders(2)
    assert orders(1)[0] != orders(1)[1]


def test_steps():
    source = open_source(np.arange(6), batch_size=2, steps=2)
    epochs = [[b[0].tolist() for b in batches(source)] for _ in range(3)]
    assert epochs == [[[0, 1], [2, 3]], [[4, 5], [0, 1]], [[2, 3], [4, 5]]]


def test_too_many_steps_end_with_the_data():
    source = open_source(np.arange(3), batch_size=2, steps=5)
    for _ in range(2):
        assert [b[0].tolist() for b in batches(source)] == [[0, 1], [2]]


@settings(max_examples=30, deadline=None)
@given(npst.arrays("float64", npst.array_shapes(max_dims=3, max_side=4),
                   elements=st.floats(-1e6, 1e6)))  # fmt: skip
def test_any_array_comes_through(x):
    got = np.concatenate([b[0] for b in batches(open_source(x, batch_size=3))])
    assert got.dtype == "float32" and got.shape == x.shape
    np.testing.assert_array_equal(got, x.astype("float32"))


def test_different_lengths():
    with pytest.raises(ValueError, match=r"x\.a: 3, x\.b\.0: 2, y: 3"):
        open_source({"a": np.ones(3), "b": [np.ones(2)]}, np.ones(3))
    with pytest.raises(ValueError, match="x: 3, y: 2"):
        split(np.ones(3), np.ones(2), None, 0.5)
    with pytest.raises(ValueError, match="x: 4, sample_weight: 2"):
        split(np.ones(4), None, np.ones(2), 0.5)


def test_no_rows():
    for empty in ([], np.zeros((0, 3))):
        with pytest.raises(ValueError, match="0 rows"):
            open_source(empty)
    for scalar in (3.0, np.float32(2), [None, 1.0]):
        with pytest.raises(ValueError, match="at least one axis"):
            open_source(scalar)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "a"])
def test_bad_batch_sizes(size):
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        open_source(np.ones(3), batch_size=size)


def test_splits():
    x = {"a": np.arange(10)}
    (x1, y1, w1), (x2, y2, w2) = split(x, np.arange(10), None, 0.3)
    assert x1["a"].tolist() == y1.tolist() == list(range(7)) and w1 is w2 is None
    assert x2["a"].tolist() == y2.tolist() == [7, 8, 9]
    for share in (0, 1, 2, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            split(np.ones(3), None, None, share)
    with pytest.raises(ValueError, match="1 samples, which is not sufficient"):
        split(np.ones(1), None, None, 0.5)
    with pytest.raises(ValueError, match="needs arrays"):
        split(iter([1]), None, None, 0.5)


# ---- what yields batches -----------------------------------------------------


def firsts(source):
    return [float(b[0][0]) for b in source.epoch()]


class Again:
    def __init__(self, n=3):
        self.n = n

    def __iter__(self):
        return (([float(i)], [0.0]) for i in range(self.n))


class Indexed:
    ended = 0

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return [float(i)], [0.0]

    def on_epoch_end(self):
        self.ended += 1


def test_a_generator_runs_once():
    source = open_source(iter(Again()))
    assert isinstance(source, IterableSource) and source.batches is None
    assert float(source.first()[0][0]) == 0.0 and source.batch_size == 1
    assert firsts(source) == [0.0, 1.0, 2.0]
    assert source.batches == 3
    assert firsts(source) == []


def test_an_iterable_runs_again():
    source = open_source(Again())
    for _ in range(2):
        source.first()
        assert firsts(source) == [0.0, 1.0, 2.0]


def test_steps_of_a_generator():
    endless = ((np.full(1, i), None) for i in iter(int, 1))
    source = open_source(endless, steps=2)
    assert [len(batches(source)) for _ in range(3)] == [2, 2, 2]
    source = open_source(iter(Again(5)), steps=2)
    assert [firsts(source) for _ in range(4)] == [[0.0, 1.0], [2.0, 3.0], [4.0], []]


def test_steps_of_an_iterable():
    source = open_source(Again(3), steps=2)
    assert [firsts(source) for _ in range(3)] == [[0.0, 1.0], [2.0], [0.0, 1.0]]
    source = open_source(Again(2), steps=5)
    assert [firsts(source) for _ in range(2)] == [[0.0, 1.0], [0.0, 1.0]]


RESTARTED = {
    "arrays": lambda: (np.arange(3.0), np.zeros(3)),
    "an iterable": lambda: (Again(),),
    "a loader with a length": lambda: (Indexed(),),
    "an iterator": lambda: (iter(Again()),),
}


@pytest.mark.parametrize("kind", RESTARTED)
@pytest.mark.parametrize("steps", [2, 5, None])
def test_epochs_that_begin_anew(kind, steps):
    source = open_source(*RESTARTED[kind](), batch_size=1, steps=steps, restarts=True)
    for _ in range(3):
        assert firsts(source) == [0.0, 1.0, 2.0][:steps]
        source.first()
    mark = source.mark()
    left = source.epoch()
    next(left)  # an evaluation that a callback ends
    again = open_source(*RESTARTED[kind](), batch_size=1, steps=steps, restarts=True)
    again.go_to(mark)
    for one in (source, again):
        assert firsts(one) == [0.0, 1.0, 2.0][:steps]


def test_an_iterator_that_is_too_large_to_keep(monkeypatch):
    monkeypatch.setattr(sources, "_MOST_KEPT", 4)
    with pytest.warns(UserWarning, match="more than 0 MiB.*goes on where the one"):
        source = open_source(iter(Again(3)), steps=2, restarts=True)
    assert [firsts(source) for _ in range(3)] == [[0.0, 1.0], [2.0], []]


def test_indexed_data_sets():
    data = Indexed()
    source = open_source(data)
    assert source.batches == 3
    assert [firsts(source) for _ in range(2)] == [[0.0, 1.0, 2.0]] * 2
    assert data.ended == 2


def test_nothing_yielded():
    for empty in (iter(()), Again(0)):
        with pytest.raises(ValueError, match="yielded no batch"):
            open_source(empty).first()


def test_bad_batches_are_numbered():
    source = open_source(iter([([1.0], [2.0]), ([[1.0], [2.0, 3.0]], [1.0])]))
    with pytest.raises(ValueError, match="`x of batch 1` is a list of rows"):
        batches(source)
    with pytest.raises(ValueError, match="tuple of 4 parts"):
        batches(open_source(iter([(1, 2, 3, 4)])))


def test_y_comes_with_the_batches():
    with pytest.raises(ValueError, match="`y` comes with them"):
        open_source(Again(), np.ones(3))


def test_a_buffer_that_is_filled_again():
    """Batches are copies: JAX reads later, when the generator may have moved on."""

    def fill():
        buffer = np.zeros((4, 3), "float32")
        for i in range(3):
            buffer[:] = i
            yield buffer, buffer

    kept = batches(open_source(fill()))
    assert [float(b[0][0, 0]) for b in kept] == [0.0, 1.0, 2.0]
