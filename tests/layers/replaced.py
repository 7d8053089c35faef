"""Layers whose kernels are replaced, ours and Keras' own, with the same weights."""

import json

import jax
import jax.numpy as jnp
import keras
import numpy as np

import lamina

X3 = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
X4 = np.random.default_rng(1).normal(size=(2, 5, 2, 4)).astype("float32")
IDS = np.array([[0, 3, 1], [4, 0, 2]], "int32")

CASES = [
    ("Dense", {"units": 3, "activation": "tanh"}, X3),
    ("Dense", {"units": 3, "use_bias": False, "kernel_regularizer": "l2"}, X3[0]),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3),
                     "bias_axes": "d"}, X3),
    ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 2, 3),
                     "bias_axes": "de"}, X3),
    ("EinsumDense", {"equation": "btnh,nhd->btd", "output_shape": (None, 3)}, X4),
    ("Embedding", {"input_dim": 5, "output_dim": 3}, IDS),
    ("ReversibleEmbedding", {"input_dim": 5, "output_dim": 4}, IDS),
    ("ReversibleEmbedding", {"input_dim": 5, "output_dim": 4, "tie_weights": False},
     IDS),
]  # fmt: skip


def pair(name, kwargs, x, *steps, **more):
    """Return our layer and Keras' own, changed alike and with the same weights."""
    made = []
    for package in (lamina, keras):
        layer = getattr(package.layers, name)(**kwargs, **more)
        layer.build(x.shape)
        made.append(layer)
    ours, theirs = made
    random = np.random.default_rng(2)
    values = [random.normal(size=w.shape) for w in ours.weights]
    for layer in made:
        layer.set_weights(values)
    for step in steps:
        for layer in made:
            step(layer)
    added = [w for w in ours.weights if w.name.startswith("lora")]
    for w in added:
        value = random.normal(size=w.shape)
        w.assign(value)
        next(v for v in theirs.weights if v.name == w.name).assign(value)
    return ours, theirs


def described(layer):
    return [(w.name, tuple(w.shape), str(w.dtype), w.trainable) for w in layer.weights]


def grads(layer, x, **more):
    """Return the outputs and the gradients, by name of the weight; None is `x`."""
    trainable = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def total(trainable, x):
        y, _ = layer.stateless_call(trainable, others, x, **more)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), y

    over = (0, 1) if x.dtype == "float32" else (0,)
    found, y = jax.jit(jax.grad(total, over, has_aux=True))(trainable, jnp.asarray(x))
    named = {
        v.name: s for v, s in zip(layer.trainable_variables, found[0], strict=True)
    }
    return {"": y, **named, **({"x": found[1]} if len(found) == 2 else {})}


def same(ours, theirs, x, off=0, **more):
    """Check that weights, numbers, gradients, files and configs are alike.

    Args:
        ours: our layer.
        theirs: Keras' own.
        x: an input.
        off: by how much integers in files may differ.
        more: arguments of the call.
    """
    assert described(ours) == described(theirs)
    assert ours.dtype_policy.name == theirs.dtype_policy.name
    mine, expected = grads(ours, x, **more), grads(theirs, x, **more)
    assert mine.keys() == expected.keys()
    for key in mine:
        np.testing.assert_allclose(
            mine[key], expected[key], rtol=2e-5, atol=2e-5, err_msg=key
        )
    mine, expected = {}, {}
    ours.save_own_variables(mine)
    theirs.save_own_variables(expected)
    assert mine.keys() == expected.keys()
    for key, value in expected.items():
        assert (mine[key].dtype, mine[key].shape) == (value.dtype, tuple(value.shape))
        near = off if mine[key].dtype == "int8" else 2e-6
        np.testing.assert_allclose(
            mine[key].astype("float64"), np.asarray(value, "float64"), 2e-6, near
        )
    mine, expected = ours.get_config(), theirs.get_config()
    for config in (mine, expected):
        config.pop("name")
    assert json.loads(json.dumps(mine)) == json.loads(json.dumps(expected))
