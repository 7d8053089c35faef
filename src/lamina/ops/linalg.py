"""Linear algebra on matrices in the last two axes."""

import jax as _jax
import jax.numpy as _jnp
from jax.core import Tracer as _Tracer

from lamina._imports import offer as _offer
from lamina.core.op import op as _op
from lamina.core.op import unwrap as _unwrap
from lamina.core.tracebacks import boundary as _boundary
from lamina.ops.arrays import axes as _axes
from lamina.ops.arrays import inexact as _inexact
from lamina.ops.arrays import promoted as _promoted


def _matrix(x, name):
    x = _inexact(x)
    if x.ndim < 2:
        raise ValueError(
            f"`{name}` expected an array with at least two axes. Received: shape "
            f"{x.shape}"
        )
    return x


def _square(x, name):
    x = _matrix(x, name)
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"`{name}` expected square matrices. Received: shape {x.shape}"
        )
    return x


@_op(config=("upper",))
def cholesky(x, upper=False):
    """Return L with x = L · Lᵀ, lower triangular; or its transpose if `upper`.

    Raises:
        ValueError: the matrices are not square, or not positive definite.

    >>> from lamina import ops
    >>> ops.cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = _square(x, "cholesky")
    factor = _jnp.linalg.cholesky(x, upper=upper)
    if not isinstance(factor, _Tracer) and bool(_jnp.isnan(factor).any()):
        raise ValueError(
            "Cholesky decomposition failed. The input might not be a valid positive "
            "definite matrix."
        )
    return factor


@_op(config=("upper",))
def cholesky_inverse(x, upper=False):
    """Return the inverse of the matrix whose Cholesky factor is `x`.

    >>> from lamina import ops
    >>> ops.cholesky_inverse([[2.0, 0.0], [0.0, 1.0]]).tolist()
    [[0.25, 0.0], [0.0, 1.0]]
    """
    x = _square(x, "cholesky_inverse")
    identity = _jnp.broadcast_to(_jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = _jax.scipy.linalg.solve_triangular(x, identity, lower=not upper)
    other = _jnp.swapaxes(inverse, -1, -2)
    return inverse @ other if upper else other @ inverse


@_op
def det(x):
    """Return the determinants of square matrices.

    >>> from lamina import ops
    >>> float(ops.det([[1.0, 2.0], [3.0, 4.0]]))
    -2.0
    """
    return _jnp.linalg.det(_square(x, "det"))


@_op
def eig(x):
    """Return eigenvalues and right eigenvectors of square matrices; on CPU only.

    Args:
        x: (..., n, n).

    Returns:
        Complex (..., n), and (..., n, n) with the vectors as columns.

    >>> from lamina import ops
    >>> values, vectors = ops.eig([[2.0, 1.0], [0.0, 3.0]])
    >>> values.tolist()
    [(2+0j), (3+0j)]
    """
    return tuple(_jnp.linalg.eig(_square(x, "eig")))


@_op
def eigh(x):
    """Return rising eigenvalues, and eigenvectors, of symmetric or Hermitian matrices.

    Args:
        x: (..., n, n).

    Returns:
        (..., n), and (..., n, n) with orthonormal vectors as columns.

    >>> from lamina import ops
    >>> values, vectors = ops.eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> values.tolist()
    [1.0, 3.0]
    """
    return tuple(_jnp.linalg.eigh(_square(x, "eigh")))


@_op
def inv(x):
    """Return the inverses of square matrices.

    >>> from lamina import ops
    >>> ops.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return _jnp.linalg.inv(_square(x, "inv"))


@_op
def lu_factor(x):
    """Return L and U with row exchanges, packed into one matrix, and the pivots.

    Args:
        x: (..., m, n).

    Returns:
        (..., m, n) with U on and above the diagonal, and below it L, whose diagonal is
        1; and the row that each row was exchanged with, (..., min(m, n)).

    >>> from lamina import ops
    >>> lu, pivots = ops.lu_factor([[1.0, 2.0], [2.0, 2.0]])
    >>> lu.tolist(), pivots.tolist()
    ([[2.0, 2.0], [0.5, 1.0]], [1, 1])
    """
    lu, pivots = _jax.scipy.linalg.lu_factor(_matrix(x, "lu_factor"))
    return lu, pivots


@_op(config=("ord", "axis", "keepdims"))
def norm(x, ord=None, axis=None, keepdims=False):
    """Return the norm of vectors or matrices.

    Args:
        x: any array.
        ord: for vectors a number p, (Σ abs(x)^p)^(1/p); for matrices `"fro"`,
            `"nuc"`, 1, 2 or infinity, or their negatives; 2 or `"fro"` when None.
        axis: one axis for vectors, two for matrices; all when None.
        keepdims: keep these axes with size 1.

    Raises:
        ValueError: there is no such norm for that number of axes.

    >>> from lamina import ops
    >>> float(ops.norm([3.0, 4.0]))
    5.0
    """
    x = _inexact(x)
    return _jnp.linalg.norm(x, ord, _axes(axis), keepdims)


@_op(config=("mode",))
def qr(x, mode="reduced"):
    """Return orthonormal Q and upper triangular R with x = Q · R.

    Args:
        x: (..., m, n).
        mode: `"reduced"`: min(m, n) columns; `"complete"`: m columns.

    Raises:
        ValueError: another mode.

    >>> from lamina import ops
    >>> q, r = ops.qr([[0.0, 2.0], [1.0, 3.0]])
    >>> ops.abs(r).tolist()
    [[1.0, 3.0], [0.0, 2.0]]
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(
            "`mode` argument value not supported. Expected one of {'reduced', "
            f"'complete'}}. Received: mode={mode}"
        )
    return tuple(_jnp.linalg.qr(_matrix(x, "qr"), mode))


def _system(name, a, b):
    a, b = _promoted(a, b, also=(float,))
    a = _square(a, name)
    rows = b.shape[-1] if b.ndim == a.ndim - 1 else b.shape[-2] if b.ndim > 1 else None
    if rows != a.shape[-1]:
        raise ValueError(
            f"`{name}` expected `b` to have as many rows as `a`. Received: a.shape="
            f"{a.shape}, b.shape={b.shape}"
        )
    return a, b, b.ndim == a.ndim - 1


@_op
def solve(a, b):
    """Return x with a · x = b, for square `a`.

    Args:
        a: (..., n, n).
        b: vectors (..., n) or matrices (..., n, k).

    Raises:
        ValueError: the shapes do not go together.

    >>> from lamina import ops
    >>> ops.solve([[2.0, 1.0], [0.0, 4.0]], [4.0, 8.0]).tolist()
    [1.0, 2.0]
    """
    a, b, vector = _system("solve", a, b)
    return (
        _jnp.linalg.solve(a, b[..., None])[..., 0]
        if vector
        else _jnp.linalg.solve(a, b)
    )


@_op(config=("lower",))
def solve_triangular(a, b, lower=False):
    """Return x with a · x = b, for triangular `a`.

    Args:
        a: (..., n, n); the other triangle is not looked at.
        b: vectors (..., n) or matrices (..., n, k).
        lower: whether the lower triangle counts.

    Raises:
        ValueError: the shapes do not go together.

    >>> from lamina import ops
    >>> ops.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [4.0, 10.0], lower=True).tolist()
    [2.0, 2.0]
    """
    a, b, vector = _system("solve_triangular", a, b)
    b = b[..., None] if vector else b
    x = _jax.scipy.linalg.solve_triangular(a, b, lower=lower)
    return x[..., 0] if vector else x


@_op(config=("full_matrices", "compute_uv"), name="SVD")
def svd(x, full_matrices=True, compute_uv=True):
    """Return U, s and Vᴴ with x = U · diag(s) · Vᴴ; or s alone.

    Args:
        x: (..., m, n).
        full_matrices: square U and V; else min(m, n) columns.
        compute_uv: return all three.

    >>> from lamina import ops
    >>> ops.svd([[3.0, 0.0], [0.0, -4.0]], compute_uv=False).tolist()
    [4.0, 3.0]
    """
    x = _matrix(x, "svd")
    result = _jnp.linalg.svd(x, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(result) if compute_uv else result


@_op(config=("rcond",))
def lstsq(a, b, rcond=None):
    """Return the x of least length among those that minimize ‖a · x - b‖.

    Args:
        a: (m, n).
        b: (m,) or (m, k).
        rcond: singular values below rcond times the largest count as zero.

    >>> from lamina import ops
    >>> ops.lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0]).tolist()
    [1.0, 2.0]
    """
    a, b = _promoted(a, b, also=(float,))
    a = _matrix(a, "lstsq")
    if b.ndim not in (1, 2) or b.shape[0] != a.shape[0]:
        raise ValueError(
            "`lstsq` expected `b` to have as many rows as `a`. Received: a.shape="
            f"{a.shape}, b.shape={b.shape}"
        )
    return _jnp.linalg.lstsq(a, b, rcond)[0]


@_op(config=("tol",))
def matrix_rank(x, tol=None):
    """Return how many singular values exceed `tol`, an int32 for each matrix.

    Args:
        x: (..., m, n).
        tol: the limit; when None, the largest singular value times max(m, n) times the
            distance of floats at 1.

    >>> from lamina import ops
    >>> int(ops.matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
    1
    """
    x = _matrix(x, "matrix_rank")
    values = _jnp.linalg.svd(x, compute_uv=False)
    if tol is None:
        largest = _jnp.max(values, -1, keepdims=True)
        tol = largest * max(x.shape[-2:]) * _jnp.finfo(x.dtype).eps
    return _jnp.sum(values > tol, -1).astype("int32")


@_op(config=("rcond",))
def pinv(x, rcond=None):
    """Return the Moore-Penrose inverses.

    Args:
        x: (..., m, n).
        rcond: singular values below rcond times the largest count as zero.

    >>> from lamina import ops
    >>> ops.pinv([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    return _jnp.linalg.pinv(_matrix(x, "pinv"), rtol=rcond)


@_boundary
def jvp(fun, primals, tangents, has_aux=False):
    """Return fun(*primals), and its derivative in the direction `tangents`.

    Args:
        fun: a differentiable function of arrays.
        primals: where to take it.
        tangents: the direction, one array for each of `primals`.
        has_aux: `fun` returns a pair whose second part is handed on.

    >>> from lamina import ops
    >>> value, slope = ops.jvp(lambda x: x * x, (3.0,), (1.0,))
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    return _jvp(primals, tangents, fun=fun, has_aux=has_aux)


@_op(config=("fun", "has_aux"), name="JVP")
def _jvp(primals, tangents, *, fun, has_aux=False):
    primals = [_inexact(x) for x in _unwrap(tuple(primals))]
    tangents = [_inexact(x) for x in _unwrap(tuple(tangents))]
    return _jax.jvp(fun, primals, tangents, has_aux=has_aux)


_offer(globals())
