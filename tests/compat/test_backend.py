"""The functions of `keras.backend` that only TensorFlow's Keras has."""

import inspect
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras._tf_keras.keras import backend as theirs

import lamina
from lamina.compat.shims import backend

OURS = backend.functions()
RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 0.9, (2, 3, 4)).astype("float32")
ROWS, OTHERS = X[:, :, 0], X[:, :, 1]
PAD = [(0, 0), (1, 1), (1, 1), (0, 0)]
IMAGES = RNG.normal(size=(2, 4, 4, 3)).astype("float32")


def test_names():
    assert set(OURS) <= set(dir(theirs))
    missing = set(theirs.__dict__) - set(OURS) - set(dir(lamina.backend))
    assert {name for name in missing if name[0] != "_"} == set()


@pytest.mark.parametrize("name", OURS)
def test_arguments(name):
    ours, expected = (
        [(one.name, one.default) for one in inspect.signature(of).parameters.values()]
        for of in (OURS[name], getattr(theirs, name))
    )
    assert ours == expected


@pytest.mark.parametrize("name", ["all", "any", "max", "mean", "min", "prod", "std",
                                  "sum", "var"])  # fmt: skip
@pytest.mark.parametrize(
    ("axis", "keepdims"), [(None, False), (1, True), ((0, 2), False)]
)
def test_reductions(name, axis, keepdims):
    given = X > 0.5 if name in ("all", "any") else X
    expected = getattr(np, name)(given, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(OURS[name](given, axis, keepdims), expected, rtol=1e-5)


def test_whole_numbers_stay_whole():
    for values, mean in (([-1, -2], -1), ([[1, 2], [4, 4]], 2), ([7, 8, 8], 7)):
        for dtype in ("int32", "int8"):
            x = lamina.ops.array(values, dtype)
            assert (OURS["mean"](x).dtype, int(OURS["mean"](x))) == (dtype, mean)
    pixels = lamina.ops.array([200, 100], "uint8")
    found = [OURS[name](pixels) for name in ("mean", "sum", "prod", "max", "cumsum")]
    assert {str(x.dtype) for x in found} == {"uint8"}
    assert [int(x) for x in found[:4]] == [150, 44, 32, 200]
    assert OURS["mean"](pixels > 150).dtype == "float32"
    sizes = OURS["shape"](X)
    assert sizes.dtype == "int32" and (sizes * 2).tolist() == [4, 6, 8]
    assert OURS["shape"](x := lamina.Input((3,))) == (None, 3)
    ones = lamina.layers.Lambda(lambda x: lamina.ops.ones((OURS["shape"](x)[0], 2)))
    np.testing.assert_array_equal(lamina.Model(x, ones(x))(np.ones((4, 3))), 1)

    def tiled(x):
        batch = OURS["stack"]([OURS["shape"](x)[0], 1])
        pairs = OURS["tile"](x[:1, :2], batch)
        return OURS["reshape"](pairs, OURS["concatenate"]([batch, [2]], 0))

    model = lamina.Model(x, lamina.layers.Lambda(tiled)(x))
    np.testing.assert_array_equal(model(np.ones((4, 3))), np.ones((4, 1, 2)))
    np.testing.assert_array_equal(OURS["stack"]([X, X], 1), np.stack([X, X], 1))

    def turned(x):
        K = SimpleNamespace(**OURS)
        of, (rows, *_) = K.shape(x), K.shape(x)
        x = K.reshape(x, (-1, K.prod(of[1:])))
        x = K.reshape(x, K.concatenate([of[:1], K.constant([2, 2, 3], "int32")]))
        x = K.reshape(x, (K.cast(rows * of[1], "int32"), K.sum([1, 2])))
        x = K.reshape(x, K.reverse(K.gather(of, [2, 1, 0]), 0))
        x = x[: K.maximum(rows, K.min(of)), : K.minimum(of[1], 3), : K.pow(of[2], 1)]
        sizes = K.tile(K.expand_dims(K.min(of[1:])), 1), K.square(of[2:] // K.max([3]))
        return K.reshape(x, K.concatenate([K.stack([-1]), *sizes]))

    for size in (4, None):
        x = lamina.Input((size, 3))
        model = lamina.Model(x, lamina.layers.Lambda(turned)(x))
        x = np.arange(24.0).reshape(2, 4, 3)
        np.testing.assert_array_equal(model(x), x[:, :3].reshape(-1, 3, 1))
    assert OURS["cast"]([1, 2], "uint8").dtype == "uint8"
    assert OURS["sum"](np.ones((2, 2), "int64")).dtype == "int32"


@pytest.mark.parametrize("name", ["abs", "cos", "exp", "log", "relu", "round", "sign",
    "sigmoid", "sin", "softmax", "softplus", "softsign", "sqrt", "square", "tanh",
    "elu", "transpose", "zeros_like", "ones_like", "argmax", "argmin"])  # fmt: skip
def test_one_argument(name):
    expected = getattr(keras.ops, name)(X, **({"axis": -1} if "arg" in name else {}))
    np.testing.assert_allclose(OURS[name](X), expected, rtol=1e-5)


def test_certain_mistakes_cost_what_they_do_there():
    found = OURS["binary_crossentropy"](np.ones(2), np.zeros(2))
    np.testing.assert_allclose(found, -np.log(2e-7), rtol=1e-5)


EQUAL = {
    "batch_dot": ((X, np.swapaxes(X, 1, 2)), lambda a, b: a @ b),
    "batch_flatten": ((X,), lambda a: a.reshape(2, 12)),
    "bias_add": ((IMAGES, np.arange(3.0)), lambda a, b: a + b),
    "cast_to_floatx": (([1, 2],), lambda a: np.float32(a)),
    "constant": ((2, None, (2, 2)), lambda *a: np.full((2, 2), 2.0)),
    "count_params": ((X,), lambda a: 24),
    "dot": ((X, np.ones((4, 5))), lambda a, b: a @ b),
    "eval": ((X,), lambda a: a),
    "flatten": ((X,), np.ravel),
    "foldl": ((np.add, X), lambda f, a: a.sum(0)),
    "foldr": ((np.subtract, X), lambda f, a: a[1] - a[0]),
    "gather": ((X, [1, 0]), lambda a, i: a[i]),
    "in_top_k": ((ROWS, np.argmax(ROWS, 1), 1), lambda *a: [True, True]),
    "l2_normalize": ((X, 1), lambda a, i: a / np.sqrt((a**2).sum(1, keepdims=True))),
    "map_fn": ((lambda row: row * 2, X), lambda f, a: 2 * a),
    "one_hot": (([1, 0], 2), lambda *a: [[0, 1], [1, 0]]),
    "permute_dimensions": ((X, (1, 0, 2)), np.transpose),
    "pow": ((X, 2), np.power),
    "repeat": ((ROWS, 4), lambda a, n: a[:, None].repeat(n, 1)),
    "repeat_elements": ((X, 2, 1), np.repeat),
    "hard_sigmoid": ((4 * X - 2,), lambda a: np.clip(0.2 * a + 0.5, 0, 1)),
    "relu": ((X - 0.5, 0.1, 0.3), lambda a, *_: np.clip(a, 0.1 * a, 0.3)),
    "conv1d": ((X, np.ones((2, 4, 1)), 1, "causal"), lambda a, *_: (
        a + np.pad(a, [(0, 0), (1, 0), (0, 0)])[:, :-1]).sum(2, keepdims=True)),
    "resize_images": ((IMAGES, 2, 1, "channels_last"), lambda a, *_: a.repeat(2, 1)),
    "reverse": ((X, 1), np.flip),
    "spatial_2d_padding": ((IMAGES,), lambda a: np.pad(a, PAD)),
    "switch": ((ROWS[0] > 2, ROWS, OTHERS), lambda c, a, b: b),
    "temporal_padding": ((X,), lambda a: np.pad(a, [(0, 0), (1, 1), (0, 0)])),
    "binary_crossentropy": (
        (np.round(ROWS), OTHERS), lambda t, p: -np.log(np.where(t == 1, p, 1 - p)),
    ),
    "binary_focal_crossentropy": (
        (np.round(ROWS), OTHERS, True, 0.3, 1.5),
        lambda t, p, *_: (
            -(0.7 - 0.4 * t) * (1 - np.where(t, p, 1 - p)) ** 1.5
            * np.log(np.where(t, p, 1 - p))
        ),
    ),
    "categorical_focal_crossentropy": (
        (np.eye(3)[:2].T, ROWS.T, 0.3, 2.0, False, 0),
        lambda t, p, *_: (
            -0.3 * t * (1 - p / p.sum(0)) ** 2 * np.log(p / p.sum(0))
        ).sum(0),
    ),
    "categorical_crossentropy": (
        (np.eye(3)[:2], ROWS), lambda t, p: -np.log((t * p).sum(1) / p.sum(1)),
    ),
    "sparse_categorical_crossentropy": (
        ([0, 1], ROWS), lambda t, p: -np.log(p[[0, 1], t] / p.sum(1)),
    ),
    "pool2d": ((IMAGES, (4, 4)), lambda a, _: a.max((1, 2), keepdims=True)),
    "pool3d": (
        (IMAGES[None], (1, 2, 2), (1, 2, 2), "valid", None, "avg"),
        lambda a, *_: a.reshape(1, 2, 2, 2, 2, 2, 3).mean((3, 5)),
    ),
    "resize_volumes": (
        (IMAGES[None], 2, 1, 1, "channels_last"), lambda a, *_: a.repeat(2, 1)
    ),
    "spatial_3d_padding": (
        (IMAGES[None],), lambda a: np.pad(a, [(0, 0), *[(1, 1)] * 3, (0, 0)])
    ),
    "batch_normalization": (
        (X, np.full(4, 0.5), np.full(4, 4.0), np.ones(4), np.full(4, 2.0)),
        lambda a, *_: (a - 0.5) / np.sqrt(4.001) * 2 + 1,
    ),
    "separable_conv2d": (
        (IMAGES, np.ones((1, 1, 3, 1)), np.ones((1, 1, 3, 2))),
        lambda a, *_: np.repeat(a.sum(3, keepdims=True), 2, 3),
    ),
    "depthwise_conv2d": ((IMAGES, np.full((1, 1, 3, 1), 2.0)), lambda a, _: 2 * a),
    "conv2d_transpose": (  # one more than the windows reach
        (IMAGES, np.ones((2, 2, 1, 3)), (None, 9, 8, 1), (2, 2)),
        lambda a, *_: np.pad(
            a.sum(3, keepdims=True).repeat(2, 1).repeat(2, 2),
            [(0, 0), (0, 1), (0, 0), (0, 0)],
        ),
    ),
    "concatenate": (([X, X],), lambda a: np.concatenate(a, -1)),
    "cumsum": ((X,), lambda a: a.cumsum(0)),
    "cumprod": ((X,), lambda a: a.cumprod(0)),
    "sqrt": ((X - 0.5,), lambda a: np.sqrt(np.maximum(a, 0))),
    "expand_dims": ((X,), lambda a: a[..., None]),
    "eye": ((2, "int32"), lambda n, _: np.eye(n)),
    "tile": ((ROWS[0], 2), lambda a, n: np.tile(a, n)),
    "arange": ((0, 1, 0.25), np.arange),
    "clip": ((X, 0.6, 0.4), lambda a, *_: np.full(a.shape, 0.6)),
    "conv2d": ((IMAGES, np.ones((1, 1, 3, 1))), lambda a, _: a.sum(3, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL)
def test_numbers(name):
    given, expected = EQUAL[name]
    np.testing.assert_allclose(
        OURS[name](*given), expected(*given), rtol=2e-5, atol=1e-6
    )


def test_numbers_of_other_forms():
    def equal(name, expected, *given, **named):
        found = OURS[name](*given, **named)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)

    equal("clip", np.minimum(X, 0.4), X, min_value=None, max_value=0.4)
    equal("clip", np.maximum(X, 0.4), X, min_value=0.4, max_value=None)
    equal("arange", [], -3)
    assert OURS["arange"](0, 5, dtype="float32").dtype == "float32"
    picks = np.array([[0, 1, 2], [3, -1, 0]])
    cost = -np.log(np.take_along_axis(X, picks[..., None], 2)[..., 0] / X.sum(2))
    cost = np.where(picks < 0, 0, cost)
    name = "sparse_categorical_crossentropy"
    equal(name, cost, picks, X, ignore_class=-1)
    equal(name, cost, picks, X.swapaxes(1, 2), axis=1, ignore_class=-1)
    equal(name, cost[1:, :1], [[[3]]], X[1:, :1])
    rows = np.array([True, False, True, False])
    equal("switch", np.where(rows, X, -X), rows, lambda: X, -X)
    equal("switch", X, np.array(1), lambda: X, lambda: -X)
    equal("switch", np.where(X[..., :1] > 0.5, X, -X), X[..., 0] > 0.5, X, -X)
    with pytest.raises(ValueError, match="at most the expressions' axes"):
        OURS["switch"](X > 0, ROWS, ROWS)
    means = X.mean((1, 2), keepdims=True)
    equal("batch_normalization", (X - means) / 2, X, means, 4.0, None, None, -1, 0.0)
    images = np.moveaxis(IMAGES[:1], -1, 1)
    equal("bias_add", 2 * images, images, images[0].reshape(4, 4, 3), "channels_first")
    first, second = OURS["stop_gradient"]([X, ROWS])
    assert OURS["get_value"](3) == 3 and (first.shape, second.shape) == (
        (2, 3, 4),
        (2, 3),
    )


def test_rnn():
    def step(x, states):
        total, by, once = states
        return by * x, [total + x, by + once]

    given = step, X, [np.zeros((2, 4)), np.ones((2, 4))]
    last, outputs, (total, by) = OURS["rnn"](*given, constants=[np.ones((2, 4))])
    np.testing.assert_allclose(outputs, X * [[[1], [2], [3]]], rtol=1e-6)
    np.testing.assert_array_equal(last, outputs[:, -1])
    np.testing.assert_allclose(total, X.sum(1), rtol=1e-6)
    assert (np.asarray(by) == 4).all()
    more = {"zero_output_for_mask": True, "go_backwards": True, "time_major": True}
    last, outputs, (total, _) = OURS["rnn"](
        step, X.swapaxes(0, 1), given[2], mask=np.array([[1, 0, 1], [1, 1, 1]]).T,
        constants=[1.0], return_all_outputs=False, **more,
    )  # fmt: skip
    np.testing.assert_allclose(last, X[:, 0] * [[2], [3]], rtol=1e-6)
    np.testing.assert_array_equal(outputs, last[None])
    np.testing.assert_allclose(total[0], X[0, 0] + X[0, 2], rtol=1e-6)
    _, outputs, _ = OURS["rnn"](*given, constants=[1.0], input_length=[2, 3])
    np.testing.assert_array_equal(outputs[0, 2], outputs[0, 1])


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_rnn_ends_with_the_longest_row(go_backwards, time_major):
    def run(x, **given):
        given = {**given, "go_backwards": go_backwards, "time_major": time_major}
        x = x.swapaxes(0, 1) if time_major else x
        return OURS["rnn"](step, x, [np.zeros((2, 4))], **given)

    def step(x, states):
        return x + states[0], [x + states[0]]

    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    seen = x[:, -3:] if go_backwards else x[:, :3]
    _, expected, states = run(seen)
    for given in ({"input_length": 3}, {"input_length": 3, "mask": np.ones((2, 5))}):
        if time_major and "mask" in given:
            given["mask"] = given["mask"].T
        last, outputs, ended = run(x, **given)
        outputs, whole = (
            np.swapaxes(y, 0, 1) if time_major else np.asarray(y)
            for y in (outputs, expected)
        )
        np.testing.assert_allclose(outputs[:, :3], whole, rtol=1e-6)
        assert not outputs[:, 3:].any() and not np.any(last)
        np.testing.assert_allclose(ended[0], states[0], rtol=1e-6)
    last, outputs, _ = run(x, input_length=[1, 3])
    outputs = np.swapaxes(outputs, 0, 1) if time_major else np.asarray(outputs)
    # Of a row of one step, the step that is read: as in Keras, the last of the three.
    read = x[0, 2] if go_backwards else x[0, 0]
    np.testing.assert_allclose(outputs[0, 2], read, rtol=1e-6)
    assert not outputs[:, 3:].any()
    short, *_ = run(x, input_length=3, return_all_outputs=False)
    np.testing.assert_allclose(short, seen.sum(1), rtol=1e-5)


def test_labels_are_sparse_in_tensorflow():
    tf = pytest.importorskip("tensorflow")
    labels = np.arange(6).reshape(2, 3)
    sparse = OURS["ctc_label_dense_to_sparse"](labels, [2, 3])
    dense = tf.sparse.to_dense(sparse, -1)
    np.testing.assert_array_equal(dense, [[0, 1, -1], [3, 4, 5]])


def test_ctc_has_its_blank_at_the_end():
    # Labels 0 and 1, which only the alignment (0, 1, blank) and its kin can write.
    steps = np.log(RNG.uniform(0.1, 0.9, (1, 3, 3))).astype("float32")
    p = np.exp(steps) / np.exp(steps).sum(-1, keepdims=True)
    a, b, c = p[0]
    total = (
        a[0] * b[1] * c[2] + a[0] * b[2] * c[1] + a[2] * b[0] * c[1]
        + a[0] * b[0] * c[1] + a[0] * b[1] * c[1]
    )  # fmt: skip
    cost = OURS["ctc_batch_cost"]([[0, 1]], p, [[3]], [[2]])
    np.testing.assert_allclose(cost, [[-np.log(total)]], rtol=1e-5)
    best = np.array([[[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0.1, 0.9], [0.1, 0.8, 0.1]]])
    for greedy in (True, False):
        (decoded,), _ = OURS["ctc_decode"](best.astype("float32"), [4], greedy, 5)
        assert np.asarray(decoded)[0, :2].tolist() == [0, 1]


def test_variables():
    v = OURS["variable"]([1.0, 2.0], name="v")
    assert OURS["update_add"](v, 1.0) is v and OURS["update_sub"](v, 0.5) is v
    np.testing.assert_array_equal(OURS["get_value"](v), [1.5, 2.5])
    OURS["batch_set_value"]([(v, [4.0, 4.0])])
    OURS["moving_average_update"](v, 0.0, 0.5)
    np.testing.assert_array_equal(OURS["batch_get_value"]([v]), [[2.0, 2.0]])
    assert OURS["batch_set_value"]([(v, [1.0, 0.0])]) is None
    assert v.numpy().tolist() == [1, 0]
    OURS["update"](v, [0.0, 1.0])
    assert OURS["int_shape"](v) == (2,) and OURS["dtype"](v) == "float32"
    assert OURS["zeros"]((2,)).numpy().tolist() == [0, 0]
    assert OURS["ones"]((2,)).numpy().tolist() == [1, 1]


def test_draws():
    for name in ("random_normal", "random_uniform", "truncated_normal"):
        draws = np.asarray(OURS[name]((200, 50), seed=1))
        assert abs(draws.mean() - (0.5 if name == "random_uniform" else 0)) < 0.05
    assert set(np.unique(OURS["random_bernoulli"]((50,), 0.5, seed=1))) == {0.0, 1.0}
    assert OURS["random_normal_variable"]((2, 3), 0.0, 1.0).shape == (2, 3)
    assert OURS["random_uniform_variable"]((2, 3), 0.0, 1.0).shape == (2, 3)
    kept = np.asarray(OURS["dropout"](np.ones(100, "float32"), 0.5, seed=1))
    assert set(np.unique(kept)) == {0.0, 2.0}


@pytest.mark.parametrize("shape", [None, (4,)])
def test_layers_draw_without_a_seed(shape):
    def noise(x):
        return OURS["random_normal"](OURS["shape"](x))

    layer = lamina.layers.Lambda(noise, shape)
    model = lamina.Sequential([lamina.Input((4,)), layer])
    first, second = (model.predict(np.zeros((200, 4)), verbose=0) for _ in range(2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.15
    np.testing.assert_allclose([first.std(), second.std()], 1, atol=0.1)
    assert (len(layer.variables), len(layer.weights)) == (1, 0)


def test_layers_draw_in_training_alone():
    class Noise(lamina.layers.Layer):
        def call(self, x, training=None):
            return x + OURS["random_normal"](OURS["shape"](x)) if training else x

    model = lamina.Sequential([lamina.Input((4,)), Noise(), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((64, 4), "float32")
    model.optimizer.learning_rate = 0.0
    first, second = model.fit(x, x[:, :1], epochs=2, verbose=0).history["loss"]
    assert first != second
    assert np.ptp(model.predict(x, verbose=0)) == 0

    def drawn(y_true, y_pred):
        return OURS["random_uniform"]((), 1, 2) + 0 * OURS["mean"](y_pred)

    model.compile("sgd", drawn, metrics=[drawn])
    history = model.fit(x, x[:, :1], epochs=2, verbose=0).history
    assert len({*history["loss"], *history["drawn"]}) == 4


def test_whole_numbers_are_drawn_and_constants_take_shapes():
    drawn = OURS["random_uniform"]((99,), 0, 5, dtype="int32", seed=1)
    assert set(np.asarray(drawn)) == set(range(5))
    assert OURS["constant"]([1, 2, 3, 4], shape=(2, 2)).tolist() == [[1, 2], [3, 4]]
    assert OURS["constant"](2.0, shape=(2,)).tolist() == [2, 2]


def test_gradients_say_what_to_use():
    with pytest.raises(NotImplementedError, match="lamina.value_and_grad"):
        OURS["gradients"](None, None)
