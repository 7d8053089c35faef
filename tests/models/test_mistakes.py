"""What a mistake in drawing a model gets: an error that says what to write instead."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers

X = np.ones((8, 4), "float32")


def drawn(*parts):
    return lamina.Sequential(list(parts))


def assigned():
    lamina.Input((4,))[:, 0] = 1.0


CASES = {
    "a layer not called": (
        lambda: layers.Dense(1)(layers.Dense(2, name="first")),
        "Call it first: `first\\(x\\)`",
    ),
    "a shape for an input": (
        lambda: layers.Dense(1)((4, None)),
        "`lamina.Input\\(shape=\\(4, None\\)\\)`",
    ),
    "a size for a shape": (lambda: lamina.Input(4), "shape=4. Write `\\(4,\\)`"),
    "an array for an input": (
        lambda: lamina.Model(inputs=X, outputs=lamina.Input((4,))),
        "an array of shape \\(8, 4\\). Write `lamina.Input\\(shape=\\(4,\\)\\)`",
    ),
    "an array for an output": (
        lambda: lamina.Model(lamina.Input((4,)), layers.Dense(1)(X)),
        "an array of shape \\(8, 1\\). Call the layers on `lamina.Input",
    ),
    "a layer for an output": (
        lambda: lamina.Model(lamina.Input((4,)), layers.Dense(1, name="last")),
        "not called. Give what `last\\(...\\)` returns",
    ),
    "an argument of today's name": (
        lambda: layers.Conv2D(2, 3, border_mode="same"),
        "Did you mean 'padding'",
    ),
    "an argument of a base class": (
        lambda: layers.Conv2D(3),
        "Conv2D.__init__\\(\\) missing 1 required positional argument: 'kernel_size'",
    ),
    "one row of three": (
        lambda: drawn(lamina.Input((3,)), layers.Dense(1)).predict(X[0, :3], verbose=0),
        "expected shape=\\(None, 3\\), found shape=\\(3,\\)",
    ),
    "targets in the place of inputs": (
        lambda: drawn(lamina.Input((3,)), layers.Dense(1)).predict(X[:, 0], verbose=0),
        "found shape=\\(8,\\). The shape of an `Input` is that of one row",
    ),
    "channels before the image": (
        lambda: drawn(lamina.Input((3, 32, 32)), layers.Conv2D(2, 5)),
        'Are the channels in axis 1\\? Give them last, or set `data_format="chan',
    ),
    "too many layers that shrink": (
        lambda: drawn(lamina.Input((1, 1, 2)), layers.Conv2D(2, 3)),
        "Use padding='same'",
    ),
    "a layer of keras": (
        lambda: drawn(keras.layers.Dense(1)),
        "an object of `keras`: take Lamina's own `Dense`",
    ),
    "an optimizer of keras": (
        lambda: drawn(layers.Dense(1)).compile(keras.optimizers.Adam(), "mse"),
        "an object of `keras`: take Lamina's own `Adam`",
    ),
    "add to a graph": (
        lambda: lamina.Model(x := lamina.Input((3,)), layers.Dense(1)(x)).add(X),
        "Write `lamina.Model\\(model.input, layer\\(model.output\\)\\)`",
    ),
    "words for classes": (
        lambda: lamina.utils.to_categorical(["cat", "dog"]),
        "expected integers: .*'cat'. Words .*`numpy.unique",
    ),
    "units that were divided": (lambda: layers.Dense(8 / 2), "4.0. Write 4; `//`"),
    "layers without a list": (
        lambda: lamina.Sequential(layers.Dense(2), layers.Dense(1)),
        "`Sequential\\(\\[a, b\\]\\)`",
    ),
    "a class for a layer": (
        lambda: lamina.Sequential([layers.Dense]),
        "Write `Dense\\(...\\)`",
    ),
    "no channels": (
        lambda: drawn(lamina.Input((8, None)), layers.Conv2D(2, 3)),
        "`lamina.layers.Reshape\\(\\(8, -1, 1\\)\\)` adds a last axis",
    ),
    "a table for steps": (
        lambda: drawn(lamina.Input((4,)), layers.LSTM(2)),
        "`lamina.layers.Reshape\\(\\(4, 1\\)\\)` adds a last axis",
    ),
    "an assignment": (assigned, "lamina.ops.where"),
    "a loop": (lambda: list(lamina.Input((4,))), "lamina.ops.unstack"),
    "a method that is gone": (
        lambda: drawn(layers.Dense(1)).predict_classes(X),
        "Write `model.predict\\(x\\).argmax\\(-1\\)`",
    ),
    "classes from one": (
        lambda: lamina.utils.to_categorical([1, 2, 3], 3),
        "0 to 2. Received: smallest 1, largest 3. Give `num_classes=4`",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes(name):
    mistake, cure = CASES[name]
    with pytest.raises(Exception, match=cure):
        mistake()


def test_negative_classes_count_from_the_end_as_in_keras():
    np.testing.assert_array_equal(lamina.utils.to_categorical([-1], 3), [[0, 0, 1]])


def test_a_folder_of_tensorflow(tmp_path):
    with pytest.raises(ValueError, match=r"`lamina.layers.TFSMLayer\(folder"):
        lamina.models.load_model(tmp_path)


def test_only_what_is_much_alike_is_taken_for_a_class():
    for name, meant in (("Densee", " Did you mean 'Dense'?"), ("Mine", "`.")):
        config = {"module": None, "class_name": name, "config": {}}
        with pytest.raises(TypeError) as raised:
            lamina.saving.deserialize_keras_object(config)
        assert str(raised.value).endswith(meant)


def test_values_of_a_validation_that_is_not_there():
    model = drawn(lamina.Input((4,)), layers.Dense(1))
    model.compile("sgd", "mse")
    said = "available. Available metrics are: loss. Values of `val_` come with"
    with pytest.warns(UserWarning, match=said):
        callbacks = [lamina.callbacks.EarlyStopping()]
        model.fit(X, X[:, :1], verbose=0, callbacks=callbacks)
