"""Recurrences over time with compiled kernels, each beside the scan that it replaces.

The compiled forms split the batch, not the steps: a few sequences run from the first
step to the last on one thread, with the weights in its cache.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lamina.kernels import native

# With more weights the products are for many threads together, or for large tiles.
_MOST = 1 << 20
# The weights are copied once a call: this many for each row of the inputs pay, and
# more than one step.
_EACH, _STEPS = 1 << 10, 2
# Units fill vectors of up to this many numbers; with few sequences a step of a scan is
# mostly overhead, however full they are.
_LANES, _FEW = 16, 8


def fits(sequence: jax.Array, h: jax.Array, weights: jax.Array, keep: Any) -> bool:
    """Return whether the compiled kernels are there, and take these arrays.

    Args:
        sequence: (time, batch, ...).
        h: (batch, units), the first state.
        weights: (units, gates * units).
        keep: (time, batch, 1), or None.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.recurrence import fits
        >>> z, h, weights = jnp.ones((5, 2, 12)), jnp.ones((2, 3)), jnp.ones((3, 12))
        >>> fits(z.astype("bfloat16"), h, weights, None)
        False
    """
    return (
        native.available()
        and sequence.dtype == h.dtype == weights.dtype == jnp.float32
        and all(type(n) is int and n > 0 for n in (*sequence.shape, *h.shape))
        and sequence.shape[1] == h.shape[0]
        and (h.shape[0] <= _FEW or -h.shape[1] % _LANES <= h.shape[1] // 3)
        and sequence.shape[0] >= _STEPS
        and weights.size <= min(_MOST, _EACH * sequence.shape[0] * sequence.shape[1])
        and (keep is None or keep.shape == (*sequence.shape[:2], 1))
    )


def beside(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes `plain`, by `lamina_<name>` where it can.

    Args:
        name: of the function in the library, without its prefix.
        plain: takes the four arrays of `fits`, then others in any structure,
            and hashable settings by keyword; returns arrays in any structure. The
            compiled function takes and gives the same arrays in the same order.
    """

    def flat(*arrays, given, settings):
        args = jax.tree.unflatten(given, arrays)
        return jax.tree.leaves(plain(*args, **dict(settings)))

    made = native.primitive(name, flat, lambda **_: {}, several=True)

    def either(*args, **settings: Any):
        if not fits(*args[:4]):
            return plain(*args, **settings)
        arrays, given = jax.tree.flatten(args)
        results = jax.eval_shape(lambda *args: plain(*args, **settings), *args)
        pairs = tuple(sorted(settings.items()))
        filled = made.bind(*arrays, given=given, settings=pairs)
        return jax.tree.unflatten(jax.tree.structure(results), filled)

    return either
