"""Integers given to a graph of half precision: rows of tables are read exactly."""

import numpy as np
import pytest

import lamina
from lamina import layers, ops

IDS = np.array([[257, 300, 513, 1001], [259, 2, 999, 1023]])
TABLE = np.arange(1024, dtype="float32")[:, None]


@pytest.fixture(params=["bfloat16", "float16", "mixed_bfloat16"])
def precision(request):
    before = lamina.config.floatx(), lamina.config.dtype_policy()
    if request.param in ("bfloat16", "float16"):
        lamina.config.set_floatx(request.param)
    lamina.config.set_dtype_policy(request.param)
    yield request.param
    lamina.config.set_floatx(before[0])
    lamina.config.set_dtype_policy(before[1])


def embedding():
    layer = layers.Embedding(1024, 1, dtype="float32")
    layer.build((None, 4))
    layer.set_weights([TABLE])
    return layer


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.table = embedding()

    def call(self, x):
        return self.table(x)


WAYS = {
    "plain": lambda x: embedding()(x),
    "flatten": lambda x: embedding()(layers.Flatten()(x)),
    "reshape": lambda x: embedding()(layers.Reshape((2, 2))(x)),
    "concatenate": lambda x: embedding()(layers.Concatenate()([x, x]))[:, :4],
    "slice": lambda x: embedding()(ops.expand_dims(x, 1)[:, 0]),
    "own layer": lambda x: Block()(x),
    "inner model": lambda x: lamina.Sequential([lamina.Input((4,)), embedding()])(x),
    "inner model that only moves": lambda x: embedding()(
        lamina.Sequential([lamina.Input((4,)), layers.Reshape((2, 2))])(x)
    ),
}


# What only moves entries, beside those above.
MOVES = {
    "ravel": ops.ravel,
    "fliplr": ops.fliplr,
    "flipud": ops.flipud,
    "rot90": ops.rot90,
    "roll": lambda x: ops.roll(x, 1, axis=1),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "tile": lambda x: ops.tile(x, (1, 2)),
    "append": lambda x: ops.append(x, x, axis=1),
    "hstack": lambda x: ops.hstack([x, x]),
    "vstack": lambda x: ops.vstack([x, x]),
    "dstack": lambda x: ops.dstack([x, x]),
    "split": lambda x: ops.split(x, 2, axis=1)[1],
    "array_split": lambda x: ops.array_split(x, 3, axis=1)[0],
    "hsplit": lambda x: ops.hsplit(x, 2)[1],
    "unstack": lambda x: ops.unstack(x, axis=1)[2],
    "slice": lambda x: ops.slice(x, (0, 1), (2, 2)),
    "diagonal": lambda x: ops.diagonal(ops.expand_dims(x, 1), axis1=1, axis2=2),
    "sort": lambda x: ops.sort(x, axis=1),
    "copy": ops.copy,
    "stop_gradient": ops.stop_gradient,
    "extract_sequences": lambda x: ops.extract_sequences(x, 2, 1),
    "masking": lambda x: layers.Masking(1023.0)(ops.expand_dims(x, -1)),
    "sampling": lambda x: layers.UpSampling1D(2)(ops.expand_dims(x, -1)),
    "regularized": layers.ActivityRegularization(l1=0.0),
}


@pytest.mark.parametrize("move", MOVES)
def test_what_moves_entries_keeps_integers(move):
    lamina.config.set_floatx("bfloat16")
    lamina.config.set_dtype_policy("bfloat16")
    try:
        half, whole = lamina.Input((4,)), lamina.Input((4,), dtype="int32")
        table = embedding()
        table.supports_masking = True
        expected = lamina.Model(whole, table(MOVES[move](whole)))(IDS)
        net = lamina.Model(half, table(MOVES[move](half)))
        np.testing.assert_array_equal(net(IDS), expected)
        np.testing.assert_array_equal(net.predict(IDS, verbose=0), expected)
    finally:
        lamina.config.set_floatx("float32")
        lamina.config.set_dtype_policy("float32")


@pytest.mark.parametrize("way", WAYS)
def test_an_embedding_reads_the_rows(way, precision):
    if way == "slice" and precision == "mixed_bfloat16":
        pytest.skip("the ops run in float32 there, which is exact")
    x = lamina.Input((4,))
    net = lamina.Model(x, WAYS[way](x))
    for ids in (IDS, IDS.astype("int32"), IDS.astype("uint16")):
        np.testing.assert_array_equal(np.ravel(net(ids)), np.ravel(IDS))
    np.testing.assert_array_equal(np.ravel(net.predict(IDS, verbose=0)), np.ravel(IDS))
    again = lamina.Model.from_config(net.get_config(), {"Block": Block})
    again.set_weights(net.get_weights())
    np.testing.assert_array_equal(np.ravel(again(IDS)), np.ravel(IDS))


def test_training_changes_the_rows_that_were_given(precision):
    table = layers.Embedding(
        1024, 1, embeddings_initializer="zeros", dtype="float32", mask_zero=True
    )
    for net in (
        lamina.Sequential([lamina.Input((4,)), table]),
        lamina.Sequential([table]),
    ):
        table.set_weights([np.zeros((1024, 1))]) if table.built else None
        net.compile(lamina.optimizers.SGD(1.0), "mse")
        net.fit(IDS, np.ones((2, 4, 1), "float32"), verbose=0)
        changed = np.flatnonzero(table.get_weights()[0])
        np.testing.assert_array_equal(changed, np.unique(IDS))


def test_other_layers_that_take_numbers_of_categories(precision):
    x = lamina.Input((4,))

    def made(layer):
        return np.asarray(lamina.Model(x, layer(x)).predict(IDS, verbose=0))

    hot = made(layers.CategoryEncoding(1024)).astype("float32")
    for row, ids in zip(hot, IDS, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), np.unique(ids))
    known = layers.IntegerLookup(vocabulary=np.unique(IDS).tolist())
    np.testing.assert_array_equal(made(known), known(IDS))
    hashed = layers.Hashing(1000)
    np.testing.assert_array_equal(made(hashed), hashed(IDS))
    bounds = [257.0, 300.5, 514.0, 1001.0]
    np.testing.assert_array_equal(
        made(layers.Discretization(bounds)), np.digitize(IDS, bounds)
    )
    net = lamina.Model(x, ops.one_hot(x, 1024, dtype="float32"))
    np.testing.assert_array_equal(np.asarray(net(IDS)).argmax(-1), IDS)


def test_what_computes_gets_the_dtype_that_was_drawn(precision):
    seen = []

    class Seen(layers.Layer):
        def call(self, x):
            seen.append(str(x.dtype))
            return x

    x = lamina.Input((4,))
    net = lamina.Model(x, [x, x * 2, embedding()(x), Seen()(layers.Flatten()(x))])
    plain, double, rows, _ = net(IDS)
    assert plain.dtype == double.dtype == x.dtype
    assert {seen[-1]} == {lamina.config.dtype_policy().compute_dtype}
    np.testing.assert_array_equal(np.ravel(rows), np.ravel(IDS))
    pixels = np.full((2, 4), 255, "uint8")
    assert net(pixels)[1].tolist() == [[510.0] * 4] * 2


def test_a_graph_does_not_round_its_inputs_to_the_compute_dtype():
    lamina.config.set_dtype_policy("mixed_bfloat16")
    try:
        x = lamina.Input((4,))
        exact = layers.Rescaling(1.0, dtype="float32")
        for net in (
            lamina.Model(x, exact(x)),
            lamina.Sequential([lamina.Input((4,)), exact]),
        ):
            np.testing.assert_array_equal(net(IDS.astype("float32")), IDS)
            outer = lamina.Model(x, net(x))
            np.testing.assert_array_equal(outer(IDS.astype("float32")), IDS)
    finally:
        lamina.config.set_dtype_policy("float32")
