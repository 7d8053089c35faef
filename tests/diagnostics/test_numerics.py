"""`fit(check_numerics=True)`: the first number that went wrong, and where."""

import numpy as np
import pytest

import lamina
from lamina import layers, ops

RANDOM = np.random.default_rng(0)
X = np.abs(RANDOM.normal(size=(320, 4))).astype("float32") + 0.1
Y = X.sum(1, keepdims=True)


class Log(layers.Layer):
    def call(self, x):
        return ops.log(x)


def named_log():
    return Log(name="logarithm")


class Root(layers.Layer):
    def call(self, x):
        return ops.sqrt(x)


class Masked(layers.Layer):
    """Makes infinite numbers that never reach the loss, as attention masks do."""

    def call(self, x):
        return ops.where(x > 0, x, ops.log(ops.stop_gradient(0 * x)))


def functional(first=layers.Identity, optimizer="sgd", loss="mse"):
    lamina.utils.set_random_seed(0)
    inputs = lamina.Input((4,))
    x = layers.Dense(3, "tanh", name="hidden")(first()(inputs))
    model = lamina.Model(inputs, layers.Dense(1, name="out")(x), name="net")
    model.compile(optimizer, loss)
    return model


def failure(model, x=X, y=Y, **more):
    with pytest.raises(FloatingPointError) as caught:
        model.fit(x, y, 8, verbose=0, shuffle=False, check_numerics=True, **more)
    for weight in model.get_weights():
        assert np.isfinite(weight).all()
    return str(caught.value)


def spoiled(row, value=-1.0):
    x = X.copy()
    x[row, 2] = value
    return x


def test_indices_beyond_the_rows():
    model = lamina.Sequential([layers.Embedding(5, 2), layers.Flatten()])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="Indices out of range"):
        said = failure(model, np.full((8, 3), 7), np.zeros((8, 6)))
    assert "`gather`" in said and "at the indices  int32 (8, 3, 1) from 7 to 7" in said


# A failure in the first, the last and some middle step of the epoch's 40.
@pytest.mark.parametrize("row", [3, 301, 318])
def test_forward(row):
    model, same = functional(named_log), functional(Log)
    said = failure(model, spoiled(row))
    step = row // 8
    assert f"The loss is not finite in step {step + 1} of the epoch" in said
    assert "the forward pass of layer 'net/logarithm', in the operation `log`" in said
    assert "made 1 NaN of 32 numbers (shape (8, 4))" in said
    assert f"in the batch's rows  {row % 8}\n" in said
    assert "x  float32 (8, 4) from -1 to " in said
    # The model is where a training without the bad batch would be.
    if step:
        same.fit(X[: 8 * step], Y[: 8 * step], 8, verbose=0, shuffle=False)
    for ours, expected in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_backward():
    inputs = lamina.Input((4,))
    x = layers.Dense(3, kernel_initializer="zeros", name="hidden")(inputs)
    x = Root(name="root")(ops.abs(x))
    model = lamina.Model(inputs, layers.Dense(1)(x), name="net")
    model.compile("sgd", "mse")
    said = failure(model)
    assert "The gradient of 'hidden/kernel' is not finite in step 1" in said
    assert "the backward pass of layer 'net/root', in the operation `div`" in said
    assert "made 24 infinite of 24 numbers" in said


def test_weights_that_overflow():
    said = failure(functional(optimizer=lamina.optimizers.SGD(1e38)))
    assert "The new 'net/out/bias' is not finite" in said or "The new 'hidden" in said
    assert "It began in the optimizer, in the operation" in said


def test_own_loss():
    def loss(y, y_pred):
        return ops.mean(ops.log(y))

    y = Y.copy()
    y[77] = -1
    said = failure(functional(loss=loss), y=y)
    assert "step 10 of the epoch" in said
    assert "It began in the loss, in the operation `log`" in said
    assert "in the batch's rows  5" in said


def test_numbers_that_never_reach_the_loss():
    model = functional(Masked)
    history = model.fit(X, Y, 8, verbose=0, check_numerics=True)
    assert np.isfinite(history.history["loss"]).all()


def test_same_numbers_as_without():
    results = []
    for check in (False, True):
        model = functional(lambda: layers.Dropout(0.3), "adam")
        history = model.fit(X, Y, 8, epochs=2, verbose=0, check_numerics=check)
        results.append((history.history, [w.tolist() for w in model.get_weights()]))
    assert results[0] == results[1]


def test_recurrent_layer():
    lamina.utils.set_random_seed(0)
    huge = lamina.initializers.Constant(3e38)
    memory = layers.LSTM(3, "linear", kernel_initializer=huge, name="memory")
    model = lamina.Sequential([layers.Input((5, 2)), memory], name="net")
    model.compile("sgd", "mse")
    said = failure(model, 3 * RANDOM.normal(size=(32, 5, 2)), np.zeros((32, 3)))
    assert "The loss is not finite in step 1 of the epoch" in said
    assert "the forward pass of layer 'net/memory', in the operation `" in said


def test_while_a_callback_listens_to_batches():
    seen = []
    watch = lamina.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    said = failure(functional(named_log), spoiled(21), callbacks=[watch])
    assert "step 3 of the epoch" in said
    assert seen == [0, 1]


def test_clipping_that_hides_a_gradient():
    inputs = lamina.Input((4,))
    x = layers.Dense(3, kernel_initializer="zeros", name="hidden")(inputs)
    model = lamina.Model(inputs, layers.Dense(1)(Root(name="root")(ops.abs(x))))
    model.compile(lamina.optimizers.SGD(0.1, clipvalue=1.0), "mse")
    assert "gradient of 'hidden/kernel'" in failure(model)


def test_own_train_step():
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(ops.log(x))

        def train_step(self, data):
            x, y = data
            loss, gradients = lamina.value_and_grad(
                lambda: self.compute_loss(y=y, y_pred=self(x, training=True)),
                self.trainable_variables,
            )()
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    model = Own()
    model.compile("sgd", "mse")
    said = failure(model, spoiled(21))
    assert "step 3 of the epoch" in said
    assert "operation `log`" in said


def test_loss_scale_optimizer_may_meet_bad_gradients():
    optimizer = lamina.optimizers.LossScaleOptimizer(
        lamina.optimizers.SGD(), initial_scale=2.0**127
    )
    model = functional(optimizer=optimizer)
    model.fit(X, Y, 8, verbose=0, check_numerics=True)
    assert float(optimizer.dynamic_scale) < 2.0**127
