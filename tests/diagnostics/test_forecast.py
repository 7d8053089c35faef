"""`Model.forecast`: figures against counting by hand, and nothing changes."""

import contextlib
import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.diagnostics.cost import Cost, cost_of, kernels, machine
from lamina.training import drive

D = lamina.distribution
SIZES = (64, 128, 96, 10)


def mlp(**options):
    model = lamina.Sequential([lamina.Input((SIZES[0],))], name="mlp")
    for size in SIZES[1:-1]:
        model.add(layers.Dense(size, activation="relu"))
        model.add(layers.Dropout(0.1))
    model.add(layers.Dense(SIZES[-1]))
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **options)
    return model


@pytest.fixture(scope="module")
def known():
    """Gives a model, its values before, and its forecast."""
    model = mlp()
    model.layers[0].trainable = False
    before = [np.array(v) for v in model.variables]
    return model, before, model.forecast(batch_size=32)


def test_parameters_are_exact(known):
    _, _, forecast = known
    pairs = list(zip(SIZES, SIZES[1:], strict=False))
    counts = [a * b + b for a, b in pairs]
    assert forecast.frozen.count == counts[0]
    assert forecast.trainable.count == sum(counts[1:])
    assert forecast.trainable.bytes == 4 * sum(counts[1:])
    # Adam: two moments of each, the iterations and the learning rate.
    assert forecast.optimizer.count == 2 * sum(counts[1:]) + 2


def test_flops_are_those_of_the_products(known):
    _, _, forecast = known
    products = [2 * 32 * a * b for a, b in zip(SIZES, SIZES[1:], strict=False)]
    assert sum(products) < forecast.prediction.flops < 1.1 * sum(products)
    # Backwards: the weights' and the inputs' gradients, from the last layer down to
    # the first that is trained, whose inputs need none.
    trained = sum(products) + 2 * sum(products[1:]) - products[1]
    assert trained < forecast.training.flops < 1.3 * trained


def test_memory_is_xlas(known):
    _, _, forecast = known
    weights = forecast.trainable.bytes + forecast.frozen.bytes
    batch, outputs = 4 * 32 * SIZES[0], 4 * 32 * SIZES[-1]
    cost = forecast.prediction.cost
    assert weights + batch <= cost.argument_bytes < weights + batch + 100
    assert outputs <= cost.output_bytes < outputs + 100
    cost = forecast.training.cost
    held = weights + forecast.optimizer.bytes + batch
    assert held < cost.argument_bytes < held + 500
    assert cost.alias_bytes == 0  # so small a State is not overwritten
    assert forecast.training.peak_bytes == (
        cost.argument_bytes + cost.output_bytes + cost.temp_bytes - cost.alias_bytes
    )
    assert forecast.training.bytes_accessed > held


def test_memory_of_a_large_state(monkeypatch):
    monkeypatch.setattr(drive, "_SMALL", 0)
    forecast = mlp().forecast(batch_size=8)
    # The State is overwritten in place, all but what is copied.
    held = forecast.trainable.bytes + forecast.optimizer.bytes
    assert forecast.training.cost.alias_bytes > held - 100


def test_times_follow_from_the_rates(known):
    _, _, forecast = known
    assert forecast.machine is machine("float32")
    for step in (forecast.training, forecast.prediction):
        rates = forecast.machine
        least = step.flops / rates.flops_per_second
        least += step.bytes_accessed / rates.bytes_per_second
        assert step.estimated_seconds > least > 0
        assert step.samples_per_second == 32 / step.estimated_seconds
    assert forecast.training.estimated_seconds > forecast.prediction.estimated_seconds


def test_nothing_changes(known):
    model, before, _ = known
    model.forecast(batch_size=32)
    after = model.variables
    for a, b in zip(before, after[: len(before)], strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(not np.any(v) for m in model.metrics for v in m.variables)
    assert int(model.optimizer.iterations) == 0


def test_training_is_the_same_after_it():
    x = np.linspace(-1, 1, 16 * SIZES[0], dtype="float32").reshape(16, -1)
    y = np.arange(16) % 10
    results = []
    for forecasts in (0, 2):
        lamina.utils.set_random_seed(3)
        model = mlp()
        for _ in range(forecasts):
            model.forecast(batch_size=8)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        results.append([*model.get_weights(), np.random.random(), model.predict(x)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_executable_serves_the_run():
    model = mlp()
    model.forecast(batch_size=8)
    compiled = []

    def listen(name, seconds, fun_name="", **_):
        if name.endswith("backend_compile_duration"):
            compiled.append(fun_name)

    x = np.zeros((8, SIZES[0]), "float32")
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        model.fit(((x, np.zeros(8, "int32")) for _ in range(2)), verbose=0)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not any("train_step" in n for n in compiled)
    assert any("results_step" in n for n in compiled)  # the listener does hear


def test_it_prints_as_a_table(known, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, _, forecast = known
    text = repr(forecast)
    assert "Forecast of 'mlp', 32 rows a step" in text
    for words in ("Trainable parameters", "13,354 (53.42 kB)", "Peak memory",
                  "estimate; no step was run", "Training step"):  # fmt: skip
        assert words in text
        assert words in forecast._repr_html_() or "step" in words
    named = dataclasses.replace(forecast, name="[dim]mlp")  # no markup
    assert "'[dim]mlp'" in repr(named)
    assert max(map(len, text.splitlines())) <= 78
    monkeypatch.setenv("COLUMNS", "60")  # a narrow terminal
    assert max(map(len, repr(forecast).splitlines())) <= 60


def test_a_model_that_is_not_compiled():
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    forecast = model.forecast(batch_size=4)
    assert forecast.training is None and forecast.optimizer is None
    assert forecast.prediction.flops >= 2 * 4 * 3 * 2
    assert "not compiled" in repr(forecast)


def test_a_subclassed_model_takes_shapes():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.embedding = layers.Embedding(20, 4)
            self.last = layers.Dense(1)

        def call(self, inputs):
            hidden = self.embedding(inputs["ids"]).mean(axis=1)
            return self.last(hidden + inputs["more"])

    model = Net()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="does not know what 'net' takes"):
        model.forecast()
    ids = lamina.KerasTensor((None, 7), "int32")
    shapes = {"ids": ids, "more": (None, 4)}
    forecast = model.forecast(batch_size=4, input_shape=shapes)
    assert forecast.trainable.count == 20 * 4 + 4 + 1
    batch = 4 * 4 * (7 + 4)
    assert forecast.prediction.cost.argument_bytes == 4 * 85 + batch


def test_several_inputs_and_outputs():
    a, b = lamina.Input((None, 3), name="a"), lamina.Input((2,), name="b")
    hidden = layers.GlobalAveragePooling1D()(a)
    hidden = layers.Concatenate()([hidden, b])
    model = lamina.Model(
        {"a": a, "b": b},
        {
            "kind": layers.Dense(5, activation="softmax", name="kind")(hidden),
            "size": layers.Dense(1, name="size")(hidden),
            "free": layers.Dense(2, name="free")(hidden),
        },
    )
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mae"}
    model.compile("sgd", losses, metrics={"kind": ["accuracy"]})
    with pytest.raises(ValueError, match="input 'a' has the shape \\(None, None, 3\\)"):
        model.forecast(batch_size=4)
    shapes = {"a": (None, 6, 3), "b": (None, 2)}
    forecast = model.forecast(4, input_shape=shapes)
    # The targets: 4 integers and a column of floats.
    state = 4 * sum(v.value.size for v in model.variables)
    batch = 4 * 4 * (6 * 3 + 2) + 4 * 4 * 2
    argument = forecast.training.cost.argument_bytes
    assert state + batch <= argument <= state + batch + 100
    data = {"a": np.ones((4, 6, 3)), "b": np.ones((4, 2))}
    model.fit(data, {"kind": np.ones(4), "size": np.ones((4, 1))}, verbose=0)


def test_guessed_targets_decide_nothing():
    def own(y_true, y_pred):
        if y_true.ndim == 1:
            y_true = jax.nn.one_hot(y_true.astype("int32"), 3)
        return jnp.mean((y_true - y_pred) ** 2, axis=-1)

    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3)])
    model.compile("sgd", own, metrics=["accuracy"])
    model.forecast(8)  # takes the targets for rows of 3, as the outputs are
    model.fit(np.ones((8, 4)), np.ones(8), verbose=0)
    (found,) = model.compiled_metrics.outputs[0].metrics
    assert isinstance(found, lamina.metrics.SparseCategoricalAccuracy)
    model.compile("sgd", own, metrics=["accuracy"])
    model.forecast(8, target_shape=lamina.KerasTensor((None,), "int32"))
    (found,) = model.compiled_metrics.outputs[0].metrics
    assert isinstance(found, lamina.metrics.SparseCategoricalAccuracy)


def test_loops_are_counted_whole():
    weight = jnp.ones((16, 16))

    def run(x):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c @ weight), None), x, length=50)[0]

    spec = jax.ShapeDtypeStruct((8, 16), "float32")
    once = 2 * 8 * 16 * 16
    cost = cost_of(jax.jit(run), spec)
    assert 50 * once <= cost.flops < 1.2 * 50 * once
    assert 50 <= cost.kernels < 50 * 10
    assert cost.open_loops == 0
    open_ended = jax.jit(lambda x: jax.lax.while_loop(lambda x: x[0] < 9, jnp.exp, x))
    cost = cost_of(open_ended, jax.ShapeDtypeStruct((4,), "float32"))
    assert cost.open_loops == 1


def test_nested_loops_and_convolutions():
    def inner(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME")

    def run(x, kernel):
        def body(c, _):
            c = jax.lax.scan(lambda c, _: (inner(c, kernel), None), c, length=3)[0]
            return c, None

        return jax.lax.scan(body, x, length=5)[0]

    shapes = [jax.ShapeDtypeStruct(s, "float32") for s in ((2, 4, 6, 6), (4, 4, 1, 1))]
    once = 2 * 2 * 4 * 6 * 6 * 4
    cost = cost_of(jax.jit(run), *shapes)
    assert 15 * once <= cost.flops < 1.1 * 15 * once


def test_kernels_of_a_text():
    text = """
%body (p: f32[]) -> f32[] {
  %p = f32[] parameter(0)
  ROOT %add.1 = f32[] add(%p, %p)
}

ENTRY %main (x: f32[2]) -> (f32[2]) {
  %x = f32[2]{0} parameter(0)
  %f = f32[2]{0} fusion(%x), kind=kLoop, calls=%body
  %w = (s32[], /*index=1*/f32[]) while(%f), body=%body, \
backend_config={"known_trip_count":{"n":"7"}}
  ROOT %t = (f32[2]{0}) tuple(%f)
}
"""
    assert kernels(text) == 1 + 7
    assert kernels("") == 0


def test_peak_counts_shared_memory_once():
    cost = Cost(1.0, 1.0, 100, 90, 80, 7, 1, 0)
    assert cost.peak_bytes == 117


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "positive integer. Received: batch_size=0"),
        ({"batch_size": 1.5}, "Received: batch_size=1.5"),
        ({"batch_size": True}, "Received: batch_size=True"),
        ({"input_shape": (SIZES[0],)}, "the batch first. Received: input_shape"),
        ({"input_shape": (None, 63)}, "has the shape \\(None, 64\\)"),
        ({"input_shape": (9, SIZES[0])}, "not the batch of 32"),
        ({"input_shape": "64"}, "to be a shape such as"),
        ({"input_shape": [(None, 64), (None, 2)]}, "for each of the inputs"),
        ({"input_shape": {"b": (None, 64)}}, "takes inputs by the names"),
        ({"target_shape": (None, None)}, "needs all sizes but the batch's"),
        ({"target_shape": (None, 4)}, "expected one integer label"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        mlp().forecast(**arguments)


def test_what_cannot_be_forecast():
    with pytest.raises(ValueError, match="run_eagerly=True"):
        mlp(run_eagerly=True).forecast()
    model = mlp()
    model.forecast(4)
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match=r"Call `compile\(\)` again"):
        model.forecast(4)
    text = lamina.Input((), dtype="string")
    hidden = layers.StringLookup(vocabulary=["a", "b"])(text)
    model = lamina.Model(text, layers.Embedding(3, 2)(hidden))
    with pytest.raises(ValueError, match="take text"):
        model.forecast()


# ---- devices that are not here -------------------------------------------------


def wide(*sizes):
    stack = [layers.Dense(size, use_bias=False) for size in sizes[1:]]
    model = lamina.Sequential([lamina.Input((sizes[0],)), *stack])
    model.compile("sgd", "mse")
    return model


def test_more_devices_than_xla_compiles_for():
    model = wide(4096, 8, 512)
    forecast = model.forecast(
        8192, devices=4096, distribution=D.FullyShardedDataParallel, memory=20e3
    )
    device = forecast.device
    assert (device.devices, device.compiled_for) == (4096, 256)
    few = sum(v.size * 4 for v in model.optimizer.variables)  # and the mean of a loss
    assert device.state_bytes == 4 * (4096 * 8 // 4096 + 8 * 512) + few + 8
    assert device.batch_bytes == 2 * 4 * (4096 + 512)
    # What is whole where there are 4096 devices is whole where 256 stand for them.
    assert device.collectives["all-gather"].count == 1
    assert device.collectives["all-gather"].bytes == 4 * 4096 * 8 * 255 // 256
    assert device.fits is False
    text = " ".join(str(forecast).split())
    assert "It does not fit in 20.00 kB: try sizes of weights that 4096" in text
    assert "that of 256 devices with as many rows each" in text
    assert "multiple of 4096 in sequential/dense_1/kernel (8, 512)" in text


def test_what_to_try_where_it_does_not_fit():
    model = wide(64, 512, 64)
    found = model.forecast(
        16, devices=8, distribution=D.DataParallel, memory=100e3
    ).device
    assert "`FullyShardedDataParallel`, with which 32.77 kB of state" in found.advice[0]
    found = model.forecast(
        16, devices=8, distribution=D.DataParallel, memory=20e3
    ).device
    words = "at least 14 devices with `FullyShardedDataParallel`, for the state to fit"
    assert found.advice[0] == words
    found = model.forecast(
        16, devices=8, distribution=D.FullyShardedDataParallel, memory=1e9
    ).device
    assert found.fits
    assert not found.advice
    assert not found.remarks


ALL_TRIES = ["fewer rows", "a `RematScope`", "`mixed_bfloat16`"]


@pytest.mark.parametrize("on", [False, True])
def test_what_is_done_already_is_not_what_to_try(on):
    with lamina.RematScope("full") if on else contextlib.nullcontext():
        dtype = "mixed_bfloat16" if on else None
        model = lamina.Sequential([lamina.Input((64,))])
        model.add(lamina.layers.Dense(512, "gelu", dtype=dtype))
        model.add(lamina.layers.Dense(64, dtype=dtype))
    steps = 2 if on else None
    model.compile(lamina.optimizers.SGD(gradient_accumulation_steps=steps), "mse")
    together = 2 if on else 1
    found = model.forecast(
        4,
        devices=8,
        distribution=lambda: D.FullyShardedDataParallel(model=together),
        memory=12e3,
    ).device
    needed, *tries = found.advice
    state = found.state_bytes * 8  # more than there is room for beside the rest
    assert needed == f"at least {-(-state // 12000)} devices, for the state to fit"
    words = ALL_TRIES[: 1 if on else None] + [
        f"`FullyShardedDataParallel(model={2 * together})`"
    ]
    assert len(tries) == len(words)
    assert all(map(str.startswith, tries, words))
    assert ("gradient_accumulation_steps" in tries[0]) != on
    [remark] = found.remarks if not on else ["such as 8."]
    assert remark.endswith("such as 8.")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"devices": 8}, ValueError, "needs a `distribution`"),
        ({"devices": 8, "distribution": "fsdp"}, ValueError, "Received: 'fsdp'"),
        ({"devices": 0, "distribution": D.DataParallel}, ValueError, "positive"),
        ({"devices": 8, "distribution": dict}, ValueError, "function that makes one"),
        (
            {"devices": 6, "distribution": lambda: D.FullyShardedDataParallel(model=4)},
            ValueError,
            "`model` to divide the number of devices, which is 6",
        ),
        ({"topology": "v5e:2x2"}, ImportError, "needs the package `libtpu`"),
    ],
)
def test_errors_of_devices(given, error, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(error, match=words):
        wide(4, 2).forecast(8, **given)
