"""Comparison of a layer with Keras' own: outputs and gradients, same weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np


def plain(config):
    return json.loads(json.dumps(config))


def gradients(layer, x, **kwargs):
    """Return the outputs, and the gradients of weights and input."""
    trainable = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def total(trainable, x):
        outputs, _ = layer.stateless_call(trainable, others, x, **kwargs)
        waves = (
            jnp.sum(y * jnp.sin(jnp.arange(y.size) + 1.0).reshape(y.shape))
            for y in jax.tree.leaves(outputs)
        )
        return sum(waves), outputs

    run = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))
    grads, outputs = run(trainable, x)
    return jax.tree.leaves(outputs), jax.tree.leaves(grads)


def same(ours, theirs, x, **kwargs):
    mine, expected = gradients(ours, x, **kwargs), gradients(theirs, x, **kwargs)
    for a, b, tolerance in zip(mine, expected, (1e-5, 1e-4), strict=True):
        for p, q in zip(a, b, strict=True):
            assert (p.shape, p.dtype) == (q.shape, q.dtype)
            np.testing.assert_allclose(p, q, rtol=tolerance, atol=tolerance)
