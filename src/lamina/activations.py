"""Functions applied to each element of a layer's output, or along one axis."""

import jax
import jax.numpy as jnp

from lamina.core.config import resolver, serialize_keras_object
from lamina.core.op import op

_NN = "keras.src.ops.nn"
_NUMPY = "keras.src.ops.numpy"


@op(
    config=("negative_slope", "max_value", "threshold"),
    name="ReLU",
    module="keras.src.activations.activations",
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
    x = jnp.asarray(x)
    if not negative_slope and not threshold:
        if max_value is None:
            return jax.nn.relu(x)
        if max_value == 6:
            return jax.nn.relu6(x)
    above = jnp.where(x > threshold, x, 0) if threshold else jax.nn.relu(x)
    if max_value is not None:
        above = jnp.clip(above, 0, jnp.asarray(max_value, x.dtype))
    if negative_slope:
        above -= negative_slope * jax.nn.relu(threshold - x)
    return above


@op(config=("negative_slope",), module=_NN)
def leaky_relu(x, negative_slope=0.2):
    r"""Return $x$ where positive, and $\text{negative_slope} \cdot x$ elsewhere.

    >>> import lamina
    >>> lamina.activations.leaky_relu(lamina.ops.array([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return jax.nn.leaky_relu(jnp.asarray(x), negative_slope)


@op(module=_NN)
def relu6(x):
    r"""Return $\min(\max(x, 0), 6)$.

    >>> import lamina
    >>> lamina.activations.relu6(lamina.ops.array([-1.0, 8.0])).tolist()
    [0.0, 6.0]
    """
    return jax.nn.relu6(jnp.asarray(x))


@op(config=("axis",), module=_NN)
def softmax(x, axis=-1):
    r"""Return $e^{x_i} / \sum_j e^{x_j}$ along an axis.

    >>> import lamina
    >>> lamina.activations.softmax(lamina.ops.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return jax.nn.softmax(jnp.asarray(x), axis=axis)


@op(config=("axis",), module=_NN)
def log_softmax(x, axis=-1):
    r"""Return $x_i - \log \sum_j e^{x_j}$ along an axis.

    >>> import lamina
    >>> lamina.activations.log_softmax(lamina.ops.array([1.0])).tolist()
    [0.0]
    """
    return jax.nn.log_softmax(jnp.asarray(x), axis=axis)


@op(config=("axis",), module=_NN)
def sparsemax(x, axis=-1):
    r"""Return the point of the probability simplex nearest to $x$.

    Unlike softmax it gives exact zeros. Source: Martins and Astudillo, 2016
    (https://arxiv.org/abs/1602.02068).

    >>> import lamina
    >>> lamina.activations.sparsemax(lamina.ops.array([3.0, 1.0])).tolist()
    [1.0, 0.0]
    """
    x = jnp.moveaxis(jnp.asarray(x), axis, -1)
    ordered = jnp.flip(jnp.sort(x, axis=-1), axis=-1)
    sums = jnp.cumsum(ordered, axis=-1)
    counts = jnp.arange(1, x.shape[-1] + 1)
    kept = ordered > (sums - 1) / counts
    size = jnp.sum(kept, axis=-1, keepdims=True)
    total = jnp.sum(jnp.where(kept, ordered, 0), axis=-1, keepdims=True)
    return jnp.moveaxis(jnp.maximum(x - (total - 1) / size, 0), -1, axis)


@op(config=("alpha",), module=_NN)
def elu(x, alpha=1.0):
    r"""Return $x$ where positive, and $\alpha (e^x - 1)$ elsewhere.

    >>> import lamina
    >>> lamina.activations.elu(lamina.ops.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.elu(jnp.asarray(x), alpha)


@op(module=_NN)
def selu(x):
    r"""Return the scaled elu that keeps mean 0 and variance 1 from layer to layer.

    Source: Klambauer et al., 2017 (https://arxiv.org/abs/1706.02515).

    >>> import lamina
    >>> lamina.activations.selu(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    return jax.nn.selu(jnp.asarray(x))


@op(config=("alpha",), module=_NN)
def celu(x, alpha=1.0):
    r"""Return $\max(x, 0) + \min(0, \alpha (e^{x/\alpha} - 1))$.

    >>> import lamina
    >>> lamina.activations.celu(lamina.ops.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return jax.nn.celu(jnp.asarray(x), alpha)


@op(module=_NN)
def softplus(x):
    r"""Return $\log(1 + e^x)$.

    >>> import lamina
    >>> lamina.activations.softplus(lamina.ops.array([0.0])).round(4).tolist()
    [0.6931]
    """
    return jax.nn.softplus(jnp.asarray(x))


@op(module=_NN)
def softsign(x):
    r"""Return $x / (1 + |x|)$.

    >>> import lamina
    >>> lamina.activations.softsign(lamina.ops.array([-1.0, 1.0])).tolist()
    [-0.5, 0.5]
    """
    return jax.nn.soft_sign(jnp.asarray(x))


@op(config=("threshold",), module=_NN)
def soft_shrink(x, threshold=0.5):
    """Bring values towards zero by `threshold`, and smaller ones to zero.

    >>> import lamina
    >>> lamina.activations.soft_shrink(lamina.ops.array([-0.2, 2.0])).tolist()
    [0.0, 1.5]
    """
    x = jnp.asarray(x)
    below = jnp.where(x < -threshold, x + threshold, 0)
    return jnp.where(x > threshold, x - threshold, below)


@op(config=("threshold",), module=_NN)
def hard_shrink(x, threshold=0.5):
    r"""Return $x$ where $|x|$ exceeds `threshold`, and zero elsewhere.

    >>> import lamina
    >>> lamina.activations.hard_shrink(lamina.ops.array([-0.2, 2.0])).tolist()
    [0.0, 2.0]
    """
    x = jnp.asarray(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


@op(config=("threshold", "default_value"), module=_NN)
def threshold(x, threshold, default_value):
    """Return `x` where it exceeds `threshold`, and `default_value` elsewhere.

    >>> import lamina
    >>> lamina.activations.threshold(lamina.ops.array([-0.2, 2.0]), 1.0, 9.0).tolist()
    [9.0, 2.0]
    """
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x, default_value)


@op(module=_NN)
def sparse_plus(x):
    r"""Return 0 up to -1, $(x + 1)^2 / 4$ between -1 and 1, and $x$ from 1.

    >>> import lamina
    >>> lamina.activations.sparse_plus(lamina.ops.array([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    return jax.nn.sparse_plus(jnp.asarray(x))


@op(module=_NN)
def silu(x):
    r"""Return $x / (1 + e^{-x})$, also called swish.

    >>> import lamina
    >>> lamina.activations.silu(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    return jax.nn.silu(jnp.asarray(x))


@op(module=_NN)
def hard_silu(x):
    r"""Return $x \min(\max(x + 3, 0), 6) / 6$.

    >>> import lamina
    >>> lamina.activations.hard_silu(lamina.ops.array([-3.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    return jax.nn.hard_silu(jnp.asarray(x))


@op(config=("b",), module=_NN)
def squareplus(x, b=4):
    r"""Return $(x + \sqrt{x^2 + b}) / 2$.

    >>> import lamina
    >>> lamina.activations.squareplus(lamina.ops.array([0.0])).tolist()
    [1.0]
    """
    return jax.nn.squareplus(jnp.asarray(x), b)


@op(config=("approximate",), module=_NN)
def gelu(x, approximate=False):
    r"""Return $x \Phi(x)$ with $\Phi$ the distribution function of a unit normal.

    Args:
        x: an array.
        approximate: whether to use the formula with tanh.

    >>> import lamina
    >>> lamina.activations.gelu(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    return jax.nn.gelu(jnp.asarray(x), approximate)


@op(config=("axis",), module=_NN)
def glu(x, axis=-1):
    r"""Return $a \cdot \sigma(b)$ with $a$ and $b$ the halves of $x$ along an axis.

    >>> import lamina
    >>> lamina.activations.glu(lamina.ops.array([2.0, 0.0])).tolist()
    [1.0]
    """
    return jax.nn.glu(jnp.asarray(x), axis)


@op(module=_NUMPY)
def tanh(x):
    """Return the hyperbolic tangent.

    >>> import lamina
    >>> lamina.activations.tanh(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    return jnp.tanh(jnp.asarray(x))


@op(module=_NN)
def tanh_shrink(x):
    r"""Return $x - \tanh x$.

    >>> import lamina
    >>> lamina.activations.tanh_shrink(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    x = jnp.asarray(x)
    return x - jnp.tanh(x)


@op(module=_NN)
def hard_tanh(x):
    r"""Return $\min(\max(x, -1), 1)$.

    >>> import lamina
    >>> lamina.activations.hard_tanh(lamina.ops.array([-2.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
    return jax.nn.hard_tanh(jnp.asarray(x))


@op(module=_NN)
def sigmoid(x):
    r"""Return $1 / (1 + e^{-x})$.

    >>> import lamina
    >>> lamina.activations.sigmoid(lamina.ops.array([0.0])).tolist()
    [0.5]
    """
    return jax.nn.sigmoid(jnp.asarray(x))


@op(module=_NN)
def log_sigmoid(x):
    r"""Return $-\log(1 + e^{-x})$.

    >>> import lamina
    >>> lamina.activations.log_sigmoid(lamina.ops.array([0.0])).round(4).tolist()
    [-0.6931]
    """
    return jax.nn.log_sigmoid(jnp.asarray(x))


@op(module=_NN)
def hard_sigmoid(x):
    r"""Return $\min(\max(x + 3, 0), 6) / 6$.

    >>> import lamina
    >>> lamina.activations.hard_sigmoid(lamina.ops.array([-3.0, 0.0])).tolist()
    [0.0, 0.5]
    """
    return jax.nn.hard_sigmoid(jnp.asarray(x))


@op(module=_NN)
def sparse_sigmoid(x):
    r"""Return $\min(\max(x + 1, 0), 2) / 2$.

    >>> import lamina
    >>> lamina.activations.sparse_sigmoid(lamina.ops.array([-1.0, 0.0])).tolist()
    [0.0, 0.5]
    """
    return jax.nn.sparse_sigmoid(jnp.asarray(x))


@op(name="Exp", module=_NUMPY)
def exponential(x):
    r"""Return $e^x$.

    >>> import lamina
    >>> lamina.activations.exponential(lamina.ops.array([0.0])).tolist()
    [1.0]
    """
    return jnp.exp(jnp.asarray(x))


@op(module="keras.src.activations.activations")
def mish(x):
    r"""Return $x \tanh(\log(1 + e^x))$.

    Source: Misra, 2019 (https://arxiv.org/abs/1908.08681).

    >>> import lamina
    >>> lamina.activations.mish(lamina.ops.array([0.0])).tolist()
    [0.0]
    """
    x = jnp.asarray(x)
    return x * jnp.tanh(jax.nn.softplus(x))


def linear(x):
    """Return `x` as it is.

    >>> import lamina
    >>> lamina.activations.linear(3)
    3
    """
    return x


swish = silu
hard_swish = hard_silu

_FUNCTIONS = (
    celu, elu, exponential, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_tanh,
    leaky_relu, linear, log_sigmoid, log_softmax, mish, relu, relu6, selu, sigmoid,
    silu, soft_shrink, softmax, softplus, softsign, sparse_plus, sparse_sigmoid,
    sparsemax, squareplus, tanh, tanh_shrink, threshold,
)  # fmt: skip
_TABLE = {function.__name__: function for function in _FUNCTIONS}
_TABLE |= {"swish": silu, "hard_swish": hard_silu}

_get, _, deserialize = resolver("activation function", lambda: _TABLE, None)


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
    return linear if identifier is None else _get(identifier)


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
    config = serialize_keras_object(activation)
    if not isinstance(config, dict) or "config" not in config:
        raise ValueError(
            f"Unknown activation {activation!r}: it has neither a name nor a config to "
            "be saved by. Register your own with "
            "`@lamina.saving.register_keras_serializable()`."
        )
    built_in = config.get("class_name") == "function" and config["config"] in _TABLE
    return config["config"] if built_in else config
