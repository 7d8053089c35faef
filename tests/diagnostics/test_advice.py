"""A training that would learn nothing is warned about, once; others are not."""

import re
import warnings

import numpy as np
import pytest

import lamina
from lamina import layers, losses
from lamina.core.placement import Distribution

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 3)).astype("float32")
TWO = RNG.integers(0, 2, (16, 1))
FOUR = RNG.integers(0, 4, 16)
WORDS = RNG.integers(0, 9, (16, 5))
PIXELS = RNG.integers(0, 256, (16, 6, 6, 3)).astype("uint8")
GRAY = RNG.integers(0, 256, (16, 8, 8)).astype("uint8")


def heard(parts, loss, x, y, fit=None):
    """Return what is said in a training, the second `fit` of which is quiet."""
    model = lamina.Sequential(parts)
    model.compile("sgd", loss)
    fit = fit or (lambda model: model.fit(x, y, epochs=2, verbose=0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model)
    assert all(one.filename == __file__ for one in caught)
    fit(model)  # here a warning is an error
    return [str(one.message) for one in caught]


def dense(units, activation=None, **more):
    return [layers.Input((3,)), layers.Dense(units, activation, name="out", **more)]


def table(rows):
    return [
        layers.Input((5,), dtype="int32", name="words"),
        layers.Embedding(rows, 2, name="table"),
        layers.Flatten(),
        layers.Dense(1),
    ]


def images(*first):
    return [
        layers.Input((6, 6, 3), name="photo"), *first,
        layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.Dense(1),
    ]  # fmt: skip


ZEROS = {"bias_initializer": lamina.initializers.Constant(-99.0)}
SPARSE = "sparse_categorical_crossentropy"
SAID = {
    "linear, two": (
        dense(1), "binary_crossentropy", X, TWO,
        "No probabilities: `binary_crossentropy` of output 'out'.*`linear`.*'sigmoid'",
    ),
    "linear, four": (
        dense(4), SPARSE, X, FOUR,
        "No probabilities: .*layer 'out' ends in `linear`.*'softmax'.*from_logits=True",
    ),
    "labels": (
        dense(1, "sigmoid"), "binary_crossentropy", X, 2 * TWO - 1,
        "Targets beyond 0 and 1: `binary_crossentropy` of output 'out'.* -1 to 1",
    ),
    "index beyond": (
        table(8), "mse", WORDS, TWO,
        "Indices out of range: layer 'table' has rows 0 to 7, and input 'words' holds "
        "0 to 8.*`input_dim=9`",
    ),
    "negative index": (
        table(9), "mse", WORDS - 1, TWO, "holds -1 to 7. A negative index counts from",
    ),
    "pixels": (
        images(), "mse", PIXELS, TWO,
        "Pixels as they are: input 'photo'.*layer 'conv'.*Rescaling",
    ),
    "dead": (dense(1, "relu", **ZEROS), "mse", X, TWO, "Dead output: .*layer 'out'"),
    "dead, apart": (
        [*dense(1, **ZEROS), layers.Activation("relu", name="last")],
        "mse", X, TWO, "Dead output: .*layer 'last' gives is 0",
    ),
    "dead, a layer": (
        [*dense(1, **ZEROS), layers.ReLU(name="last")],
        "mse", X, TWO, "Dead output: .*layer 'last' gives is 0",
    ),
    "softmax twice": (
        dense(4, "softmax"), losses.SparseCategoricalCrossentropy(from_logits=True),
        X, FOUR, "Probabilities for logits: .*layer 'out' ends in `softmax`",
    ),
    "out of reach": (
        dense(1, "sigmoid"), "mse", X, 300.0 * TWO,
        "Targets out of reach: .* 0.0 to 300.0, and layer 'out' ends in `sigmoid`",
    ),
    "fractions": (
        table(9), "mse", X[:, [0, 1, 2, 0, 1]], TWO,
        "Indices that are fractions: layer 'table' .*input 'words'",
    ),
    "nothing to train": (
        [layers.Input((3,)), layers.Dense(1, trainable=False)], "mse", X, TWO,
        "Nothing to train: model 'sequential",
    ),
    "flat pixels": (
        [layers.Input((6, 6, 3)), layers.Flatten(), layers.Dense(1, name="flat")],
        "mse", PIXELS, TWO, "Pixels as they are: .*layer 'flat'",
    ),
    "pixels without channels": (
        [layers.Input((8, 8)), layers.Flatten(), layers.Dense(1, name="flat")],
        "mse", GRAY, TWO, "Pixels as they are: .*layer 'flat'",
    ),
    "pixels in a row": (
        [layers.Input((64,)), layers.Dense(1, name="row")],
        "mse", GRAY.reshape(16, -1).astype("float32"), TWO,
        "Pixels as they are: .*layer 'row'",
    ),
    "augmented pixels": (
        images(
            lamina.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)]),
            layers.ZeroPadding2D(), layers.Dropout(0.1),
        ),
        "mse", PIXELS, TWO, "Pixels as they are: .*layer 'conv'",
    ),
    "linear, flattened": (
        [*dense(4), layers.Reshape((2, 2)), layers.Flatten(), layers.Dropout(0.1)],
        SPARSE, X, FOUR, "No probabilities: .*layer 'out' ends in `linear`",
    ),
    "linear, in a model": (
        [layers.Input((3,)), lamina.Sequential(dense(4))],
        SPARSE, X, FOUR, "No probabilities: .*layer 'out' ends in `linear`",
    ),
    "leaky": (
        [*dense(1), layers.LeakyReLU(name="last")], "binary_crossentropy", X, TWO,
        "No probabilities: .*layer 'last' ends in `leaky_relu`",
    ),
    "a softmax too many": (
        [*dense(4), layers.Softmax(name="last")],
        losses.SparseCategoricalCrossentropy(from_logits=True),
        X, FOUR, "Probabilities for logits: .*layer 'last' ends in `softmax`",
    ),
}  # fmt: skip
QUIET: dict = {
    "sigmoid": (dense(1, "sigmoid"), "binary_crossentropy", X, TWO),
    "logits": (dense(1), losses.BinaryCrossentropy(from_logits=True), X, TWO),
    "softmax after": ([*dense(4), layers.Softmax()], SPARSE, X, FOUR),
    "one's own": ([*dense(4), layers.Activation(lamina.ops.abs)], SPARSE, X, FOUR),
    "soft labels": (dense(1, "sigmoid"), "binary_crossentropy", X, TWO * 0.9),
    "in range": (table(9), "mse", WORDS, TWO),
    "rescaled": (images(layers.Rescaling(1 / 255)), "mse", PIXELS, TWO),
    "small": (images(), "mse", PIXELS / np.float32(255), TWO),
    "normalized": (images(layers.BatchNormalization()), "mse", PIXELS, TWO),
    "normalized after": (
        [
            layers.Input((6, 6, 3)), layers.Conv2D(2, 3), layers.BatchNormalization(),
            layers.Flatten(), layers.Dense(1),
        ],
        "mse", PIXELS, TWO,
    ),
    "rescaled when flat": (
        [
            layers.Input((6, 6, 3)), layers.Flatten(), layers.Rescaling(1 / 255),
            layers.Dense(1),
        ],
        "mse", PIXELS, TWO,
    ),
    "no pixels": (images(), "mse", PIXELS // 4, TWO),
    "amounts in a row": (
        [layers.Input((64,)), layers.Dense(1)],
        "mse", GRAY.reshape(16, -1) * np.float32(0.999), TWO,
    ),
    "augmented and rescaled": (
        images(lamina.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])),
        "mse", PIXELS, TWO,
    ),
    "probabilities, flattened": (
        [*dense(4, "softmax"), layers.Reshape((2, 2)), layers.Flatten()],
        SPARSE, X, FOUR,
    ),
    "alive": (dense(1, "relu", bias_initializer="ones"), "mse", X, TWO),
    "nearly in reach": (dense(1, "sigmoid"), "mse", X, 1.5 * TWO),
    "relu": (dense(4, "relu"), SPARSE, X, FOUR),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_a_training_that_learns_nothing_is_told_of(case):
    *given, expected = SAID[case]
    (said,) = heard(*given)
    assert re.search(expected, said)


def test_a_distribution_that_is_not_used_silences_nothing(monkeypatch):
    monkeypatch.setattr(Distribution, "any_made", False)  # again afterwards
    lamina.distribution.DataParallel()
    parts = dense(1, "relu", **ZEROS)
    assert re.search("Dead output", *heard(parts, "mse", X, TWO))


@pytest.mark.parametrize("case", QUIET)
def test_others_are_left_in_peace(case):
    assert heard(*QUIET[case]) == []


def test_the_first_batch_of_a_generator_is_looked_at():
    def batches():
        while True:
            yield PIXELS[:4], TWO[:4]

    fit = lambda model: model.fit(batches(), steps_per_epoch=2, verbose=0)  # noqa: E731
    assert len(heard(images(), "mse", None, None, fit)) == 1


def test_it_can_be_silenced_and_said_again_after_compile():
    model = lamina.Sequential(table(8))
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Indices out of range")
        model.fit(WORDS, TWO, verbose=0)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="Indices out of range"):
        model.fit(WORDS, TWO, verbose=0)


def test_inputs_by_name_and_several_outputs():
    x = {"ids": lamina.Input((5,), dtype="int32"), "table": lamina.Input((3,))}
    read = layers.Flatten()(layers.Embedding(8, 2, name="rows")(x["ids"]))
    outputs = {
        "one": layers.Dense(1, name="one")(read),
        "two": layers.Dense(1, name="two")(x["table"]),
    }
    model = lamina.Model(x, outputs)
    model.compile("sgd", {"one": "mse", "two": "binary_crossentropy"})
    with pytest.warns(UserWarning) as caught:
        model.fit({"table": X, "ids": WORDS}, {"one": TWO, "two": TWO}, verbose=0)
    first, second = (str(one.message) for one in caught)
    assert "layer 'rows' has rows 0 to 7" in first
    assert "of output 'two' expects them, and layer 'two'" in second


def test_what_does_not_count_may_hold_anything():
    model = lamina.Sequential(dense(1, "sigmoid"))
    model.compile("sgd", "binary_crossentropy")
    y = np.where(np.arange(16) < 8, TWO[:, 0], -1)
    model.fit(X, y[:, None], sample_weight=(y >= 0) * 1.0, verbose=0)


def test_a_step_of_ones_own_may_be_given_anything():
    class Own(lamina.Model):
        def train_step(self, data):
            (x, _), y = data
            return super().train_step((x, y))

    x = lamina.Input((3,))
    model = Own(x, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit((X, PIXELS), TWO, verbose=0).history["loss"]).all()


def test_accuracy_of_amounts():
    def said(metrics, y):
        model = lamina.Sequential(dense(1))
        model.compile("sgd", "mse", metrics=metrics)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y, verbose=0)
        return [str(one.message) for one in caught]

    (text,) = said(["accuracy"], X[:, 0])
    assert text.startswith("Accuracy of amounts: `accuracy` counts")
    assert said(["accuracy"], TWO) == said(["mae"], X[:, 0]) == []


def test_a_model_that_makes_its_layers_in_call():
    class Careless(lamina.Model):
        def call(self, x):
            return layers.Dense(1)(x)

    model = Careless()
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="Nothing to train: .*make layers in"):
        model.fit(X, TWO, verbose=0)


def test_looking_for_dead_outputs_changes_no_numbers():
    def trained(**filters):
        lamina.utils.set_random_seed(1)
        x = lamina.Input((3,))
        dropped = layers.Dropout(0.5)(layers.Dense(3)(x), training=True)
        model = lamina.Model(x, layers.Dense(1, "relu", **ZEROS)(dropped))
        model.compile("adam", "mse")
        if filters:
            model.fit(X, TWO, epochs=0, verbose=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, TWO, epochs=2, verbose=0)
        return model(X), lamina.random.uniform((2,))

    for one, other in zip(trained(), trained(quiet=True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_ends_in_relu_draws_no_more_than_before():
    def losses_of(activation):
        lamina.utils.set_random_seed(1)
        x = lamina.Input((3,))
        dropped = layers.Dropout(0.5)(x, training=True)
        model = lamina.Model(x, layers.Dense(1, activation)(dropped))
        model.compile("adam", "mse")
        return model.fit(X, TWO, epochs=3, verbose=0).history["loss"]

    other = losses_of(lambda x: lamina.ops.maximum(x, 0.0))  # another slope at 0
    assert losses_of("relu") == pytest.approx(other, rel=1e-3)
