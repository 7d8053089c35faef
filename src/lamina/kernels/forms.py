"""One function in two forms: for values alone, and for values with gradients."""

import jax
from jax.custom_derivatives import SymbolicZero


def where_differentiated(plain, learning):
    """Return a function that runs `learning` where it is differentiated.

    What is cheap to differentiate may be dearer to compute; where nobody wants
    gradients, `plain` runs. Works in forward and reverse mode.

    Args:
        plain: a function of arrays.
        learning: another one that computes the same.

    >>> import jax
    >>> from lamina.kernels.forms import where_differentiated
    >>> square = where_differentiated(lambda x: x**2, lambda x: x * x)
    >>> float(square(3.0)), float(jax.grad(square)(3.0))
    (9.0, 6.0)
    """
    both = jax.custom_jvp(plain)

    def rule(primals, tangents):
        moving = [i for i, t in enumerate(tangents) if type(t) is not SymbolicZero]

        def of(*values):
            given = dict(zip(moving, values, strict=True))
            return learning(*(given.get(i, x) for i, x in enumerate(primals)))

        return jax.jvp(of, [primals[i] for i in moving], [tangents[i] for i in moving])

    both.defjvp(rule, symbolic_zeros=True)
    return both
