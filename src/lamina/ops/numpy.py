"""NumPy's functions, for arrays and symbolic tensors alike.

Python numbers are weak: they take the dtype of the array beside them. Functions
with fractional results turn integers into `floatx()`.
"""

import builtins
import operator
from types import EllipsisType

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina.core import settings
from lamina.core.context import context
from lamina.core.dtypes import result_type
from lamina.core.op import op
from lamina.core.symbolic import is_symbolic, unknown_size
from lamina.ops.arrays import axes as _axes
from lamina.ops.arrays import (
    canonical,
    dense_only,
    inexact,
    kind,
    number,
    promoted,
    tensor,
    truth,
)
from lamina.ops.elementwise import families

__all__ = [
    "abs", "absolute", "add", "all", "allclose", "amax", "amin", "angle", "any",
    "append", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "argmax", "argmin", "argpartition", "argsort", "array",
    "array_split", "average", "bartlett", "bincount", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "blackman", "broadcast_to", "cbrt",
    "ceil", "clip", "concatenate", "conj", "conjugate", "copy", "corrcoef",
    "correlate", "cos", "cosh", "count_nonzero", "cross", "cumprod", "cumsum",
    "deg2rad", "diag", "diagflat", "diagonal", "diff", "digitize", "divide",
    "divide_no_nan", "dot", "dsplit", "dstack", "einsum", "empty", "empty_like",
    "equal", "exp", "exp2", "expand_dims", "expm1", "eye", "fabs", "flip", "fliplr",
    "flipud", "floor", "floor_divide", "fmax", "fmin", "fmod", "full", "full_like",
    "gcd", "geomspace", "get_item", "greater", "greater_equal", "hamming",
    "hanning", "heaviside", "histogram", "hsplit", "hstack", "hypot", "i0",
    "identity", "imag", "inner", "isclose", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "isreal", "kaiser", "kron", "lcm", "ldexp",
    "left_shift", "less", "less_equal", "linspace", "log", "log10", "log1p", "log2",
    "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logspace", "matmul", "max", "maximum", "mean", "median",
    "meshgrid", "min", "minimum", "mod", "moveaxis", "multiply", "nan_to_num",
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean",
    "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd",
    "nansum", "nanvar", "ndim", "negative", "nextafter", "nonzero", "not_equal",
    "ones", "ones_like", "outer", "pad", "percentile", "power", "prod", "ptp",
    "quantile", "rad2deg", "ravel", "real", "reciprocal", "repeat", "reshape",
    "right_shift", "roll", "rot90", "round", "searchsorted", "select", "sign",
    "signbit", "sin", "sinc", "sinh", "size", "slogdet", "sort", "split", "sqrt",
    "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take",
    "take_along_axis", "tan", "tanh", "tensordot", "tile", "trace", "transpose",
    "trapezoid", "tri", "tril", "triu", "true_divide", "trunc", "unique",
    "unravel_index", "vander", "var", "vdot", "vectorize", "view", "vsplit",
    "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip

_op, _one, _two, _bits, _reduction = families(__name__)

# Elementwise, of one argument.
# fmt: off
abs = _one("abs", jnp.abs, tensor, "Return x without its sign.")
absolute = _one("absolute", jnp.abs, tensor, "Return x without its sign.")
fabs = _one("fabs", jnp.abs, inexact, "Return abs(x) of each entry, as a float.")
negative = _one("negative", jnp.negative, tensor, "Return -x.")
square = _one("square", jnp.square, number, "Return x².")
sqrt = _one("sqrt", jnp.sqrt, inexact, "Return √x; NaN below zero.")
cbrt = _one("cbrt", jnp.cbrt, inexact, "Return ∛x.")
reciprocal = _one("reciprocal", jnp.reciprocal, inexact, "Return 1 / x.")
exp = _one("exp", jnp.exp, inexact, "Return eˣ.")
exp2 = _one("exp2", jnp.exp2, inexact, "Return 2ˣ.")
expm1 = _one("expm1", jnp.expm1, inexact, "Return eˣ - 1, exact near zero.")
log = _one("log", jnp.log, inexact, "Return ln x.")
log10 = _one("log10", jnp.log10, inexact, "Return the logarithm of x to base 10.")
log1p = _one("log1p", jnp.log1p, inexact, "Return ln(1 + x), exact near zero.")
log2 = _one("log2", jnp.log2, inexact, "Return the logarithm of x to base 2.")
sin = _one("sin", jnp.sin, inexact, "Return sin x, with x in radians.")
cos = _one("cos", jnp.cos, inexact, "Return cos x, with x in radians.")
tan = _one("tan", jnp.tan, inexact, "Return tan x, with x in radians.")
sinc = _one("sinc", jnp.sinc, inexact, "Return sin(πx) / (πx), which is 1 at zero.")
arcsin = _one("arcsin", jnp.arcsin, inexact,
    "Return the angle in [-π/2, π/2] whose sine is x.")
arccos = _one("arccos", jnp.arccos, inexact,
    "Return the angle in [0, π] whose cosine is x.")
arctan = _one("arctan", jnp.arctan, inexact,
    "Return the angle in [-π/2, π/2] whose tangent is x.")
sinh = _one("sinh", jnp.sinh, inexact, "Return (eˣ - e⁻ˣ) / 2.")
cosh = _one("cosh", jnp.cosh, inexact, "Return (eˣ + e⁻ˣ) / 2.")
tanh = _one("tanh", jnp.tanh, inexact, "Return sinh x / cosh x.")
arcsinh = _one("arcsinh", jnp.arcsinh, inexact, "Return the inverse of `sinh`.")
arccosh = _one("arccosh", jnp.arccosh, inexact,
    "Return the inverse of `cosh`, for x ≥ 1.")
arctanh = _one("arctanh", jnp.arctanh, inexact,
    "Return the inverse of `tanh`, for x in [-1, 1].")
deg2rad = _one("deg2rad", jnp.deg2rad, inexact, "Return degrees as radians: πx / 180.")
rad2deg = _one("rad2deg", jnp.rad2deg, inexact, "Return radians as degrees: 180x / π.")
i0 = _one("i0", jnp.i0, inexact,
    "Return the modified Bessel function of the first kind, order 0.")
floor = _one("floor", jnp.floor, inexact,
    "Return the largest whole number not above x.")
ceil = _one("ceil", jnp.ceil, inexact, "Return the smallest whole number not below x.")
trunc = _one("trunc", jnp.trunc, tensor, "Return x without its fraction.")
sign = _one("sign", jnp.sign, tensor, "Return -1, 0 or 1, the sign of x.")
signbit = _one("signbit", jnp.signbit, tensor,
    "Tell where the sign bit is set: negative numbers and -0.")
isfinite = _one("isfinite", jnp.isfinite, tensor,
    "Tell which entries are neither infinite nor NaN.")
isinf = _one("isinf", jnp.isinf, tensor, "Tell which entries are infinite.")
isneginf = _one("isneginf", jnp.isneginf, tensor, "Tell which entries are -∞.")
isposinf = _one("isposinf", jnp.isposinf, tensor, "Tell which entries are +∞.")
isnan = _one("isnan", jnp.isnan, tensor, "Tell which entries are NaN.")
isreal = _one("isreal", jnp.isreal, tensor,
    "Tell which entries have no imaginary part.")
logical_not = _one("logical_not", jnp.logical_not, truth,
    "Tell which entries are false.")
bitwise_invert = _one("bitwise_invert", jnp.invert, tensor,
    "Flip every bit of integers.")
bitwise_not = _one("bitwise_not", jnp.invert, tensor, "Flip every bit of integers.")
real = _one("real", jnp.real, tensor, "Return the real part.")
imag = _one("imag", jnp.imag, tensor, "Return the imaginary part.")
conj = _one("conj", jnp.conj, tensor, "Return the complex conjugate.")
conjugate = _one("conjugate", jnp.conj, tensor, "Return the complex conjugate.")
angle = _one("angle", jnp.angle, inexact,
    "Return the argument of complex numbers, in radians.")
copy = _op("copy", lambda x: jnp.array(tensor(x), copy=True), "Return a copy.",
    elementwise=True,
    integers=True)
# fmt: on


@op(config=("decimals",), elementwise=True)
def round(x, decimals=0):
    """Round to `decimals` places, halves to the even neighbour."""
    x = tensor(x)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.round(x, decimals)
    return jnp.round(inexact(x), decimals).astype(x.dtype)


@op(config=("x_min", "x_max"), elementwise=True)
def clip(x, x_min, x_max):
    """Limit x to [x_min, x_max]: min(max(x, x_min), x_max)."""
    x = number(x)
    dtype = result_type(x.dtype, kind(x_min), kind(x_max))
    return jnp.clip(x.astype(dtype), tensor(x_min, dtype), tensor(x_max, dtype))


# fmt: off
nan_to_num = _op("nan_to_num",
    lambda x, nan=0.0, posinf=None, neginf=None: jnp.nan_to_num(tensor(x), nan=nan,
        posinf=posinf, neginf=neginf ),
    "Replace NaN by `nan`, and the infinities by the largest numbers.",
    elementwise=True)
# fmt: on


@op(config=("dtype",))
def view(x, dtype=None):
    """Read the bytes of `x` as another dtype, without converting values."""
    x = tensor(x)
    return x if dtype is None else x.view(canonical(dtype))


# Elementwise, of two arguments.
# fmt: off
add = _two("add", jnp.add, "Return x1 + x2.")
subtract = _two("subtract", jnp.subtract, "Return x1 - x2.")
multiply = _two("multiply", jnp.multiply, "Return x1 · x2, entry by entry.")
divide = _two("divide", jnp.divide, "Return x1 / x2, as a float.", also=(float,))
true_divide = _two("true_divide", jnp.divide, "Return x1 / x2, as a float.",
    also=(float,))
# fmt: on


@op(elementwise=True)
def divide_no_nan(x1, x2):
    """Return x1 / x2, and 0 where x2 is 0."""
    x1, x2 = promoted(x1, x2, also=(float,))
    safe = jnp.where(x2 == 0, 1, x2)
    return jnp.where(x2 == 0, 0, jnp.divide(x1, safe))


# fmt: off
floor_divide = _two("floor_divide", jnp.floor_divide, "Return x1 / x2 rounded down.")
mod = _two("mod", jnp.mod, "Return the rest of x1 / x2, with the sign of x2.",
    convert=number)
fmod = _two("fmod", jnp.fmod, "Return the rest of x1 / x2, with the sign of x1.",
    convert=number)
power = _two("power", jnp.power, "Return x1 to the power x2.")
maximum = _two("maximum", jnp.maximum, "Return the larger of x1 and x2; NaN wins.")
minimum = _two("minimum", jnp.minimum, "Return the smaller of x1 and x2; NaN wins.")
fmax = _two("fmax", jnp.fmax, "Return the larger of x1 and x2; NaN loses.")
fmin = _two("fmin", jnp.fmin, "Return the smaller of x1 and x2; NaN loses.")
arctan2 = _two("arctan2", jnp.arctan2,
    "Return the angle of the point (x2, x1), in [-π, π].", also=(float,))
hypot = _two("hypot", jnp.hypot, "Return √(x1² + x2²).", also=(float,))
logaddexp = _two("logaddexp", jnp.logaddexp,
    "Return ln(exp x1 + exp x2), without overflow.", also=(float,))
logaddexp2 = _two("logaddexp2", jnp.logaddexp2,
    "Return log2(2^x1 + 2^x2), without overflow.", also=(float,))
heaviside = _two("heaviside", jnp.heaviside,
    "Return 0 below zero, x2 at zero and 1 above.", also=(float,))
nextafter = _two("nextafter", jnp.nextafter,
    "Return the float after x1 in the direction of x2.", also=(float,))
ldexp = _op("ldexp", lambda x1, x2: jnp.ldexp(inexact(x1), tensor(x2)),
    "Return x1 · 2^x2, with x2 of integers.", elementwise=True)
gcd = _two("gcd", jnp.gcd, "Return the greatest common divisor of integers.")
lcm = _two("lcm", jnp.lcm, "Return the least common multiple of integers.")
equal = _two("equal", jnp.equal, "Tell where x1 = x2.")
not_equal = _two("not_equal", jnp.not_equal, "Tell where x1 ≠ x2.")
less = _two("less", jnp.less, "Tell where x1 < x2.")
less_equal = _two("less_equal", jnp.less_equal, "Tell where x1 ≤ x2.")
greater = _two("greater", jnp.greater, "Tell where x1 > x2.")
greater_equal = _two("greater_equal", jnp.greater_equal, "Tell where x1 ≥ x2.")
logical_and = _two("logical_and", jnp.logical_and, "Tell where both are true.",
    convert=truth)
logical_or = _two("logical_or", jnp.logical_or, "Tell where one or both are true.",
    convert=truth)
logical_xor = _two("logical_xor", jnp.logical_xor, "Tell where exactly one is true.",
    convert=truth)
bitwise_and = _bits("bitwise_and", jnp.bitwise_and,
    "Return the bits that both integers have.")
bitwise_or = _bits("bitwise_or", jnp.bitwise_or,
    "Return the bits that one or both integers have.")
bitwise_xor = _bits("bitwise_xor", jnp.bitwise_xor,
    "Return the bits that exactly one integer has.")
bitwise_left_shift = _bits("bitwise_left_shift", jnp.left_shift,
    "Return x · 2^y, for integers.")
left_shift = _bits("left_shift", jnp.left_shift, "Return x · 2^y, for integers.")
bitwise_right_shift = _bits("bitwise_right_shift", jnp.right_shift,
    "Return x / 2^y rounded down, for integers.")
right_shift = _bits("right_shift", jnp.right_shift,
    "Return x / 2^y rounded down, for integers.")
# fmt: on


@op(config=("equal_nan",), elementwise=True)
def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Tell where abs(x1 - x2) ≤ atol + rtol · abs(x2)."""
    x1, x2 = promoted(x1, x2)
    return jnp.isclose(x1, x2, rtol, atol, equal_nan)


@op(config=("rtol", "atol", "equal_nan"), name="AllClose")
def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Tell whether abs(x1 - x2) ≤ atol + rtol · abs(x2) everywhere."""
    x1, x2 = promoted(x1, x2)
    return jnp.allclose(x1, x2, rtol, atol, equal_nan)


@op(elementwise=True)
def where(condition, x1=None, x2=None):
    """Take x1 where `condition` holds and x2 elsewhere.

    Without x1 and x2, return the positions where it holds, as `nonzero` does.

    >>> import lamina
    >>> lamina.ops.where([True, False], [1, 2], [3, 4]).tolist()
    [1, 4]
    """
    if (x1 is None) != (x2 is None):
        raise ValueError(
            "`x1` and `x2` either both should be `None` or both be given to `where`."
        )
    if x1 is None:
        return _nonzero(truth(condition))
    return jnp.where(truth(condition), *promoted(x1, x2))


# Reductions.
# fmt: off
sum = _reduction("sum", jnp.sum, tensor,
    "Return the sum over `axis`, all axes by default.")
# fmt: on


@op(config=("axis", "keepdims", "dtype"))
def prod(x, axis=None, keepdims=False, dtype=None):
    """Return the product over `axis`, all axes by default."""
    x = tensor(x) if dtype is None else tensor(x, dtype)
    return jnp.prod(x, _axes(axis), keepdims=keepdims, dtype=dtype and x.dtype)


# fmt: off
mean = _reduction("mean", jnp.mean, inexact,
    "Return the mean over `axis`, all axes by default.")
std = _reduction("std", jnp.std, inexact, "Return √mean((x - mean x)²) over `axis`.")
var = _reduction("var", jnp.var, inexact, "Return mean((x - mean x)²) over `axis`.")
max = _op("max",
    lambda x, axis=None, keepdims=False, initial=None: jnp.max(tensor(x), _axes(axis),
        keepdims=keepdims, initial=initial ),
    "Return the largest entry over `axis`, at least `initial`.")
min = _op("min",
    lambda x, axis=None, keepdims=False, initial=None: jnp.min(tensor(x), _axes(axis),
        keepdims=keepdims, initial=initial ),
    "Return the smallest entry over `axis`, at most `initial`.")
amax = _reduction("amax", jnp.max, tensor, "Return the largest entry over `axis`.")
amin = _reduction("amin", jnp.min, tensor, "Return the smallest entry over `axis`.")
ptp = _reduction("ptp", jnp.ptp, tensor, "Return max x - min x over `axis`.")
all = _reduction("all", jnp.all, tensor,
    "Tell whether all entries over `axis` are true.")
any = _reduction("any", jnp.any, tensor, "Tell whether an entry over `axis` is true.")
count_nonzero = _op("count_nonzero",
    lambda x, axis=None: jnp.count_nonzero(tensor(x), _axes(axis)).astype("int32"),
    "Return how many entries over `axis` are not zero.")
median = _reduction("median", jnp.median, inexact,
    "Return the middle value over `axis`; the mean of two if there are two.")
nansum = _reduction("nansum", jnp.nansum, tensor,
    "Return the sum over `axis`; NaN counts as 0.")
nanprod = _reduction("nanprod", jnp.nanprod, tensor,
    "Return the product over `axis`; NaN counts as 1.")
nanmean = _reduction("nanmean", jnp.nanmean, inexact,
    "Return the mean of what is not NaN.")
nanstd = _reduction("nanstd", jnp.nanstd, inexact,
    "Return the standard deviation of what is not NaN.")
nanvar = _reduction("nanvar", jnp.nanvar, inexact,
    "Return the variance of what is not NaN.")
nanmax = _reduction("nanmax", jnp.nanmax, tensor,
    "Return the largest entry that is not NaN.")
nanmin = _reduction("nanmin", jnp.nanmin, tensor,
    "Return the smallest entry that is not NaN.")
nanmedian = _reduction("nanmedian", jnp.nanmedian, inexact,
    "Return the middle value of what is not NaN.")
# fmt: on


@op(config=("axis", "method", "keepdims"))
def quantile(x, q, axis=None, method="linear", keepdims=False):
    """Return the values below which the shares `q` of the entries lie.

    Args:
        x: the entries.
        q: shares in [0, 1]; one number or several, which become the first axis.
        axis: the axes to reduce; all by default.
        method: between two entries: `"linear"`, `"lower"`, `"higher"`,
            `"midpoint"` or `"nearest"`.
        keepdims: keep the reduced axes with size 1.

    >>> import lamina
    >>> float(lamina.ops.quantile([1.0, 2.0, 4.0], 0.25))
    1.5
    """
    x = inexact(x)
    return jnp.quantile(
        x, tensor(q, x.dtype), _axes(axis), method=method, keepdims=keepdims
    )


def _quantiles(name, function, doc):
    def quantiles(x, q, axis=None, method="linear", keepdims=False):
        x = inexact(x)
        shares = tensor(q, x.dtype)
        return function(x, shares, _axes(axis), method=method, keepdims=keepdims)

    return _op(name, quantiles, doc)


# fmt: off
nanquantile = _quantiles("nanquantile", jnp.nanquantile,
    "Return the `quantile` of what is not NaN.")
percentile = _quantiles("percentile", jnp.percentile,
    "Return the `quantile` for shares `q` in percent.")
nanpercentile = _quantiles("nanpercentile", jnp.nanpercentile,
    "Return the `percentile` of what is not NaN.")
# fmt: on


@op(config=("axis",))
def average(x, axis=None, weights=None):
    """Return sum(weights · x) / sum(weights) over `axis`; the mean without weights."""
    if weights is None:
        return jnp.average(inexact(x), _axes(axis))
    x, weights = promoted(x, weights, also=(float,))
    return jnp.average(x, _axes(axis), weights)


def _zeros_apart(x):
    # IEEE's total order puts -0 below 0; the comparison inside argmax does not.
    x = tensor(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return jnp.where((x == 0) & jnp.signbit(x), -jnp.finfo(x.dtype).tiny, x)


# fmt: off
argmax = _reduction("argmax", jnp.argmax, _zeros_apart,
    "Return the position of the first largest entry over `axis`.")
argmin = _reduction("argmin", jnp.argmin, _zeros_apart,
    "Return the position of the first smallest entry over `axis`.")
nanargmax = _reduction("nanargmax", jnp.nanargmax, tensor,
    "Return the position of the first largest entry that is not NaN; -1 if none.")
nanargmin = _reduction("nanargmin", jnp.nanargmin, tensor,
    "Return the position of the first smallest entry that is not NaN; -1 if none.")

# Running sums, differences and the like.
cumsum = _op("cumsum",
    lambda x, axis=None, dtype=None: jnp.cumsum(_as(number(x), dtype), axis),
    "Return the running sum along `axis`; of the flat array when None.")
cumprod = _op("cumprod",
    lambda x, axis=None, dtype=None: jnp.cumprod(_as(number(x), dtype), axis),
    "Return the running product along `axis`; of the flat array when None.")
nancumsum = _op("nancumsum",
    lambda x, axis=None, dtype=None: jnp.nancumsum(_as(number(x), dtype), axis),
    "Return the running sum along `axis`; NaN counts as 0.")
nancumprod = _op("nancumprod",
    lambda x, axis=None, dtype=None: jnp.nancumprod(_as(number(x), dtype), axis),
    "Return the running product along `axis`; NaN counts as 1.")
# fmt: on


def _as(x, dtype):
    return x if dtype is None else tensor(x, dtype)


# fmt: off
diff = _op("diff", lambda a, n=1, axis=-1: jnp.diff(tensor(a), n, axis),
    "Return a[i + 1] - a[i] along `axis`, taken `n` times.")
# fmt: on


@op(config=("x", "dx", "axis"))
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """Return the integral of y over x by the trapezoidal rule."""
    y = inexact(y)
    return jnp.trapezoid(y, x if x is None else tensor(x, y.dtype), dx, axis)


# Products.


@op
def matmul(x1, x2):
    """Return the matrix product over the last two axes; others broadcast.

    Raises:
        TypeError: the inner sizes differ, or an argument is a scalar.

    >>> import lamina
    >>> lamina.ops.matmul([[1, 2]], [[3], [4]]).tolist()
    [[11]]
    """
    x1, x2 = tensor(x1), tensor(x2)
    if x1.dtype == x2.dtype == jnp.int8:
        return jnp.matmul(x1, x2, preferred_element_type=jnp.int32)
    return jnp.matmul(*promoted(x1, x2))


# fmt: off
dot = _two("dot", jnp.dot,
    "Return the product over the last axis of x1 and the last but one of x2.",
    elementwise=False)
vdot = _two("vdot", jnp.vdot, "Return Σ conj(x1) · x2 of the flat arrays.",
    elementwise=False)
inner = _two("inner", jnp.inner, "Return the products over the last axes.",
    elementwise=False)
outer = _two("outer", jnp.outer, "Return x1[i] · x2[j] of the flat arrays.",
    elementwise=False)
kron = _two("kron", jnp.kron, "Return the Kronecker product: blocks x1[i, j] · x2.",
    elementwise=False)
# fmt: on


@op(config=("axes",))
def tensordot(x1, x2, axes=2):
    """Sum products over `axes`: a number of axes, or a pair of lists of them."""
    if isinstance(axes, list):
        axes = tuple(_axes(a) for a in axes)
    return jnp.tensordot(*promoted(x1, x2), axes=axes)


@op(config=("axisa", "axisb", "axisc", "axis"))
def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """Return the cross product of vectors of two or three entries."""
    x1, x2 = promoted(x1, x2)
    return jnp.cross(x1, x2, axisa, axisb, axisc, axis)


def einsum(subscripts, *operands, **kwargs):
    """Sum products of entries as Einstein's notation tells.

    Args:
        subscripts: a letter for each axis, such as `"ij,jk->ik"`.
        operands: as many arrays as `subscripts` names.
        kwargs: kept for compatibility.

    >>> import lamina
    >>> lamina.ops.einsum("ij->j", [[1.0, 2.0], [3.0, 4.0]]).tolist()
    [4.0, 6.0]
    """
    return _einsum(*operands, subscripts=subscripts)


@op(config=("subscripts",), name="Einsum")
def _einsum(*operands, subscripts):
    operands = [tensor(x) for x in operands]
    if {x.dtype.name for x in operands} == {"int8"}:
        return jnp.einsum(subscripts, *operands, preferred_element_type=jnp.int32)
    return jnp.einsum(subscripts, *promoted(*operands))


# Shapes.


def _concrete(x):
    # Arrays made of lists inside a trace would be traced as well.
    return np.asarray(x) if isinstance(x, (list, tuple)) else x


@op(config=("newshape",), integers=True)
def reshape(x, newshape):
    """Give `x` another shape; one size may be -1 and follows from the others.

    >>> import lamina
    >>> lamina.ops.reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    if isinstance(newshape, (list, tuple)):
        newshape = tuple(-1 if n is None else n for n in newshape)
        if builtins.any(isinstance(n, int) and n < -1 for n in newshape):
            raise ValueError(
                "`reshape` expected each size in `newshape` to be a non-negative "
                "integer, or -1 for the one that follows from the others. Received: "
                f"newshape={newshape}"
            )
    return jnp.reshape(tensor(x), newshape)


# fmt: off
ravel = _op("ravel", lambda x: jnp.ravel(tensor(x)), "Return the entries in one axis.",
    integers=True)
transpose = _op("transpose", lambda x, axes=None: jnp.transpose(tensor(x), axes),
    "Put the axes into the order `axes`; reverse them when None.",
    integers=True)
swapaxes = _op("swapaxes",
    lambda x, axis1, axis2: jnp.swapaxes(tensor(x), axis1, axis2), "Exchange two axes.",
    "axis1 axis2",
    integers=True)
moveaxis = _op("moveaxis",
    lambda x, source, destination: jnp.moveaxis(tensor(x), source, destination),
    "Move the axes `source` to `destination`.", "source destination",
    integers=True)
expand_dims = _op("expand_dims",
    lambda x, axis: jnp.expand_dims(tensor(x), _axes(axis)),
    "Insert axes of size 1 at `axis`.", "axis",
    integers=True)
squeeze = _op("squeeze", lambda x, axis=None: jnp.squeeze(tensor(x), _axes(axis)),
    "Drop axes of size 1: those named, or all.",
    integers=True)
broadcast_to = _op("broadcast_to",
    lambda x, shape: jnp.broadcast_to(tensor(x), tuple(shape)),
    "Repeat axes of size 1 to fill `shape`.", "shape",
    integers=True)
flip = _op("flip", lambda x, axis=None: jnp.flip(tensor(x), _axes(axis)),
    "Reverse the order along `axis`, all axes by default.",
    integers=True)
fliplr = _op("fliplr", lambda x: jnp.fliplr(tensor(x)),
    "Reverse the order of columns, axis 1.",
    integers=True)
flipud = _op("flipud", lambda x: jnp.flipud(tensor(x)),
    "Reverse the order of rows, axis 0.",
    integers=True)
rot90 = _op("rot90",
    lambda array, k=1, axes=(0, 1): jnp.rot90(tensor(array), k, tuple(axes)),
    "Turn by 90 degrees `k` times, from the first of `axes` to the second.",
    integers=True)
roll = _op("roll", lambda x, shift, axis=None: jnp.roll(tensor(x), shift, _axes(axis)),
    "Shift entries along `axis`; what falls off the end comes first.", "shift",
    integers=True)
repeat = _op("repeat",
    lambda x, repeats, axis=None: jnp.repeat(tensor(x), _concrete(repeats), axis),
    "Repeat each entry along `axis`; of the flat array when None.", "repeats",
    integers=True)
tile = _op("tile", lambda x, repeats: jnp.tile(tensor(x), repeats),
    "Repeat the whole array along each axis.", "repeats",
    integers=True)


def ndim(x):
    """Return the number of axes, an int for a symbolic tensor, too."""
    return len(x.shape) if is_symbolic(x) else jnp.ndim(tensor(x))


size = _op("size", lambda x: jnp.size(tensor(x)), "Return the number of entries.")
# fmt: on


@op(config=("pad_width", "mode"))
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

    >>> import lamina
    >>> lamina.ops.pad([1, 2], (1, 0)).tolist()
    [0, 1, 2]
    """
    if isinstance(pad_width, list):
        pad_width = tuple(_axes(p) for p in pad_width)
    if constant_values is None:
        return jnp.pad(tensor(x), pad_width, mode)
    if mode != "constant":
        raise ValueError(
            "Argument `constant_values` can only be provided when "
            f"`mode == 'constant'`. Received: mode={mode}"
        )
    return jnp.pad(tensor(x), pad_width, mode, constant_values=constant_values)


# Joining and cutting.


def _list(xs):
    if hasattr(xs, "shape"):
        return list(tensor(xs))
    return list(promoted(*xs))


# fmt: off
concatenate = _op("concatenate", lambda xs, axis=0: jnp.concatenate(_list(xs), axis),
    "Join arrays along an axis they have.",
    integers=True)
append = _op("append",
    lambda x1, x2, axis=None: jnp.append(*promoted(x1, x2), axis=axis),
    "Put x2 after x1 along `axis`; flat when None.",
    integers=True)
stack = _op("stack", lambda x, axis=0: jnp.stack(_list(x), axis),
    "Join arrays along a new axis.",
    integers=True)
hstack = _op("hstack", lambda xs: jnp.hstack(_list(xs)),
    "Join arrays along axis 1, or axis 0 for vectors.",
    integers=True)
vstack = _op("vstack", lambda xs: jnp.vstack(_list(xs)),
    "Join arrays along axis 0, vectors as rows.",
    integers=True)
dstack = _op("dstack", lambda xs: jnp.dstack(_list(xs)), "Join arrays along axis 2.",
    integers=True)
# fmt: on


@op(config=("indices_or_sections", "axis"), integers=True)
def split(x, indices_or_sections, axis=0):
    """Cut `x` along `axis` into a list of arrays.

    Args:
        x: any array with an axis.
        indices_or_sections: the number of equal parts, or the positions to cut at.
        axis: the axis.

    Raises:
        ValueError: the parts would not be equal.

    >>> import lamina
    >>> [part.tolist() for part in lamina.ops.split([1, 2, 3], [1])]
    [[1], [2, 3]]
    """
    return list(jnp.split(tensor(x), _cuts(indices_or_sections), axis))


def _cuts(x):
    return x if isinstance(x, int) else np.asarray(x)


def _splits(name, function, doc):
    def splits(x, indices_or_sections):
        return list(function(tensor(x), _cuts(indices_or_sections)))

    return _op(name, splits, doc, "indices_or_sections", integers=True)


# fmt: off
array_split = _op("array_split",
    lambda x, indices_or_sections, axis=0: list(jnp.array_split(tensor(x),
        _cuts(indices_or_sections), axis) ),
    "Cut `x` along `axis` into parts as equal as can be.", "indices_or_sections",
    integers=True)
hsplit = _splits("hsplit", jnp.hsplit, "Cut along axis 1, or axis 0 of a vector.")
vsplit = _splits("vsplit", jnp.vsplit, "Cut along axis 0.")
dsplit = _splits("dsplit", jnp.dsplit, "Cut along axis 2.")
# fmt: on


@op(config=("indexing",))
def meshgrid(*x, indexing="xy"):
    """Return coordinate arrays of the grid that vectors span, one for each."""
    return list(jnp.meshgrid(*(jnp.ravel(tensor(v)) for v in x), indexing=indexing))


# Picking entries.


@op(integers=True)
def get_item(x, key):
    """Return x[key]."""
    if isinstance(key, list):
        special = (slice, type(None), type(Ellipsis))
        mixed = builtins.any(isinstance(k, special) for k in key)
        key = tuple(key) if mixed else tensor(key)
    x = tensor(x)
    _check_places(x.shape, key if isinstance(key, tuple) else (key,))
    return x[key]


def _check_places(shape, key):
    """Refuse a place outside the array, for which JAX would take the last one."""
    key = [k for k in key if k is not None]
    if not builtins.all(
        isinstance(k, (int, np.integer, slice, EllipsisType)) for k in key
    ):
        return
    dots = key.index(...) if ... in key else len(key)
    for sizes, places in ((shape, key[:dots]), (shape[::-1], key[:dots:-1])):
        for n, k in zip(sizes, places, strict=False):
            if not isinstance(n, int) or isinstance(k, (slice, bool)):
                continue
            if not -n <= operator.index(k) < n:
                raise IndexError(
                    f"Index {k} is out of bounds for an axis of size {n}. Received: an "
                    f"array of shape {shape}"
                )


# fmt: off
take = _op("take",
    lambda x, indices, axis=None: jnp.take(tensor(x), tensor(indices).astype("int32"),
        axis ),
    "Return the entries at `indices` along `axis`; of the flat array when None.",
    integers=True)
take_along_axis = _op("take_along_axis",
    lambda x, indices, axis=None: jnp.take_along_axis(tensor(x),
        tensor(indices).astype("int32"), axis ),
    "Return entries along `axis`, at an index for each of the other positions.",
    integers=True)
# fmt: on


@op(elementwise=True)
def select(condlist, choicelist, default=0):
    """Take each entry from the first choice whose condition holds."""
    conditions = [truth(c) for c in condlist]
    *choices, default = promoted(*choicelist, default)
    return jnp.select(conditions, choices, default)


# fmt: off
nonzero = _op("nonzero", lambda x: _nonzero(tensor(x)),
    "Return the positions of entries that are not zero, an array for each axis.")
# fmt: on


def _nonzero(x):
    if context.runs("symbolic"):
        return (jnp.zeros((unknown_size(),), "int32"),) * x.ndim
    return jnp.nonzero(x)


# fmt: off
diag = _op("diag", lambda x, k=0: jnp.diag(tensor(x), k),
    "Return the k-th diagonal of a matrix, or the matrix with it.")
diagflat = _op("diagflat", lambda x, k=0: jnp.diagflat(tensor(x), k),
    "Return the matrix with the flat array on its k-th diagonal.")
diagonal = _op("diagonal",
    lambda x, offset=0, axis1=0, axis2=1: jnp.diagonal(tensor(x), offset, axis1, axis2),
    "Return the diagonal over two axes, as the last axis.",
    integers=True)
trace = _op("trace",
    lambda x, offset=0, axis1=0, axis2=1: jnp.trace(tensor(x), offset, axis1, axis2),
    "Return the sum of the diagonal over two axes.")
tril = _op("tril", lambda x, k=0: jnp.tril(tensor(x), k),
    "Put zeros above the k-th diagonal.")
triu = _op("triu", lambda x, k=0: jnp.triu(tensor(x), k),
    "Put zeros below the k-th diagonal.")

# Order and sets.
sort = _op("sort", lambda x, axis=-1: jnp.sort(tensor(x), axis),
    "Put the entries along `axis` in rising order.",
    integers=True)
argsort = _op("argsort",
    lambda x, axis=-1: jnp.argsort(jnp.atleast_1d(tensor(x)), axis).astype("int32"),
    "Return the positions that sort `x` along `axis`.")
argpartition = _op("argpartition",
    lambda x, kth, axis=-1: jnp.argpartition(
        jnp.ravel(tensor(x)) if axis is None else tensor(x), kth,
        -1 if axis is None else axis).astype("int32"),
    "Return positions with the `kth` in its sorted place, smaller ones before it.",
    "kth")
# fmt: on


@op(config=("side",), name="SearchSorted")
def searchsorted(sorted_sequence, values, side="left"):
    """Return where `values` would go in a sorted vector to keep it sorted.

    Raises:
        ValueError: `sorted_sequence` has not one axis.
    """
    sorted_sequence, values = promoted(sorted_sequence, values)
    if sorted_sequence.ndim != 1:
        raise ValueError(
            "`searchsorted` expected `sorted_sequence` to have one axis. Received: "
            f"shape {sorted_sequence.shape}"
        )
    return jnp.searchsorted(sorted_sequence, values, side).astype("int32")


@op
def digitize(x, bins):
    """Return the number of the bin of each entry; `bins` are rising limits."""
    x = tensor(x)
    return jnp.digitize(x, tensor(bins)).astype("int32")


@op(config=("bins", "range"))
def histogram(x, bins=10, range=None):
    """Return how many entries each of `bins` equal bins holds, and their limits.

    Raises:
        ValueError: `bins` is not positive, or `range` is not a rising pair.
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
    x = tensor(x)
    if x.ndim != 1:
        raise ValueError(
            f"`histogram` expected an array of one axis. Received: shape {x.shape}"
        )
    return jnp.histogram(x, bins, range and tuple(range))


@op(config=("weights", "minlength", "sparse"))
def bincount(x, weights=None, minlength=0, sparse=False):
    """Return how often 0, 1, 2, ... occur, or the sums of their weights.

    Args:
        x: non-negative integers; a matrix is counted row by row.
        weights: what each entry counts, of the shape of `x`.
        minlength: the least length of the result.
        sparse: not supported; must be False.

    >>> import lamina
    >>> lamina.ops.bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    dense_only("bincount", sparse)
    x = tensor(x).astype("int32")
    dtype = "int32" if weights is None else tensor(weights).dtype
    if context.runs("symbolic"):
        return jnp.zeros((*x.shape[:-1], unknown_size()), dtype)
    if isinstance(x, Tracer):
        length = minlength  # the largest entry is not known yet
    else:
        length = builtins.max(int(jnp.max(x, initial=-1)) + 1, minlength)
    if weights is None:
        weights = jnp.ones(x.shape, "int32")

    def count(row, weight):
        row = jnp.maximum(row, 0)  # as JAX does; an index below 0 counts from the end
        return jnp.zeros(length, dtype).at[row].add(weight, mode="drop")

    for _ in x.shape[:-1]:
        count = jax.vmap(count)
    return count(x, tensor(weights))


@op(config=("assume_unique", "invert"), name="IsIn")
def isin(x1, x2, assume_unique=False, invert=False):
    """Tell which entries of x1 occur in x2, or do not with `invert`."""
    x1, x2 = promoted(x1, x2)
    return jnp.isin(x1, x2, assume_unique, invert)


@op(data=("x",))
def unique(
    x, sorted=True, return_index=False, return_inverse=False, return_counts=False,
    axis=None, size=None, fill_value=None,
):  # fmt: skip
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
    """
    x = tensor(x)
    if size is None and context.runs("symbolic"):
        size = unknown_size()
        shape = (size,) if axis is None else x.shape
        if axis is not None:
            shape = tuple(
                size if i == axis % x.ndim else n for i, n in enumerate(shape)
            )
        row = jnp.zeros((size,), "int32")
        inverse = jnp.zeros(x.shape if axis is None else x.shape[axis], "int32")
        more = ((return_index, row), (return_inverse, inverse), (return_counts, row))
        result = (jnp.zeros(shape, x.dtype), *(a for wanted, a in more if wanted))
        return result if len(result) > 1 else result[0]
    return jnp.unique(
        x, return_index, return_inverse, return_counts, axis, size=size,
        fill_value=fill_value, equal_nan=False,
    )  # fmt: skip


@op(config=("shape",))
def unravel_index(indices, shape):
    """Turn positions in the flat array into a tuple of positions in `shape`."""
    indices = tensor(indices)
    return tuple(i.astype(indices.dtype) for i in jnp.unravel_index(indices, shape))


# Statistics and signals.
# fmt: off
corrcoef = _op("corrcoef", lambda x: jnp.corrcoef(inexact(x)),
    "Return the correlations of the rows of `x`.")
correlate = _op("correlate",
    lambda x1, x2, mode="valid": jnp.correlate(*promoted(x1, x2), mode=mode),
    "Return Σᵢ x1[i + k] · conj(x2[i]) for the shifts k that `mode` allows.")
bartlett = _op("bartlett", lambda x: _window(jnp.bartlett, x),
    "Return the triangular window of `x` points.")
blackman = _op("blackman", lambda x: _window(jnp.blackman, x),
    "Return the Blackman window of `x` points.")
hamming = _op("hamming", lambda x: _window(jnp.hamming, x),
    "Return the Hamming window of `x` points.")
hanning = _op("hanning", lambda x: _window(jnp.hanning, x),
    "Return the Hann window of `x` points.")
kaiser = _op("kaiser", lambda x, beta: _window(jnp.kaiser, x, beta),
    "Return the Kaiser window of `x` points; `beta` is its shape.", "beta")
# fmt: on


def _window(function, points, *more):
    return function(int(points), *more).astype(settings.floatx())


# Making arrays.
# fmt: off
array = _op("array", lambda x, dtype=None: tensor(x, dtype), "Return `x` as an array.",
    elementwise=True)
# fmt: on


@op(config=("dtype",))
def arange(start, stop=None, step=None, dtype=None):
    """Return start, start + step, ... below `stop`; 0, 1, ... below one argument."""
    if dtype is None:
        given = [v for v in (start, stop, step) if v is not None]
        dtype = result_type(*builtins.map(kind, given))
    dtype = canonical(dtype)
    if stop is None:
        start, stop = 0, start
    return jnp.arange(start, stop, 1 if step is None else step, dtype)


def _floats(*limits, dtype):
    return canonical(dtype or result_type(*builtins.map(kind, limits), float))


@op(config=("num", "endpoint", "retstep", "dtype", "axis"))
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """Return `num` numbers at equal distances from `start` to `stop`."""
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = tensor(start), tensor(stop)
    return jnp.linspace(start, stop, num, endpoint, retstep, dtype, axis=axis)


@op(config=("num", "endpoint", "base", "dtype", "axis"))
def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """Return `num` numbers at equal ratios from base^start to base^stop."""
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = tensor(start), tensor(stop)
    return jnp.logspace(start, stop, num, endpoint, base, dtype, axis=axis)


@op(config=("num", "endpoint", "dtype", "axis"))
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """Return `num` numbers at equal ratios from `start` to `stop`."""
    dtype = _floats(start, stop, dtype=dtype)
    start, stop = tensor(start), tensor(stop)
    return jnp.geomspace(start, stop, num, endpoint, dtype, axis=axis)


def zeros(shape, dtype=None):
    """Return an array of zeros."""
    return jnp.zeros(shape, canonical(dtype))


def ones(shape, dtype=None):
    """Return an array of ones."""
    return jnp.ones(shape, canonical(dtype))


def empty(shape, dtype=None):
    """Return an array of no particular values; they happen to be zeros."""
    return jnp.empty(shape, canonical(dtype))


def full(shape, fill_value, dtype=None):
    """Return an array of `fill_value`, which may broadcast."""
    return _full(fill_value, shape=shape, dtype=dtype)


@op(config=("shape", "dtype"), name="Full")
def _full(fill_value, *, shape, dtype=None):
    return jnp.full(shape, tensor(fill_value), canonical(dtype))


# fmt: off
zeros_like = _op("zeros_like",
    lambda x, dtype=None: jnp.zeros_like(tensor(x), dtype and canonical(dtype)),
    "Return zeros in the shape of `x`.", elementwise=True)
ones_like = _op("ones_like",
    lambda x, dtype=None: jnp.ones_like(tensor(x), dtype and canonical(dtype)),
    "Return ones in the shape of `x`.", elementwise=True)
empty_like = _op("empty_like",
    lambda x, dtype=None: jnp.empty_like(tensor(x), dtype and canonical(dtype)),
    "Return an array in the shape of `x`, of no particular values.")
full_like = _op("full_like",
    lambda x, fill_value, dtype=None: jnp.full_like(tensor(x), tensor(fill_value),
        dtype and canonical(dtype) ),
    "Return `fill_value` in the shape of `x`.", elementwise=True)
# fmt: on


def eye(N, M=None, k=0, dtype=None):
    """Return an N x M matrix with ones on the k-th diagonal and zeros elsewhere."""
    return jnp.eye(N, M, k, canonical(dtype))


def identity(n, dtype=None):
    """Return the n x n matrix with ones on the diagonal."""
    return jnp.identity(n, canonical(dtype))


def tri(N, M=None, k=0, dtype=None):
    """Return an N x M matrix with ones on and below the k-th diagonal."""
    return jnp.tri(N, M, k, canonical(dtype))


# fmt: off
vander = _op("vander",
    lambda x, N=None, increasing=False: jnp.vander(tensor(x), N, increasing),
    "Return the matrix of powers of a vector, x[i] to the power j.")
# fmt: on


def vectorize(pyfunc, *, excluded=None, signature=None):
    """Make a function of scalars (or what `signature` tells) work on arrays.

    Raises:
        ValueError: `pyfunc` is not callable.

    >>> import lamina
    >>> first = lamina.ops.vectorize(lambda a, b: a if b is None else a + b)
    >>> first(lamina.ops.arange(3), 1).tolist()
    [1, 2, 3]
    """
    if not callable(pyfunc):
        raise ValueError(
            f"`vectorize` expected `pyfunc` to be callable. Received: pyfunc={pyfunc!r}"
        )
    run = jnp.vectorize(pyfunc, excluded=excluded or (), signature=signature)

    def vectorized(*args):
        return run(*(tensor(a) if isinstance(a, (list, tuple)) else a for a in args))

    return vectorized


# fmt: off
slogdet = _op("slogdet", lambda x: tuple(jnp.linalg.slogdet(inexact(x))),
    "Return sign and ln abs of the determinants of square matrices.")
# fmt: on
