"""`lamina.config.set_explain_recompiles`: one line for what compiled a step again."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.training.compiled import training_of

X = np.linspace(0, 1, 40, dtype="float32").reshape(10, 4)
Y = X[:, :1]


@pytest.fixture(autouse=True)
def explained():
    lamina.config.set_explain_recompiles(True)
    yield
    lamina.config.set_explain_recompiles(False)


@pytest.fixture
def model():
    inputs = lamina.Input((None,), name="table")
    hidden = lamina.ops.mean(inputs, axis=-1, keepdims=True)
    model = lamina.Model(inputs, layers.Dense(1, name="last")(hidden), name="net")
    model.compile("sgd", "mse")
    return model


def lines(capfd):
    return capfd.readouterr().err.splitlines()


def fit(model, *args, **kwargs):
    model.fit(*args, **{"batch_size": 5, "verbose": 0, **kwargs})


def batches(*data):
    """Yields batches one by one, as a loader does."""
    yield from data


def test_a_stable_run_says_nothing(model, capfd):
    fit(model, X, Y, epochs=3)
    fit(model, X, Y)
    model.evaluate(X, Y, batch_size=5, verbose=0)
    model.predict(X, batch_size=5, verbose=0)
    assert lines(capfd) == []


@pytest.mark.parametrize("listens", [False, True])
def test_a_short_last_batch_is_named_once(model, capfd, listens):
    watcher = lamina.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)
    fit(model, X, Y, batch_size=4, epochs=3, callbacks=[watcher] * listens)
    (line,) = lines(capfd)
    assert line == (
        "lamina: the train step of 'net' is compiled again: x float32[4,4] -> "
        "float32[2,4], y float32[4,1] -> float32[2,1]. Pad or drop the short batch, "
        "or choose a batch size that divides the number of rows."
    )


def test_another_dtype_is_named(model, capfd):
    fit(model, X, Y)
    fit(model, X, np.ones((10, 1), "int32"))
    (line,) = lines(capfd)
    assert line.endswith("y float32[5,1] -> int32[5,1]. Cast the data to one dtype.")


def test_the_nearest_call_is_compared_with(model, capfd):
    fit(model, X, Y, batch_size=4)
    lines(capfd)
    fit(model, X[:8], Y[:8], sample_weight=np.ones(8, "float32"), batch_size=4)
    (line,) = lines(capfd)
    assert "x float32" not in line
    assert "sample_weight float32[4] was not given before." in line


def test_inputs_are_named_by_their_keys(model, capfd):
    model.train_on_batch({"table": X}, Y)
    model.train_on_batch({"table": X[:, :3]}, Y)
    model.train_on_batch({"table": X}, Y)
    (line,) = lines(capfd)
    assert "x['table'] float32[10,4] -> float32[10,3]. Pad to one size" in line


def test_several_steps_in_one_call(model, capfd):
    model.compile("sgd", "mse", steps_per_execution=2)
    parts = [(X, Y)] * 3 + [(X[:7], Y[:7])] * 2
    fit(model, batches(*parts), batch_size=None)
    assert any("x float32[10,4] -> float32[7,4]" in line for line in lines(capfd))


def test_calls_and_other_steps(model, capfd):
    model.predict(X, verbose=0)
    model.predict(X[:4], batch_size=4, verbose=0)
    model.compile("sgd", "mse")
    model.predict(X[4:8], batch_size=4, verbose=0)
    (line,) = lines(capfd)
    assert line.startswith("lamina: the call of 'net' is compiled again: x float32[")
    assert "-> float32[4,4]" in line
    model.test_on_batch(X, Y)
    model.test_on_batch(X[:3], Y[:3])
    (line,) = lines(capfd)
    assert "the test step of 'net'" in line
    assert "x float32[10,4] -> float32[3,4]" in line


def test_a_model_of_ones_own(capfd):
    class Net(lamina.Model):
        def __init__(self):
            super().__init__(name="own")
            self.last = layers.Dense(1)

        def call(self, inputs):
            return self.last(inputs)

    model = Net()
    model.predict(X, verbose=0)
    model.predict(X[:3], verbose=0)
    (line,) = lines(capfd)
    assert "the call of 'own'" in line
    assert "x float32[10,4] -> float32[3,4]" in line
    model.last.trainable = False
    model.predict(X, verbose=0)
    (line,) = lines(capfd)
    assert "a layer was changed" in line


def test_more_rows_of_data(model, capfd):
    def times(count):
        fit(model, np.concatenate([X] * count), np.concatenate([Y] * count))

    times(2)
    times(3)  # 6 batches, which go 4 to a call like the 4 before
    assert lines(capfd) == []
    times(4)
    (line,) = lines(capfd)
    assert "a call takes 40 rows at once, not 20." in line


def _replace_optimizer(model):
    model.optimizer = lamina.optimizers.Adam()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.compile("adam", "mae"), "`compile` was called."),
        (_replace_optimizer, "the optimizer was replaced."),
        (lambda m: m.make_train_function(force=True), "was thrown away"),
    ],
)
def test_changes_of_the_model(model, capfd, change, reason):
    fit(model, X, Y)
    change(model)
    fit(model, X, Y)
    (line,) = lines(capfd)
    assert reason in line


def test_it_changes_no_number(capfd):
    results = []
    for wanted in (True, False):
        lamina.config.set_explain_recompiles(wanted)
        lamina.utils.set_random_seed(1)
        model = lamina.Sequential([lamina.Input((4,)), layers.Dense(1)])
        model.compile("adam", "mse")
        fit(model, X, Y, batch_size=4, epochs=2)
        results.append(model.get_weights())
    assert len(lines(capfd)) == 1  # of the first one
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_off_leaves_the_step_alone(model):
    lamina.config.set_explain_recompiles(False)
    assert lamina.config.explain_recompiles() is False
    from lamina.training.drive import CompiledStep
    from lamina.training.step import StateVariables

    fit(model, X, Y)
    variables = StateVariables(model)
    step = CompiledStep(model, "predict", variables)
    step(variables.read(), (X, None, None))
    made = training_of(model).programs.of(model).made.values()
    assert any(step._made is entry[0] for entry in made if isinstance(entry, tuple))


def test_only_a_bool_is_taken():
    with pytest.raises(TypeError, match="Received: value='yes'"):
        lamina.config.set_explain_recompiles("yes")
