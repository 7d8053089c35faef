"""The verbs of data sets: what they give, and that places and streams agree."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image

import lamina
from lamina.utils.datasets.dataset import Stream
from lamina.utils.datasets.samples import Rows, Samples


def numbers(count, **more):
    return Samples(Rows((np.arange(count), np.arange(count) ** 2)), count, **more)


def streamed(data):
    """Return the same elements, of which nobody knows how many there are."""
    return data.filter(lambda *element: True)


def plain(value):
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return np.asarray(value).tolist()


def listed(data, most=None):
    return [plain(element) for element in itertools.islice(data, most)]


CHAINS = {
    "map": lambda d: d.map(lambda x, y: (x + y, {"a": -x})).map(
        lambda s, t: s - t["a"]
    ),
    "batch": lambda d: d.batch(3),
    "whole batches": lambda d: d.batch(3, drop_remainder=True),
    "batch of batches": lambda d: d.take(6).batch(3).batch(2),
    "unbatch": lambda d: d.batch(4).unbatch(),
    "take": lambda d: d.take(3),
    "take all": lambda d: d.take(-1),
    "take more": lambda d: d.take(99),
    "skip": lambda d: d.skip(5),
    "skip more": lambda d: d.skip(99),
    "skip all": lambda d: d.skip(-1),
    "repeat": lambda d: d.repeat(2),
    "never": lambda d: d.repeat(0),
    "endless": lambda d: d.repeat().skip(4).take(9),
    "enumerate": lambda d: d.enumerate(start=5),
    "zip": lambda d: d.zip(d.skip(2), d.map(lambda x, y: y)),
    "concatenate": lambda d: d.concatenate(d.take(2)),
    "cache": lambda d: d.cache().repeat(2),
    "prefetch": lambda d: d.prefetch(2),
    "threads": lambda d: d.map(lambda x, y: x * y, num_parallel_calls=-1),
    "filter": lambda d: d.filter(lambda x, y: x % 2 == 0),
    "many": lambda d: d.batch(2).skip(1).unbatch().repeat(3).batch(4).take(2),
}
EXPECTED = {
    "batch": [([0, 1, 2], [0, 1, 4]), ([3, 4, 5], [9, 16, 25]), ([6], [36])],
    "whole batches": [([0, 1, 2], [0, 1, 4]), ([3, 4, 5], [9, 16, 25])],
    "map": [2 * n + n * n for n in range(7)],
    "skip": [(5, 25), (6, 36)],
    "skip all": [],
    "never": [],
    "endless": [(n % 7, (n % 7) ** 2) for n in range(4, 13)],
    "filter": [(n, n * n) for n in (0, 2, 4, 6)],
    "zip": [((n, n * n), (n + 2, (n + 2) ** 2), n * n) for n in range(5)],
    "many": [([2, 3, 4, 5], [4, 9, 16, 25]), ([6, 2, 3, 4], [36, 4, 9, 16])],
}


@pytest.mark.parametrize("name", CHAINS)
def test_places_and_streams_agree(name):
    data, stream = (CHAINS[name](d) for d in (numbers(7), streamed(numbers(7))))
    found = listed(data)
    assert found == EXPECTED.get(name, found)
    assert listed(data) == listed(stream) == found
    if not isinstance(data, Stream):
        assert (len(data), data.cardinality()) == (len(found),) * 2
        assert [plain(data[n]) for n in range(len(data))] == found
        with pytest.raises(IndexError):
            data[len(found)]


@pytest.mark.parametrize("make", [numbers, lambda n: streamed(numbers(n))])
def test_shuffle_is_new_in_each_pass_and_the_same_for_a_seed(make):
    data, again = (make(30).shuffle(9, seed=4) for _ in range(2))
    passes = [listed(data) for _ in range(3)]
    assert passes == [listed(again) for _ in range(3)]
    assert all(sorted(found) == listed(numbers(30)) for found in passes)
    assert len({str(found) for found in [listed(numbers(30)), *passes]}) == 4
    fixed = make(30).shuffle(9, seed=4, reshuffle_each_iteration=False)
    assert listed(fixed) == listed(fixed) != listed(numbers(30))
    twice = listed(make(30).shuffle(9, seed=4).repeat(2))
    assert twice == passes[0] + passes[1]


def test_cardinality_is_that_of_tf_data():
    data = numbers(7).repeat()
    assert (data.cardinality(), data.num_batches) == (-1, None)
    assert data.shuffle(5).cardinality() == data.batch(2).cardinality() == -1
    assert streamed(numbers(7)).cardinality() == -2
    assert streamed(numbers(7)).repeat().cardinality() == -1
    with pytest.raises(TypeError, match="has no end"):
        len(data)
    assert data
    assert numbers(7).repeat(0)


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize("stream", [False, True])
def test_cache_makes_each_element_once(tmp_path, where, stream):
    folder = None if where == "memory" else tmp_path / "kept"
    calls = []

    def read(x, y):
        calls.append(int(x))
        return {"x": x, "text": np.array(["ab", "c"], object)}, [y]

    def data():
        read_once = numbers(4).map(read)
        return (streamed(read_once) if stream else read_once).cache(folder)

    kept = data()
    found = [kept, kept] if where == "memory" else [kept, data()]
    whole = [[(e[0]["text"].tolist(), plain(e[1][0])) for e in d] for d in found]
    assert whole[0] == whole[1] == [(["ab", "c"], n * n) for n in range(4)]
    assert calls == [0, 1, 2, 3]
    if where == "folder" and not stream:
        with pytest.raises(ValueError, match=r"another data set: of 4 elements.* 5"):
            numbers(5).cache(folder)
        with pytest.raises(ValueError, match="no other objects"):
            list(numbers(1).map(lambda x, y: object()).cache(tmp_path / "odd"))


def test_a_pass_that_ends_early_leaves_no_cache():
    kept = streamed(numbers(5)).cache()
    assert listed(kept, 2) == listed(numbers(2))
    assert listed(kept) == listed(numbers(5))


@pytest.mark.parametrize("stream", [False, True])
def test_fit_takes_elements_as_they_come(stream):
    seen = []

    class Watched(lamina.Model):
        def train_step(self, data):
            seen.append(np.asarray(data[0]).ravel().tolist())
            return {"loss": 0.0}

    data = numbers(10).map(lambda x, y: (x[None] * 1.0, y)).batch(4)
    model = Watched()
    model.compile(run_eagerly=True)
    model.fit(streamed(data) if stream else data, epochs=2, verbose=0)
    assert seen[-6:] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2


def test_parts_of_a_pass_meet_every_sample():
    data = numbers(12, batch_size=2, shuffle=True, seed=3)
    seen = []

    class Watched(lamina.Model):
        def train_step(self, data):
            seen.extend(np.asarray(data[0]).tolist())
            return {"loss": 0.0}

    model = Watched()
    model.compile(run_eagerly=True)
    model.fit(data, epochs=4, steps_per_epoch=3, verbose=0)
    model.fit(data, epochs=1, verbose=0)
    passes = np.reshape(seen[-36:], (3, 12))
    assert np.sort(passes).tolist() == [list(range(12))] * 3
    assert len({str(order) for order in passes}) == 3


def test_element_spec_and_numpy():
    data = numbers(7, batch_size=3).map(lambda x, y: {"x": x * 1.5, "y": y})
    spec = data.element_spec
    assert {name: (s.shape, s.dtype) for name, s in spec.items()} == {
        "x": ((None,), "float64"),
        "y": ((None,), "int64"),
    }
    assert data.unbatch().element_spec["x"].shape == ()
    (first, *_) = (
        data.map(lambda e: lamina.ops.convert_to_tensor(e["y"]))
        .take(1)
        .as_numpy_iterator()
    )
    assert type(first) is np.ndarray


def images(folder, count=3):
    for name in ("ant", "bee"):
        (folder / name).mkdir()
        for number in range(count):
            pixels = np.full((5, 4, 3), 40 * number, "uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return lamina.utils.image_dataset_from_directory(
        folder, image_size=(5, 4), batch_size=4, shuffle=False, verbose=False
    )


def test_folders_have_the_verbs_and_keep_their_names(tmp_path):
    data = images(tmp_path)
    changed = data.map(lambda x, y: (x / 255, y)).prefetch(-1)
    assert changed.class_names == ["ant", "bee"]
    assert changed.file_paths == data.file_paths
    np.testing.assert_allclose(changed[1][0], data[1][0] / 255)
    assert listed(changed.map(lambda x, y: y)) == [[0, 0, 0, 1], [1, 1]]
    rows = data.unbatch().shuffle(seed=1).batch(3, drop_remainder=True)
    assert [x.shape for x, _ in rows] == [(3, 5, 4, 3)] * 2


def test_how_they_look(tmp_path, capsys):
    data = images(tmp_path)
    assert repr(data) == (
        "<Dataset: 2 batches of 4, from 6 samples in 2 classes: ant, bee>"
    )
    assert repr(numbers(1)) == "<Dataset: 1 element>"
    assert repr(streamed(numbers(1)).batch(2)) == "<Dataset: some batches>"
    assert repr(numbers(3).repeat()) == "<Dataset: endless elements>"
    html = data._repr_html_()
    assert html.count("<img") == 4
    assert "ant (0)" in html
    assert "(None, 5, 4, 3) float32" in html
    hostile = numbers(1).map(lambda x, y: np.array("<script>"))
    assert "<script>" not in hostile._repr_html_()
    numbers(3, batch_size=2).show()
    said = capsys.readouterr().out
    assert "2 batches of 2, from 3 samples" in said
    assert "(None,) int64" in said
    data.show()  # without a screen, in numbers
    assert "(None, 5, 4, 3) float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d: d.batch(0), "batch_size"),
        (lambda d: d.take(-2), "`take` takes a number of elements"),
        (lambda d: d.skip(1.5), "`skip` takes a number of elements"),
        (lambda d: d.shuffle(0), "buffer_size"),
        (lambda d: list(d.map(lambda x, y: np.zeros(x)).batch(2)), "the same shape"),
        (lambda d: d.take(0).element_spec, "is empty"),
        (lambda d: d.map(len, num_parallel_calls=0), "num_parallel_calls"),
    ],
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(numbers(3))


def test_only_own_data_sets_are_joined():
    with pytest.raises(TypeError, match=r"can be joined.*ndarray"):
        numbers(3).zip(np.zeros(3))


def test_zip_of_the_class_takes_a_tuple():
    data = numbers(3)
    pairs = type(data).zip((data, data.map(lambda x, y: y).filter(lambda y: y > 0)))
    assert listed(pairs) == [((0, 0), 1), ((1, 1), 4)]


def test_a_length_that_nobody_knows():
    with pytest.raises(TypeError, match=r"Nobody knows how many .*`sum\(1 for"):
        len(numbers(3).filter(lambda x, y: x > 0))
    with pytest.raises(TypeError, match="no end"):
        len(numbers(3).repeat().unbatch().repeat())


def test_split_dataset_takes_what_verbs_made():
    left, right = lamina.utils.split_dataset(
        numbers(8).map(lambda x, y: (x, -y)).batch(3), left_size=0.5
    )
    assert listed(left) == [(n, -n * n) for n in range(4)]
    assert listed(right) == [(n, -n * n) for n in range(4, 8)]


def test_an_endless_one_takes_no_memory():
    data = numbers(5).repeat().shuffle(4, seed=0).batch(2)
    assert len(listed(data, 50)) == 50
    assert data._count == math.inf


def test_a_wrong_prefetch_names_prefetch():
    data = lamina.utils.timeseries_dataset_from_array(np.zeros((4, 1)), None, 2)
    with pytest.raises(ValueError, match="`Dataset.prefetch` expected"):
        data.prefetch(0)


def test_a_slice_and_a_place_that_is_not_there():
    with pytest.raises(TypeError, match="`data.skip\\(start\\).take\\(count\\)`"):
        numbers(6)[0:2]
    for place in (6, -7):
        with pytest.raises(IndexError, match=f"has 6 elements.*: index {place}"):
            numbers(6)[place]
    assert plain(numbers(6)[-1]) == (5, 25)


@pytest.mark.parametrize("verb", ["map", "filter"])
def test_what_is_no_function(verb):
    with pytest.raises(TypeError, match=f"`{verb}` takes a function. Received: 3"):
        getattr(numbers(6), verb)(3)


def test_an_empty_one_has_no_table():
    assert numbers(6).take(0)._repr_html_() is None
    assert numbers(6).filter(lambda x, y: False)._repr_html_() is None


def test_a_random_map_on_threads_is_told_by_no_private_name():
    drawn = numbers(8).map(lambda x, y: x + np.random.normal(), num_parallel_calls=2)
    with pytest.warns(UserWarning, match="The data set draws from .*index\\)\\)`.$"):
        list(drawn)
