"""`Embedding(sparse=True)` trains as a dense table does, at the cost of its rows."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers, optimizers
from lamina.core.row_gradients import RowGradient

pytestmark = pytest.mark.filterwarnings("ignore:Indices out of range")
ROWS = 40


def data(rows=50):
    rng = np.random.default_rng(0)
    # Rows that come twice, from the end, and some that are never looked up.
    x = {
        "few": rng.integers(0, 30, (rows, 3)).astype("int32"),
        "other": rng.integers(-4, 12, (rows, 2)).astype("int32"),
    }
    return x, rng.normal(size=(rows, 1)).astype("float32")


def network(sparse, **options):
    """Return a model that looks the same table up twice, and a second one."""
    lamina.utils.set_random_seed(0)
    few, other = (
        layers.Input((n,), name=name, dtype="int32")
        for name, n in (("few", 3), ("other", 2))
    )
    table = layers.Embedding(ROWS, 4, sparse=sparse, name="table", **options)
    second = layers.Embedding(ROWS, 2, sparse=sparse, name="second", **options)
    found = [table(few), table(other), second(few)]
    x = layers.Concatenate()([layers.Flatten()(rows) for rows in found])
    x = layers.Dropout(0.2)(x)
    return lamina.Model({"few": few, "other": other}, layers.Dense(1)(x))


def trained(sparse, optimizer, epochs=1, make=network, **options):
    model = make(sparse)
    model.compile(optimizer, "mse", **options)
    x, y = data()
    history = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0)
    return model, np.array(history.history["loss"])


EXACT = {
    "sgd": lambda: optimizers.SGD(0.1),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "clipnorm": lambda: optimizers.SGD(0.1, clipnorm=0.01),
    "global": lambda: optimizers.Adagrad(0.1, global_clipnorm=0.01),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.001),
    "scaled": lambda: optimizers.SGD(0.1, loss_scale_factor=8.0),
    "dynamic": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.1)),
    "several": lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.1), {"second": optimizers.Adagrad()})
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_same_as_a_dense_table(name):
    (dense, losses), (sparse, found) = (trained(s, EXACT[name]()) for s in (0, 1))
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    for mine, theirs in zip(sparse.variables, dense.variables, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-7, err_msg=mine.path)


@pytest.mark.parametrize(
    "optimizer",
    ["SGD", "Adam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion"],
)
def test_rows_that_have_a_gradient_are_changed(optimizer):
    """They are changed as by the dense form; at the first step of any optimizer."""
    rows = np.array([[1.0, -2.0], [0.5, 1.0], [3.0, 3.0]], "float32")
    indices, tables = np.array([2, -1, 2]), []
    whole = np.zeros((6, 2), "float32")
    np.add.at(whole, indices, rows)
    for gradient in (whole, RowGradient(jax.numpy.array(indices), rows)):
        table = lamina.Variable(np.ones((6, 2)), name="table")
        made = getattr(optimizers, optimizer)(0.1)
        made.apply([gradient], [table])
        tables.append((table, made))
    (dense, _), (sparse, made) = tables
    changed = np.flatnonzero((sparse.numpy() != 1).any(axis=1)).tolist()
    assert changed == [2, 5]
    np.testing.assert_allclose(sparse[2::3], dense[2::3], rtol=1e-6)
    assert [v.shape for v in made.variables][2:] in ([(6, 2)] * n for n in range(3))


def test_adam_is_torch_sparse_adam():
    """The formula of the lazy form, written once more in NumPy."""
    table = lamina.Variable(np.ones((5, 2)), name="table")
    table.sparse_gradient = True
    adam = optimizers.Adam(0.1)
    adam.build([table])
    values, m, v = np.ones((5, 2)), np.zeros((5, 2)), np.zeros((5, 2))
    rng = np.random.default_rng(0)
    for step in range(1, 4):
        indices, rows = rng.integers(0, 5, 3), rng.normal(size=(3, 2))
        adam.apply([RowGradient(jax.numpy.array(indices), jax.numpy.array(rows))])
        for i in set(indices.tolist()):
            g = rows[indices == i].sum(axis=0)
            m[i] += 0.1 * (g - m[i])
            v[i] += 0.001 * (g**2 - v[i])
            rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            values[i] -= rate * m[i] / (np.sqrt(v[i]) + 1e-7)
    np.testing.assert_allclose(table, values, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"steps_per_execution": 2}, {"jit_compile": False}, {"run_eagerly": 1}]
)
def test_however_it_runs(options):
    _, once = trained(True, optimizers.Adam(0.01))
    _, again = trained(True, optimizers.Adam(0.01), **options)
    np.testing.assert_allclose(again, once, rtol=1e-5)


def test_in_a_step_of_the_users():
    class Own(lamina.Model):
        def train_step(self, data):
            x, y = data

            def loss():
                return self.compute_loss(x, y, self(x, training=True))

            value, gradients = lamina.value_and_grad(loss, self.trainable_variables)()
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": value}

    def own(sparse):
        model = network(sparse)
        return Own(model.input, model.output)

    (dense, _), (sparse, _) = (
        trained(s, optimizers.Adagrad(0.1), make=own) for s in (0, 1)
    )
    np.testing.assert_allclose(sparse.weights[0], dense.weights[0], atol=5e-7)


def test_no_gradient_as_large_as_the_table():
    x, y = data()

    def whole(sparse):
        found = gradients_of(network(sparse), x, y)
        return [g.shape for g in jax.tree.leaves(found) if g.shape[:1] == (ROWS,)]

    assert whole(False) == [(ROWS, 4), (ROWS, 2)] and whole(True) == []


def gradients_of(model, x, y):
    def loss():
        return jax.numpy.mean((model(x, training=True) - y) ** 2)

    return lamina.value_and_grad(loss, model.trainable_variables)()[1]


def test_gradients_are_those_of_the_dense_table():
    x, y = data()
    dense, sparse = (gradients_of(network(s), x, y) for s in (0, 1))
    for mine, theirs in zip(sparse, dense, strict=True):
        if isinstance(mine, RowGradient):
            summed = mine.summed(ROWS)
            assert len(set(summed.indices.tolist()) - {ROWS}) < len(mine.indices)
            whole = np.zeros((ROWS + 1, mine.values.shape[1]), "float32")
            whole[summed.indices] = summed.values
            mine = whole[:ROWS]
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_resumed_and_saved(tmp_path):
    model, _ = trained(True, "adam", epochs=4)
    x, y = data()

    def run(epochs):
        again = network(True)
        again.compile("adam", "mse")
        again.fit(
            x, y, batch_size=16, epochs=epochs, verbose=0, resume=tmp_path / "run"
        )
        return again

    run(2)
    resumed = run(4)
    for mine, theirs in zip(resumed.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    model.save(tmp_path / "model.keras")
    loaded = lamina.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("table").sparse
    loaded.evaluate(x, y, verbose=0)
    assert "sparse" not in layers.Embedding(3, 2).get_config()  # Keras reads it


def test_mixed_precision():
    model = lamina.Sequential(
        [
            layers.Input((3,), dtype="int32"),
            layers.Embedding(ROWS, 4, sparse=True, dtype="mixed_bfloat16"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile(optimizers.SGD(0.1), "mse")
    x, y = data()
    before = model.weights[0].numpy()
    model.fit(x["few"], y, verbose=0)
    assert (model.weights[0].numpy() != before).any()


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: optimizers.AdamW(), "exclude_from_weight_decay"),
        (lambda: optimizers.SGD(use_ema=True), "use_ema"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=2), "accumulation"),
        (lambda: optimizers.Lamb(), "rule for whole Variables"),
        (lambda: optimizers.Adafactor(), "rule for whole Variables"),
    ],
)
def test_refused_by_the_optimizer(optimizer, message):
    with pytest.raises(ValueError, match=message) as caught:
        trained(True, optimizer())
    assert "table" in str(caught.value)


def test_a_rule_of_the_users_says_for_itself_that_it_takes_rows():
    class Centred(optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient - gradient.mean(0), variable, learning_rate)

    class Signed(optimizers.SGD):
        takes_rows = True

        def update_step(self, gradient, variable, learning_rate):
            signs = jax.numpy.sign(gradient)
            super().update_step(signs, variable, learning_rate)

    with pytest.raises(ValueError, match="takes_rows = True"):
        trained(True, Centred())
    (dense, _), (sparse, _) = (trained(s, Signed()) for s in (0, 1))
    for mine, theirs in zip(sparse.variables, dense.variables, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-7)


def test_decay_of_other_weights_works():
    adam = optimizers.AdamW()
    adam.exclude_from_weight_decay(var_names=["embeddings"])
    assert np.isfinite(trained(True, adam)[1]).all()


@pytest.mark.parametrize("kind", ["regularizer", "constraint"])
def test_refused_by_the_layer(kind):
    name = {"regularizer": "l2", "constraint": "max_norm"}[kind]
    with pytest.raises(ValueError, match=f"embeddings_{kind}.*sparse=True"):
        layers.Embedding(5, 2, sparse=True, **{f"embeddings_{kind}": name})


def test_a_table_that_is_read_whole():
    layer = layers.ReversibleEmbedding(ROWS, 4, sparse=True)
    x = layers.Input((3,), dtype="int32")
    model = lamina.Model(x, layer(layer(x), reverse=True))
    model.compile("sgd", "sparse_categorical_crossentropy")
    few = data()[0]["few"]
    with pytest.raises(ValueError, match=r"reversible_embedding.*sparse=True"):
        model.fit(few, few, verbose=0)


def wrapped(wrap):
    """Return a function that makes a model with the table inside of something."""

    def make(sparse):
        lamina.utils.set_random_seed(0)
        table = layers.Embedding(ROWS, 4, sparse=sparse)
        few = layers.Input((3,), name="few", dtype="int32")
        other = layers.Input((2,), name="other", dtype="int32")
        if wrap == "time_distributed":
            found = layers.TimeDistributed(table)(layers.Reshape((3, 1))(few))
        elif wrap == "nested":
            found = lamina.Sequential([table, layers.Dense(3)])(few)
        else:
            with lamina.RematScope(mode="full"):
                found = layers.Embedding(ROWS, 4, sparse=sparse)(few)
        x = layers.Concatenate()([layers.Flatten()(found), other])
        return lamina.Model({"few": few, "other": other}, layers.Dense(1)(x))

    return make


@pytest.mark.parametrize("wrap", ["time_distributed", "nested"])
def test_inside_of_other_layers(wrap):
    (dense, losses), (sparse, found) = (
        trained(s, optimizers.SGD(0.1), make=wrapped(wrap)) for s in (0, 1)
    )
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    np.testing.assert_allclose(sparse.weights[0], dense.weights[0], atol=5e-7)


def test_gradients_of_gradients():
    table = layers.Embedding(3, 1, sparse=True)
    table(np.array([0]))

    def inner():
        return table(np.array([0, 1])).sum()

    def outer():
        return lamina.value_and_grad(inner, table.weights)()[0]

    with pytest.raises(ValueError, match=r"embedding.*Leave `sparse=True` out"):
        lamina.value_and_grad(outer, table.weights)()


def test_inside_of_what_jax_transforms():
    with pytest.raises(ValueError, match=r"embedding.*RematScope"):
        trained(True, "sgd", make=wrapped("remat"))


def test_a_table_that_is_not_trained_or_adapted():
    model = network(True)
    model.get_layer("table").trainable = False
    model.get_layer("second").enable_lora(1)
    before = [w.numpy() for w in model.get_layer("table").weights]
    model.compile("adam", "mse")
    x, y = data()
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.get_layer("table").weights[0], before[0])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_indices_that_cannot_count_the_rows(dtype):
    gradient = RowGradient(jax.numpy.array([1, 100, 1], dtype), np.ones((3, 1)))
    summed = gradient.summed(300)
    assert summed.indices.tolist() == [1, 100, 300]
    assert summed.values.ravel().tolist() == [2, 1, 0]
    last = RowGradient(jax.numpy.array([-1], "int8"), np.ones((1, 1)))
    assert last.summed(200).indices.tolist() == [199]


def test_uncompiled_code_that_asks_for_numbers():
    tables = []
    for sparse in (False, True):
        lamina.utils.set_random_seed(0)
        table = layers.Embedding(ROWS, 4, sparse=sparse)
        indices = jax.numpy.array([[3, 1], [3, 0]])
        table(indices)

        def loss(table=table, indices=indices):
            return table(indices)[:, : int(jax.numpy.max(indices - 1))].sum()

        gradient = lamina.value_and_grad(loss, table.weights)()[1]
        optimizers.SGD(0.1).apply(gradient, table.weights)
        tables.append(table.weights[0].numpy())
    np.testing.assert_allclose(*tables, rtol=1e-6)


def test_gradients_changed_by_hand():
    one = RowGradient(jax.numpy.array([2, 0]), np.ones((2, 1)))
    total = (0.5 * one + one * 2 + one / 4).summed(3)
    assert total.values.ravel().tolist() == [2.75, 2.75, 0, 0, 0, 0]
    with pytest.raises(TypeError, match="unsupported operand"):
        one + 1
    with pytest.raises(TypeError, match="must be integers.*float32.*values"):
        jax.tree.map(lambda g: g * 0.5, one).summed(3)
