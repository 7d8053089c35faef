"""PyTorch modules as layers, against PyTorch itself; where it is installed."""

import base64
import copy
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, saving
from lamina.saving.inspection import inspect

torch = pytest.importorskip("torch")
nn = torch.nn
TorchModuleWrapper = layers.TorchModuleWrapper
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    lamina.utils.set_random_seed(0)


def small():
    return nn.Sequential(
        nn.ReLU(inplace=True), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(),
        nn.Linear(5, 3),
    )  # fmt: skip


def reference(module, x, training):
    """Return PyTorch's own outputs and its gradients of their squares' sum."""
    module = copy.deepcopy(module).train(training)
    x = torch.tensor(x, requires_grad=True)
    y = module(x.clone())
    y.square().sum().backward()
    gradients = [p.grad.numpy() for p in module.parameters() if p.requires_grad]
    return y.detach().numpy(), gradients, x.grad.numpy(), module


def near(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_outputs_gradients_and_buffers_are_those_of_torch(training, compiled):
    module = small()
    y, gradients, at_x, after = reference(module, X, training)
    layer = TorchModuleWrapper(module)
    trained = layer.trainable_variables

    def loss(x):
        out = layer(x, training=training)
        return jnp.sum(out**2), out

    near(layer.stateless_call(
        [v.value for v in trained],
        [v.value for v in layer.non_trainable_variables], X, training=training,
    )[0], y)  # fmt: skip
    if compiled:

        def step(values, x):
            def loss_of(values, x):
                out, _ = layer.stateless_call(
                    values, [v.value for v in layer.non_trainable_variables], x,
                    training=training,
                )  # fmt: skip
                return jnp.sum(out**2), out

            return jax.value_and_grad(loss_of, (0, 1), has_aux=True)(values, x)

        (_, out), (found, found_x) = jax.jit(step)([v.value for v in trained], X)
        near(found_x, at_x)
    else:
        (_, out), found = lamina.value_and_grad(loss, trained)(X)
        for name, tensor in after.named_buffers():
            near(layer.module.get_buffer(name).numpy(), tensor.numpy())
    near(out, y)
    for one, other in zip(found, gradients, strict=True):
        near(one, other)


def test_weights_have_the_names_and_order_of_torch():
    module = small()
    module[1].bias.requires_grad_(False)
    layer = TorchModuleWrapper(module, name="wrapped")
    assert [v.path for v in layer.trainable_weights] == [
        "wrapped/1.weight", "wrapped/2.weight", "wrapped/2.bias", "wrapped/4.weight",
        "wrapped/4.bias",
    ]  # fmt: skip
    assert [v.name for v in layer.non_trainable_weights] == [
        "1.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked",
    ]  # fmt: skip
    assert layer.built
    assert len(list(layer.parameters())) == 6


def test_module_shows_the_weights():
    layer = TorchModuleWrapper(nn.Linear(4, 2))
    layer.set_weights([np.ones((2, 4)), np.zeros(2)])
    near(layer.module(torch.tensor(X)).detach().numpy(), np.tile(X.sum(1)[:, None], 2))
    near(layer(X), np.tile(X.sum(1)[:, None], 2))


def test_dropout_has_one_mask_for_both_passes_and_a_new_one_each_call():
    layer = TorchModuleWrapper(nn.Dropout(0.5))
    x = jnp.ones((4, 100))
    first, second = np.asarray(layer(x, training=True)), layer(x, training=True)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert np.any(first != second)
    near(layer(x, training=False), x)
    state = [v.value for v in layer.variables]

    @jax.jit
    def both(x):
        def call(x):
            y, _ = layer.stateless_call([], state, x, training=True)
            return jnp.sum(y), y

        return jax.grad(call, has_aux=True)(x)

    slope, y = both(x)
    near(slope, y)
    generator = torch.get_rng_state()
    layer(x, training=True)
    assert torch.equal(generator, torch.get_rng_state())


def test_same_seed_trains_alike_and_fits_what_torch_fits():
    def run():
        lamina.utils.set_random_seed(1)
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        inputs = lamina.Input((4,))
        outputs = TorchModuleWrapper(module)(layers.Dense(4)(inputs))
        assert outputs.shape == (None, 1)
        model = lamina.Model(inputs, outputs)
        model.compile(lamina.optimizers.SGD(0.05), "mse")
        history = model.fit(X, X[:, :1], epochs=30, batch_size=2, verbose=0)
        return history.history["loss"], model.predict(X, verbose=0)

    losses, predicted = run()
    assert losses[-1] < losses[0] / 2
    again = run()
    assert losses == again[0]
    np.testing.assert_array_equal(predicted, again[1])


def test_training_is_torchs_own_over_steps():
    module = small()
    other = copy.deepcopy(module)
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    y = X[:, :3]
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.mse_loss(other(torch.tensor(X)), torch.tensor(y)).backward()
        optimizer.step()
    model = lamina.Sequential([TorchModuleWrapper(module)])
    model.compile(lamina.optimizers.SGD(0.1), "mse")
    model.fit(X, y, batch_size=6, epochs=5, verbose=0)
    near(model.predict(X, verbose=0), other.eval()(torch.tensor(X)).detach().numpy())


def test_frozen_layers_do_not_train():
    layer = TorchModuleWrapper(nn.Linear(4, 4))
    layer.trainable = False
    model = lamina.Sequential([layers.Dense(4), layer])
    model.compile("sgd", "mse")
    before = layer.get_weights()
    first = model.predict(X, verbose=0)
    model.fit(X, X, verbose=0)
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first != model.predict(X, verbose=0))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.out = nn.Linear(4, 10, bias=False)
        self.out.weight = self.words.weight  # tied

    def forward(self, ids, scale=None, double=False):
        x = self.words(ids)
        if scale is not None:
            x = x * scale
        return {"logits": self.out(x) * (2 if double else 1), "ids": ids, "none": None}


def test_structures_keywords_integers_and_tied_weights():
    module = Two()
    layer = TorchModuleWrapper(module)
    assert len(layer.weights) == 1
    ids, scale = np.array([[1, 2], [3, 4], [9, 0]]), np.float32([[2.0], [3.0]])
    expected = module(torch.tensor(ids), torch.tensor(scale), double=True)
    found = layer(ids, scale=scale, double=True)
    assert found["none"] is None and found["ids"].dtype == jnp.int32
    near(found["logits"], expected["logits"].detach().numpy())
    jitted = jax.jit(lambda i, s: layer.stateless_call(
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables], i, scale=s, double=True,
    )[0])(ids, scale)  # fmt: skip
    near(jitted["logits"], found["logits"])
    assert jitted["none"] is None
    drawn = layer(lamina.Input((None,), dtype="int32"))
    assert drawn["logits"].shape == (None, None, 10)
    assert drawn["ids"].dtype == "int32"

    expected["logits"].square().sum().backward()
    _, (slope,) = lamina.value_and_grad(
        lambda: jnp.sum(layer(ids, scale=scale, double=True)["logits"] ** 2),
        layer.trainable_variables,
    )()
    near(slope, module.words.weight.grad.numpy(), 1e-4)
    store = {}
    layer.save_own_variables(store)
    assert sorted(store) == ["out.weight", "words.weight"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision(policy):
    module = small()
    layer = TorchModuleWrapper(module, dtype=policy)
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    y = layer(X, training=True)
    assert y.dtype == layer.compute_dtype
    other = copy.deepcopy(module)
    near(y.astype("float32"), other.train()(torch.tensor(X)).detach().numpy(), 0.05)
    model = lamina.Sequential([layers.Dense(4, dtype=policy), layer])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :3], verbose=0)
    assert np.all(np.isfinite(model.predict(X, verbose=0).astype("float32")))


def test_half_precision_weights():
    layer = TorchModuleWrapper(nn.Linear(4, 2).bfloat16(), dtype="bfloat16")
    assert layer.weights[0].dtype == "bfloat16"
    _, gradients = lamina.value_and_grad(
        lambda: jnp.sum(layer(X).astype("float32")), layer.trainable_variables
    )()
    assert [g.dtype for g in gradients] == [jnp.bfloat16] * 2
    near(gradients[1].astype("float32"), [6.0, 6.0])


def test_double_precision_module():
    module = nn.Linear(4, 2).double()

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x.double())

    layer = TorchModuleWrapper(Doubled())
    near(layer(X), module(torch.tensor(X).double()).detach().numpy())
    assert layer(X).dtype == jnp.float32


def test_complex_weights_have_the_gradients_of_jax():
    class Phase(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1 + 2j, 3 - 1j]))

        def forward(self, x):
            return (x[:, :2] * self.w).abs().square() + (self.w * (1 + 1j)).real

    layer = TorchModuleWrapper(Phase())
    w = layer.weights[0].value

    def plain(w):
        return jnp.sum(jnp.abs(X[:, :2] * w) ** 2 + (w * (1 + 1j)).real)

    _, (slope,) = lamina.value_and_grad(lambda: jnp.sum(layer(X)), layer.weights)()
    near(slope, jax.grad(plain)(w))


def test_modules_that_cannot_run_without_data():
    class Branches(nn.Module):
        def forward(self, x):
            return x + 1 if float(x.sum()) > -1e9 else x

    layer = TorchModuleWrapper(Branches())
    near(jax.jit(lambda x: layer.stateless_call(
        [], [v.value for v in layer.variables], x)[0])(X), X + 1)  # fmt: skip
    assert layer(lamina.Input((4,))).shape == (None, 4)
    given = TorchModuleWrapper(Branches(), output_shape=(None, 7))
    assert given(lamina.Input((4,))).shape == (None, 7)


def test_shapes_of_images_of_any_size():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(2))
    layer = TorchModuleWrapper(module)
    assert layer(lamina.Input((3, None, None))).shape == (None, 4, 2, 2)
    assert layer.compute_output_shape((5, 3, 9, 9)) == (5, 4, 2, 2)
    conv = TorchModuleWrapper(nn.Conv2d(3, 4, 3, stride=2))
    assert conv(lamina.Input((3, None, 9))).shape == (None, 4, None, 4)


def test_batches_under_vmap():
    layer = TorchModuleWrapper(nn.Linear(4, 2))
    state = [v.value for v in layer.trainable_variables]
    rest = [v.value for v in layer.non_trainable_variables]

    def call(x):
        return jnp.sum(layer.stateless_call(state, rest, x)[0] ** 2)

    found = jax.vmap(jax.grad(call))(X[:, None])
    near(found, jax.grad(lambda x: call(x))(X)[:, None])


def test_gradients_of_a_call_in_inference_need_no_binding():
    module = small()
    layer = TorchModuleWrapper(module)
    found = jax.grad(lambda x: jnp.sum(layer(x, training=False) ** 2))(X)
    near(found, reference(module, X, False)[2])


def test_a_run_is_resumed_with_the_same_bits(tmp_path):
    def run(epochs, resume=None):
        lamina.utils.set_random_seed(0)
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3))
        model = lamina.Sequential([lamina.Input((4,)), TorchModuleWrapper(module)])
        model.compile("adam", "mse")
        model.fit(X, np.ones((6, 8)), epochs=epochs, batch_size=2, verbose=0,
                  resume=resume)  # fmt: skip
        return model.predict(X, verbose=0)

    whole = run(4)
    run(2, tmp_path / "run")
    np.testing.assert_array_equal(run(4, tmp_path / "run"), whole)


def test_large_arrays_pass():
    layer = TorchModuleWrapper(nn.Linear(2000, 2000))
    model = lamina.Sequential([layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((3000, 2000), "float32")
    model.fit(x, x[:, :1], batch_size=1500, verbose=0)


def test_rematerialized():
    with lamina.RematScope("full"):
        layer = TorchModuleWrapper(small())
    _, gradients, _, _ = reference(layer.module, X, True)
    _, found = lamina.value_and_grad(
        lambda: jnp.sum(layer(X, training=True) ** 2), layer.trainable_variables
    )()
    for one, other in zip(found, gradients, strict=True):
        near(one, other)


# ---- files and copies --------------------------------------------------------


def model_of(module):
    inputs = lamina.Input((4,))
    model = lamina.Model(inputs, layers.Dense(2)(TorchModuleWrapper(module)(inputs)))
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    return model


def test_files_load_without_safe_mode_only(tmp_path):
    model = model_of(small())
    path = tmp_path / "model.keras"
    model.save(path)
    with pytest.raises(ValueError, match="arbitrary code execution.*safe_mode=False"):
        saving.load_model(path)
    other = saving.load_model(path, safe_mode=False)
    near(other.predict(X, verbose=0), model.predict(X, verbose=0), 0)
    model.save_weights(tmp_path / "a.weights.h5")
    other = model_of(small())
    other.load_weights(tmp_path / "a.weights.h5")
    near(other.predict(X, verbose=0), model.predict(X, verbose=0), 0)
    assert "programs of another engine" in str(inspect(path))
    wrong = model_of(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="does not fit the model"):
        wrong.load_weights(tmp_path / "a.weights.h5")


def test_a_pickle_is_not_opened_in_safe_mode(tmp_path):
    config = TorchModuleWrapper(nn.Linear(4, 2)).get_config()
    assert list(config)[:3] == ["name", "trainable", "dtype"]
    canary = tmp_path / "canary"

    class Bad:
        def __reduce__(self):
            return open, (str(canary), "w")

    config["module"] = base64.b64encode(pickle.dumps(Bad())).decode()
    for safe_mode in (None, True):
        with pytest.raises(ValueError, match="TorchModuleWrapper.*pickle"):
            TorchModuleWrapper.from_config(config, safe_mode=safe_mode)
    entry = {
        "module": "keras.layers", "class_name": "TorchModuleWrapper", "config": config,
        "registered_name": None,
    }  # fmt: skip
    with pytest.raises(ValueError, match="TorchModuleWrapper.*pickle"):
        saving.deserialize_keras_object(entry)
    assert not canary.exists()
    with pytest.raises(ValueError, match="base 64"):
        TorchModuleWrapper.from_config({**config, "module": "§"}, safe_mode=False)


def test_copies_have_their_own_weights():
    model = model_of(small())
    expected = model.predict(X, verbose=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        near(other.predict(X, verbose=0), expected, 0)
        other.compile("sgd", "mse")
        other.fit(X, X[:, :2], verbose=0)
        near(model.predict(X, verbose=0), expected, 0)
        assert other.layers[1].module is not model.layers[1].module
    clone = lamina.models.clone_model(model)
    assert clone.layers[1].module is not model.layers[1].module


KERAS = """
import numpy as np, torch, keras
torch.manual_seed(3)
module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5))
inputs = keras.Input((4,))
outputs = keras.layers.TorchModuleWrapper(module, output_shape=(None, 5))(inputs)
model = keras.Model(inputs, outputs)
x = np.ones((2, 4), "float32")
if {reads!r}:
    model.load_weights({path!r})
else:
    model(x, training=True)
    model.save({path!r})
    model.save_weights({path!r} + ".weights.h5")
np.save({path!r} + ".npy", model.predict(x, verbose=0))
"""


def in_keras(path, reads=False):
    """Run Keras on PyTorch, which writes or reads a file."""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    code = KERAS.format(path=str(path), reads=reads)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return np.load(f"{path}.npy")


def test_files_of_keras_on_torch(tmp_path):
    expected = in_keras(tmp_path / "a.keras")
    x = np.ones((2, 4), "float32")
    model = saving.load_model(tmp_path / "a.keras", safe_mode=False)
    near(model.predict(x, verbose=0), expected)
    model.load_weights(tmp_path / "a.keras.weights.h5")
    model.layers[1].set_weights([w + 1 for w in model.layers[1].get_weights()])
    model.save_weights(tmp_path / "b.weights.h5")
    found = in_keras(tmp_path / "b.weights.h5", reads=True)
    near(found, model.predict(x, verbose=0))


# ---- what is refused ---------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.trace.*deprecated")
def test_what_is_no_module_is_refused():
    with pytest.raises(ValueError, match=r"expected `module` to be a `torch.nn.Mod"):
        TorchModuleWrapper(lambda x: x)
    with pytest.raises(ValueError, match="cannot give weights to a scripted module"):
        TorchModuleWrapper(torch.jit.trace(nn.Linear(4, 2), torch.ones(1, 4)))
    with pytest.raises(ValueError, match="LazyModules are not supported"):
        TorchModuleWrapper(nn.LazyLinear(3))
    lazy = nn.LazyLinear(3)
    lazy(torch.ones(1, 4))
    assert TorchModuleWrapper(lazy)(X).shape == (6, 3)


def test_errors_of_the_module_come_while_the_graph_is_drawn():
    layer = TorchModuleWrapper(nn.Linear(4, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(lamina.Input((5,)))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(np.ones((2, 5)))


def test_shapes_that_depend_on_values_are_refused_in_compiled_code():
    class Picks(nn.Module):
        least = 0

        def forward(self, x):
            return x[x.sum(1) > self.least]

    layer = TorchModuleWrapper(Picks())
    assert layer(X).shape[0] == (X.sum(1) > 0).sum()
    with pytest.raises(ValueError, match="shapes depend on values"):
        layer(lamina.Input((4,)))
    layer.module.least = -0.1
    with pytest.raises(Exception, match="may not depend on the values"):
        jax.block_until_ready(jax.jit(lambda x: layer.stateless_call(
            [], [v.value for v in layer.variables], x)[0])(X))  # fmt: skip


@pytest.mark.parametrize("format", ["stablehlo", "onnx"])
def test_programs_cannot_hold_a_module(format, tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), TorchModuleWrapper(small())])
    with pytest.raises(ValueError, match="'torch_module.*computes in PyTorch"):
        model.export(tmp_path / "model", format=format)


def test_state_that_is_no_tensor_is_not_saved_in_silence():
    class Extra(nn.Module):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="_extra_state.*neither a parameter nor a"):
        TorchModuleWrapper(Extra()).save_own_variables({})
