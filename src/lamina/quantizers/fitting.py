"""GPTQ and AWQ: integers of few bits for a matrix, fitted to inputs that it gets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.quantizers.rounding import scale_and_zero

# Errors reach the columns after a block of this many at once.
_BLOCK = 128


class GPTQ:
    r"""Rounds the inputs' weights in turn; later ones make up for the errors.

    Frantar et al., 2022: with the damped $H = \frac{2}{n} \sum x x^\top$ of the inputs
    and the upper triangular $U$ of $U^\top U = H^{-1}$, the error
    $e_j = (w_j - \hat w_j) / U_{jj}$ of each column of weights is taken off those after
    it, $w_k \gets w_k - e_j U_{jk}$.

    Args:
        features: the number of inputs.
        config: a `GPTQConfig`.
    """

    def __init__(self, features, config):
        self.config, self.features = config, features
        self.count = 0
        self.hessian = jnp.zeros((features, features), "float32")

    def observe(self, x):
        """Take inputs `(rows, features)` into account."""
        x = jnp.asarray(x, "float32")
        products = x.T @ x
        products = (products + products.T) / 2
        total = self.count + len(x)
        self.hessian = self.hessian * (self.count / total) + products * (2 / total)
        self.count = total

    def fit(self, kernel):
        """Return integers for a kernel `(features, outputs)`, scales, zeros, groups.

        Returns:
            Integers `(outputs, features)`; scales and zero points `(outputs, groups)`;
            the number of the group of each feature.
        """
        config = self.config
        weights = np.array(kernel, "float32").T
        features = weights.shape[1]
        diagonal = jnp.diagonal(self.hessian)
        diagonal = jnp.where(diagonal == 0, 1.0, diagonal)
        diagonal = diagonal + config.hessian_damping * jnp.mean(diagonal)
        damped = jnp.fill_diagonal(self.hessian, diagonal, inplace=False)
        order = np.arange(features)
        if config.activation_order:
            order = np.argsort(-np.asarray(diagonal), kind="stable")
        weights = weights[:, order]
        upper = _root_of_inverse(np.asarray(damped)[np.ix_(order, order)])
        group = features if config.group_size == -1 else config.group_size
        integers = np.zeros(weights.shape, "uint8")
        found, highest = [], 2**config.weight_bits - 1
        for start in range(0, features, _BLOCK):
            stop = min(start + _BLOCK, features)
            block, errors = weights[:, start:stop].copy(), []
            for j in range(start, stop):
                if j % group == 0:
                    found.append(self._scale(weights[:, j : j + group]))
                scale, zero = (np.asarray(a)[:, 0] for a in found[-1])
                column, ahead = block[:, j - start], upper[j, j + 1 : stop]
                wide = zero.astype("float32")
                q = np.clip(np.round(column / scale + wide), 0, highest)
                integers[:, j] = q
                errors.append((column - scale * (q - wide)) / upper[j, j])
                block[:, j - start + 1 :] -= errors[-1][:, None] * ahead
            weights[:, stop:] -= np.stack(errors, 1) @ upper[start:stop, stop:]
        back = np.argsort(order)
        scales, zeros = (jnp.concatenate(a, axis=1) for a in zip(*found, strict=True))
        groups = (np.arange(features) // group).astype("float32")
        return integers[:, back], scales, zeros, groups[back]

    def _scale(self, weights):
        config = self.config
        settings = config.weight_bits, config.symmetric, config.per_channel
        return scale_and_zero(jnp.asarray(weights), *settings)


def _root_of_inverse(hessian):
    """Return the upper triangular matrix whose square is the inverse of a Hessian.

    Its row $j$ is that of the inverse for the columns from $j$ on, the ones before
    being fixed; the inverse itself would let them move.
    """
    backwards = hessian[::-1, ::-1].astype("float64")
    try:
        root = np.linalg.cholesky(backwards)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "GPTQ could not invert the products of the inputs: the data have too few "
            "rows that differ, or numbers that are not finite. Pass `GPTQConfig` more "
            "samples or a larger `hessian_damping`."
        ) from error
    return np.linalg.inv(root[::-1, ::-1]).astype("float32")


class AWQ:
    r"""Scales each input's weights before they are rounded, by how large the input is.

    Lin et al., 2023: with the largest magnitudes $a$ of the inputs, the weights are
    multiplied by $a^r$ before rounding and divided by it after. The $r$ from 0 to 1
    is taken that makes the error, weighted by $a^2$, least.

    Args:
        features: the number of inputs.
        config: an `AWQConfig`.
    """

    def __init__(self, features, config):
        self.config, self.features = config, features
        self.largest = jnp.zeros((features,), "float32")

    def observe(self, x):
        """Take inputs `(rows, features)` into account."""
        x = jnp.asarray(x, "float32")
        self.largest = jnp.maximum(self.largest, jnp.max(jnp.abs(x), axis=0))

    def fit(self, kernel):
        """Return integers for a kernel `(features, outputs)`, and what undoes them.

        Returns:
            Integers `(outputs, features)`; scales and zero points `(outputs, groups)`;
            the scale of each feature; the number of its group.
        """
        weights = jnp.asarray(kernel, "float32").T
        largest = jnp.where(self.largest < 1e-8, 1.0, self.largest)
        points = self.config.num_grid_points
        best: Any = None
        least = np.inf
        for i in range(points + 1):
            factors = jnp.maximum(largest ** (i / points), 1e-4)
            middle = jnp.sqrt(jnp.max(factors) * jnp.min(factors))
            factors = factors / jnp.maximum(middle, 1e-8)
            loss = float(self._loss(weights, factors, largest))
            if best is None or loss < least:
                best, least = factors, loss
        integers, scale, zero, groups = self._rounded(weights * best)
        return integers, scale, zero, best, groups.astype("float32")

    def _rounded(self, weights):
        group = self.config.group_size
        features = weights.shape[1]
        scale, zero = scale_and_zero(weights, 4, group_size=group)
        groups = jnp.arange(features) // (features if group == -1 else group)
        wide = jnp.take(zero, groups, axis=1).astype("float32")
        q = jnp.round(weights / jnp.take(scale, groups, axis=1) + wide)
        return jnp.clip(q, 0, 15), scale, zero, groups

    def _loss(self, weights, factors, largest):
        q, scale, zero, groups = self._rounded(weights * factors)
        scale, zero = (jnp.take(a, groups, axis=1) for a in (scale, zero))
        again = (q - zero.astype("float32")) * scale / factors
        return jnp.mean(jnp.square(weights - again) * jnp.square(largest))


def windows(config):
    """Return the samples that a config's data give, `(num_samples, sequence_length)`.

    Texts and arrays are joined to one sequence of integers, repeated where it is too
    short, and cut at equal distances.

    Args:
        config: a `GPTQConfig` or an `AWQConfig`.

    Raises:
        ValueError: there are no data, or texts and no tokenizer.
        TypeError: the data cannot be iterated.
    """
    name, data = type(config).__name__, config.dataset
    if data is None:
        raise ValueError(
            f"{config.mode.upper()} quantization requires a dataset and a tokenizer "
            f"(arrays of integers need none). Pass them to `{name}`."
        )
    if isinstance(data, (str, bytes)) or not hasattr(data, "__iter__"):
        raise TypeError(
            f"`{name}`: the `dataset` argument must be an iterable of texts or arrays. "
            f"Got type: {type(data).__name__}"
        )
    pieces = list(data)
    if any(isinstance(p, str) for p in pieces):
        if config.tokenizer is None:
            raise ValueError(
                f"{config.mode.upper()} quantization requires a dataset and a "
                f"tokenizer: `{name}` got texts without `tokenizer`."
            )
        pieces = [config.tokenizer.tokenize(p) for p in pieces]
    pieces = [np.asarray(jax.device_get(p)).reshape(-1) for p in pieces]
    tokens = np.concatenate(pieces).astype("int32") if pieces else np.zeros(0, "int32")
    if not tokens.size:
        raise ValueError(f"`{name}`: provided dataset is empty.")
    length, count = config.sequence_length, config.num_samples
    tokens = np.tile(tokens, -(-max(count * length, tokens.size) // tokens.size))
    starts = tokens.size - length + 1
    return np.stack(
        [
            tokens[s : s + length]
            for s in np.arange(count) * max(1, starts // count) % starts
        ]
    )
