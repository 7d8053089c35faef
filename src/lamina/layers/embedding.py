"""Tables of learnt vectors: from numbers to vectors, and back to scores."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.arguments import given
from lamina.core.checks import is_integer, number
from lamina.core.dtypes import is_int, standardize_dtype
from lamina.core.policy import get_policy
from lamina.core.types import DType, Identifier, Initializer
from lamina.kernels.adapted import Layout, dense, rows
from lamina.layers import weights as hooks
from lamina.layers.lora import Adaptable, replaceable
from lamina.layers.parallel import AXIS, Division
from lamina.ops import numpy as ops


class Embedding(Adaptable):
    """Looks up a learnt vector for each integer.

    Input: integers of any shape, from 0 to below `input_dim`. Output: that shape
    with `output_dim` added; an integer outside of the table gives NaN.

    Args:
        input_dim: the number of rows of the table.
        output_dim: the size of each vector.
        embeddings_initializer: the first values of the table.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: what the table is projected with after each step.
        mask_zero: whether 0 is padding that layers after this one pass over.
        weights: the first values of the table, an array or a list of one.
        lora_rank: the rank of LoRA, see `enable_lora`; None trains the whole kernel.
        lora_alpha: the weight of LoRA; `lora_rank` when None.
        quantization_config: how a dtype such as `"int8_from_float32"` quantizes, a
            config of `lamina.quantizers`.
        sparse: whether a step of training costs what the rows cost that a batch looks
            up, instead of the whole table. Those rows alone are changed: that is the
            same for `SGD` without momentum and for `Adagrad`; other optimizers leave
            the averages and the momentum of all other rows as they are ("lazy", as
            PyTorch's `SparseAdam` does).

    Raises:
        ValueError: a size is not a positive integer, or `weights` has another shape;
            `sparse` together with a regularizer or a constraint of the table.

    >>> import lamina, numpy as np
    >>> lamina.layers.Embedding(100, 8)(np.array([[4, 20, 7]])).shape
    (1, 3, 8)
    """

    # Values are saved with the model's weights.
    _saved_never = (*Adaptable._saved_never, "weights")
    _saved_last = ("activity_regularizer",)
    rows_independent = True
    _reads_integers = True
    embeddings = replaceable("embeddings")
    _embeddings: Any
    _quantizes = True
    _main = "embeddings"
    _kind = "embedding"
    _quantized = ("embeddings",)
    _modes = ("int8", "int4")
    _also = ()
    _saved_if_changed = (*Adaptable._saved_if_changed, "sparse")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Identifier = None,
        embeddings_constraint: Identifier = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        sparse: bool = False,
        **kwargs,
    ):
        kwargs.pop("input_length", None)  # said nothing that the input does not
        # Numbers of rows must not pass through a half type; `call` casts instead.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self._take_variants(lora_rank, lora_alpha, quantization_config)
        self.input_dim = self._size("input_dim", input_dim)
        self.output_dim = self._size("output_dim", output_dim)
        hooks.keep(self, locals())
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.sparse = sparse
        for kind in ("regularizer", "constraint"):
            if sparse and getattr(self, f"embeddings_{kind}") is not None:
                raise ValueError(
                    f"`embeddings_{kind}` of `{type(self).__name__}` is for all rows "
                    "of the table, and `sparse=True` changes those alone that a batch "
                    "looks up. Leave one of them out."
                )
        if weights is not None:
            self.build()
            single = not isinstance(weights, (list, tuple)) or np.ndim(weights[0]) < 2
            self.set_weights([np.asarray(weights)] if single else list(weights))

    def _size(self, name, value):
        if not is_integer(value) or value <= 0:
            raise ValueError(
                f"`{name}` must be a positive integer in `{type(self).__name__}`. "
                f"Received: {name}={value!r}"
            )
        return int(value)

    def build(self, input_shape=None):
        shape = (self.input_dim, self.output_dim)
        self.embeddings = hooks.make(self, "embeddings", shape)
        self.embeddings.sparse_gradient = self.sparse

    def call(self, inputs):
        if not is_int(inputs.dtype):
            inputs = inputs.astype("int32")
        return rows(self.embeddings, inputs).astype(self.compute_dtype)

    def _divisions(self):
        words, features = self._embeddings.shape
        return {
            "outputs": Division({"_embeddings": 1}, features, (AXIS,)),
            "inputs": Division({"_embeddings": 0}, words),
        }

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def _layout(self, name, shape):
        # One scale for each number that is looked up, and for each score.
        axis = 0 if name == "embeddings" else 1
        kept = shape[axis : axis + 1]
        summed = -1 - axis
        return Layout(shape, (1 - axis,), (axis,), kept, shape, summed, summed)


class ReversibleEmbedding(Embedding):
    """An `Embedding` that also goes back, from vectors to a score for each row.

    `layer(integers)` looks up vectors; `layer(vectors, reverse=True)` returns
    `vectors @ table.T`, the scores of a language model.

    Args:
        input_dim: the number of rows of the table.
        output_dim: the size of each vector.
        tie_weights: whether the way back uses the same table, or a matrix
            `(output_dim, input_dim)` of its own.
        embeddings_initializer: the first values of the table.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: what the table is projected with after each step.
        mask_zero: whether 0 is padding that layers after this one pass over.
        reverse_dtype: the dtype of the way back; the compute dtype when None.
        logit_soft_cap: a limit c of the scores, `c * tanh(scores / c)`, or None.

    Raises:
        ValueError: a size is not a positive integer.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.ReversibleEmbedding(100, 8)
    >>> vectors = layer(np.array([[4, 20, 7]]))
    >>> layer(vectors, reverse=True).shape
    (1, 3, 100)
    """

    reverse_embeddings = replaceable("reverse_embeddings")
    _quantizes = True
    _rounds_inputs = ("int8", "int4")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Identifier = None,
        embeddings_constraint: Identifier = None,
        mask_zero: bool = False,
        reverse_dtype: DType = None,
        logit_soft_cap: float | None = None,
        **kwargs,
    ):
        named = given(locals())
        for name in ("tie_weights", "reverse_dtype", "logit_soft_cap"):
            del named[name]
        super().__init__(**named)
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        if logit_soft_cap is not None:
            number("ReversibleEmbedding", "logit_soft_cap", logit_soft_cap, least=0)
        self.logit_soft_cap = logit_soft_cap

    def build(self, input_shape=None):
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = hooks.make(
                self,
                "embeddings",
                (self.output_dim, self.input_dim),
                name="reverse_embeddings",
            )

    def call(self, inputs, reverse=False):
        """Return rows of the table, or scores of the rows.

        Args:
            inputs: integers, or vectors `(..., output_dim)` with `reverse`.
            reverse: whether to go back.
        """
        if not reverse:
            return super().call(inputs)
        dtype = self.compute_dtype
        if self.reverse_dtype is not None:
            dtype = get_policy(self.reverse_dtype).compute_dtype
        dtype = standardize_dtype(dtype)
        inputs = inputs.astype(dtype)
        if self.tie_weights:
            scores = dense(inputs, self.embeddings, transposed=True)
        else:
            scores = dense(inputs, self.reverse_embeddings).astype(dtype)
        if self.logit_soft_cap is None:
            return scores
        return jnp.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap

    def _quantized_weights(self):
        more = () if self.tie_weights else ("reverse_embeddings",)
        return (*self._quantized, *more)
