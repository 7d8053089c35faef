"""What prepares images, texts and sequences in old programs, beside Keras' own."""

import json
import pathlib
import pickle
import random

import numpy as np
import pandas as pd
import pytest
from keras.src.legacy.preprocessing import image as their_image
from keras.src.legacy.preprocessing import sequence as their_sequence
from keras.src.legacy.preprocessing import text as their_text

import lamina
from lamina.legacy import layers as legacy_layers
from lamina.legacy.preprocessing import image, sequence, text

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (7, 6, 8, 3)).astype("float32")
LABELS = np.array([0, 1, 0, 1, 1, 0, 1])
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}:DeprecationWarning")
    for text in ("Please import `affine_transform`", "non-integer arguments to",
                 "The `scipy.ndimage.interpolation`")
]  # fmt: skip

AFFINE = {"rotation_range": 20, "shear_range": 15, "zoom_range": 0.3,
          "width_shift_range": 0.2, "height_shift_range": 0.1}  # fmt: skip
GENERATORS = {
    "nothing": {},
    "affine": AFFINE,
    "flips": {"horizontal_flip": True, "vertical_flip": True},
    "pixels": {"width_shift_range": 3, "height_shift_range": [-1, 2], "cval": 7.0,
               "fill_mode": "constant"},
    "float pixels": {"width_shift_range": 2.0, "height_shift_range": [0.1, 0.2]},
    "zoom": {"zoom_range": [0.7, 1.2], "fill_mode": "wrap", "interpolation_order": 0},
    "light": {"brightness_range": (0.5, 1.5), "channel_shift_range": 30.0},
    "rescale": {"rescale": 1 / 255, "preprocessing_function": lambda x: x + 1},
    "samplewise": {"samplewise_center": True, "samplewise_std_normalization": True},
    "float64": {**AFFINE, "dtype": "float64"},
}  # fmt: skip


def both(settings):
    return [home.ImageDataGenerator(**settings) for home in (image, their_image)]


def same(ours, theirs):
    if isinstance(theirs, (tuple, list)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype


def batches(flows, count=5):
    for flow in flows:
        np.random.seed(3)
        yield [next(flow) for _ in range(count)]


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("seed", [None, 5])
def test_batches_of_arrays(name, seed):
    made = both(GENERATORS[name])
    flows = [one.flow(IMAGES, LABELS, batch_size=3, seed=seed) for one in made]
    same(*batches(flows))
    same(*[flow[1] for flow in flows if not np.random.seed(1)])
    assert len(flows[0]) == len(flows[1]) == 3


@pytest.mark.parametrize("settings", [
    {"featurewise_center": True, "featurewise_std_normalization": True},
    {"featurewise_center": True, "zca_whitening": True},
])  # fmt: skip
@pytest.mark.parametrize("augment", [False, True])
def test_fit(settings, augment):
    small = IMAGES[:, :3, :4]
    made = both({**settings, "rotation_range": 10, "rescale": 1 / 255})
    for one in made:
        one.fit(small, augment=augment, rounds=2, seed=4)
    for name in ("mean", "std"):
        theirs = getattr(made[1], name)
        if theirs is not None:
            np.testing.assert_allclose(getattr(made[0], name), theirs, rtol=1e-5)
    ours, theirs = (next(one.flow(small, batch_size=7, seed=1)) for one in made)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_channels_first_and_other_arrays():
    x = np.moveaxis(IMAGES, 3, 1)
    made = both({**AFFINE, "data_format": "channels_first"})
    pairs = [one.flow((x, [LABELS, LABELS * 2]), LABELS, batch_size=4, seed=1,
                      sample_weight=LABELS + 0.5) for one in made]  # fmt: skip
    same(*batches(pairs, 2))


@pytest.mark.parametrize("subset", ["training", "validation"])
def test_subsets(subset):
    made = both({"validation_split": 0.3})
    same(*batches([one.flow(IMAGES, LABELS, 2, subset=subset, seed=2) for one in made]))
    with pytest.raises(ValueError, match="different number of classes"):
        made[0].flow(IMAGES, np.sort(LABELS), subset=subset)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for i, x in enumerate(IMAGES):
        place = root / ("cats", "dogs")[LABELS[i]] / "deep"
        place.mkdir(parents=True, exist_ok=True)
        lamina.utils.save_img(place / f"{i}.png", x)
    (root / "cats" / "notes.txt").write_text("none")
    return root


@pytest.mark.parametrize("given", [
    {}, {"class_mode": "binary"}, {"class_mode": "sparse", "color_mode": "grayscale"},
    {"class_mode": "input"}, {"class_mode": None, "color_mode": "rgba"},
    {"classes": ["dogs"]}, {"subset": "training"}, {"subset": "validation"},
    {"shuffle": False, "interpolation": "bilinear", "keep_aspect_ratio": True},
])  # fmt: skip
def test_folders(folder, capsys, given):
    made = both({**AFFINE, "validation_split": 0.5})
    flows = [one.flow_from_directory(str(folder), (5, 4), batch_size=2, seed=1, **given)
             for one in made]  # fmt: skip
    same(*batches(flows))
    for name in ("class_indices", "filenames", "filepaths", "samples", "image_shape"):
        assert getattr(flows[0], name) == getattr(flows[1], name)
    np.testing.assert_array_equal(flows[0].classes, flows[1].classes)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


TABLE = pd.DataFrame({
    "filename": [f"{('cats', 'dogs')[k]}/deep/{i}.png" for i, k in enumerate(LABELS)],
    "class": [("cats", "dogs")[k] for k in LABELS],
    "tags": [["a"], ["b", "a"], ["c"], ["a"], ["b"], ["c", "a"], ["b"]],
    "one": LABELS * 1.5, "two": LABELS * 2.0, "weight": LABELS + 0.5,
})  # fmt: skip


@pytest.mark.parametrize("given", [
    {}, {"class_mode": "binary", "weight_col": "weight"}, {"class_mode": "sparse"},
    {"y_col": "tags"}, {"y_col": "tags", "classes": ["b", "a"]},
    {"class_mode": "raw", "y_col": ["one", "two"]}, {"class_mode": "input"},
    {"class_mode": "multi_output", "y_col": ["one", "two"]},
    {"class_mode": "raw", "y_col": "one"},
    {"class_mode": None, "validate_filenames": False}, {"subset": "validation"},
])  # fmt: skip
def test_tables(folder, capsys, given):
    made = both({**AFFINE, "validation_split": 0.4})
    given = {"target_size": (5, 4), "seed": 1, "batch_size": 2, **given}
    flows = [one.flow_from_dataframe(TABLE, str(folder), **given) for one in made]
    same(*batches(flows))
    assert flows[0].filenames == flows[1].filenames
    assert len({*capsys.readouterr().out.splitlines()}) == 1


def test_a_table_with_names_of_no_images(folder):
    table = pd.concat([TABLE, TABLE.assign(filename="none.png")[:1]])
    with pytest.warns(UserWarning, match="1 names in 'filename' are not images"):
        flow = image.ImageDataGenerator().flow_from_dataframe(table, str(folder))
    assert flow.samples == 7


def test_saving_and_pickle(tmp_path):
    flow = image.ImageDataGenerator().flow(
        IMAGES, batch_size=7, shuffle=False, save_to_dir=tmp_path, save_prefix="a"
    )
    again = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(next(flow), next(again))
    assert len([*pathlib.Path(tmp_path).glob("a_*.png")]) >= 7


def test_training_from_a_generator():
    flow = image.ImageDataGenerator(rescale=1 / 255).flow(IMAGES, LABELS, batch_size=3)
    layers = [lamina.layers.Flatten(), lamina.layers.Dense(1, "sigmoid")]
    model = lamina.Sequential([lamina.Input((6, 8, 3)), *layers])
    model.compile("adam", "binary_crossentropy")
    losses = model.fit(flow, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert model.predict(flow, verbose=0).shape == (7, 1)


FUNCTIONS = {
    "random_rotation": (30,), "random_shift": (0.2, 0.1), "random_shear": (20,),
    "random_zoom": ((0.7, 1.3),), "random_channel_shift": (20.0,),
    "apply_channel_shift": (9.0,), "random_brightness": ((0.5, 1.5),),
    "apply_brightness_shift": (1.2,),
    "apply_affine_transform": (20, 1, 2, 10, 0.9, 1.1),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_an_image(name):
    light = "brightness" in name
    x = IMAGES[0] if light else np.moveaxis(IMAGES[0], 2, 0)
    results = []
    for home in (image, their_image):
        np.random.seed(2)
        results.append(getattr(home, name)(x, *FUNCTIONS[name]))
        if not light and "channel" not in name:
            places = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
            results[-1] = results[-1], getattr(home, name)(
                IMAGES[0], *FUNCTIONS[name], **places, fill_mode="wrap"
            )  # fmt: skip
    same(*results)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: image.ImageDataGenerator(zoom_range=(1, 2, 3)), "`zoom_range` expected"),
    (lambda: image.ImageDataGenerator(brightness_range=3), "`brightness_range` expe"),
    (lambda: image.ImageDataGenerator(validation_split=1.5), "`validation_split`"),
    (lambda: image.ImageDataGenerator().flow(IMAGES[0]), "expected the shape"),
    (lambda: image.ImageDataGenerator().flow(IMAGES, LABELS[:3]), "one length"),
    (lambda: image.ImageDataGenerator().flow(IMAGES, subset="test"), "`subset`"),
    (lambda: image.ImageDataGenerator().flow_from_directory(".", color_mode="x"),
     "`color_mode`"),
    (lambda: image.apply_affine_transform(IMAGES[0], channel_axis=1), "three axes"),
    (lambda: text.Tokenizer().texts_to_matrix(["a"]), "`num_words`"),
    (lambda: text.Tokenizer(3).sequences_to_matrix([[1]], "none"), "`mode` expected"),
    (lambda: sequence.TimeseriesGenerator([1], [1], 3), "a window fits"),
])  # fmt: skip
def test_errors(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_what_has_no_effect_is_said():
    with pytest.warns(UserWarning, match="sets `featurewise_center` to True"):
        made = image.ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.warns(UserWarning, match="no effect before `fit`"):
        made.standardize(IMAGES[0])


TEXTS = ["The cat sat; the dog ran.", "A dog, a dog!", "Nothing here\tto see", ""]


@pytest.mark.parametrize("settings", [
    {}, {"num_words": 4}, {"oov_token": "?"}, {"num_words": 4, "oov_token": "?"},
    {"char_level": True}, {"lower": False, "filters": "!"}, {"analyzer": str.split},
])  # fmt: skip
def test_tokenizer(settings):
    ours, theirs = text.Tokenizer(**settings), their_text.Tokenizer(**settings)
    for one in (ours, theirs):
        one.fit_on_texts(TEXTS)
        one.fit_on_texts([["cat", "Bird"]])
    assert ours.word_index == theirs.word_index
    assert ours.index_word == theirs.index_word
    assert ours.word_counts == theirs.word_counts
    assert ours.word_docs == theirs.word_docs and ours.index_docs == theirs.index_docs
    new = ["A bird saw the cat", ["A", "cat"]]
    rows = ours.texts_to_sequences(new)
    assert rows == theirs.texts_to_sequences(new)
    assert ours.sequences_to_texts(rows) == theirs.sequences_to_texts(rows)
    for mode in ("binary", "count", "freq", "tfidf"):
        expected = theirs.texts_to_matrix(new, mode)
        np.testing.assert_allclose(ours.texts_to_matrix(new, mode), expected)
    if "analyzer" not in settings:
        mine, other = json.loads(ours.to_json()), json.loads(theirs.to_json())
        assert (
            mine.keys() == other.keys()
            and mine["config"].keys() == other["config"].keys()
        )
        read = text.tokenizer_from_json(theirs.to_json())
        back = their_text.tokenizer_from_json(ours.to_json())
        assert read.texts_to_sequences(new) == rows == back.texts_to_sequences(new)
        np.testing.assert_array_equal(
            read.texts_to_matrix(new, "tfidf"), theirs.texts_to_matrix(new, "tfidf")
        )


def test_sequences_that_were_numbered_elsewhere():
    ours, theirs = text.Tokenizer(6), their_text.Tokenizer(6)
    for one in (ours, theirs):
        one.fit_on_sequences([[1, 2, 2], [5, 9]])
    rows = [[1, 1, 5, 9], []]
    np.testing.assert_array_equal(
        ours.sequences_to_matrix(rows, "tfidf"),
        theirs.sequences_to_matrix(rows, "tfidf"),
    )


@pytest.mark.parametrize(
    "settings", [{}, {"lower": False}, {"split": "t", "filters": ""}]
)
def test_words(settings):
    for line in TEXTS:
        split = text.text_to_word_sequence(line, **settings)
        assert split == their_text.text_to_word_sequence(line, **settings)
        for name in ("one_hot", "hashing_trick"):
            given = [line, 20]
            mine = getattr(text, name)(*given, **settings)
            assert mine == getattr(their_text, name)(*given, **settings)
    assert text.hashing_trick("a b", 9, "md5") == their_text.hashing_trick(
        "a b", 9, "md5"
    )
    assert text.hashing_trick("ab", 9, len, analyzer=list) == [2, 2]


@pytest.mark.parametrize("settings", [
    {}, {"sampling_rate": 2, "stride": 3}, {"reverse": True, "batch_size": 4},
    {"start_index": 3, "end_index": 15}, {"shuffle": True, "batch_size": 5},
])  # fmt: skip
def test_windows(settings):
    data = RNG.normal(size=(20, 2))
    made = [home.TimeseriesGenerator(data, np.arange(20), 4, **settings)
            for home in (sequence, their_sequence)]  # fmt: skip
    assert len(made[0]) == len(made[1])
    for i in range(len(made[0])):
        results = []
        for one in made:
            np.random.seed(i)
            results.append(one[i])
        same(*results)
    assert json.loads(made[0].to_json())["config"]["length"] == 4


@pytest.mark.parametrize("settings", [
    {}, {"categorical": True, "negative_samples": 2.0}, {"shuffle": False},
    {"negative_samples": 0, "seed": 3}, {"window_size": 1},
    {"sampling_table": sequence.make_sampling_table(9, 0.01)},
])  # fmt: skip
def test_skipgrams(settings):
    results = []
    for home in (sequence, their_sequence):
        random.seed(1)
        results.append(home.skipgrams([1, 0, 4, 5, 8, 2], 9, **settings))
    assert results[0] == results[1]
    np.testing.assert_allclose(
        sequence.make_sampling_table(50), their_sequence.make_sampling_table(50)
    )


@pytest.mark.parametrize("ours", [image, text, sequence])
def test_names(ours):
    theirs = {image: their_image, text: their_text, sequence: their_sequence}[ours]
    public = {
        name
        for name, value in vars(theirs).items()
        if any("_legacy" in path for path in getattr(value, "_api_export_path", ()))
    }
    assert public <= {*ours.__all__}


@pytest.mark.parametrize(("name", "axis"), [("RandomHeight", 1), ("RandomWidth", 2)])
def test_stretching_layers(name, axis):
    make, x = getattr(legacy_layers, name), IMAGES[:2]
    y = make((1.0, 1.0), "nearest")(x, training=True)
    np.testing.assert_array_equal(y, np.repeat(x, 2, axis))
    np.testing.assert_array_equal(make(0.5)(x, training=False), x)
    sizes = {make(0.5, seed=i)(x, training=True).shape[axis] for i in range(9)}
    assert len(sizes) > 2 and min(sizes) >= 3 and max(sizes) <= 12
    with pytest.raises(ValueError, match="`factor` expected"):
        make((-2.0, 1.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("config"),
        lambda c: c.update(config=[]),
        lambda c: c["config"].pop("word_index"),
        lambda c: c["config"].update(word_docs=3),
        lambda c: c["config"].update(index_word="[1]"),
        lambda c: c["config"].update(index_word='{"a": 1}'),
        lambda c: c["config"].update(index_docs="[" * 100_000),
        lambda c: c["config"].update(other=1),
    ],
)
def test_json_of_no_tokenizer_is_refused_in_words(change):
    config = json.loads(text.Tokenizer().to_json())
    change(config)
    with pytest.raises((ValueError, TypeError), match="the JSON") as caught:
        text.tokenizer_from_json(json.dumps(config))
    assert len(str(caught.value)) < 5000
