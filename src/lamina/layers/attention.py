"""Attention: each query takes a weighted mean of the values, by likeness of keys."""

import functools
import math
import operator
import re
import string
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings, structure
from lamina.core.checks import described, fraction, one_of, positive_int
from lamina.core.config import serialize_keras_object
from lamina.core.masks import get_mask, set_mask
from lamina.core.policy import get_policy
from lamina.core.random import SeedGenerator
from lamina.core.rows import off_rows
from lamina.core.types import Axes, Identifier, Initializer, Seed, Shape
from lamina.kernels import dropout as drop
from lamina.kernels import softmax
from lamina.layers.einsum import EinsumDense
from lamina.layers.layer import Layer
from lamina.layers.regularization import Dropout
from lamina.layers.weights import keep


def causal_mask(queries, keys):
    """Return `(1, queries, keys)`: True where the key does not come after the query."""
    return (jnp.arange(queries)[:, None] >= jnp.arange(keys))[None]


def window_mask(queries, keys, width):
    """Return `(1, queries, keys)`: True where both are less than `width` apart."""
    return (jnp.abs(jnp.arange(queries)[:, None] - jnp.arange(keys)) < width)[None]


# What the projections of an attention layer take over from it.
_HOOKS = tuple(
    f"{weight}_{kind}"
    for weight in ("kernel", "bias")
    for kind in ("regularizer", "constraint")
)


def _also(name):
    """Return a property that reads and writes the attribute `name`."""
    return property(
        lambda self: getattr(self, name), lambda self, x: setattr(self, name, x)
    )


class _HeadAttention(Layer):
    """What attention with projected heads shares: masks, sub-layers, the core."""

    _saved_last = ("activity_regularizer",)
    _saved_from = {"dtype": "_policy_with_parts"}
    rows_independent = True
    kernel_initializer: Any
    bias_initializer: Any
    kernel_regularizer: Any
    bias_regularizer: Any
    kernel_constraint: Any
    bias_constraint: Any
    attention_axes: Any
    _query_dense: EinsumDense
    _key_dense: EinsumDense
    _gate_dense: EinsumDense
    _value_dense: EinsumDense
    _output_dense: EinsumDense
    _dropout_layer: Dropout
    _inverse_sqrt_key_dim: float

    use_bias: bool
    use_gate: bool
    seed: Any

    def _keep_common(self, given):
        """Check and store what all take, of the arguments of a constructor by name."""
        keep(self, given)
        self.supports_masking = True
        dropout, window = given["dropout"], given["sliding_window"]
        self.dropout = fraction(type(self).__name__, "dropout", dropout)
        for name in ("use_bias", "use_gate", "seed"):
            setattr(self, name, given[name])
        if window is not None and (
            isinstance(window, bool) or not isinstance(window, int) or window <= 0
        ):
            raise ValueError(
                "`sliding_window` must be `None` or a positive integer. "
                f"Received: sliding_window={window!r}"
            )
        self.sliding_window = window
        self._flash_attention = given["flash_attention"] or settings.get(
            "flash_attention"
        )
        if self._flash_attention and dropout:
            raise ValueError(
                "Dropout is not supported when flash attention is enabled. Please set "
                f"dropout to 0.0 to use flash attention. Received: dropout={dropout}"
            )

    @property
    def _policy_with_parts(self):
        """The policy, in a map with those of projections that were quantized later."""
        policy: Any = self.dtype_policy
        inner = self._flatten_layers(include_self=False)
        quantized = [layer for layer in inner if layer.dtype_policy != policy]
        if not quantized or hasattr(policy, "default_policy"):
            return policy
        inside = f"(.*/)?{re.escape(self.name)}/"
        policies = {f"{inside}{x.name}": x.dtype_policy for x in quantized}
        config = {"default_policy": policy, "policy_map": policies}
        return get_policy(
            {
                "module": "keras.dtype_policies",
                "class_name": "DTypePolicyMap",
                "config": serialize_keras_object(config),
            }
        )

    def _get_common_kwargs_for_sublayer(self):
        """Return what every projection takes over from the layer."""
        return {
            "dtype": self.dtype_policy,
            "kernel_initializer": _fresh(self.kernel_initializer),
            "bias_initializer": _fresh(self.bias_initializer),
            "activity_regularizer": self.activity_regularizer,
            **{name: getattr(self, name) for name in _HOOKS},
        }

    def _projection(self, name, inputs, outputs, shape, activation=None):
        """Make and build the sub-layer that maps axes `inputs` to axes `outputs`.

        Args:
            name: its name.
            inputs: how many last axes of its input are summed over.
            outputs: the sizes of the axes that take their place.
            shape: the shape of its input.
            activation: a function of its output.
        """
        if len(shape) + len(outputs) > len(string.ascii_letters):
            raise ValueError(
                f"{described(self)} expected at most {len(string.ascii_letters)} axes. "
                f"Received: input shape {tuple(shape)}, output sizes {tuple(outputs)}"
            )
        letters = iter(string.ascii_letters)
        free = "".join(next(letters) for _ in shape[:-inputs])
        summed = "".join(next(letters) for _ in range(inputs))
        made = "".join(next(letters) for _ in outputs)
        layer = EinsumDense(
            f"{free}{summed},{summed}{made}->{free}{made}",
            output_shape=(*(None for _ in free[1:]), *outputs),
            bias_axes=made if self.use_bias else None,
            activation=activation,
            name=name,
            **self._get_common_kwargs_for_sublayer(),
        )
        layer.build(tuple(shape))
        return layer

    def _build_attention(self, rank):
        """Get ready to attend with tensors of `rank`, `(batch, ..., heads, size)`."""
        axes = self.attention_axes
        axes = range(1, rank - 2) if axes is None else [a % (rank - 1) for a in axes]
        self.attention_axes = axes = tuple(axes)
        query = string.ascii_lowercase[:rank]
        key = [
            string.ascii_lowercase[rank + i] if i in axes else c
            for i, c in enumerate(query)
        ]
        free = [c for i, c in enumerate(query[:-2]) if i not in axes]
        scores = [*free, query[-2], *(x[a] for x in (query, key) for a in axes)]
        key, scores = "".join(key), "".join(scores)
        self._dot_product_equation = f"{key},{query}->{scores}"
        self._combine_equation = f"{scores},{key}->{query}"
        self._dropout_layer = Dropout(
            self.dropout, dtype=self.dtype_policy, seed=self.seed
        )

    def _compute_attention_mask(
        self,
        query,
        value,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        use_causal_mask: bool = False,
    ):
        """Return one mask from all, or None.

        Its axes are the batch, those that are not attended over, and those that are:
        of the query, then of the keys; `(batch, queries, keys)` in most cases. Size 1
        stands for all entries, and an axis for heads is there if the caller gave one.
        """
        axes = self.attention_axes
        ones = (1,) * len(axes)
        masks = [] if attention_mask is None else [jnp.asarray(attention_mask)]
        if query_mask is not None:
            mask = _attended_last(query_mask, query.ndim - 1, axes)
            masks.append(mask.reshape(*mask.shape, *ones))
        for mask in (value_mask, key_mask):
            if mask is not None:
                mask = _attended_last(mask, value.ndim - 1, axes)
                at = mask.ndim - len(axes)
                masks.append(mask.reshape(*mask.shape[:at], *ones, *mask.shape[at:]))
        if use_causal_mask:
            masks.append(self._compute_causal_mask(query, value))
        if self.sliding_window is not None:
            masks.append(self._compute_sliding_window_mask(query, value))
        rank = max((m.ndim for m in masks), default=0)
        masks = [_widened(m.astype(bool), rank, axes) for m in masks]
        return functools.reduce(operator.and_, masks) if masks else None

    def _compute_causal_mask(self, query, value=None):
        """Return where the key does not come after the query, `(1, queries, keys)`."""
        return self._by_place(causal_mask, query, value)

    def _compute_sliding_window_mask(self, query, value=None):
        """Return where query and key are near each other, `(1, queries, keys)`."""
        return self._by_place(window_mask, query, value, self.sliding_window)

    def _by_place(self, mask, query, value, *more):
        """Return a mask that follows from places, counted over all attended axes."""
        queries, keys = (
            tuple(x.shape[a] for a in self.attention_axes)
            for x in (query, query if value is None else value)
        )
        joined = mask(math.prod(queries), math.prod(keys), *more)
        return joined.reshape(1, *queries, *keys)

    def _masked_softmax(self, attention_scores, attention_mask=None):
        """Return the weights of the values; those of masked ones are zero."""
        return _softmax(attention_scores, attention_mask, self.attention_axes, True)

    def call(
        self,
        query,
        value,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ):
        self._check_scores(return_attention_scores)
        key = value if key is None else key
        mask = self._compute_attention_mask(
            query,
            value,
            use_causal_mask=use_causal_mask,
            attention_mask=attention_mask,
            key_mask=key_mask,
            value_mask=value_mask,
            query_mask=query_mask,
        )
        gate, query, key, value = self._project(query, key, value)
        asked = [True] if return_attention_scores else []  # older ones take no such
        output, scores = self._compute_attention(
            query, key, value, mask, training, *asked
        )
        output = self._output_dense(output if gate is None else output * gate)
        return (output, scores) if return_attention_scores else output

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ):
        """Attend with projected `(batch, ..., heads, size)`; a subclass may replace it.

        Returns:
            The heads' results, of the query's shape but for the last axis, and the
            attention weights.
        """
        mask = attention_mask
        if self._flash_attention and query.ndim == 4:
            return _flash(self, query, key, value, mask, use_causal_mask), None
        scores = self._inverse_sqrt_key_dim * jnp.einsum(
            self._dot_product_equation,
            key,
            query,
            preferred_element_type=jnp.promote_types(query.dtype, jnp.float32),
        )
        if use_causal_mask:
            causal = self._compute_causal_mask(query, value)
            mask = causal if mask is None else jnp.asarray(mask).astype(bool) & causal
        if self.dropout or return_attention_scores or query.ndim != 4:
            weights = self._masked_softmax(scores, mask)
        else:
            weights = _softmax(scores, mask, self.attention_axes, False)
        weights = dropped = weights.astype(self.compute_dtype)
        if self.dropout:
            dropped = self._dropout_layer(weights, training=training)
        return jnp.einsum(self._combine_equation, dropped, value), weights

    def _divided_inside(self):
        """Return the projections and how they are divided: each device has heads."""
        given = [self._query_dense, self._key_dense, self._value_dense]
        if self.use_gate:
            given.append(self._gate_dense)
        return [(x, "outputs") for x in given] + [(self._output_dense, "inputs")]

    def _project(self, query, key, value):
        """Return the gate, if there is one, and query, key and value by heads."""
        tensors = {id(x): x for x in (query, key, value)}.values()
        masks = [get_mask(x) for x in tensors]
        for x in tensors:
            set_mask(x, None)  # the projections would warn of it
        try:
            gate = self._gate_dense(query) if self.use_gate else None
            heads = self._query_dense(query), self._key_dense(key)
            return gate, *heads, self._value_dense(value)
        finally:
            for x, mask in zip(tensors, masks, strict=True):
                set_mask(x, mask)

    def _check_scores(self, wanted):
        if self._flash_attention and wanted:
            raise ValueError(
                "Returning attention scores is not supported when flash attention is "
                "enabled. Please disable flash attention to access attention scores."
            )

    def compute_mask(self, query, previous_mask):
        if structure.is_nested(previous_mask):
            return previous_mask[0]
        return previous_mask


def _fresh(initializer):
    """Return an initializer that draws anew, of the same config."""
    if not hasattr(initializer, "get_config"):
        return initializer
    return type(initializer).from_config(initializer.get_config())


def _attended_last(mask, rank, axes):
    """Give the mask of a tensor the axes attended over last, and `rank` axes."""
    mask = jnp.asarray(mask)
    mask = mask.reshape(*mask.shape, *(1,) * (rank - mask.ndim))
    return jnp.moveaxis(mask, axes, range(rank - len(axes), rank))


def _widened(mask, rank, axes):
    """Give a mask `rank` axes, by some of size 1 before those attended over."""
    at = max(mask.ndim - 2 * len(axes), 0)
    return jnp.expand_dims(mask, tuple(range(at, at + rank - mask.ndim)))


def _softmax(scores, mask, axes, zero):
    """Return the softmax of what is not masked; a row of nothing is even, or `zero`."""
    last = tuple(range(-len(axes), 0))
    if mask is None:
        return softmax(scores, last)
    mask = _widened(jnp.asarray(mask).astype(bool), scores.ndim, axes)
    # A finite number: a row without any key must not become NaN.
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min / 2)
    weights = softmax(scores, last)
    return jnp.where(mask, weights, 0) if zero else weights


def _flash(layer, query, key, value, mask, causal=False):
    """Attend to `(batch, keys, heads, size)` by cuDNN's kernel."""
    if jax.default_backend() != "gpu":
        raise RuntimeError(
            f"{described(layer)} was made with `flash_attention=True`, but JAX has "
            "flash attention on GPUs with cuDNN alone. It runs on "
            f"{jax.default_backend()!r} here. Leave out `flash_attention`, which gives "
            "the same numbers everywhere."
        )
    if mask is not None:
        lead, last = mask.shape[:-2], mask.shape[-2:]
        mask = mask.reshape(*lead, *(1,) * (4 - mask.ndim), *last).astype(bool)
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, is_causal=causal, implementation="cudnn"
    )


def _check_keys(layer, value_shape, key_shape):
    if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
        raise ValueError(
            "All dimensions of `value` and `key`, except the last one, must be equal. "
            f"Layer {layer.name!r} received: value_shape={value_shape} and "
            f"key_shape={key_shape}"
        )


class MultiHeadAttention(_HeadAttention):
    r"""Several attentions side by side, each in a projection of its own.

    For each head, $q = Q W_q$, $k = K W_k$, $v = V W_v$ and
    $\mathrm{softmax}(q k^\top / \sqrt{d})\, v$ with $d$ = `key_dim`; the heads'
    results are projected to the output together.

    Query `(batch, queries, features)`, value and key `(batch, keys, features)`,
    output `(batch, queries, features of the query)`. There may be more axes between
    the batch and the features; attention goes over `attention_axes`.

    A query that may see no key gets a plain mean of all values; with dropout, with
    `return_attention_scores` or with more than one axis between batch and features
    it gets zeros.

    Args:
        num_heads: the number of heads.
        key_dim: the size of each head's query and key.
        value_dim: the size of each head's value; `key_dim` when None.
        dropout: the share of attention weights dropped in training, from 0 to 1.
        use_bias: whether the projections have biases.
        output_shape: the sizes of the output's last axes; the query's when None.
        attention_axes: the axes that attention goes over; all between the batch and
            the features when None.
        sliding_window: attend only to keys fewer than this many places away.
        flash_attention: True insists on cuDNN's kernel, which needs a GPU and half
            types; otherwise XLA compiles the formula.
        kernel_initializer: the first values of the kernels.
        bias_initializer: the first values of the biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        activity_regularizer: a penalty on the projections' outputs.
        kernel_constraint: what the kernels are projected with after each step.
        bias_constraint: likewise for the biases.
        use_gate: whether the heads' results are multiplied by a sigmoid gate that is
            computed from the query.
        seed: the seed of the dropout.

    Call arguments:
        query: the query.
        value: the value.
        key: the key; the value when None.
        query_mask: `(batch, queries)`, which queries count.
        value_mask: `(batch, keys)`, which values count.
        key_mask: `(batch, keys)`, which keys count.
        attention_mask: `(batch, queries, keys)`, which keys each query may see.
        return_attention_scores: whether to return the weights
            `(batch, heads, queries, keys)` as well.
        training: whether dropout acts.
        use_causal_mask: whether no query sees a key that comes after it.

    Raises:
        ValueError: an argument out of its range, or value and key that do not fit.
        RuntimeError: `flash_attention=True` without a GPU.

    Source: Vaswani et al., 2017, "Attention is all you need".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    >>> layer(np.ones((1, 5, 8)), np.ones((1, 6, 8))).shape
    (1, 5, 8)
    """

    # Known to the class, for tools that list what a layer has.
    num_heads: Any = None
    key_dim: Any = None
    value_dim: Any = None
    dropout: Any = None
    use_bias: Any = None
    attention_axes: Any = None
    # The names that subclasses know from Keras.
    _num_heads, _key_dim = _also("num_heads"), _also("key_dim")
    _value_dim, _dropout = _also("value_dim"), _also("dropout")
    _use_bias, _use_gate = _also("use_bias"), _also("use_gate")
    _output_shape, _attention_axes = _also("output_shape"), _also("attention_axes")
    _sliding_window = _also("sliding_window")
    _kernel_initializer = _also("kernel_initializer")
    _kernel_regularizer = _also("kernel_regularizer")
    _kernel_constraint = _also("kernel_constraint")
    _bias_initializer = _also("bias_initializer")
    _bias_regularizer = _also("bias_regularizer")
    _bias_constraint = _also("bias_constraint")
    _activity_regularizer = _also("activity_regularizer")

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Shape | None = None,
        attention_axes: Axes | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        use_gate: bool = False,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner = type(self).__name__
        self.num_heads = positive_int(owner, "num_heads", num_heads)
        self.key_dim = positive_int(owner, "key_dim", key_dim)
        self.value_dim = self.key_dim
        if value_dim is not None:
            self.value_dim = positive_int(owner, "value_dim", value_dim)
        self._keep_common(locals())
        self.output_shape = _sizes(output_shape)
        self.attention_axes = _axes(attention_axes)
        self._inverse_sqrt_key_dim = 1 / math.sqrt(self.key_dim)

    @property
    def rows_independent(self):
        return off_rows(self.attention_axes or 1)

    def _collect_activity_loss(self, outputs):
        """Leave the penalty to the projections, which have it each for itself."""

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        _check_keys(self, value_shape, key_shape)
        heads = self.num_heads
        self._query_dense = self._projection(
            "query", 1, (heads, self.key_dim), query_shape
        )
        self._key_dense = self._projection("key", 1, (heads, self.key_dim), key_shape)
        if self.use_gate:
            self._gate_dense = self._projection(
                "gate", 1, (heads, self.value_dim), query_shape, "sigmoid"
            )
        self._value_dense = self._projection(
            "value", 1, (heads, self.value_dim), value_shape
        )
        self._build_attention(len(query_shape) + 1)
        self._output_dense = self._projection(
            "attention_output",
            2,
            self.output_shape or (query_shape[-1],),
            (*query_shape[:-1], heads, self.value_dim),
        )

    @property
    def query_dense(self):
        """The projection of the query."""
        return self._query_dense

    @property
    def key_dense(self):
        """The projection of the key."""
        return self._key_dense

    @property
    def value_dense(self):
        """The projection of the value."""
        return self._value_dense

    @property
    def output_dense(self):
        """The projection of the heads' results to the output."""
        return self._output_dense


def _sizes(output_shape):
    if output_shape is None or isinstance(output_shape, int):
        return (output_shape,) if output_shape else None
    if isinstance(output_shape, str) or not hasattr(output_shape, "__iter__"):
        raise ValueError(
            f"Invalid `output_shape`: {output_shape!r}. When specified, the "
            "`output_shape` should be of type tuple, list, or int."
        )
    return tuple(output_shape)


def _axes(attention_axes):
    if attention_axes is None or isinstance(attention_axes, int):
        return None if attention_axes is None else (attention_axes,)
    if not isinstance(attention_axes, (list, tuple)):
        raise ValueError(
            "`attention_axes` must be an int, list, or tuple. "
            f"Received: attention_axes={attention_axes!r}"
        )
    return tuple(attention_axes)


class GroupedQueryAttention(_HeadAttention):
    r"""Attention with several query heads to each head of keys and values.

    As `MultiHeadAttention`, but `num_query_heads / num_key_value_heads` query heads
    share one key and one value.

    Query `(batch, queries, features)`, value and key `(batch, keys, features)`,
    output `(batch, queries, features of the query)`.

    Args:
        head_dim: the size of each head.
        num_query_heads: the number of heads of the query.
        num_key_value_heads: the number of heads of key and value; divides the former.
        dropout: the share of attention weights dropped in training, from 0 to 1.
        use_bias: whether the projections have biases.
        sliding_window: attend only to keys fewer than this many places away.
        flash_attention: True insists on cuDNN's kernel, which needs a GPU and half
            types; otherwise XLA compiles the formula.
        kernel_initializer: the first values of the kernels.
        bias_initializer: the first values of the biases.
        kernel_regularizer: a penalty on the kernels.
        bias_regularizer: a penalty on the biases.
        activity_regularizer: a penalty on the outputs.
        kernel_constraint: what the kernels are projected with after each step.
        bias_constraint: likewise for the biases.
        use_gate: whether the heads' results are multiplied by a sigmoid gate that is
            computed from the query.
        seed: the seed of the dropout.

    Raises:
        ValueError: an argument out of its range.
        RuntimeError: `flash_attention=True` without a GPU.

    Source: Ainslie et al., 2023, "GQA: training generalized multi-query transformer
    models from multi-head checkpoints".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.GroupQueryAttention(4, 6, 2)
    >>> layer(np.ones((1, 5, 8)), np.ones((1, 6, 8))).shape
    (1, 5, 8)
    """

    _saved_as = ("keras.layers", "GroupQueryAttention")

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        use_gate: bool = False,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner = "GroupQueryAttention"
        self.head_dim = positive_int(owner, "head_dim", head_dim)
        self.attention_axes = (1,)
        self._inverse_sqrt_key_dim = 1 / math.sqrt(self.head_dim)
        self.num_query_heads = positive_int(owner, "num_query_heads", num_query_heads)
        self.num_key_value_heads = positive_int(
            owner, "num_key_value_heads", num_key_value_heads
        )
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                "`num_query_heads` must be divisible by `num_key_value_heads`. "
                f"Received: num_query_heads={num_query_heads}, "
                f"num_key_value_heads={num_key_value_heads}"
            )
        self._keep_common(locals())

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        _check_keys(self, value_shape, key_shape)
        wide = (self.num_query_heads, self.head_dim)
        narrow = (self.num_key_value_heads, self.head_dim)
        self._query_dense = self._projection("query", 1, wide, query_shape)
        self._key_dense = self._projection("key", 1, narrow, key_shape)
        if self.use_gate:
            self._gate_dense = self._projection("gate", 1, wide, query_shape, "sigmoid")
        self._value_dense = self._projection("value", 1, narrow, value_shape)
        self._build_attention(len(query_shape) + 1)
        self._output_dense = self._projection(
            "attention_output", 2, query_shape[-1:], (*query_shape[:-1], *wide)
        )

    def _compute_attention(self, query, key, value, *args, **kwargs):
        """Attend with projected `(batch, ..., heads, size)`; a subclass may replace it.

        Returns:
            The heads' results, of the query's shape, and the attention weights.
        """
        if not self._flash_attention:
            group = self.num_query_heads // self.num_key_value_heads
            key, value = (jnp.repeat(x, group, axis=2) for x in (key, value))
        return super()._compute_attention(query, key, value, *args, **kwargs)


class Attention(Layer):
    r"""Dot-product attention: $\mathrm{softmax}(Q K^\top)\, V$.

    Takes a list `[query, value]` or `[query, value, key]`, of shapes
    `(batch, queries, features)` and `(batch, keys, features)`; output
    `(batch, queries, features)`. Masks come as a list `[query_mask, value_mask]`:
    masked values are not attended to, masked queries give zeros.

    Args:
        use_scale: whether scores are multiplied by a trained number.
        score_mode: `"dot"`, or `"concat"` for
            $w \sum \tanh(\mathrm{scale}\,(q + k))$ with a trained $w$.
        dropout: the share of attention weights dropped in training, from 0 to 1.
        seed: the seed of the dropout.

    Call arguments:
        inputs: the list.
        mask: the list of masks, any of them None.
        training: whether dropout acts.
        return_attention_scores: whether to return the weights
            `(batch, queries, keys)` as well.
        use_causal_mask: whether no query sees a key that comes after it.

    Raises:
        ValueError: an argument out of its range, or inputs that are not such a list.

    Source: Luong et al., 2015, "Effective approaches to attention-based neural
    machine translation".

    >>> import lamina, numpy as np
    >>> lamina.layers.Attention()([np.ones((1, 5, 8)), np.ones((1, 6, 8))]).shape
    (1, 5, 8)
    """

    rows_independent = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.use_scale = use_scale
        self.score_mode = one_of(owner, "score_mode", score_mode, ("dot", "concat"))
        self.dropout = fraction(owner, "dropout", dropout)
        self.seed = seed
        if dropout:
            self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape):
        self._check(input_shape)
        self.scale = None
        self.concat_score_weight: Any = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight", initializer="ones"
            )

    def call(
        self,
        inputs,
        mask=None,
        training=False,
        return_attention_scores=False,
        use_causal_mask=False,
    ):
        self._check(inputs, mask)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) == 3 else value
        query_mask, value_mask = mask[:2] if mask is not None else (None, None)
        scores = self._calculate_scores(query, key)
        seen = self._calculate_score_mask(scores, value_mask, use_causal_mask)
        weights = _softmax(scores, seen, (1,), True)
        if training and self.dropout:
            weights = drop(weights, self.dropout, self.seed_generator.next())
        output = jnp.matmul(weights, value)
        if query_mask is not None:
            output = jnp.where(jnp.asarray(query_mask)[..., None], output, 0)
        return (output, weights) if return_attention_scores else output

    def _calculate_scores(self, query, key):
        """Return how well each key fits each query, `(batch, queries, keys)`."""
        scale = 1 if self.scale is None else self.scale.value
        if self.score_mode == "dot":
            return jnp.matmul(query, jnp.swapaxes(key, -2, -1)) * scale
        sums = jnp.tanh(scale * (query[..., :, None, :] + key[..., None, :, :]))
        return self.concat_score_weight.value * sums.sum(-1)

    def _calculate_score_mask(self, scores, v_mask, use_causal_mask):
        """Return which values each query may see, or None for all."""
        if v_mask is not None:
            v_mask = jnp.expand_dims(jnp.asarray(v_mask).astype(bool), -2)
        if not use_causal_mask:
            return v_mask
        causal = causal_mask(*scores.shape[-2:])
        return causal if v_mask is None else v_mask & causal

    def compute_mask(self, inputs, mask=None):
        self._check(inputs, mask)
        return None if mask is None else mask[0]

    def _check(self, inputs, mask=None):
        name = f"Layer {self.name!r} ({type(self).__name__})"
        if not isinstance(inputs, list) or len(inputs) not in (2, 3):
            got = f"length {len(inputs)}" if isinstance(inputs, list) else inputs
            raise ValueError(
                f"{type(self).__name__} layer must be called on a list of inputs, "
                "namely [query, value] or [query, value, key]; it accepts inputs list "
                f"of length 2 or 3. {name} received: {got}"
            )
        if mask is None:
            return
        if not isinstance(mask, list) or len(mask) not in (2, 3):
            got = f"length {len(mask)}" if isinstance(mask, list) else type(mask)
            raise ValueError(
                f"{type(self).__name__} layer mask must be a list, namely [query_mask, "
                "value_mask]; it accepts mask list of length 2 or 3. "
                f"{name} received: {got}"
            )


class AdditiveAttention(Attention):
    r"""Attention whose scores are $\sum \mathrm{scale} \cdot \tanh(q + k)$.

    Takes what `Attention` takes. The scale is a trained vector, one number for each
    feature.

    Args:
        use_scale: whether there is a scale.
        dropout: the share of attention weights dropped in training, from 0 to 1.

    Raises:
        ValueError: an argument out of its range, or inputs that are not such a list.

    Source: Bahdanau et al., 2015, "Neural machine translation by jointly learning to
    align and translate".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.AdditiveAttention()
    >>> layer([np.ones((1, 5, 8)), np.ones((1, 6, 8))]).shape
    (1, 5, 8)
    """

    _saved_never = (*Attention._saved_never, "score_mode")

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape):
        self._check(input_shape)
        self.scale = None
        if self.use_scale:
            self.scale = self.add_weight(
                name="scale",
                shape=(input_shape[0][-1],),
                initializer="glorot_uniform",
            )

    def _calculate_scores(self, query, key):
        """Return how well each key fits each query, `(batch, queries, keys)`."""
        scale = 1 if self.scale is None else self.scale.value
        sums = jnp.tanh(query[..., :, None, :] + key[..., None, :, :])
        return (scale * sums).sum(-1)


GroupQueryAttention = GroupedQueryAttention
