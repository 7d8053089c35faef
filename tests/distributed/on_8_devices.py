"""What needs eight devices; `test_devices.py` runs it."""

import contextlib
import copy
import pathlib
import pickle
import re
import tempfile
import threading

import jax
import numpy as np
import pandas
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import lamina
from lamina import initializers
from lamina.core.placement import distribution_of
from lamina.diagnostics.elsewhere import collectives
from lamina.kernels import native
from lamina.training.drive import CompiledStep
from lamina.training.forward import Forward
from lamina.training.placing import placing
from lamina.training.prepare import prepare
from lamina.training.step import StateVariables

DRAWS = ["GlorotUniform", "RandomNormal", "TruncatedNormal", "Orthogonal"]


def test_there_are_eight_devices():
    assert jax.device_count() == 8
    assert not native.available()


# ---- Variables, sharded from the start ---------------------------------------------


def sharding(*spec):
    return NamedSharding(
        Mesh(np.array(jax.devices()).reshape(2, 4), ("a", "b")), P(*spec)
    )


SPECS = [("a",), (None, "b"), ("b", "a"), ()]
MADE = [
    *(("GlorotUniform", spec) for spec in SPECS),
    *((name, SPECS[i % 3]) for i, name in enumerate([*DRAWS[1:], "Zeros", "Ones"])),
    ("Identity", ("b", "a")),
]


@pytest.mark.parametrize(("name", "spec"), MADE, ids=str)
def test_a_variable_is_made_in_its_layout_with_the_same_bits(name, spec):
    first = initializers.get(name)
    config = first.get_config()
    first = type(first).from_config({**config, "seed": 3} if "seed" in config else {})
    layout = sharding(*spec)
    variable = lamina.Variable(first, (24, 24), layout=layout)
    assert variable.value.sharding.is_equivalent_to(layout, 2)
    np.testing.assert_array_equal(variable.numpy(), first((24, 24)))
    compiled = jax.jit(lambda: first((24, 24)), out_shardings=layout)()
    np.testing.assert_array_equal(variable.numpy(), compiled)


def test_no_part_is_drawn_twice_and_none_but_the_parts(monkeypatch):
    drawn = []
    uniform = initializers.threefry.uniform

    def watched(key, low, high, shape, part):
        found = uniform(key, low, high, shape, part)
        drawn.append(found.shape)
        return found

    monkeypatch.setattr(initializers.threefry, "uniform", watched)
    lamina.Variable(initializers.GlorotUniform(1), (8, 16), layout=sharding(None, "b"))
    assert drawn == [(8, 4)] * 4


def test_an_initializer_of_a_user_may_draw_other_shapes():
    def twice(shape, dtype=None):
        half = initializers.RandomNormal(seed=1)((shape[0] // 2, *shape[1:]), dtype)
        return jax.numpy.concatenate([half, half])

    variable = lamina.Variable(twice, (10, 4), layout=sharding(None, "b"))
    assert variable.value.sharding.is_equivalent_to(sharding(None, "b"), 2)
    np.testing.assert_array_equal(variable.numpy(), twice((10, 4)))


def test_values_given_and_assigned_take_the_layout():
    layout = sharding("b")
    x = np.arange(32.0, dtype="float32").reshape(8, 4)
    variable = lamina.Variable(x, layout=layout)
    for value in (x + 1, jax.numpy.asarray(x) + 2, (x + 3).astype("float64")):
        variable.assign(value)
        assert variable.value.sharding.is_equivalent_to(layout, 2)
        np.testing.assert_array_equal(variable.numpy(), value)
    assert variable.dtype == "float32" == variable.value.dtype
    variable = lamina.Variable(x, layout=D.TensorLayout((None, "model"), MESH))
    assert variable.value.sharding.shard_shape((8, 4)) == (8, 1)


@pytest.mark.parametrize(
    ("shape", "axes", "why"),
    [((8, 3), ("b", None, None), "rank at least 3"), ((6, 3), ("b",), "axis 0")],
)
def test_a_sharding_that_does_not_fit_names_the_variable(shape, axes, why):
    with pytest.raises(ValueError, match=rf"'odd' has shape \({shape[0]}, 3\).*{why}"):
        lamina.Variable(np.zeros(shape), layout=sharding(*axes), name="odd")


# ---- training ----------------------------------------------------------------------

D = lamina.distribution


def network():
    lamina.utils.set_random_seed(0)
    inputs = lamina.Input((12,))
    x = lamina.layers.Dense(32, activation="relu", name="up")(inputs)
    x = lamina.layers.BatchNormalization(name="norm")(x)
    x = lamina.layers.Dropout(0.3, seed=1, name="drop")(x)
    x = lamina.layers.Dense(16, name="down")(x)
    model = lamina.Model(inputs, lamina.layers.Dense(1, name="head")(x))
    model.compile(lamina.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    return model


def data(rows=60):
    r = np.random.default_rng(0)
    x = r.normal(size=(rows, 12)).astype("float32")
    return x, np.sin(x.sum(1, keepdims=True))


def mesh():
    return D.DeviceMesh((2, 4), ("batch", "model"))


def tensor_parallel():
    layouts = D.LayoutMap(mesh())
    layouts["up/kernel"] = (None, "model")
    layouts["up/bias"] = ("model",)
    layouts["down/kernel"] = ("model", None)
    layouts["up/output"] = ("batch", "model")
    layouts["norm/.*"] = ("model",)
    return D.ModelParallel(layout_map=layouts)


HOW = {
    "1 device": lambda: D.DataParallel(devices=["cpu:3"]),
    "2 devices": lambda: D.DataParallel(devices=["cpu:0", "cpu:1"]),
    "8 devices": D.DataParallel,
    "sharded": D.FullyShardedDataParallel,
    "tensor": tensor_parallel,
    "tensor found": lambda: D.ModelParallel(layout_map="auto", device_mesh=mesh()),
    "sharded, tensor found": lambda: D.FullyShardedDataParallel(model=4),
}


def trained(model, **settings):
    """Return the loss curve of batches of 16, 16, 16 and 12 rows, and the results."""
    losses = []

    class Watch(lamina.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs["loss"])

    x, y = data()
    watch = [Watch()] if settings.pop("watch", True) else []
    history = model.fit(
        x, y, batch_size=16, epochs=3, verbose=0, callbacks=watch, **settings
    ).history
    results = model.evaluate(x, y, batch_size=16, verbose=0)
    outputs = model.predict(x, batch_size=60, verbose=0)
    return [losses, history["loss"], history["mae"], results, outputs.ravel()]


@pytest.fixture(scope="module")
def alone():
    return trained(network()), trained(network(), watch=False)


def check_alike(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("watch", [True, False], ids=["by batch", "in rows"])
def test_the_losses_are_those_of_one_device(how, watch, alone):
    with HOW[how]().scope():
        model = network()
        check_alike(trained(model, watch=watch), alone[0 if watch else 1])
    for v in [*model.variables, *model.optimizer.variables, *model.metrics_variables]:
        assert v.value.sharding.is_equivalent_to(v._layout, v.ndim), v.path


def test_a_model_that_was_made_before_and_is_trained_after_the_scope(alone):
    model = network()
    x, y = data()
    model.predict(x[:3], verbose=0)
    distribution = D.FullyShardedDataParallel()
    with distribution.scope():
        check_alike(trained(model), alone[0])
    assert len(model.get_layer("up").kernel.value.sharding.device_set) == 8
    assert not model.get_layer("up").kernel.value.sharding.is_fully_replicated


def test_a_model_keeps_the_distribution_that_it_was_made_under(alone):
    with tensor_parallel().scope():
        model = network()
    check_alike(trained(model), alone[0])
    slots = [v for v in model.optimizer.variables if "up_kernel" in v.path]
    assert len(slots) == 2
    for v in slots:
        assert v.value.sharding == model.get_layer("up").kernel.value.sharding
        assert v.value.sharding.shard_shape(v.shape) == (12, 8)


def test_a_model_trained_under_one_distribution_goes_on_under_the_next(alone):
    model, x = network(), data()[0]
    settings = {"batch_size": 16, "verbose": 0, "shuffle": False}
    for how in ("2 devices", "sharded", "tensor", "tensor found", "1 device"):
        with HOW[how]().scope():
            found = model.fit(*data(), **settings).history
            for slot in model.optimizer.variables:
                if slot.follows is not None:
                    assert slot.value.sharding == slot.follows.value.sharding
    other = network()
    expected = other.fit(*data(), epochs=5, **settings).history["loss"]
    np.testing.assert_allclose(found["loss"][0], expected[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.predict(x), other.predict(x), atol=1e-5)


# ---- a transformer -----------------------------------------------------------------

WORDS = np.random.default_rng(0).integers(0, 128, (16, 9)).astype("int32")


def transformer(blocks=1):
    lamina.utils.set_random_seed(0)
    layers = lamina.layers
    inputs = lamina.Input((8,), dtype="int32")
    x = layers.Embedding(128, 64)(inputs)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(4, 16)(y, y, use_causal_mask=True)
        x = x + layers.Dropout(0.1)(y)
        y = layers.Dense(256, "gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(64)(layers.Dropout(0.1)(y))
    model = lamina.Model(inputs, layers.Dense(128)(x))
    optimizer = lamina.optimizers.SGD(0.1, 0.9, gradient_accumulation_steps=2)
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def curve(model, x, y, epochs=3):
    """Return the losses of batches of 8 rows."""
    losses = []
    watch = lamina.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: losses.append(logs["loss"])
    )
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=[watch])
    return losses


def held(model):
    """Return the bytes of the State that each device holds, and those of all of it."""
    values = [v.value for group in StateVariables(model).groups for v in group]
    each = [
        sum(
            s.data.nbytes for a in values for s in a.addressable_shards if s.device == d
        )
        for d in jax.devices()
    ]
    return each, sum(a.nbytes for a in values)


def check_divided(model):
    """Check that no device holds much more than an eighth of the State."""
    each, whole = held(model)
    assert max(each) <= 1.1 * whole / 8


@pytest.fixture(scope="module")
def words_alone():
    return curve(transformer(), WORDS[:, :-1], WORDS[:, 1:])


@pytest.mark.parametrize("how", ["sharded", "sharded, tensor found"])
def test_a_transformer_learns_as_on_one_device(how, words_alone, capsys):
    with HOW[how]().scope():
        model = transformer()
        found = curve(model, WORDS[:, :-1], WORDS[:, 1:])
    np.testing.assert_allclose(found, words_alone, rtol=0, atol=1e-5)
    check_divided(model)  # gradients are accumulated in parts, too
    said = " ".join(capsys.readouterr().out.split())
    assert ("query/kernel (64, 4, 16) (" in said) == ("found" in how)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_divided_too(dtype):
    lamina.config.set_dtype_policy(dtype)
    try:
        x = np.random.default_rng(0).normal(size=(16, 64)).astype("float32")
        curves = []
        for how in ("1 device", "sharded"):
            with HOW[how]().scope():
                lamina.utils.set_random_seed(0)
                hidden = [lamina.layers.Dense(256, "relu"), lamina.layers.Dropout(0.1)]
                last = lamina.layers.Dense(64, dtype="float32")
                model = lamina.Sequential([lamina.Input((64,)), *hidden, last])
                model.compile("sgd", "mse", auto_scale_loss=True)
                curves.append(curve(model, x, x))
        np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-5)
        check_divided(model)
    finally:
        lamina.config.set_dtype_policy("float32")


@pytest.mark.parametrize("optimizer", ["Muon", "Lamb"])
def test_optimizers_that_take_a_weight_as_a_whole(optimizer):
    x, y = data(24)
    curves = []
    for how in ("1 device", "sharded, tensor found"):
        with HOW[how]().scope():
            lamina.utils.set_random_seed(0)
            model = lamina.Sequential([lamina.Input((12,)), lamina.layers.Dense(32)])
            model.add(lamina.layers.Dense(1))
            model.compile(getattr(lamina.optimizers, optimizer)(1e-2), "mse")
            weights = np.linspace(0, 2, 24)
            options = {"batch_size": 24, "epochs": 3, "verbose": 0}
            fitted = model.fit(x, y, sample_weight=weights, **options)
            curves.append(fitted.history["loss"])
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-5)


def compiled(model, batch):
    """Return the training step compiled."""
    prepare(model, batch)
    variables = StateVariables(model)
    step = CompiledStep(model, "train", variables, donate=True)
    given = variables.read(), placing()(batch)
    step.trace(*given)
    return step._made.lower(*given).compile()


def test_a_block_of_a_transformer_collects_almost_nothing():
    with HOW["tensor found"]().scope():
        step = compiled(transformer(2), (WORDS[:8, :-1], WORDS[:8, 1:], None))
    found = collectives(step.as_text(), 8)
    assert found["all-reduce"].count >= 8  # 4 a block, for both ways
    gathers = found.get("all-gather")
    assert gathers is None or gathers.count <= 4  # of two blocks


def images(recurrent=True):
    lamina.utils.set_random_seed(0)
    layers = lamina.layers
    inputs = lamina.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="first")(inputs)
    x = layers.AveragePooling2D()(
        layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    )
    x = layers.Conv2D(32, 3, name="second")(x)
    x = layers.Conv2DTranspose(16, 3, activation="tanh", name="back")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1, name="last")(x))
    if recurrent:
        y = layers.GRU(16, name="gru")(layers.Reshape((9, 3))(inputs[:, :3, :3]))
        x = layers.Concatenate()([x, y])
    model = lamina.Model(inputs, layers.Dense(8)(x))
    model.compile("sgd", "mse")
    return model


def test_convolutions_are_divided_by_channels(capsys):
    r = np.random.default_rng(0)
    x, y = (r.normal(size=(8, *s)).astype("float32") for s in ((8, 8, 3), (8,)))
    curves = []
    for how in ("1 device", "tensor found"):
        with HOW[how]().scope():
            model = images()
            curves.append([*curve(model, x, y), *model.predict(x, verbose=0).ravel()])
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-5)
    parts = {
        v.path: v.value.sharding.shard_shape(v.shape) for v in model.trainable_variables
    }
    assert parts["first/kernel"] == (3, 3, 3, 4)
    assert parts["norm/gamma"] == (4,)
    assert parts["second/kernel"] == (3, 3, 4, 32)
    assert parts["back/kernel"] == (3, 3, 4, 32)
    assert parts["last/kernel"] == (1, 1, 4, 8)
    assert parts["gru/gru_cell/kernel"] == (3, 48)
    assert "divided, each step of a sequence" in capsys.readouterr().out
    with HOW["tensor found"]().scope():
        step = compiled(images(False), (x[:8], y[:8], None))
    assert "all-gather" not in collectives(step.as_text(), 8)


@pytest.mark.parametrize("how", ["sharded", "tensor found"])
def test_a_forecast_is_what_comes(how):
    distribution, (x, y) = HOW[how](), data(16)
    forecast = network().forecast(16, devices=8, distribution=distribution).device
    with distribution.scope():
        model = network()
        step = compiled(model, (x, y, None))
    each, whole = held(model)
    assert forecast.state_bytes == max(each)
    assert forecast.whole_bytes == whole
    memory = step.memory_analysis()
    arguments = memory.argument_size_in_bytes
    assert forecast.state_bytes + forecast.batch_bytes == arguments
    assert forecast.temp_bytes == pytest.approx(memory.temp_size_in_bytes, rel=0.2)
    assert forecast.collectives == collectives(step.as_text(), 8)


@pytest.mark.parametrize("how", ["8 devices", "sharded", "tensor"])
def test_a_step_leaves_the_state_where_it_was_and_compiles_once(how):
    with HOW[how]().scope():
        model = network()
        x, y = data(16)
        model.fit(x, y, verbose=0)
        variables = StateVariables(model)
        step = CompiledStep(model, "train", variables)
        state = before = variables.read()
        for _ in range(3):
            state, _ = step(state, placing()((x, y, None)))
        assert step._made._cache_size() == 1
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state), strict=True):
        assert a.sharding.is_equivalent_to(b.sharding, a.ndim)


def tmp():
    return pathlib.Path(tempfile.mkdtemp())


def test_a_model_goes_from_one_distribution_to_the_next():
    model, (x, y) = network(), data(16)
    expected = network().predict(x, verbose=0)
    two = {"devices": ["cpu:0", "cpu:1"]}
    for now in (tensor_parallel(), D.DataParallel(**two), tensor_parallel()):
        with now.scope():
            np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
            model.evaluate(x, y, verbose=0)
    kernel = model.get_layer("up").kernel.value
    assert kernel.sharding.shard_shape(kernel.shape) == (12, 8)


def test_a_run_goes_on_on_other_devices():
    x, y = data()
    settings = {"batch_size": 16, "verbose": 0, "resume": tmp()}
    whole = network().fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    with D.DataParallel(devices=D.list_devices()[:2]).scope():
        network().fit(x, y, epochs=2, **settings)
    with D.FullyShardedDataParallel().scope():
        found = network().fit(x, y, epochs=4, **settings).history["loss"]
    np.testing.assert_allclose(found, whole[-len(found) :], rtol=0, atol=1e-5)


# ---- batches -----------------------------------------------------------------------


@pytest.fixture
def arrived(monkeypatch):
    """A list of how many rows of each batch reach each device."""
    seen = []

    def note(x, axis=0):
        x = jax.tree.leaves(x)[0]
        assert isinstance(x, jax.Array)
        seen.append(x.sharding.shard_shape(x.shape)[axis])

    def step(program, state, *rest, **settings):
        if rest:
            note(rest[0], axis=1 if len(rest) > 1 else 0)
        return run_step(program, state, *rest, **settings)

    def forward(program, inputs, *rest):
        note(inputs)
        return run_forward(program, inputs, *rest)

    run_step, run_forward = CompiledStep.__call__, Forward.__call__
    monkeypatch.setattr(CompiledStep, "__call__", step)
    monkeypatch.setattr(Forward, "__call__", forward)
    return seen


def batches(x, y, size):
    for i in range(0, len(x), size):
        yield x[i : i + size], y[i : i + size]


class Indexed(lamina.utils.PyDataset):
    def __init__(self, x, y, size):
        super().__init__()
        self.parts = list(batches(x, y, size))

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


X, Y = data(192)
SOURCES = {
    "arrays": lambda: {"x": X, "y": Y},
    "arrays not shuffled": lambda: {"x": X, "y": Y, "shuffle": False},
    "JAX's arrays": lambda: {"x": jax.numpy.asarray(X), "y": jax.numpy.asarray(Y)},
    "divided arrays": lambda: {
        "x": jax.device_put(X, sharding("a")),
        "y": jax.device_put(Y, sharding()),
    },
    "a frame": lambda: {"x": pandas.DataFrame(X), "y": pandas.DataFrame(Y)},
    "a PyDataset": lambda: {"x": Indexed(X, Y, 64)},
    "JAX's batches": lambda: {"x": Indexed(*map(jax.numpy.asarray, (X, Y)), 64)},
    "a generator": lambda: {"x": batches(X, Y, 64)},
}


@pytest.mark.parametrize("callbacks", [True, False], ids=["by batch", "in rows"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_divided_by_rows(source, callbacks, arrived):
    with D.DataParallel().scope():
        model = lamina.Sequential([lamina.Input((12,)), lamina.layers.Dense(1)])
        model.compile("sgd", "mse")
        heard = [lamina.callbacks.LambdaCallback(on_train_batch_end=lambda *a: None)]
        given = SOURCES[source]()
        size = {"batch_size": 64} if "y" in given else {}
        model.fit(**given, **size, verbose=0, callbacks=heard if callbacks else None)
    assert set(arrived) == {8}


@pytest.mark.parametrize(
    ("axes", "spec", "rows"),
    [("a", (), 8), ("ab", (), 32), ("ab", (None, "b"), 32)],
)
def test_batches_are_divided_beside_weights_put_by_hand(axes, spec, rows, arrived):
    devices = np.array(jax.devices()).reshape((2, 4) if axes == "ab" else 8)
    lies = NamedSharding(Mesh(devices, tuple(axes)), P(*spec))
    model = lamina.Sequential([lamina.Input((12,)), lamina.layers.Dense(8, use_bias=0)])
    model.compile("adam", "mse")
    [kernel] = model.weights
    kernel.assign(jax.device_put(kernel.value, lies))
    model.fit(X[:64], X[:64, :8], batch_size=64, verbose=0)
    assert set(arrived) == {rows}
    for v in (kernel, *model.optimizer.variables[2:]):
        assert v.value.sharding.is_equivalent_to(lies, 2)
    along_all = lamina.Variable(np.ones((8, 8)), layout=sharding("a", "b"))
    assert distribution_of([along_all]) is None


def test_rows_that_cannot_be_divided_are_whole_in_fit_and_filled_up_in_predict(arrived):
    with D.DataParallel().scope():
        model = lamina.Sequential([lamina.Input((12,)), lamina.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(X[:76], Y[:76], batch_size=64, verbose=0)
        assert set(arrived) == {8, 12}  # of 64: an eighth; of 12: all of them
        arrived.clear()
        expected = model(jax.numpy.asarray(X[:76]))[:, 0]
        arrived.clear()
        for x in (X[:76], Indexed(X[:76], Y[:76], 64)):
            size = {"batch_size": 64} if x is not None and hasattr(x, "ndim") else {}
            found = model.predict(x, verbose=0, **size)
            np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)
        assert arrived == [8, 8, 8, 2]


def test_steps_on_one_batch():
    x, y = data(24)
    results = []
    for scope in (contextlib.nullcontext(), D.FullyShardedDataParallel().scope()):
        with scope:
            model = network()
            found = [model.train_on_batch(x, y) for _ in range(3)]
            found += [model.test_on_batch(x, y), model.predict_on_batch(x[:5]).sum()]
            model.save(path := tmp() / "model.keras")
            model.get_layer("up").kernel.assign(np.zeros((12, 32)))
            model.load_weights(path)
            found += [model.predict_on_batch(x).sum()]
        results.append(np.hstack(found))
        kernel = model.get_layer("up").kernel
        assert kernel.value.sharding.num_devices == (1 if len(results) == 1 else 8)
        with scope if len(results) == 1 else D.FullyShardedDataParallel().scope():
            loaded = lamina.models.load_model(path)
        np.testing.assert_allclose(loaded.predict(x, verbose=0).sum(), found[-1], 1e-5)
        there = loaded.get_layer("up").kernel.value.sharding
        assert there.num_devices == kernel.value.sharding.num_devices
    np.testing.assert_allclose(*results, rtol=0, atol=1e-5)


# ---- what is meant otherwise -------------------------------------------------------

MESH = D.DeviceMesh((2, 4), ("batch", "model"))


def layouts(**keys):
    found = D.LayoutMap(MESH)
    found.update(keys)
    return D.ModelParallel(layout_map=found)


def built(units=32, **keys):
    with layouts(**keys).scope():
        layer = lamina.layers.Dense(units, name="up")
        layer.build((None, 12))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: D.DeviceMesh((3, 2), ("a", "b")), "has 6 places, but there are 8 dev"),
        (lambda: D.DeviceMesh((8,), ("a", "b")), "needs a name of its own"),
        (lambda: D.DeviceMesh((-2, -4), ("a", "b")), "`shape` to be positive integers"),
        (lambda: D.DeviceMesh((8.0,), ("a",)), "`shape` to be positive integers"),
        (lambda: D.DeviceMesh((2,), ("a",), ["cpu:0"] * 2), "one place in a mesh"),
        (
            lambda: D.DeviceMesh((1,), ("a",), ["cpu:11"]).backend_mesh,
            "Device not found: cpu:11. There are cpu:0, .*cpu:7",
        ),
        (lambda: D.TensorLayout(("modle",), MESH), r"names: \['batch', 'model'\], Got"),
        (lambda: D.TensorLayout(("model", "model"), MESH), "can divide one axis of an"),
        (lambda: D.TensorLayout(("model",)).backend_layout, "mesh is not set"),
        (
            lambda: D.distribute_tensor(np.ones(8), D.TensorLayout(("model",))),
            r"mesh is not set .* Give it one: `TensorLayout\(axes, device_mesh\)`",
        ),
        (
            lambda: built(**{"up/bias": (None, "model")}),
            r"'up/bias' has shape \(32,\), of 1 axes.* has 2: .* or None, for each",
        ),
        (
            lambda: built(30, **{"up/kernel": (None, "model")}),
            "'up/kernel' has shape .*axis 1 of size 30 cannot be divided by the 4 dev",
        ),
        (
            lambda: built(**{"up/.*": (), ".*kernel": ()}),
            r"'up/kernel' matches multiple .*\['up/.*', '.*kernel'\]",
        ),
        (lambda: layouts(**{"(": ()}), "not a regular expression"),
        (lambda: layouts(a="model"), "should be a TensorLayout"),
        (lambda: D.ModelParallel(), "expected `layout_map` to be a `LayoutMap`"),
        (lambda: D.ModelParallel(layout_map="autos"), 'or "auto", which finds it'),
        (
            lambda: D.ModelParallel(
                layout_map="auto", device_mesh=D.DeviceMesh((8,), ("batch",))
            ),
            "along an axis 'model' of the mesh",
        ),
        (
            lambda: D.FullyShardedDataParallel(model=3),
            "`model` to divide the number of devices, which is 8. Received: model=3",
        ),
        (lambda: D.DataParallel(MESH, devices=["cpu:0"]), "not both"),
        (lambda: D.DataParallel("cpu:0"), "instance of `DeviceMesh`"),
        (lambda: D.set_distribution("cpu:0"), "expected a `Distribution`"),
        (lambda: D.distribute_tensor(np.ones((5, 4)), sharding("b")), "evenly divide"),
        (
            lambda: D.distribute_tensor(np.ones(5), D.TensorLayout(("model",), MESH)),
            "axis 0 of size 5 cannot be divided by the 4 devices along 'model'",
        ),
        (
            lambda: D.ModelParallel(layout_map=D.LayoutMap(MESH), batch_dim_name="x"),
            "to be an axis of the mesh",
        ),
        (
            lambda: D.initialize("10.0.0.1:1,10.0.0.2:2", 3, 0),
            "2 addresses, but num_processes=3",
        ),
    ],
)
def test_errors(act, words):
    with pytest.raises(ValueError, match=words):
        act()


def test_a_key_that_matches_nothing_is_named_once():
    x, y = data(16)
    with layouts(**{"up/kernle": (None, "model"), "up/output": ("batch",)}).scope():
        model = network()
        with pytest.warns(UserWarning, match="The key 'up/kernle' .*: up/kernel, up/b"):
            model.fit(x, y, verbose=0)
        model.fit(x, y, verbose=0)


def test_what_fsdp_cannot_divide_is_named():
    with D.FullyShardedDataParallel().scope():
        model = lamina.Sequential([lamina.Input((12,)), lamina.layers.Dense(50)])
        model.compile("sgd", "mse")
        words = r"9\d% of .* multiple of 8 in sequential/dense/kernel \(12, 50\)"
        with pytest.warns(UserWarning, match=words):
            model.fit(np.ones((16, 12)), np.ones((16, 50)), verbose=0)
        model.evaluate(np.ones((16, 12)), np.ones((16, 50)), verbose=0)


def test_batches_that_cannot_be_divided_are_named_once():
    x, y = data(20)
    with D.DataParallel().scope():
        model = network()
        with pytest.warns(UserWarning, match="of 20 rows .* 8 devices.*as 16 or 24"):
            model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)


def test_a_mesh_of_more_axes_divides_by_the_first():
    with pytest.warns(UserWarning, match="2 axes. The first axis divides batches"):
        distribution = D.DataParallel(MESH)
    assert distribution.rows_sharding((6, 3)).shard_shape((6, 3)) == (3, 3)


# ---- what holds --------------------------------------------------------------------


def test_the_distribution_that_holds():
    assert D.distribution() is None
    one, two = D.DataParallel(), D.DataParallel(devices=["cpu:1"])
    D.set_distribution(one)
    try:
        assert D.distribution() is one
        with two.scope():
            assert D.distribution() is two
            D.set_distribution(None)
            assert D.distribution() is None
        assert D.distribution() is one
        seen = []
        thread = threading.Thread(target=lambda: seen.append(D.distribution()))
        thread.start()
        thread.join()
        assert seen == [one]
        variable = lamina.Variable(np.ones(8))
        assert variable.value.sharding.num_devices == 8
        assert pickle.loads(pickle.dumps(variable)).value.sharding.num_devices == 1
        assert copy.deepcopy(variable).value.sharding.num_devices == 8
        lamina.utils.clear_session()
        assert D.distribution() is None
    finally:
        D.set_distribution(None)
    assert lamina.Variable(1.0).value.sharding.num_devices == 1


def test_tensors_between_layers_lie_as_their_key_says():
    inputs = lamina.Input((12,))
    with layouts(**{"wide/output": ("batch", "model"), "wide/kernel": ()}).scope():
        outputs = lamina.layers.Dense(64, use_bias=False, name="wide")(inputs)
        model = lamina.Model(inputs, outputs)
        outputs = model(np.ones((7, 12)))  # rows that cannot be divided stay whole
        assert outputs.sharding.shard_shape((7, 64)) == (7, 16)
        model.compile("sgd", "mse")
        model.fit(np.ones((64, 12)), np.ones((64, 64)), batch_size=64, verbose=0)
    compiled = jax.jit(
        lambda x: D.distribute_tensor(x, D.TensorLayout(("model",), MESH))
    )
    assert compiled(np.ones((8, 3))).sharding.shard_shape((8, 3)) == (2, 3)
    assert D.distribute_tensor(inputs, D.TensorLayout(("model",), MESH)) is inputs


# ---- the page of the docs ----------------------------------------------------------

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "distribution.md"


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = {
        "lamina": lamina,
        "x": np.ones((16, 8, 8, 3), "float32"),
        "y": np.ones((16, 2), "float32"),
    }
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    assert len(blocks) == 8
    for block in blocks:
        exec(block, space)
        assert D.distribution() is None
    kernel = space["model"].get_layer("up").kernel.value
    assert kernel.sharding.shard_shape(kernel.shape) == (192, 8)


def test_programs_follow_the_distribution():
    inputs, x = lamina.Input((12,)), np.ones((8, 12), "float32")
    model = lamina.Model(inputs, lamina.layers.Dense(64, name="wide")(inputs))
    for axes, part in ((("batch", "model"), (4, 16)), (("batch",), (4, 64))):
        with layouts(**{"wide/output": axes}).scope():
            model.predict(x, verbose=0)
            assert model(x).sharding.shard_shape((8, 64)) == part


def test_an_orbax_checkpoint_goes_on_in_its_layout_and_in_another(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    x = np.random.default_rng(0).normal(size=(32, 16)).astype("float32")
    given = {"x": x, "y": x[:, :1], "batch_size": 16, "verbose": 0, "shuffle": False}
    sharded = lamina.distribution.FullyShardedDataParallel()
    with sharded.scope():
        lamina.utils.set_random_seed(0)
        model = lamina.Sequential(
            [
                lamina.layers.Input((16,)),
                lamina.layers.Dense(64, "relu"),
                lamina.layers.Dropout(0.2),
                lamina.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        keep = lamina.callbacks.OrbaxCheckpoint(tmp_path / "run")
        model.fit(**given, epochs=2, callbacks=[keep])
        same = lamina.saving.load_model(tmp_path / "run")
        kernel = same.layers[0].kernel.value
        assert kernel.addressable_shards[0].data.shape == (16, 8)
        same.fit(**given)
        wider = [lamina.layers.Dense(128), lamina.layers.Dropout(0.2)]
        wider = [lamina.Input((16,)), *wider, lamina.layers.Dense(1)]
        words = r"of another model: .*kernel' has shape \(16, 128\), and \(16, 64\)"
        with pytest.raises(ValueError, match=words):
            lamina.Sequential(wider).load_weights(tmp_path / "run")
    other = lamina.saving.load_model(tmp_path / "run")
    assert len(other.layers[0].kernel.value.devices()) == 1
    other.fit(**given)
    model.fit(**given)
    for whole, mine, theirs in zip(
        *(m.get_weights() for m in (model, same, other)), strict=True
    ):
        np.testing.assert_array_equal(mine, whole)
        np.testing.assert_allclose(theirs, whole, atol=1e-5)
