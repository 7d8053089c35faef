"""Functions applied to each element of a layer's output, or along one axis.

Most of them are operations of `lamina.ops` under the same name.
"""

import inspect as _inspect
from typing import Any as _Any

import jax as _jax
import jax.numpy as _jnp

from lamina._imports import offer as _offer
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.constructor import Captured as _Captured
from lamina.core.op import op as _op
from lamina.core.registry import ours as _ours
from lamina.core.tracebacks import boundary as _boundary
from lamina.ops import nn as _nn
from lamina.ops import numpy as _arrays
from lamina.ops.nn import celu as celu
from lamina.ops.nn import elu as elu
from lamina.ops.nn import glu as glu
from lamina.ops.nn import hard_shrink as hard_shrink
from lamina.ops.nn import hard_sigmoid as hard_sigmoid
from lamina.ops.nn import hard_silu as hard_silu
from lamina.ops.nn import hard_tanh as hard_tanh
from lamina.ops.nn import leaky_relu as leaky_relu
from lamina.ops.nn import log_sigmoid as log_sigmoid
from lamina.ops.nn import log_softmax as log_softmax
from lamina.ops.nn import relu6 as relu6
from lamina.ops.nn import selu as selu
from lamina.ops.nn import sigmoid as sigmoid
from lamina.ops.nn import silu as silu
from lamina.ops.nn import soft_shrink as soft_shrink
from lamina.ops.nn import softmax as softmax
from lamina.ops.nn import softplus as softplus
from lamina.ops.nn import softsign as softsign
from lamina.ops.nn import sparse_plus as sparse_plus
from lamina.ops.nn import sparse_sigmoid as sparse_sigmoid
from lamina.ops.nn import sparsemax as sparsemax
from lamina.ops.nn import squareplus as squareplus
from lamina.ops.nn import tanh_shrink as tanh_shrink
from lamina.ops.nn import threshold as threshold
from lamina.ops.numpy import tanh as tanh


@_op(
    config=("negative_slope", "max_value", "threshold"),
    name="ReLU",
    module="keras.src.activations.activations",
    elementwise=True,
)
def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    r"""Rectify: $\max(x, 0)$, or a piecewise linear function more generally.

    $x$ from `threshold` up to `max_value`, `max_value` above it, and
    $\text{negative_slope}\,(x - \text{threshold})$ below `threshold`.

    Args:
        x: an array.
        negative_slope: the slope below the threshold.
        max_value: the greatest value, or None.
        threshold: where the function begins to rise.

    >>> import lamina
    >>> lamina.activations.relu(lamina.ops.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    x = _jnp.asarray(x)
    if not negative_slope and not threshold:
        if max_value is None:
            return _jax.nn.relu(x)
        if max_value == 6:
            return _jax.nn.relu6(x)
    above = _jnp.where(x > threshold, x, 0) if threshold else _jax.nn.relu(x)
    if max_value is not None:
        above = _jnp.clip(above, 0, _jnp.asarray(max_value, x.dtype))
    if negative_slope:
        above -= negative_slope * _jax.nn.relu(threshold - x)
    return above


@_boundary
def gelu(x, approximate=False):
    r"""Return $x \Phi(x)$ with $\Phi$ the distribution function of a unit normal.

    Args:
        x: an array.
        approximate: whether to use the formula with tanh.

    >>> import lamina
    >>> lamina.activations.gelu(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    return _nn.gelu(x, approximate=approximate)


@_boundary
def exponential(x):
    r"""Return $e^x$.

    >>> import lamina
    >>> lamina.activations.exponential(lamina.ops.array([0.0])).tolist()
    [1.0]
    """
    return _arrays.exp(x)


@_op(module="keras.src.activations.activations", elementwise=True)
def mish(x):
    r"""Return $x \tanh(\log(1 + e^x))$.

    Source: Misra, 2019 (https://arxiv.org/abs/1908.08681).

    >>> import lamina
    >>> lamina.activations.mish(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    x = _jnp.asarray(x)
    return x * _jnp.tanh(_jax.nn.softplus(x))


@_boundary
def linear(x):
    """Return `x` as it is.

    >>> import lamina
    >>> lamina.activations.linear(3)
    3
    """
    return x


swish = silu
hard_swish = hard_silu

_TABLE: dict[str, _Any] = {
    name: thing
    for name, thing in globals().items()
    if _inspect.isfunction(thing)
    and thing.__module__ in (__name__, _nn.__name__, _arrays.__name__)
}

# Each works on elements, or along the last axis: layers with them keep rows apart.
for _function in _TABLE.values():
    _function.rows_independent = True

_EXAMPLE = {"class_name": "function", "config": "relu"}
_get, deserialize = _resolver("activation function", lambda: _TABLE, None, _EXAMPLE)


@_boundary
def get(identifier):
    """Return an activation for a name, a config or the function itself.

    Args:
        identifier: a name such as `"relu"`, a config, a callable, or None for
            `linear`.

    Raises:
        ValueError: it is none of these.

    >>> import lamina
    >>> lamina.activations.get("relu") is lamina.activations.relu
    True
    """
    if identifier is None:
        return linear
    found = _get(identifier)
    if _ours(type(found)) and not isinstance(found, _Captured):
        # Called with a tensor as its shape, an initializer comes to no end.
        raise ValueError(
            f"An activation is a function or a layer, no {type(found).__name__}. "
            f"Received: {identifier!r}"
        )
    return found


@_boundary
def serialize(activation):
    """Return the bare name of a built-in function, else a config.

    Args:
        activation: a function, a layer or another object with `get_config`.

    Raises:
        ValueError: it has neither a name nor a config.

    >>> import lamina
    >>> lamina.activations.serialize(lamina.activations.relu)
    'relu'
    """
    config = _serialize_keras_object(activation)
    if not isinstance(config, dict) or "config" not in config:
        raise ValueError(
            f"Unknown activation {activation!r}: it has neither a name nor a config to "
            "be saved by. Register your own with "
            "`@lamina.saving.register_keras_serializable()`."
        )
    built_in = config.get("class_name") == "function" and config["config"] in _TABLE
    return config["config"] if built_in else config


_offer(globals())
