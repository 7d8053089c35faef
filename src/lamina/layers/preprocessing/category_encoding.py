"""`CategoryEncoding`: indices of categories as vectors."""

import jax.numpy as jnp

from lamina.core.checks import number, positive_int
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.encoding import encode, refuse_sparse


class CategoryEncoding(DataLayer):
    """Turns indices of categories into vectors of `num_tokens` numbers.

    Args:
        num_tokens: how many categories there are; indices are below it, others are
            in no vector.
        output_mode: `"one_hot"`, a vector for each index (in place of a last axis of
            size 1); `"multi_hot"`, a vector for each sample, 1 for each category in
            it; `"count"`, how often each is in it.
        sparse: not supported; must be False.

    Call arguments:
        inputs: indices; of more than one axis, axis 1 holds those of one sample.
        count_weights: what each index adds to its count, for `"count"`.

    Raises:
        ValueError: an argument is out of range, `sparse` is True, or there are
            `count_weights` where nothing is counted.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.CategoryEncoding(num_tokens=3, output_mode="count")
    >>> layer(np.array([[0, 2], [1, 1]])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]
    """

    rows_independent = True
    _reads_integers = True

    def __init__(
        self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs
    ):
        kwargs.setdefault("autocast", False)  # half precision would round indices
        super().__init__(**kwargs)
        output_mode = "multi_hot" if output_mode == "binary" else output_mode
        if output_mode not in ("count", "one_hot", "multi_hot"):
            raise ValueError(
                f"Unknown arg for output_mode: {output_mode!r}. `CategoryEncoding` "
                "takes 'one_hot', 'multi_hot' or 'count'."
            )
        if num_tokens is None:
            raise ValueError(
                "num_tokens must be set to use this layer. If the number of tokens is "
                "not known beforehand, use the `IntegerLookup` layer instead."
            )
        if number("CategoryEncoding", "num_tokens", num_tokens) < 1:
            raise ValueError(
                f"`num_tokens` must be >= 1. Received: num_tokens={num_tokens}."
            )
        refuse_sparse("CategoryEncoding", sparse)
        self.num_tokens = positive_int("CategoryEncoding", "num_tokens", num_tokens)
        self.output_mode = output_mode
        self.sparse = sparse

    def call(self, inputs, count_weights=None):
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError(
                    "`count_weights` is not used when `output_mode` is not `'count'`. "
                    f"Received `count_weights={count_weights}`."
                )
            count_weights = jnp.asarray(count_weights, self.compute_dtype)
        return encode(
            jnp.asarray(inputs),
            self.output_mode,
            self.num_tokens,
            self.compute_dtype,
            count_weights,
        )

    def get_config(self):
        config = super().get_config()
        config.pop("sparse")
        return config
