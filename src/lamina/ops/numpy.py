"""NumPy's functions, for arrays and symbolic tensors alike.

Python numbers are weak: they take the dtype of the array beside them. Functions
with fractional results turn integers into `floatx()`.

`axis` is an axis, a tuple of several, or None for all of them; with `keepdims` what is
reduced stays as an axis of size 1.
"""

import builtins as _builtins
import operator as _operator
from types import EllipsisType as _EllipsisType

import jax as _jax
import jax.numpy as _jnp
import numpy as _np
from jax.core import Tracer as _Tracer

from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.context import context as _context
from lamina.core.dtypes import result_type as _result_type
from lamina.core.op import op as _op
from lamina.core.symbolic import is_symbolic as _is_symbolic
from lamina.core.symbolic import unknown_size as _unknown_size
from lamina.core.tracebacks import boundary as _boundary
from lamina.kernels.padding import padded as _padded
from lamina.ops.arrays import axes as _axes
from lamina.ops.arrays import (
    canonical as _canonical,
)
from lamina.ops.arrays import (
    dense_only as _dense_only,
)
from lamina.ops.arrays import (
    inexact as _inexact,
)
from lamina.ops.arrays import (
    kind as _kind,
)
from lamina.ops.arrays import (
    number as _number,
)
from lamina.ops.arrays import (
    promoted as _promoted,
)
from lamina.ops.arrays import (
    tensor as _tensor,
)
from lamina.ops.arrays import (
    truth as _truth,
)
from lamina.ops.elementwise import binary as _binary
from lamina.ops.elementwise import computed_by as _computed_by
from lamina.ops.elementwise import reduction as _reduction
from lamina.ops.elementwise import unary as _unary

# Elementwise, of one argument.


@_unary(_jnp.abs, _tensor)
def abs(x):
    """Return x without its sign.

    >>> from lamina import ops
    >>> ops.abs([-2, 0, 3]).tolist()
    [2, 0, 3]
    """


@_unary(_jnp.abs, _tensor)
def absolute(x):
    """Return x without its sign.

    >>> from lamina import ops
    >>> ops.absolute([-2, 0, 3]).tolist()
    [2, 0, 3]
    """


@_unary(_jnp.abs, _inexact)
def fabs(x):
    """Return abs(x) of each entry, as a float.

    >>> from lamina import ops
    >>> ops.fabs([-2, 3]).tolist()
    [2.0, 3.0]
    """


@_unary(_jnp.negative, _tensor)
def negative(x):
    """Return -x.

    >>> from lamina import ops
    >>> ops.negative([1, -2]).tolist()
    [-1, 2]
    """


@_unary(_jnp.square, _number)
def square(x):
    """Return x².

    >>> from lamina import ops
    >>> ops.square([2, -3]).tolist()
    [4, 9]
    """


@_unary(_jnp.sqrt, _inexact)
def sqrt(x):
    """Return √x; NaN below zero.

    >>> from lamina import ops
    >>> ops.sqrt([4, 9]).tolist()
    [2.0, 3.0]
    """


@_unary(_jnp.cbrt, _inexact)
def cbrt(x):
    """Return ∛x.

    >>> from lamina import ops
    >>> ops.cbrt([8, -27]).tolist()
    [2.0, -3.0]
    """


@_unary(_jnp.reciprocal, _inexact)
def reciprocal(x):
    """Return 1 / x.

    >>> from lamina import ops
    >>> ops.reciprocal([2, 4]).tolist()
    [0.5, 0.25]
    """


@_unary(_jnp.exp, _inexact)
def exp(x):
    """Return eˣ.

    >>> from lamina import ops
    >>> ops.exp([0, 1]).tolist()
    [1.0, 2.7183]
    """


@_unary(_jnp.exp2, _inexact)
def exp2(x):
    """Return 2ˣ.

    >>> from lamina import ops
    >>> ops.exp2([0, 3]).tolist()
    [1.0, 8.0]
    """


@_unary(_jnp.expm1, _inexact)
def expm1(x):
    """Return eˣ - 1, exact near zero.

    >>> from lamina import ops
    >>> float(ops.expm1(1e-10))
    1.000e-10
    """


@_unary(_jnp.log, _inexact)
def log(x):
    """Return ln x.

    >>> from lamina import ops
    >>> ops.log([1.0, 10.0]).tolist()
    [0.0, 2.3026]
    """


@_unary(_jnp.log10, _inexact)
def log10(x):
    """Return the logarithm of x to base 10.

    >>> from lamina import ops
    >>> ops.log10([1, 100]).tolist()
    [0.0, 2.0]
    """


@_unary(_jnp.log1p, _inexact)
def log1p(x):
    """Return ln(1 + x), exact near zero.

    >>> from lamina import ops
    >>> float(ops.log1p(1e-10))
    1.000e-10
    """


@_unary(_jnp.log2, _inexact)
def log2(x):
    """Return the logarithm of x to base 2.

    >>> from lamina import ops
    >>> ops.log2([1, 8]).tolist()
    [0.0, 3.0]
    """


@_unary(_jnp.sin, _inexact)
def sin(x):
    """Return sin x, with x in radians.

    >>> from lamina import ops
    >>> ops.sin([0.0, 1.5708]).tolist()
    [0.0, 1.0]
    """


@_unary(_jnp.cos, _inexact)
def cos(x):
    """Return cos x, with x in radians.

    >>> from lamina import ops
    >>> ops.cos([0.0, 3.1416]).tolist()
    [1.0, -1.0]
    """


@_unary(_jnp.tan, _inexact)
def tan(x):
    """Return tan x, with x in radians.

    >>> from lamina import ops
    >>> ops.tan([0.0, 0.7854]).tolist()
    [0.0, 1.0]
    """


@_unary(_jnp.sinc, _inexact)
def sinc(x):
    """Return sin(πx) / (πx), which is 1 at zero.

    >>> from lamina import ops
    >>> ops.sinc([0.0, 0.5]).tolist()
    [1.0, 0.6366]
    """


@_unary(_jnp.arcsin, _inexact)
def arcsin(x):
    """Return the angle in [-π/2, π/2] whose sine is x.

    >>> from lamina import ops
    >>> ops.arcsin([0.0, 1.0]).tolist()
    [0.0, 1.5708]
    """


@_unary(_jnp.arccos, _inexact)
def arccos(x):
    """Return the angle in [0, π] whose cosine is x.

    >>> from lamina import ops
    >>> ops.arccos([1.0, -1.0]).tolist()
    [0.0, 3.1416]
    """


@_unary(_jnp.arctan, _inexact)
def arctan(x):
    """Return the angle in [-π/2, π/2] whose tangent is x.

    >>> from lamina import ops
    >>> ops.arctan([0.0, 1.0]).tolist()
    [0.0, 0.7854]
    """


@_unary(_jnp.sinh, _inexact)
def sinh(x):
    """Return (eˣ - e⁻ˣ) / 2.

    >>> from lamina import ops
    >>> ops.sinh([0.0, 1.0]).tolist()
    [0.0, 1.1752]
    """


@_unary(_jnp.cosh, _inexact)
def cosh(x):
    """Return (eˣ + e⁻ˣ) / 2.

    >>> from lamina import ops
    >>> ops.cosh([0.0, 1.0]).tolist()
    [1.0, 1.5431]
    """


@_unary(_jnp.tanh, _inexact)
def tanh(x):
    """Return sinh x / cosh x.

    >>> from lamina import ops
    >>> ops.tanh([0.0, 1.0]).tolist()
    [0.0, 0.7616]
    """


@_unary(_jnp.arcsinh, _inexact)
def arcsinh(x):
    """Return the inverse of `sinh`.

    >>> from lamina import ops
    >>> ops.arcsinh([0.0, 1.0]).tolist()
    [0.0, 0.8814]
    """


@_unary(_jnp.arccosh, _inexact)
def arccosh(x):
    """Return the inverse of `cosh`, for x ≥ 1.

    >>> from lamina import ops
    >>> ops.arccosh([1.0, 2.0]).tolist()
    [0.0, 1.317]
    """


@_unary(_jnp.arctanh, _inexact)
def arctanh(x):
    """Return the inverse of `tanh`, for x in [-1, 1].

    >>> from lamina import ops
    >>> ops.arctanh([0.0, 0.5]).tolist()
    [0.0, 0.5493]
    """


@_unary(_jnp.deg2rad, _inexact)
def deg2rad(x):
    """Return degrees as radians: πx / 180.

    >>> from lamina import ops
    >>> ops.deg2rad([90, 180]).tolist()
    [1.5708, 3.1416]
    """


@_unary(_jnp.rad2deg, _inexact)
def rad2deg(x):
    """Return radians as degrees: 180x / π.

    >>> from lamina import ops
    >>> ops.rad2deg([0.0, 3.14159265]).tolist()
    [0.0, 180.0]
    """


@_unary(_jnp.i0, _inexact)
def i0(x):
    """Return the modified Bessel function of the first kind, order 0.

    >>> from lamina import ops
    >>> ops.i0([0.0, 1.0]).tolist()
    [1.0, 1.2661]
    """


@_unary(_jnp.floor, _inexact)
def floor(x):
    """Return the largest whole number not above x.

    >>> from lamina import ops
    >>> ops.floor([1.5, -0.5]).tolist()
    [1.0, -1.0]
    """


@_unary(_jnp.ceil, _inexact)
def ceil(x):
    """Return the smallest whole number not below x.

    >>> from lamina import ops
    >>> ops.ceil([1.5, -1.5]).tolist()
    [2.0, -1.0]
    """


@_unary(_jnp.trunc, _tensor)
def trunc(x):
    """Return x without its fraction.

    >>> from lamina import ops
    >>> ops.trunc([1.5, -1.5]).tolist()
    [1.0, -1.0]
    """


@_unary(_jnp.sign, _tensor)
def sign(x):
    """Return -1, 0 or 1, the sign of x.

    >>> from lamina import ops
    >>> ops.sign([-3, 0, 5]).tolist()
    [-1, 0, 1]
    """


@_unary(_jnp.signbit, _tensor)
def signbit(x):
    """Tell where the sign bit is set: negative numbers and -0.

    >>> from lamina import ops
    >>> ops.signbit([-1.0, -0.0, 0.0]).tolist()
    [True, True, False]
    """


@_unary(_jnp.isfinite, _tensor)
def isfinite(x):
    """Tell which entries are neither infinite nor NaN.

    >>> from lamina import ops
    >>> ops.isfinite([1.0, float("inf"), float("nan")]).tolist()
    [True, False, False]
    """


@_unary(_jnp.isinf, _tensor)
def isinf(x):
    """Tell which entries are infinite.

    >>> from lamina import ops
    >>> ops.isinf([1.0, float("-inf"), float("nan")]).tolist()
    [False, True, False]
    """


@_unary(_jnp.isneginf, _tensor)
def isneginf(x):
    """Tell which entries are -∞.

    >>> from lamina import ops
    >>> ops.isneginf([float("inf"), float("-inf")]).tolist()
    [False, True]
    """


@_unary(_jnp.isposinf, _tensor)
def isposinf(x):
    """Tell which entries are +∞.

    >>> from lamina import ops
    >>> ops.isposinf([float("inf"), float("-inf")]).tolist()
    [True, False]
    """


@_unary(_jnp.isnan, _tensor)
def isnan(x):
    """Tell which entries are NaN.

    >>> from lamina import ops
    >>> ops.isnan([1.0, float("nan")]).tolist()
    [False, True]
    """


@_unary(_jnp.isreal, _tensor)
def isreal(x):
    """Tell which entries have no imaginary part.

    >>> from lamina import ops
    >>> ops.isreal([1 + 2j, 3 + 0j]).tolist()
    [False, True]
    """


@_unary(_jnp.logical_not, _truth)
def logical_not(x):
    """Tell which entries are false.

    >>> from lamina import ops
    >>> ops.logical_not([True, False]).tolist()
    [False, True]
    """


@_unary(_jnp.invert, _tensor)
def bitwise_invert(x):
    """Flip every bit of integers.

    >>> from lamina import ops
    >>> ops.bitwise_invert([0, 5]).tolist()
    [-1, -6]
    """


@_unary(_jnp.invert, _tensor)
def bitwise_not(x):
    """Flip every bit of integers.

    >>> from lamina import ops
    >>> ops.bitwise_not([0, 5]).tolist()
    [-1, -6]
    """


@_unary(_jnp.real, _tensor)
def real(x):
    """Return the real part.

    >>> from lamina import ops
    >>> ops.real([1 + 2j, 3 - 4j]).tolist()
    [1.0, 3.0]
    """


@_unary(_jnp.imag, _tensor)
def imag(x):
    """Return the imaginary part.

    >>> from lamina import ops
    >>> ops.imag([1 + 2j, 3 - 4j]).tolist()
    [2.0, -4.0]
    """


@_unary(_jnp.conj, _tensor)
def conj(x):
    """Return the complex conjugate.

    >>> from lamina import ops
    >>> ops.conj([1 + 2j]).tolist()
    [(1-2j)]
    """


@_unary(_jnp.conj, _tensor)
def conjugate(x):
    """Return the complex conjugate.

    >>> from lamina import ops
    >>> ops.conjugate([1 + 2j]).tolist()
    [(1-2j)]
    """


@_unary(_jnp.angle, _inexact)
def angle(x):
    """Return the argument of complex numbers, in radians.

    >>> from lamina import ops
    >>> ops.angle([1 + 0j, 1j]).tolist()
    [0.0, 1.5708]
    """


@_op(elementwise=True, integers=True)
def copy(x):
    """Return a copy.

    >>> from lamina import ops
    >>> ops.copy([1, 2]).tolist()
    [1, 2]
    """
    return _jnp.array(_tensor(x), copy=True)


@_op(config=("decimals",), elementwise=True)
def round(x, decimals=0):
    """Round to `decimals` places, halves to the even neighbour.

    >>> from lamina import ops
    >>> ops.round([0.5, 1.5, 2.6]).tolist()
    [0.0, 2.0, 3.0]
    """
    x = _tensor(x)
    if _jnp.issubdtype(x.dtype, _jnp.inexact):
        return _jnp.round(x, decimals)
    return _jnp.round(_inexact(x), decimals).astype(x.dtype)


@_op(config=("x_min", "x_max"), elementwise=True)
def clip(x, x_min, x_max):
    """Limit x to [x_min, x_max]: min(max(x, x_min), x_max).

    >>> from lamina import ops
    >>> ops.clip([-1, 2, 9], 0, 5).tolist()
    [0, 2, 5]
    """
    x = _number(x)
    dtype = _result_type(x.dtype, _kind(x_min), _kind(x_max))
    return _jnp.clip(x.astype(dtype), _tensor(x_min, dtype), _tensor(x_max, dtype))


@_op(config=("nan", "posinf", "neginf"), elementwise=True)
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """Replace what is not finite.

    Args:
        x: any array.
        nan: what NaN becomes.
        posinf: what +∞ becomes; the largest number of the dtype when None.
        neginf: what -∞ becomes; the least number of the dtype when None.

    >>> from lamina import ops
    >>> ops.nan_to_num([1.0, float("nan")]).tolist()
    [1.0, 0.0]
    """
    return _jnp.nan_to_num(_tensor(x), nan=nan, posinf=posinf, neginf=neginf)


@_op(config=("dtype",))
def view(x, dtype=None):
    """Read the bytes of `x` as another dtype, without converting values.

    Args:
        x: any array with an axis.
        dtype: the dtype; where it has another size, the last axis grows or shrinks.

    >>> import numpy as np
    >>> from lamina import ops
    >>> ops.view(np.array([1, -1], "int8"), "uint8").tolist()
    [1, 255]
    """
    x = _tensor(x)
    return x if dtype is None else x.view(_canonical(dtype))


# Elementwise, of two arguments.


@_binary(_jnp.add)
def add(x1, x2):
    """Return x1 + x2.

    >>> from lamina import ops
    >>> ops.add([1, 2], [10, 20]).tolist()
    [11, 22]
    """


@_binary(_jnp.subtract)
def subtract(x1, x2):
    """Return x1 - x2.

    >>> from lamina import ops
    >>> ops.subtract([1, 2], 10).tolist()
    [-9, -8]
    """


@_binary(_jnp.multiply)
def multiply(x1, x2):
    """Return x1 · x2, entry by entry.

    >>> from lamina import ops
    >>> ops.multiply([1, 2], [3, 4]).tolist()
    [3, 8]
    """


@_binary(_jnp.divide, also=(float,))
def divide(x1, x2):
    """Return x1 / x2, as a float.

    >>> from lamina import ops
    >>> ops.divide([1, 6], 4).tolist()
    [0.25, 1.5]
    """


@_binary(_jnp.divide, also=(float,))
def true_divide(x1, x2):
    """Return x1 / x2, as a float.

    >>> from lamina import ops
    >>> ops.true_divide([1, 6], 4).tolist()
    [0.25, 1.5]
    """


@_op(elementwise=True)
def divide_no_nan(x1, x2):
    """Return x1 / x2, and 0 where x2 is 0.

    >>> from lamina import ops
    >>> ops.divide_no_nan([1.0, 6.0], [0.0, 4.0]).tolist()
    [0.0, 1.5]
    """
    x1, x2 = _promoted(x1, x2, also=(float,))
    safe = _jnp.where(x2 == 0, 1, x2)
    return _jnp.where(x2 == 0, 0, _jnp.divide(x1, safe))


@_binary(_jnp.floor_divide)
def floor_divide(x1, x2):
    """Return x1 / x2 rounded down.

    >>> from lamina import ops
    >>> ops.floor_divide([7, -7], 2).tolist()
    [3, -4]
    """


@_binary(_jnp.mod, convert=_number)
def mod(x1, x2):
    """Return the rest of x1 / x2, with the sign of x2.

    >>> from lamina import ops
    >>> ops.mod([7, -7], 3).tolist()
    [1, 2]
    """


@_binary(_jnp.fmod, convert=_number)
def fmod(x1, x2):
    """Return the rest of x1 / x2, with the sign of x1.

    >>> from lamina import ops
    >>> ops.fmod([7, -7], 3).tolist()
    [1, -1]
    """


@_binary(_jnp.power)
def power(x1, x2):
    """Return x1 to the power x2.

    >>> from lamina import ops
    >>> ops.power([2, 3], 2).tolist()
    [4, 9]
    """


@_binary(_jnp.maximum)
def maximum(x1, x2):
    """Return the larger of x1 and x2; NaN wins.

    >>> from lamina import ops
    >>> ops.maximum([1, 5], [3, 4]).tolist()
    [3, 5]
    """


@_binary(_jnp.minimum)
def minimum(x1, x2):
    """Return the smaller of x1 and x2; NaN wins.

    >>> from lamina import ops
    >>> ops.minimum([1, 5], [3, 4]).tolist()
    [1, 4]
    """


@_binary(_jnp.fmax)
def fmax(x1, x2):
    """Return the larger of x1 and x2; NaN loses.

    >>> from lamina import ops
    >>> ops.fmax([1.0, float("nan")], [3.0, 4.0]).tolist()
    [3.0, 4.0]
    """


@_binary(_jnp.fmin)
def fmin(x1, x2):
    """Return the smaller of x1 and x2; NaN loses.

    >>> from lamina import ops
    >>> ops.fmin([1.0, float("nan")], [3.0, 4.0]).tolist()
    [1.0, 4.0]
    """


@_binary(_jnp.arctan2, also=(float,))
def arctan2(x1, x2):
    """Return the angle of the point (x2, x1), in [-π, π].

    >>> from lamina import ops
    >>> ops.arctan2([0.0, 1.0], [-1.0, 0.0]).tolist()
    [3.1416, 1.5708]
    """


@_binary(_jnp.hypot, also=(float,))
def hypot(x1, x2):
    """Return √(x1² + x2²).

    >>> from lamina import ops
    >>> ops.hypot([3, 5], [4, 12]).tolist()
    [5.0, 13.0]
    """


@_binary(_jnp.logaddexp, also=(float,))
def logaddexp(x1, x2):
    """Return ln(exp x1 + exp x2), without overflow.

    >>> from lamina import ops
    >>> ops.logaddexp([0.0, 1000.0], [0.0, 1000.0]).tolist()
    [0.6931, 1000.6932]
    """


@_binary(_jnp.logaddexp2, also=(float,))
def logaddexp2(x1, x2):
    """Return log2(2^x1 + 2^x2), without overflow.

    >>> from lamina import ops
    >>> ops.logaddexp2([0.0, 1000.0], [0.0, 1000.0]).tolist()
    [1.0, 1001.0]
    """


@_binary(_jnp.heaviside, also=(float,))
def heaviside(x1, x2):
    """Return 0 below zero, x2 at zero and 1 above.

    >>> from lamina import ops
    >>> ops.heaviside([-2.0, 0.0, 2.0], 0.5).tolist()
    [0.0, 0.5, 1.0]
    """


@_binary(_jnp.nextafter, also=(float,))
def nextafter(x1, x2):
    """Return the float after x1 in the direction of x2.

    >>> from lamina import ops
    >>> float(ops.nextafter(1.0, 2.0)) == 1 + 2**-23
    True
    """


@_op(elementwise=True)
def ldexp(x1, x2):
    """Return x1 · 2^x2, with x2 of integers.

    >>> from lamina import ops
    >>> ops.ldexp([1.0, 3.0], [2, -1]).tolist()
    [4.0, 1.5]
    """
    return _jnp.ldexp(_inexact(x1), _tensor(x2))


@_binary(_jnp.gcd)
def gcd(x1, x2):
    """Return the greatest common divisor of integers.

    >>> from lamina import ops
    >>> ops.gcd([12, 7], 18).tolist()
    [6, 1]
    """


@_binary(_jnp.lcm)
def lcm(x1, x2):
    """Return the least common multiple of integers.

    >>> from lamina import ops
    >>> ops.lcm([4, 7], 6).tolist()
    [12, 42]
    """


@_binary(_jnp.equal)
def equal(x1, x2):
    """Tell where x1 = x2.

    >>> from lamina import ops
    >>> ops.equal([1, 2], [1, 3]).tolist()
    [True, False]
    """


@_binary(_jnp.not_equal)
def not_equal(x1, x2):
    """Tell where x1 ≠ x2.

    >>> from lamina import ops
    >>> ops.not_equal([1, 2], [1, 3]).tolist()
    [False, True]
    """


@_binary(_jnp.less)
def less(x1, x2):
    """Tell where x1 < x2.

    >>> from lamina import ops
    >>> ops.less([1, 2, 3], 2).tolist()
    [True, False, False]
    """


@_binary(_jnp.less_equal)
def less_equal(x1, x2):
    """Tell where x1 ≤ x2.

    >>> from lamina import ops
    >>> ops.less_equal([1, 2, 3], 2).tolist()
    [True, True, False]
    """


@_binary(_jnp.greater)
def greater(x1, x2):
    """Tell where x1 > x2.

    >>> from lamina import ops
    >>> ops.greater([1, 2, 3], 2).tolist()
    [False, False, True]
    """


@_binary(_jnp.greater_equal)
def greater_equal(x1, x2):
    """Tell where x1 ≥ x2.

    >>> from lamina import ops
    >>> ops.greater_equal([1, 2, 3], 2).tolist()
    [False, True, True]
    """


@_binary(_jnp.logical_and, convert=_truth)
def logical_and(x1, x2):
    """Tell where both are true.

    >>> from lamina import ops
    >>> ops.logical_and([True, True], [True, False]).tolist()
    [True, False]
    """


@_binary(_jnp.logical_or, convert=_truth)
def logical_or(x1, x2):
    """Tell where one or both are true.

    >>> from lamina import ops
    >>> ops.logical_or([True, False], [False, False]).tolist()
    [True, False]
    """


@_binary(_jnp.logical_xor, convert=_truth)
def logical_xor(x1, x2):
    """Tell where exactly one is true.

    >>> from lamina import ops
    >>> ops.logical_xor([True, True], [True, False]).tolist()
    [False, True]
    """


@_op(elementwise=True)
def bitwise_and(x, y):
    """Return the bits that both integers have.

    >>> from lamina import ops
    >>> ops.bitwise_and(12, 10).item()
    8
    """
    return _jnp.bitwise_and(*_promoted(x, y))


@_op(elementwise=True)
def bitwise_or(x, y):
    """Return the bits that one or both integers have.

    >>> from lamina import ops
    >>> ops.bitwise_or(12, 10).item()
    14
    """
    return _jnp.bitwise_or(*_promoted(x, y))


@_op(elementwise=True)
def bitwise_xor(x, y):
    """Return the bits that exactly one integer has.

    >>> from lamina import ops
    >>> ops.bitwise_xor(12, 10).item()
    6
    """
    return _jnp.bitwise_xor(*_promoted(x, y))


@_op(elementwise=True)
def bitwise_left_shift(x, y):
    """Return x · 2^y, for integers.

    >>> from lamina import ops
    >>> ops.bitwise_left_shift([1, 3], 2).tolist()
    [4, 12]
    """
    return _jnp.left_shift(*_promoted(x, y))


@_op(elementwise=True)
def left_shift(x, y):
    """Return x · 2^y, for integers.

    >>> from lamina import ops
    >>> ops.left_shift([1, 3], 2).tolist()
    [4, 12]
    """
    return _jnp.left_shift(*_promoted(x, y))


@_op(elementwise=True)
def bitwise_right_shift(x, y):
    """Return x / 2^y rounded down, for integers.

    >>> from lamina import ops
    >>> ops.bitwise_right_shift([9, -9], 1).tolist()
    [4, -5]
    """
    return _jnp.right_shift(*_promoted(x, y))


@_op(elementwise=True)
def right_shift(x, y):
    """Return x / 2^y rounded down, for integers.

    >>> from lamina import ops
    >>> ops.right_shift([9, -9], 1).tolist()
    [4, -5]
    """
    return _jnp.right_shift(*_promoted(x, y))


@_op(config=("equal_nan",), elementwise=True)
def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Tell where abs(x1 - x2) ≤ atol + rtol · abs(x2).

    Args:
        x1: any array.
        x2: an array that broadcasts with it; differences are relative to this one.
        rtol: the relative difference that passes.
        atol: the absolute difference that passes.
        equal_nan: whether NaN equals NaN.

    >>> from lamina import ops
    >>> ops.isclose([1.0, 1.0], [1.000001, 1.1]).tolist()
    [True, False]
    """
    x1, x2 = _promoted(x1, x2)
    return _jnp.isclose(x1, x2, rtol, atol, equal_nan)


@_op(config=("rtol", "atol", "equal_nan"), name="AllClose")
def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Tell whether abs(x1 - x2) ≤ atol + rtol · abs(x2) everywhere.

    >>> from lamina import ops
    >>> bool(ops.allclose([1.0, 2.0], [1.000001, 2.0]))
    True
    """
    x1, x2 = _promoted(x1, x2)
    return _jnp.allclose(x1, x2, rtol, atol, equal_nan)


@_op(elementwise=True)
def where(condition, x1=None, x2=None):
    """Take x1 where `condition` holds and x2 elsewhere.

    Without x1 and x2, return the positions where it holds, as `nonzero` does.

    >>> from lamina import ops
    >>> ops.where([True, False], [1, 2], [3, 4]).tolist()
    [1, 4]
    """
    if (x1 is None) != (x2 is None):
        raise ValueError(
            "`x1` and `x2` either both should be `None` or both be given to `where`."
        )
    if x1 is None:
        return _nonzero(_truth(condition))
    return _jnp.where(_truth(condition), *_promoted(x1, x2))


# Reductions.


@_reduction(_jnp.sum, _tensor)
def sum(x, axis=None, keepdims=False):
    """Return the sum over `axis`, all axes by default.

    >>> from lamina import ops
    >>> ops.sum([[1, 2], [3, 4]], axis=0).tolist()
    [4, 6]
    """


@_op(config=("axis", "keepdims", "dtype"))
def prod(x, axis=None, keepdims=False, dtype=None):
    """Return the product over `axis`, all axes by default.

    >>> from lamina import ops
    >>> ops.prod([[1, 2], [3, 4]], axis=1).tolist()
    [2, 12]
    """
    x = _tensor(x) if dtype is None else _tensor(x, dtype)
    return _jnp.prod(x, _axes(axis), keepdims=keepdims, dtype=dtype and x.dtype)


@_reduction(_jnp.mean, _inexact)
def mean(x, axis=None, keepdims=False):
    """Return the mean over `axis`, all axes by default.

    >>> from lamina import ops
    >>> ops.mean([[1, 2], [3, 6]], axis=1).tolist()
    [1.5, 4.5]
    """


@_reduction(_jnp.std, _inexact)
def std(x, axis=None, keepdims=False):
    """Return √mean((x - mean x)²) over `axis`.

    >>> from lamina import ops
    >>> float(ops.std([1.0, 5.0]))
    2.0
    """


@_reduction(_jnp.var, _inexact)
def var(x, axis=None, keepdims=False):
    """Return mean((x - mean x)²) over `axis`.

    >>> from lamina import ops
    >>> float(ops.var([1.0, 5.0]))
    4.0
    """


@_op(config=("axis", "keepdims", "initial"))
def max(x, axis=None, keepdims=False, initial=None):
    """Return the largest entry over `axis`, at least `initial`.

    >>> from lamina import ops
    >>> ops.max([[1, 8], [3, 4]], axis=1).tolist()
    [8, 4]
    >>> int(ops.max([1, 8], initial=10))
    10
    """
    return _jnp.max(_tensor(x), _axes(axis), keepdims=keepdims, initial=initial)


@_op(config=("axis", "keepdims", "initial"))
def min(x, axis=None, keepdims=False, initial=None):
    """Return the smallest entry over `axis`, at most `initial`.

    >>> from lamina import ops
    >>> ops.min([[1, 8], [3, 4]], axis=1).tolist()
    [1, 3]
    >>> int(ops.min([1, 8], initial=0))
    0
    """
    return _jnp.min(_tensor(x), _axes(axis), keepdims=keepdims, initial=initial)


@_reduction(_jnp.max, _tensor)
def amax(x, axis=None, keepdims=False):
    """Return the largest entry over `axis`.

    >>> from lamina import ops
    >>> ops.amax([[1, 8], [3, 4]], axis=1).tolist()
    [8, 4]
    """


@_reduction(_jnp.min, _tensor)
def amin(x, axis=None, keepdims=False):
    """Return the smallest entry over `axis`.

    >>> from lamina import ops
    >>> ops.amin([[1, 8], [3, 4]], axis=1).tolist()
    [1, 3]
    """


@_reduction(_jnp.ptp, _tensor)
def ptp(x, axis=None, keepdims=False):
    """Return max x - min x over `axis`.

    >>> from lamina import ops
    >>> ops.ptp([[1, 8], [3, 4]], axis=1).tolist()
    [7, 1]
    """


@_reduction(_jnp.all, _tensor)
def all(x, axis=None, keepdims=False):
    """Tell whether all entries over `axis` are true.

    >>> from lamina import ops
    >>> ops.all([[True, False], [True, True]], axis=1).tolist()
    [False, True]
    """


@_reduction(_jnp.any, _tensor)
def any(x, axis=None, keepdims=False):
    """Tell whether an entry over `axis` is true.

    >>> from lamina import ops
    >>> ops.any([[True, False], [False, False]], axis=1).tolist()
    [True, False]
    """


@_op(config=("axis",))
def count_nonzero(x, axis=None):
    """Return how many entries over `axis` are not zero.

    >>> from lamina import ops
    >>> ops.count_nonzero([[1, 0], [2, 3]], axis=1).tolist()
    [1, 2]
    """
    return _jnp.count_nonzero(_tensor(x), _axes(axis)).astype("int32")


@_reduction(_jnp.median, _inexact)
def median(x, axis=None, keepdims=False):
    """Return the middle value over `axis`; the mean of two if there are two.

    >>> from lamina import ops
    >>> float(ops.median([1, 2, 4, 10]))
    3.0
    """


@_reduction(_jnp.nansum, _tensor)
def nansum(x, axis=None, keepdims=False):
    """Return the sum over `axis`; NaN counts as 0.

    >>> from lamina import ops
    >>> float(ops.nansum([1.0, float("nan"), 3.0]))
    4.0
    """


@_reduction(_jnp.nanprod, _tensor)
def nanprod(x, axis=None, keepdims=False):
    """Return the product over `axis`; NaN counts as 1.

    >>> from lamina import ops
    >>> float(ops.nanprod([2.0, float("nan"), 3.0]))
    6.0
    """


@_reduction(_jnp.nanmean, _inexact)
def nanmean(x, axis=None, keepdims=False):
    """Return the mean of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanmean([1.0, float("nan"), 3.0]))
    2.0
    """


@_reduction(_jnp.nanstd, _inexact)
def nanstd(x, axis=None, keepdims=False):
    """Return the standard deviation of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanstd([1.0, float("nan"), 5.0]))
    2.0
    """


@_reduction(_jnp.nanvar, _inexact)
def nanvar(x, axis=None, keepdims=False):
    """Return the variance of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanvar([1.0, float("nan"), 5.0]))
    4.0
    """


@_reduction(_jnp.nanmax, _tensor)
def nanmax(x, axis=None, keepdims=False):
    """Return the largest entry that is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanmax([1.0, float("nan"), 3.0]))
    3.0
    """


@_reduction(_jnp.nanmin, _tensor)
def nanmin(x, axis=None, keepdims=False):
    """Return the smallest entry that is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanmin([1.0, float("nan"), 3.0]))
    1.0
    """


@_reduction(_jnp.nanmedian, _inexact)
def nanmedian(x, axis=None, keepdims=False):
    """Return the middle value of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanmedian([1.0, float("nan"), 3.0, 8.0]))
    3.0
    """


def _quantiles(function):
    def compute(x, q, axis=None, method="linear", keepdims=False):
        x = _inexact(x)
        shares = _tensor(q, x.dtype)
        return function(x, shares, _axes(axis), method=method, keepdims=keepdims)

    return _computed_by(compute, config=("axis", "method", "keepdims"))


@_quantiles(_jnp.quantile)
def quantile(x, q, axis=None, method="linear", keepdims=False):
    """Return the values below which the shares `q` of the entries lie.

    Args:
        x: the entries.
        q: shares in [0, 1]; one number or several, which become the first axis.
        axis: the axes to reduce; all by default.
        method: between two entries: `"linear"`, `"lower"`, `"higher"`,
            `"midpoint"` or `"nearest"`.
        keepdims: keep the reduced axes with size 1.

    >>> from lamina import ops
    >>> float(ops.quantile([1.0, 2.0, 4.0], 0.25))
    1.5
    """


@_quantiles(_jnp.nanquantile)
def nanquantile(x, q, axis=None, method="linear", keepdims=False):
    """Return the `quantile` of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanquantile([1.0, float("nan"), 2.0, 4.0], 0.25))
    1.5
    """


@_quantiles(_jnp.percentile)
def percentile(x, q, axis=None, method="linear", keepdims=False):
    """Return the `quantile` for shares `q` in percent.

    >>> from lamina import ops
    >>> float(ops.percentile([1.0, 2.0, 4.0], 25))
    1.5
    """


@_quantiles(_jnp.nanpercentile)
def nanpercentile(x, q, axis=None, method="linear", keepdims=False):
    """Return the `percentile` of what is not NaN.

    >>> from lamina import ops
    >>> float(ops.nanpercentile([1.0, float("nan"), 2.0, 4.0], 25))
    1.5
    """


@_op(config=("axis",))
def average(x, axis=None, weights=None):
    """Return sum(weights · x) / sum(weights) over `axis`; the mean without weights.

    Args:
        x: any array.
        axis: an axis or several; all when None.
        weights: in the shape of `x`, or a vector along the one `axis`.

    >>> from lamina import ops
    >>> float(ops.average([1.0, 5.0], weights=[3, 1]))
    2.0
    """
    if weights is None:
        return _jnp.average(_inexact(x), _axes(axis))
    x, weights = _promoted(x, weights, also=(float,))
    return _jnp.average(x, _axes(axis), weights)


def _zeros_apart(x):
    # IEEE's total order puts -0 below 0; the comparison inside argmax does not.
    x = _tensor(x)
    if not _jnp.issubdtype(x.dtype, _jnp.floating):
        return x
    return _jnp.where((x == 0) & _jnp.signbit(x), -_jnp.finfo(x.dtype).tiny, x)


@_reduction(_jnp.argmax, _zeros_apart)
def argmax(x, axis=None, keepdims=False):
    """Return the position of the first largest entry over `axis`.

    >>> from lamina import ops
    >>> ops.argmax([[1, 9, 9], [4, 2, 3]], axis=1).tolist()
    [1, 0]
    """


@_reduction(_jnp.argmin, _zeros_apart)
def argmin(x, axis=None, keepdims=False):
    """Return the position of the first smallest entry over `axis`.

    >>> from lamina import ops
    >>> ops.argmin([[1, 9, 1], [4, 2, 3]], axis=1).tolist()
    [0, 1]
    """


@_reduction(_jnp.nanargmax, _tensor)
def nanargmax(x, axis=None, keepdims=False):
    """Return the position of the first largest entry that is not NaN; -1 if none.

    >>> from lamina import ops
    >>> int(ops.nanargmax([1.0, float("nan"), 3.0]))
    2
    """


@_reduction(_jnp.nanargmin, _tensor)
def nanargmin(x, axis=None, keepdims=False):
    """Return the position of the first smallest entry that is not NaN; -1 if none.

    >>> from lamina import ops
    >>> int(ops.nanargmin([float("nan"), 3.0, 1.0]))
    2
    """


# Running sums, differences and the like.


@_op(config=("axis", "dtype"))
def cumsum(x, axis=None, dtype=None):
    """Return the running sum along `axis`; of the flat array when None.

    Args:
        x: any array.
        axis: the axis.
        dtype: the dtype to add up in; that of `x` when None, int32 for booleans.

    >>> from lamina import ops
    >>> ops.cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """
    return _jnp.cumsum(_as(_number(x), dtype), axis)


@_op(config=("axis", "dtype"))
def cumprod(x, axis=None, dtype=None):
    """Return the running product along `axis`; of the flat array when None.

    Args:
        x: any array.
        axis: the axis.
        dtype: the dtype to multiply in; that of `x` when None, int32 for booleans.

    >>> from lamina import ops
    >>> ops.cumprod([1, 2, 3]).tolist()
    [1, 2, 6]
    """
    return _jnp.cumprod(_as(_number(x), dtype), axis)


@_op(config=("axis", "dtype"))
def nancumsum(x, axis=None, dtype=None):
    """Return the running sum along `axis`; NaN counts as 0.

    >>> from lamina import ops
    >>> ops.nancumsum([1.0, float("nan"), 3.0]).tolist()
    [1.0, 1.0, 4.0]
    """
    return _jnp.nancumsum(_as(_number(x), dtype), axis)


@_op(config=("axis", "dtype"))
def nancumprod(x, axis=None, dtype=None):
    """Return the running product along `axis`; NaN counts as 1.

    >>> from lamina import ops
    >>> ops.nancumprod([2.0, float("nan"), 3.0]).tolist()
    [2.0, 2.0, 6.0]
    """
    return _jnp.nancumprod(_as(_number(x), dtype), axis)


def _as(x, dtype):
    return x if dtype is None else _tensor(x, dtype)


@_op(config=("n", "axis"))
def diff(a, n=1, axis=-1):
    """Return a[i + 1] - a[i] along `axis`, taken `n` times.

    >>> from lamina import ops
    >>> ops.diff([1, 4, 9]).tolist()
    [3, 5]
    """
    return _jnp.diff(_tensor(a), n, axis)


@_op(config=("x", "dx", "axis"))
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """Return the integral of y over x along `axis`, by the trapezoidal rule.

    Args:
        y: the values.
        x: where they were taken; at distances `dx` when None.
        dx: the distance of neighbours.
        axis: the axis.

    >>> from lamina import ops
    >>> float(ops.trapezoid([1.0, 3.0, 5.0], dx=2.0))
    12.0
    """
    y = _inexact(y)
    return _jnp.trapezoid(y, x if x is None else _tensor(x, y.dtype), dx, axis)


# Products.


@_op
def matmul(x1, x2):
    """Return the matrix product over the last two axes; others broadcast.

    Raises:
        TypeError: the inner sizes differ, or an argument is a scalar.

    >>> from lamina import ops
    >>> ops.matmul([[1, 2]], [[3], [4]]).tolist()
    [[11]]
    """
    x1, x2 = _tensor(x1), _tensor(x2)
    if x1.dtype == x2.dtype == _jnp.int8:
        return _jnp.matmul(x1, x2, preferred_element_type=_jnp.int32)
    return _jnp.matmul(*_promoted(x1, x2))


@_binary(_jnp.dot, elementwise=False)
def dot(x1, x2):
    """Return the product over the last axis of x1 and the last but one of x2.

    For matrices the matrix product, for vectors the inner product.

    >>> from lamina import ops
    >>> ops.dot([[1, 2], [3, 4]], [10, 1]).tolist()
    [12, 34]
    """


@_binary(_jnp.vdot, elementwise=False)
def vdot(x1, x2):
    """Return Σ conj(x1) · x2 of the flat arrays.

    >>> from lamina import ops
    >>> int(ops.vdot([[1, 2], [3, 4]], [[1, 0], [0, 1]]))
    5
    """


@_binary(_jnp.inner, elementwise=False)
def inner(x1, x2):
    """Return the products over the last axes: (a, n) and (b, n) give (a, b).

    >>> from lamina import ops
    >>> ops.inner([[1, 2], [3, 4]], [10, 1]).tolist()
    [12, 34]
    """


@_binary(_jnp.outer, elementwise=False)
def outer(x1, x2):
    """Return x1[i] · x2[j] of the flat arrays.

    >>> from lamina import ops
    >>> ops.outer([1, 2], [10, 1]).tolist()
    [[10, 1], [20, 2]]
    """


@_binary(_jnp.kron, elementwise=False)
def kron(x1, x2):
    """Return the Kronecker product: blocks x1[i, j] · x2.

    >>> from lamina import ops
    >>> ops.kron([[1, 2]], [[1, 1], [0, 1]]).tolist()
    [[1, 1, 2, 2], [0, 1, 0, 2]]
    """


@_op(config=("axes",))
def tensordot(x1, x2, axes=2):
    """Sum products over `axes` of both arrays.

    Args:
        x1: any array.
        x2: any array.
        axes: a number n, for the last n axes of x1 with the first n of x2; or a pair of
            lists of axes, those of x1 and those of x2.

    Returns:
        The other axes of x1, then those of x2.

    >>> from lamina import ops
    >>> x = ops.ones((2, 3, 4))
    >>> ops.tensordot(x, x, axes=([1, 2], [1, 2])).tolist()
    [[12.0, 12.0], [12.0, 12.0]]
    """
    if isinstance(axes, list):
        axes = tuple(_axes(a) for a in axes)
    return _jnp.tensordot(*_promoted(x1, x2), axes=axes)


@_op(config=("axisa", "axisb", "axisc", "axis"))
def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """Return the cross product of vectors of two or three entries.

    Args:
        x1: vectors along `axisa`.
        x2: vectors along `axisb`; the other axes broadcast.
        axisa: an axis of x1.
        axisb: an axis of x2.
        axisc: where the vectors stand in the result; two pairs give numbers instead.
        axis: if given, takes the place of the other three.

    >>> from lamina import ops
    >>> ops.cross([1, 0, 0], [0, 1, 0]).tolist()
    [0, 0, 1]
    """
    x1, x2 = _promoted(x1, x2)
    return _jnp.cross(x1, x2, axisa, axisb, axisc, axis)


@_boundary
def einsum(subscripts, *operands, **kwargs):
    """Sum products of entries as Einstein's notation tells.

    Args:
        subscripts: a letter for each axis, such as `"ij,jk->ik"`.
        operands: as many arrays as `subscripts` names.
        kwargs: kept for compatibility.

    >>> from lamina import ops
    >>> ops.einsum("ij->j", [[1.0, 2.0], [3.0, 4.0]]).tolist()
    [4.0, 6.0]
    """
    return _einsum(*operands, subscripts=subscripts)


@_op(config=("subscripts",), name="Einsum")
def _einsum(*operands, subscripts):
    operands = [_tensor(x) for x in operands]
    if {x.dtype.name for x in operands} == {"int8"}:
        return _jnp.einsum(subscripts, *operands, preferred_element_type=_jnp.int32)
    return _jnp.einsum(subscripts, *_promoted(*operands))


# Shapes.


def _concrete(x):
    # Arrays made of lists inside a trace would be traced as well.
    return _np.asarray(x) if isinstance(x, (list, tuple)) else x


@_op(config=("newshape",), integers=True)
def reshape(x, newshape):
    """Give `x` another shape; one size may be -1 and follows from the others.

    >>> from lamina import ops
    >>> ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    if isinstance(newshape, (list, tuple)):
        newshape = tuple(-1 if n is None else n for n in newshape)
        if _builtins.any(isinstance(n, int) and n < -1 for n in newshape):
            raise ValueError(
                "`reshape` expected each size in `newshape` to be a non-negative "
                "integer, or -1 for the one that follows from the others. Received: "
                f"newshape={newshape}"
            )
    return _jnp.reshape(_tensor(x), newshape)


@_op(integers=True)
def ravel(x):
    """Return the entries in one axis.

    >>> from lamina import ops
    >>> ops.ravel([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return _jnp.ravel(_tensor(x))


@_op(config=("axes",), integers=True)
def transpose(x, axes=None):
    """Put the axes into the order `axes`; reverse them when None.

    >>> from lamina import ops
    >>> ops.transpose([[1, 2, 3], [4, 5, 6]]).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    return _jnp.transpose(_tensor(x), axes)


@_op(config=("axis1", "axis2"), integers=True)
def swapaxes(x, axis1, axis2):
    """Exchange two axes.

    >>> from lamina import ops
    >>> ops.swapaxes(ops.ones((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    return _jnp.swapaxes(_tensor(x), axis1, axis2)


@_op(config=("source", "destination"), integers=True)
def moveaxis(x, source, destination):
    """Move the axes `source` to `destination`.

    >>> from lamina import ops
    >>> ops.moveaxis(ops.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return _jnp.moveaxis(_tensor(x), source, destination)


@_op(config=("axis",), integers=True)
def expand_dims(x, axis):
    """Insert axes of size 1 at `axis`.

    >>> from lamina import ops
    >>> ops.expand_dims([1, 2], axis=1).tolist()
    [[1], [2]]
    """
    return _jnp.expand_dims(_tensor(x), _axes(axis))


@_op(config=("axis",), integers=True)
def squeeze(x, axis=None):
    """Drop axes of size 1: those named, or all.

    >>> from lamina import ops
    >>> ops.squeeze([[[1], [2]]]).tolist()
    [1, 2]
    """
    return _jnp.squeeze(_tensor(x), _axes(axis))


@_op(config=("shape",), integers=True)
def broadcast_to(x, shape):
    """Repeat axes of size 1 to fill `shape`.

    >>> from lamina import ops
    >>> ops.broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return _jnp.broadcast_to(_tensor(x), tuple(shape))


@_op(config=("axis",), integers=True)
def flip(x, axis=None):
    """Reverse the order along `axis`, all axes by default.

    >>> from lamina import ops
    >>> ops.flip([[1, 2], [3, 4]]).tolist()
    [[4, 3], [2, 1]]
    """
    return _jnp.flip(_tensor(x), _axes(axis))


@_op(integers=True)
def fliplr(x):
    """Reverse the order of columns, axis 1.

    >>> from lamina import ops
    >>> ops.fliplr([[1, 2], [3, 4]]).tolist()
    [[2, 1], [4, 3]]
    """
    return _jnp.fliplr(_tensor(x))


@_op(integers=True)
def flipud(x):
    """Reverse the order of rows, axis 0.

    >>> from lamina import ops
    >>> ops.flipud([[1, 2], [3, 4]]).tolist()
    [[3, 4], [1, 2]]
    """
    return _jnp.flipud(_tensor(x))


@_op(config=("k", "axes"), integers=True)
def rot90(array, k=1, axes=(0, 1)):
    """Turn by 90 degrees `k` times, from the first of `axes` to the second.

    By default counter-clockwise, where axis 0 goes down and axis 1 to the right.

    >>> from lamina import ops
    >>> ops.rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
    return _jnp.rot90(_tensor(array), k, tuple(axes))


@_op(config=("shift", "axis"), integers=True)
def roll(x, shift, axis=None):
    """Shift entries along `axis`; what falls off the end comes first.

    Args:
        x: any array.
        shift: by how many places, or one number for each axis.
        axis: an axis or several; the flat array when None, in the shape of `x`.

    >>> from lamina import ops
    >>> ops.roll([1, 2, 3], 1).tolist()
    [3, 1, 2]
    """
    return _jnp.roll(_tensor(x), shift, _axes(axis))


@_op(config=("repeats", "axis"), integers=True)
def repeat(x, repeats, axis=None):
    """Repeat each entry along `axis`; of the flat array when None.

    >>> import lamina
    >>> x = lamina.Input((None,))
    >>> lamina.ops.repeat(x, [1, 2], axis=0).shape  # of two rows
    (3, None)
    """
    x, repeats = _tensor(x), _concrete(repeats)
    known = axis is None or isinstance(x.shape[axis], int)
    if not known and isinstance(repeats, _np.ndarray) and repeats.size > 1:
        # While a graph is drawn: one number for each entry, however many.
        return _jnp.take(x, _np.repeat(_np.arange(repeats.size), repeats), axis)
    return _jnp.repeat(x, repeats, axis)


@_op(config=("repeats",), integers=True)
def tile(x, repeats):
    """Repeat the whole array along each axis.

    Args:
        x: any array.
        repeats: how often along each of the last axes, or one number for the last one;
            where there are more numbers than axes, axes are added in front.

    >>> from lamina import ops
    >>> ops.tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    return _jnp.tile(_tensor(x), repeats)


@_boundary
def ndim(x):
    """Return the number of axes, an int for a symbolic tensor, too.

    >>> from lamina import ops
    >>> ops.ndim([[1, 2], [3, 4]])
    2
    """
    return len(x.shape) if _is_symbolic(x) else _jnp.ndim(_tensor(x))


@_op
def size(x):
    """Return the number of entries.

    >>> from lamina import ops
    >>> ops.size([[1, 2, 3]])
    3
    """
    return _jnp.size(_tensor(x))


@_op(config=("pad_width", "mode"))
def pad(x, pad_width, mode="constant", constant_values=None):
    """Surround `x` with more entries.

    Args:
        x: any array.
        pad_width: how many entries before and after: a pair for each axis, one
            pair for all, or one number.
        mode: `"constant"`, `"reflect"`, `"symmetric"`, or another of NumPy's.
        constant_values: what stands there in mode `"constant"`; 0 when None.

    Raises:
        ValueError: `constant_values` in another mode.

    >>> from lamina import ops
    >>> ops.pad([1, 2], (1, 0)).tolist()
    [0, 1, 2]
    """
    if isinstance(pad_width, list):
        pad_width = tuple(_axes(p) for p in pad_width)
    if constant_values is None:
        return _padded(_tensor(x), pad_width, mode)
    if mode != "constant":
        raise ValueError(
            "Argument `constant_values` can only be provided when "
            f"`mode == 'constant'`. Received: mode={mode}"
        )
    return _jnp.pad(_tensor(x), pad_width, mode, constant_values=constant_values)


# Joining and cutting.


def _list(xs):
    if hasattr(xs, "shape"):
        return list(_tensor(xs))
    return list(_promoted(*xs))


@_op(config=("axis",), integers=True)
def concatenate(xs, axis=0):
    """Join arrays along an axis they have.

    >>> from lamina import ops
    >>> ops.concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    return _jnp.concatenate(_list(xs), axis)


@_op(config=("axis",), integers=True)
def append(x1, x2, axis=None):
    """Put x2 after x1 along `axis`; flat when None.

    >>> from lamina import ops
    >>> ops.append([[1, 2]], [3]).tolist()
    [1, 2, 3]
    """
    return _jnp.append(*_promoted(x1, x2), axis=axis)


@_op(config=("axis",), integers=True)
def stack(x, axis=0):
    """Join arrays along a new axis.

    >>> from lamina import ops
    >>> ops.stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    return _jnp.stack(_list(x), axis)


@_op(integers=True)
def hstack(xs):
    """Join arrays along axis 1, or axis 0 for vectors.

    >>> from lamina import ops
    >>> ops.hstack([[[1], [2]], [[3], [4]]]).tolist()
    [[1, 3], [2, 4]]
    """
    return _jnp.hstack(_list(xs))


@_op(integers=True)
def vstack(xs):
    """Join arrays along axis 0, vectors as rows.

    >>> from lamina import ops
    >>> ops.vstack([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]]
    """
    return _jnp.vstack(_list(xs))


@_op(integers=True)
def dstack(xs):
    """Join arrays along axis 2.

    >>> from lamina import ops
    >>> ops.dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    return _jnp.dstack(_list(xs))


@_op(config=("indices_or_sections", "axis"), integers=True)
def split(x, indices_or_sections, axis=0):
    """Cut `x` along `axis` into a list of arrays.

    Args:
        x: any array with an axis.
        indices_or_sections: the number of equal parts, or the positions to cut at.
        axis: the axis.

    Raises:
        ValueError: the parts would not be equal.

    >>> from lamina import ops
    >>> [part.tolist() for part in ops.split([1, 2, 3], [1])]
    [[1], [2, 3]]
    """
    return list(_jnp.split(_tensor(x), _cuts(indices_or_sections), axis))


def _cuts(x):
    return x if isinstance(x, int) else _np.asarray(x)


@_op(config=("indices_or_sections", "axis"), integers=True)
def array_split(x, indices_or_sections, axis=0):
    """Cut `x` along `axis` into parts as equal as can be.

    >>> from lamina import ops
    >>> [part.tolist() for part in ops.array_split([1, 2, 3], 2)]
    [[1, 2], [3]]
    """
    return list(_jnp.array_split(_tensor(x), _cuts(indices_or_sections), axis))


@_op(config=("indices_or_sections",), integers=True)
def hsplit(x, indices_or_sections):
    """Cut along axis 1, or axis 0 of a vector.

    >>> from lamina import ops
    >>> [part.tolist() for part in ops.hsplit([[1, 2], [3, 4]], 2)]
    [[[1], [3]], [[2], [4]]]
    """
    return list(_jnp.hsplit(_tensor(x), _cuts(indices_or_sections)))


@_op(config=("indices_or_sections",), integers=True)
def vsplit(x, indices_or_sections):
    """Cut along axis 0.

    >>> from lamina import ops
    >>> [part.tolist() for part in ops.vsplit([[1, 2], [3, 4]], 2)]
    [[[1, 2]], [[3, 4]]]
    """
    return list(_jnp.vsplit(_tensor(x), _cuts(indices_or_sections)))


@_op(config=("indices_or_sections",), integers=True)
def dsplit(x, indices_or_sections):
    """Cut along axis 2.

    >>> from lamina import ops
    >>> [part.tolist() for part in ops.dsplit([[[1, 2], [3, 4]]], 2)]
    [[[[1], [3]]], [[[2], [4]]]]
    """
    return list(_jnp.dsplit(_tensor(x), _cuts(indices_or_sections)))


@_op(config=("indexing",))
def meshgrid(*x, indexing="xy"):
    """Return coordinate arrays of the grid that vectors span, one for each.

    Args:
        x: vectors.
        indexing: `"xy"`: the first vector runs along axis 1, the second along axis 0;
            `"ij"`: each runs along the axis of its number.

    >>> from lamina import ops
    >>> [grid.tolist() for grid in ops.meshgrid([1, 2], [5, 6])]
    [[[1, 2], [1, 2]], [[5, 5], [6, 6]]]
    """
    return list(_jnp.meshgrid(*(_jnp.ravel(_tensor(v)) for v in x), indexing=indexing))


# Picking entries.


@_op(integers=True)
def get_item(x, key):
    """Return x[key].

    >>> from lamina import ops
    >>> ops.get_item([[1, 2], [3, 4]], (slice(None), 1)).tolist()
    [2, 4]
    """
    if isinstance(key, list):
        special = (slice, type(None), type(Ellipsis))
        mixed = _builtins.any(isinstance(k, special) for k in key)
        key = tuple(key) if mixed else _tensor(key)
    x = _tensor(x)
    _check_places(x.shape, key if isinstance(key, tuple) else (key,))
    return x[key]


def _check_places(shape, key):
    """Refuse a place outside the array, for which JAX would take the last one."""
    key = [k for k in key if k is not None]
    if not _builtins.all(
        isinstance(k, (int, _np.integer, slice, _EllipsisType)) for k in key
    ):
        return
    dots = key.index(...) if ... in key else len(key)
    for sizes, places in ((shape, key[:dots]), (shape[::-1], key[:dots:-1])):
        for n, k in zip(sizes, places, strict=False):
            if not isinstance(n, int) or isinstance(k, (slice, bool)):
                continue
            if not -n <= _operator.index(k) < n:
                raise IndexError(
                    f"Index {k} is out of bounds for an axis of size {n}. Received: an "
                    f"array of shape {shape}"
                )


@_op(config=("axis",), integers=True)
def take(x, indices, axis=None):
    """Return the entries at `indices` along `axis`; of the flat array when None.

    >>> from lamina import ops
    >>> ops.take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    return _jnp.take(_tensor(x), _tensor(indices).astype("int32"), axis)


@_op(config=("axis",), integers=True)
def take_along_axis(x, indices, axis=None):
    """Return entries along `axis`, at an index for each of the other positions.

    Args:
        x: any array.
        indices: integers; the shape is that of `x`, but for the size of `axis`.
        axis: the axis; the flat arrays when None.

    >>> from lamina import ops
    >>> ops.take_along_axis([[10, 20], [30, 40]], [[1], [0]], axis=1).tolist()
    [[20], [30]]
    """
    return _jnp.take_along_axis(_tensor(x), _tensor(indices).astype("int32"), axis)


@_op(elementwise=True)
def select(condlist, choicelist, default=0):
    """Take each entry from the first choice whose condition holds.

    Args:
        condlist: booleans, an array for each choice.
        choicelist: arrays that broadcast with them.
        default: what stands where no condition holds.

    >>> from lamina import ops
    >>> ops.select([[True, False], [True, True]], [[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    conditions = [_truth(c) for c in condlist]
    *choices, default = _promoted(*choicelist, default)
    return _jnp.select(conditions, choices, default)


@_op
def nonzero(x):
    """Return the positions of entries that are not zero, an array for each axis.

    >>> from lamina import ops
    >>> [axis.tolist() for axis in ops.nonzero([[1, 0], [2, 3]])]
    [[0, 1, 1], [0, 0, 1]]
    """
    return _nonzero(_tensor(x))


def _nonzero(x):
    if _context.runs("symbolic"):
        return (_jnp.zeros((_unknown_size(),), "int32"),) * x.ndim
    return _jnp.nonzero(x)


@_op(config=("k",))
def diag(x, k=0):
    """Return the k-th diagonal of a matrix, or the matrix with it.

    >>> from lamina import ops
    >>> ops.diag([[1, 2], [3, 4]]).tolist()
    [1, 4]
    >>> ops.diag([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    return _jnp.diag(_tensor(x), k)


@_op(config=("k",))
def diagflat(x, k=0):
    """Return the matrix with the flat array on its k-th diagonal.

    >>> from lamina import ops
    >>> ops.diagflat([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    return _jnp.diagflat(_tensor(x), k)


@_op(config=("offset", "axis1", "axis2"), integers=True)
def diagonal(x, offset=0, axis1=0, axis2=1):
    """Return the diagonal over two axes, as the last axis.

    >>> from lamina import ops
    >>> ops.diagonal([[1, 2], [3, 4]], offset=1).tolist()
    [2]
    """
    return _jnp.diagonal(_tensor(x), offset, axis1, axis2)


@_op(config=("offset", "axis1", "axis2"))
def trace(x, offset=0, axis1=0, axis2=1):
    """Return the sum of the diagonal over two axes.

    >>> from lamina import ops
    >>> int(ops.trace([[1, 2], [3, 4]]))
    5
    """
    return _jnp.trace(_tensor(x), offset, axis1, axis2)


@_op(config=("k",))
def tril(x, k=0):
    """Put zeros above the k-th diagonal.

    >>> from lamina import ops
    >>> ops.tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    return _jnp.tril(_tensor(x), k)


@_op(config=("k",))
def triu(x, k=0):
    """Put zeros below the k-th diagonal.

    >>> from lamina import ops
    >>> ops.triu([[1, 2], [3, 4]]).tolist()
    [[1, 2], [0, 4]]
    """
    return _jnp.triu(_tensor(x), k)


# Order and sets.


@_op(config=("axis",), integers=True)
def sort(x, axis=-1):
    """Put the entries along `axis` in rising order.

    >>> from lamina import ops
    >>> ops.sort([[3, 1, 2]]).tolist()
    [[1, 2, 3]]
    """
    return _jnp.sort(_tensor(x), axis)


@_op(config=("axis",))
def argsort(x, axis=-1):
    """Return the positions that sort `x` along `axis`.

    >>> from lamina import ops
    >>> ops.argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    return _jnp.argsort(_jnp.atleast_1d(_tensor(x)), axis).astype("int32")


@_op(config=("kth", "axis"))
def argpartition(x, kth, axis=-1):
    """Return positions with the `kth` in its sorted place, smaller ones before it.

    >>> from lamina import ops
    >>> x = ops.array([5, 1, 4, 2])
    >>> positions = ops.argpartition(x, 2)
    >>> int(x[positions[2]])
    4
    """
    return _jnp.argpartition(
        _jnp.ravel(_tensor(x)) if axis is None else _tensor(x),
        kth,
        -1 if axis is None else axis,
    ).astype("int32")


@_op(config=("side",), name="SearchSorted")
def searchsorted(sorted_sequence, values, side="left"):
    """Return where `values` would go in a sorted vector to keep it sorted.

    Args:
        sorted_sequence: (n,), in rising order.
        values: of any shape, which the int32 result has.
        side: before (`"left"`) or after (`"right"`) entries that are equal.

    Raises:
        ValueError: `sorted_sequence` has not one axis.

    >>> from lamina import ops
    >>> ops.searchsorted([1, 3, 5], [0, 3, 9]).tolist()
    [0, 1, 3]
    """
    sorted_sequence, values = _promoted(sorted_sequence, values)
    if sorted_sequence.ndim != 1:
        raise ValueError(
            "`searchsorted` expected `sorted_sequence` to have one axis. Received: "
            f"shape {sorted_sequence.shape}"
        )
    return _jnp.searchsorted(sorted_sequence, values, side).astype("int32")


@_op
def digitize(x, bins):
    """Return the number of the bin of each entry, an int32.

    Args:
        x: any array.
        bins: (n,), limits in rising order. Bin i holds bins[i - 1] ≤ x < bins[i]; what
            lies outside is in bin 0 or n.

    >>> from lamina import ops
    >>> ops.digitize([0.5, 2.0, 9.0], [1.0, 5.0]).tolist()
    [0, 1, 2]
    """
    x = _tensor(x)
    return _jnp.digitize(x, _tensor(bins)).astype("int32")


@_op(config=("bins", "range"))
def histogram(x, bins=10, range=None):
    """Return how many entries each of `bins` equal bins holds, and their limits.

    Raises:
        ValueError: `bins` is not positive, or `range` is not a rising pair.

    >>> from lamina import ops
    >>> counts, limits = ops.histogram([0.0, 1.0, 1.5, 4.0], bins=2)
    >>> counts.tolist(), limits.tolist()
    ([3.0, 1.0], [0.0, 2.0, 4.0])
    """
    if not isinstance(bins, int) or bins < 0:
        raise ValueError(
            f"Argument `bins` should be a non-negative integer. Received: bins={bins}"
        )
    if range is not None and (len(range) != 2 or range[0] > range[1]):
        raise ValueError(
            "Argument `range` must be a tuple of two elements, rising. Received: "
            f"range={range}"
        )
    x = _tensor(x)
    if x.ndim != 1:
        raise ValueError(
            f"`histogram` expected an array of one axis. Received: shape {x.shape}"
        )
    return _jnp.histogram(x, bins, range and tuple(range))


@_op(config=("weights", "minlength", "sparse"))
def bincount(x, weights=None, minlength=0, sparse=False):
    """Return how often 0, 1, 2, ... occur, or the sums of their weights.

    Args:
        x: non-negative integers; a matrix is counted row by row.
        weights: what each entry counts, of the shape of `x`.
        minlength: the least length of the result.
        sparse: not supported; must be False.

    >>> from lamina import ops
    >>> ops.bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    _dense_only("bincount", sparse)
    x = _tensor(x).astype("int32")
    dtype = "int32" if weights is None else _tensor(weights).dtype
    if _context.runs("symbolic"):
        return _jnp.zeros((*x.shape[:-1], _unknown_size()), dtype)
    if isinstance(x, _Tracer):
        length = minlength  # the largest entry is not known yet
    else:
        length = _builtins.max(int(_jnp.max(x, initial=-1)) + 1, minlength)
    if weights is None:
        weights = _jnp.ones(x.shape, "int32")

    def count(row, weight):
        row = _jnp.maximum(row, 0)  # as JAX does; an index below 0 counts from the end
        return _jnp.zeros(length, dtype).at[row].add(weight, mode="drop")

    for _ in x.shape[:-1]:
        count = _jax.vmap(count)
    return count(x, _tensor(weights))


@_op(config=("assume_unique", "invert"), name="IsIn")
def isin(x1, x2, assume_unique=False, invert=False):
    """Tell which entries of x1 occur in x2.

    Args:
        x1: any array, whose shape the result has.
        x2: any array.
        assume_unique: promise that neither has an entry twice.
        invert: tell which do not occur.

    >>> from lamina import ops
    >>> ops.isin([1, 2, 3], [3, 1]).tolist()
    [True, False, True]
    """
    x1, x2 = _promoted(x1, x2)
    return _jnp.isin(x1, x2, assume_unique, invert)


@_op(data=("x",))
def unique(
    x,
    sorted=True,
    return_index=False,
    return_inverse=False,
    return_counts=False,
    axis=None,
    size=None,
    fill_value=None,
):
    """Return the different entries, in rising order.

    Args:
        x: any array.
        sorted: kept for compatibility; they always are.
        return_index: return the first positions as well.
        return_inverse: return the number of the unique entry of each entry as well.
        return_counts: return how often each occurs as well.
        axis: compare slices along this axis; entries when None.
        size: the length of the result, needed inside `jax.jit`.
        fill_value: what fills the rest of it.

    >>> from lamina import ops
    >>> ops.unique([3, 1, 3]).tolist()
    [1, 3]
    """
    x = _tensor(x)
    if size is None and _context.runs("symbolic"):
        size = _unknown_size()
        shape = (size,) if axis is None else x.shape
        if axis is not None:
            shape = tuple(
                size if i == axis % x.ndim else n for i, n in enumerate(shape)
            )
        row = _jnp.zeros((size,), "int32")
        inverse = _jnp.zeros(x.shape if axis is None else x.shape[axis], "int32")
        more = ((return_index, row), (return_inverse, inverse), (return_counts, row))
        result = (_jnp.zeros(shape, x.dtype), *(a for wanted, a in more if wanted))
        return result if len(result) > 1 else result[0]
    return _jnp.unique(
        x,
        return_index,
        return_inverse,
        return_counts,
        axis,
        size=size,
        fill_value=fill_value,
        equal_nan=False,
    )


@_op(config=("shape",))
def unravel_index(indices, shape):
    """Turn positions in the flat array into a tuple of positions in `shape`.

    >>> from lamina import ops
    >>> [int(i) for i in ops.unravel_index(5, (2, 3))]
    [1, 2]
    """
    indices = _tensor(indices)
    return tuple(i.astype(indices.dtype) for i in _jnp.unravel_index(indices, shape))


# Statistics and signals.


@_op
def corrcoef(x):
    """Return the correlations of the rows of `x`.

    >>> from lamina import ops
    >>> ops.corrcoef([[1, 2, 3], [3, 2, 1]]).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    return _jnp.corrcoef(_inexact(x))


@_op(config=("mode",))
def correlate(x1, x2, mode="valid"):
    """Return Σᵢ x1[i + k] · conj(x2[i]) for the shifts k that `mode` allows.

    Args:
        x1: (n,).
        x2: (m,).
        mode: `"valid"`: where they overlap wholly, max(n, m) - min(n, m) + 1 shifts;
            `"same"`: max(n, m) of them; `"full"`: all n + m - 1.

    >>> from lamina import ops
    >>> ops.correlate([1.0, 2.0, 3.0], [0.0, 1.0]).tolist()
    [2.0, 3.0]
    """
    return _jnp.correlate(*_promoted(x1, x2), mode=mode)


@_op
def bartlett(x):
    """Return the triangular window of `x` points.

    >>> from lamina import ops
    >>> ops.bartlett(5).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _window(_jnp.bartlett, x)


@_op
def blackman(x):
    """Return the Blackman window of `x` points.

    >>> from lamina import ops
    >>> ops.blackman(5)[1:-1].tolist()
    [0.34, 1.0, 0.34]
    """
    return _window(_jnp.blackman, x)


@_op
def hamming(x):
    """Return the Hamming window of `x` points.

    >>> from lamina import ops
    >>> ops.hamming(3).tolist()
    [0.08, 1.0, 0.08]
    """
    return _window(_jnp.hamming, x)


@_op
def hanning(x):
    """Return the Hann window of `x` points.

    >>> from lamina import ops
    >>> ops.hanning(5).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return _window(_jnp.hanning, x)


@_op(config=("beta",))
def kaiser(x, beta):
    """Return the Kaiser window of `x` points; `beta` is its shape.

    >>> from lamina import ops
    >>> ops.kaiser(3, beta=1.0).tolist()
    [0.7898, 1.0, 0.7898]
    """
    return _window(_jnp.kaiser, x, beta)


def _window(function, points, *more):
    return function(int(points), *more).astype(_settings.floatx())


# Making arrays.


@_op(config=("dtype",), elementwise=True)
def array(x, dtype=None):
    """Return `x` as an array.

    >>> from lamina import ops
    >>> ops.array([1, 2], dtype="float32").tolist()
    [1.0, 2.0]
    """
    return _tensor(x, dtype)


@_op(config=("dtype",))
def arange(start, stop=None, step=None, dtype=None):
    """Return start, start + step, ... below `stop`; 0, 1, ... below one argument.

    >>> from lamina import ops
    >>> ops.arange(3).tolist()
    [0, 1, 2]
    >>> ops.arange(1, 2, 0.25).tolist()
    [1.0, 1.25, 1.5, 1.75]
    """
    if dtype is None:
        given = [v for v in (start, stop, step) if v is not None]
        dtype = _result_type(*_builtins.map(_kind, given))
    dtype = _canonical(dtype)
    if stop is None:
        start, stop = 0, start
    return _jnp.arange(start, stop, 1 if step is None else step, dtype)


def _floats(*limits, dtype):
    return _canonical(dtype or _result_type(*_builtins.map(_kind, limits), float))


@_op(config=("num", "endpoint", "retstep", "dtype", "axis"))
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """Return `num` numbers at equal distances from `start` to `stop`.

    Args:
        start: the first number, or an array of first ones.
        stop: the last one, likewise.
        num: how many.
        endpoint: whether `stop` is among them.
        retstep: return the distance as well.
        dtype: the dtype; a float one when None.
        axis: where they stand in the result.

    >>> from lamina import ops
    >>> ops.linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = _tensor(start), _tensor(stop)
    return _jnp.linspace(start, stop, num, endpoint, retstep, dtype, axis=axis)


@_op(config=("num", "endpoint", "base", "dtype", "axis"))
def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """Return `num` numbers at equal ratios from base^start to base^stop.

    The other arguments are those of `linspace`.

    >>> from lamina import ops
    >>> ops.logspace(0, 2, 3).tolist()
    [1.0, 10.0, 100.0]
    """
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = _tensor(start), _tensor(stop)
    return _jnp.logspace(start, stop, num, endpoint, base, dtype, axis=axis)


@_op(config=("num", "endpoint", "dtype", "axis"))
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """Return `num` numbers at equal ratios from `start` to `stop`.

    The other arguments are those of `linspace`.

    >>> from lamina import ops
    >>> ops.geomspace(1, 8, 4).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = _tensor(start), _tensor(stop)
    return _jnp.geomspace(start, stop, num, endpoint, dtype, axis=axis)


@_boundary
def zeros(shape, dtype=None):
    """Return an array of zeros.

    >>> from lamina import ops
    >>> ops.zeros((2, 2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    return _jnp.zeros(shape, _canonical(dtype))


@_boundary
def ones(shape, dtype=None):
    """Return an array of ones.

    >>> from lamina import ops
    >>> ops.ones((2, 2), "int32").tolist()
    [[1, 1], [1, 1]]
    """
    return _jnp.ones(shape, _canonical(dtype))


@_boundary
def empty(shape, dtype=None):
    """Return an array of no particular values; they happen to be zeros.

    >>> from lamina import ops
    >>> ops.empty((2, 3)).shape
    (2, 3)
    """
    return _jnp.empty(shape, _canonical(dtype))


@_boundary
def full(shape, fill_value, dtype=None):
    """Return an array of `fill_value`, which may broadcast.

    >>> from lamina import ops
    >>> ops.full((2, 2), 7).tolist()
    [[7.0, 7.0], [7.0, 7.0]]
    """
    return _full(fill_value, shape=shape, dtype=dtype)


@_op(config=("shape", "dtype"), name="Full")
def _full(fill_value, *, shape, dtype=None):
    return _jnp.full(shape, _tensor(fill_value), _canonical(dtype))


@_op(config=("dtype",), elementwise=True)
def zeros_like(x, dtype=None):
    """Return zeros in the shape of `x`.

    >>> from lamina import ops
    >>> ops.zeros_like([1, 2]).tolist()
    [0, 0]
    """
    return _jnp.zeros_like(_tensor(x), dtype and _canonical(dtype))


@_op(config=("dtype",), elementwise=True)
def ones_like(x, dtype=None):
    """Return ones in the shape of `x`.

    >>> from lamina import ops
    >>> ops.ones_like([1.5, 2.5]).tolist()
    [1.0, 1.0]
    """
    return _jnp.ones_like(_tensor(x), dtype and _canonical(dtype))


@_op(config=("dtype",))
def empty_like(x, dtype=None):
    """Return an array in the shape of `x`, of no particular values.

    >>> from lamina import ops
    >>> ops.empty_like([1, 2]).shape
    (2,)
    """
    return _jnp.empty_like(_tensor(x), dtype and _canonical(dtype))


@_op(config=("dtype",), elementwise=True)
def full_like(x, fill_value, dtype=None):
    """Return `fill_value` in the shape of `x`.

    >>> from lamina import ops
    >>> ops.full_like([1, 2], 7).tolist()
    [7, 7]
    """
    return _jnp.full_like(_tensor(x), _tensor(fill_value), dtype and _canonical(dtype))


@_boundary
def eye(N, M=None, k=0, dtype=None):
    """Return an N x M matrix with ones on the k-th diagonal and zeros elsewhere.

    >>> from lamina import ops
    >>> ops.eye(2, 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return _jnp.eye(N, M, k, _canonical(dtype))


@_boundary
def identity(n, dtype=None):
    """Return the n x n matrix with ones on the diagonal.

    >>> from lamina import ops
    >>> ops.identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _jnp.identity(n, _canonical(dtype))


@_boundary
def tri(N, M=None, k=0, dtype=None):
    """Return an N x M matrix with ones on and below the k-th diagonal.

    >>> from lamina import ops
    >>> ops.tri(2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return _jnp.tri(N, M, k, _canonical(dtype))


@_op(config=("N", "increasing"))
def vander(x, N=None, increasing=False):
    """Return the matrix of powers of a vector.

    Args:
        x: (n,).
        N: how many powers, the columns; n when None.
        increasing: begin with power 0; else it comes last.

    >>> from lamina import ops
    >>> ops.vander([2, 3], 3).tolist()
    [[4, 2, 1], [9, 3, 1]]
    """
    return _jnp.vander(_tensor(x), N, increasing)


@_boundary
def vectorize(pyfunc, *, excluded=None, signature=None):
    """Make a function of scalars (or what `signature` tells) work on arrays.

    Raises:
        ValueError: `pyfunc` is not callable.

    >>> from lamina import ops
    >>> first = ops.vectorize(lambda a, b: a if b is None else a + b)
    >>> first(ops.arange(3), 1).tolist()
    [1, 2, 3]
    """
    if not callable(pyfunc):
        raise ValueError(
            f"`vectorize` expected `pyfunc` to be callable. Received: pyfunc={pyfunc!r}"
        )
    run = _jnp.vectorize(pyfunc, excluded=excluded or (), signature=signature)

    def vectorized(*args):
        return run(*(_tensor(a) if isinstance(a, (list, tuple)) else a for a in args))

    return vectorized


@_op
def slogdet(x):
    """Return sign and ln abs of the determinants of square matrices.

    >>> from lamina import ops
    >>> sign, logarithm = ops.slogdet([[0.0, 1.0], [1.0, 0.0]])
    >>> float(sign), float(logarithm)
    (-1.0, 0.0)
    """
    return tuple(_jnp.linalg.slogdet(_inexact(x)))


_offer(globals())
