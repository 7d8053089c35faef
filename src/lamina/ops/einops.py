"""Axes reordered by a pattern of names."""

import math as _math
import re as _re

import jax.numpy as _jnp

from lamina.core.op import op as _op
from lamina.ops import arrays as _arrays


@_op
def rearrange(tensor, pattern, **axes_lengths):
    """Split, reorder and join axes as a pattern of names tells.

    Args:
        tensor: any array.
        pattern: the axes before and after `->`; those in parentheses are one axis,
            the first name changing slowest.
        axes_lengths: sizes of names that do not follow from the shape.

    Raises:
        ValueError: the pattern does not fit the shape, or is none.

    >>> from lamina import ops
    >>> x = ops.zeros((2, 6))
    >>> ops.rearrange(x, "b (h w) -> b w h", h=3).shape
    (2, 2, 3)
    """
    x = _arrays.tensor(tensor)
    left, arrow, right = pattern.partition("->")
    before, after = _groups(left, pattern), _groups(right, pattern)
    names, wanted = [n for g in before for n in g], [n for g in after for n in g]
    if not arrow or set(names) != set(wanted):
        raise ValueError(
            "`rearrange` expected the same axes on both sides of `->`. Received: "
            f"pattern={pattern!r}"
        )
    if len(before) != x.ndim:
        raise ValueError(
            f"`rearrange` expected {len(before)} axes for pattern {pattern!r}. "
            f"Received: shape {x.shape}"
        )
    sizes = dict(axes_lengths)
    for group, size in zip(before, x.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        known = _math.prod(sizes[name] for name in group if name in sizes)
        if len(unknown) > 1:
            raise ValueError(
                f"`rearrange` needs the sizes of all but one of {', '.join(unknown)}. "
                f"Received: pattern={pattern!r}, {axes_lengths}"
            )
        if unknown:
            sizes[unknown[0]] = size // known
            known = known * sizes[unknown[0]]
        if isinstance(size, int) and known != size:
            raise ValueError(
                f"`rearrange` cannot split an axis of size {size} into "
                f"{' x '.join(group)} of pattern {pattern!r} with {axes_lengths}."
            )
    x = x.reshape([sizes[name] for name in names])
    x = _jnp.transpose(x, [names.index(name) for name in wanted])
    return x.reshape([_math.prod(sizes[name] for name in group) for group in after])


def _groups(side, pattern):
    words = _re.findall(r"\([^()]*\)|[^\s()]+", side)
    groups = [tuple(word.strip("()").split()) for word in words]
    names = [name for group in groups for name in group]
    if len(set(names)) != len(names):
        raise ValueError(
            "`rearrange` expected each axis once on a side. Received: "
            f"pattern={pattern!r}"
        )
    return groups
