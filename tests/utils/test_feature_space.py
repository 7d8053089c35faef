"""FeatureSpace: the vectors that Keras gives with TensorFlow, on what users hold."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

import lamina
from lamina.utils import FeatureSpace

TABLE = {
    "size": [1.0, 2.0, 4.0],
    "rooms": [3, 1, 3],
    "city": ["Bonn", "Ulm", "Bonn"],
}
# city in 3 bins, rooms in 3 categories, size, rooms and city together in 4 bins.
VECTORS = [
    [0, 1, 0, 0, 1, 0, -1.0690449476242065, 0, 1, 0, 0],
    [0, 0, 1, 0, 0, 1, -0.26726099848747253, 0, 0, 0, 1],
    [0, 1, 0, 0, 1, 0, 1.3363059759140015, 0, 1, 0, 0],
]


def make(**kwargs):
    return FeatureSpace(
        {
            "size": "float_normalized",
            "rooms": "integer_categorical",
            "city": FeatureSpace.string_hashed(3),
        },
        crosses=[("rooms", "city")],
        crossing_dim=4,
        **kwargs,
    )


@pytest.fixture(scope="module")
def space():
    space = make()
    space.adapt(TABLE)
    return space


def test_vectors_of_keras(space):
    frame = pd.DataFrame(TABLE)
    columns = {k: np.asarray(v)[:, None] for k, v in TABLE.items()}
    for table in (TABLE, columns, frame, frame.assign(price=0)):
        np.testing.assert_allclose(space(table), VECTORS, rtol=1e-5)
    row = space({k: v[1] for k, v in TABLE.items()})
    np.testing.assert_allclose(row, VECTORS[1], rtol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        pd.DataFrame,
        lambda t: [{k: np.array(v[:2]) for k, v in t.items()},
                   {k: np.array(v[2:]) for k, v in t.items()}],
        lambda t: ({k: v[i] for k, v in t.items()} for i in range(3)),
    ],
)  # fmt: skip
def test_adapt(kind):
    space = make()
    with pytest.raises(ValueError, match="call `.adapt"):
        space(TABLE)
    space.adapt(kind(TABLE))
    np.testing.assert_allclose(space(TABLE), VECTORS, rtol=1e-5)


@pytest.mark.parametrize(
    ("column", "feature", "expected"),
    [
        ("size", "float", [[1.0], [2.0], [4.0]]),
        ("size", FeatureSpace.float_rescaled(2.0, 1.0), [[3.0], [5.0], [9.0]]),
        ("size", FeatureSpace.float_discretized(2), [[1, 0], [0, 1], [0, 1]]),
        ("size", FeatureSpace.float_discretized(2, output_mode="int"),
         [[0], [1], [1]]),
        ("size", FeatureSpace.float_discretized(None, [1.5, 3.0]),
         [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("rooms", FeatureSpace.integer_categorical(max_tokens=2, output_mode="int"),
         [[1], [0], [1]]),
        ("rooms", FeatureSpace.integer_hashed(5, output_mode="int"), [[1], [4], [1]]),
        ("city", FeatureSpace.string_categorical(output_mode="int"), [[1], [2], [1]]),
        ("city", FeatureSpace.string_hashed(5, output_mode="int"), [[4], [3], [4]]),
        ("city", "string_categorical", [[0, 1, 0], [0, 0, 1], [0, 1, 0]]),
    ],
)  # fmt: skip
def test_kinds(column, feature, expected):
    space = FeatureSpace({column: feature}, output_mode="dict")
    table = {column: TABLE[column]}
    space.adapt(table)
    found = space(table)[column]
    assert found.tolist() == expected
    spec = space.get_encoded_features()[column]
    assert spec.shape == (None, *found.shape[1:])
    assert str(spec.dtype)[:3] == found.dtype.name[:3]


def test_own_layers():
    texts = {"text": ["a b", "b c"], "price": [3.0, 5.0]}
    words = lamina.layers.TextVectorization(output_mode="count")
    known = lamina.layers.Normalization(mean=4.0, variance=1.0)
    space = FeatureSpace(
        {
            "text": FeatureSpace.feature("string", words, "float"),
            "price": FeatureSpace.feature("float32", known, "float"),
        }
    )
    space.adapt(texts)
    assert words.get_vocabulary() == ["[UNK]", "b", "c", "a"]
    assert space(texts).tolist() == [[-1, 0, 1, 0, 1], [1, 0, 1, 1, 0]]
    ready = FeatureSpace({"price": FeatureSpace.feature("float32", known, "float")})
    assert ready({"price": [4.5]}).tolist() == [[0.5]]


def test_in_a_model():
    numbers = {k: v for k, v in TABLE.items() if k != "city"}
    space = FeatureSpace(
        {"size": "float_discretized", "rooms": "integer_hashed"},
        crosses=[FeatureSpace.cross(("size", "rooms"), 5)],
        num_discretization_bins=2,
        hashing_dim=3,
    )
    space.adapt(numbers)
    arrays = {k: np.array(v)[:, None] for k, v in numbers.items()}
    outputs = space.get_encoded_features()
    assert space.get_encoded_features() is outputs
    assert outputs.shape == (None, 10)
    model = lamina.Model(space.get_inputs(), outputs)
    np.testing.assert_array_equal(model.predict(arrays, verbose=0), space(numbers))


def test_file(space, tmp_path):
    space.save(tmp_path / "space.keras")
    again = lamina.models.load_model(tmp_path / "space.keras")
    np.testing.assert_array_equal(again(TABLE), space(TABLE))
    again.save(tmp_path / "again.keras")
    with zipfile.ZipFile(tmp_path / "again.keras") as file:
        config = json.loads(file.read("config.json"))
    assert (config["module"], config["class_name"]) == ("keras.utils", "FeatureSpace")
    rooms = config["config"]["features"]["rooms"]
    assert (rooms["module"], rooms["class_name"], rooms["registered_name"]) == (
        "keras.src.layers.preprocessing.feature_space", "Feature", "Feature"
    )  # fmt: skip
    assert rooms["config"]["preprocessor"]["class_name"] == "IntegerLookup"
    assert config["config"]["crosses"][0]["config"]["feature_names"] == [
        "rooms", "city"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"features": {}}, "None or empty"),
        ({"features": {"a": "floats"}}, "Invalid feature type: 'floats' for 'a'"),
        ({"features": {"a": "float"}, "output_mode": "list"}, "output_mode='list'"),
        ({"features": {"a": "integer_hashed"}, "crosses": [("a", "b")]},
         "should be present"),
        ({"features": {"a": "integer_hashed"}, "crosses": [("a", "a")],
          "crossing_dim": None}, "`crossing_dim`"),
    ],
)  # fmt: skip
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        FeatureSpace(**kwargs)


def test_bad_data(space):
    with pytest.raises(ValueError, match="called with a dict"):
        space([1, 2])
    with pytest.raises(ValueError, match=r"takes the columns .*Received: \['rooms'\]"):
        space({"rooms": [1]})
    with pytest.raises(ValueError, match="Received instead: 3"):
        space.adapt(3)
    for mode, match in (("one_hot", "integer dtype"), ("int", "not been encoded")):
        layer = lamina.layers.Rescaling(1.0)
        if mode == "int":
            layer = lamina.layers.Hashing(3)
        feature = FeatureSpace.feature("int32", layer, mode)
        with pytest.raises(ValueError, match=match):
            FeatureSpace({"a": feature}).get_encoded_features()
    with pytest.raises(ValueError, match="output_mode='tf_idf'"):
        FeatureSpace.cross(("a", "b"), 3, output_mode="tf_idf")
