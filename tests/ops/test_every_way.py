"""Ops called in every way: eager, compiled, on symbols, and their gradients."""

import numpy as np
import pytest

from lamina import ops
from lamina.testing import check_op

RANDOM = np.random.default_rng(5)
X = RANDOM.uniform(0.2, 0.9, (3, 4)).astype("float32")
Y = RANDOM.uniform(1.1, 1.9, (3, 4)).astype("float32")
CUBE = RANDOM.uniform(-1.0, 1.0, (2, 3, 4)).astype("float32")

# NumPy has a function of the same name, which is the reference.
UNARY = (
    "abs sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh exp exp2 "
    "expm1 log log1p log2 log10 sqrt square negative reciprocal sign floor ceil round "
    "isfinite isnan logical_not sum mean std var max min prod argmax cumsum cumprod "
    "transpose ravel ones_like zeros_like sort argsort flip nan_to_num diff median"
).split()
BINARY = (
    "add subtract multiply divide power maximum minimum arctan2 hypot logaddexp equal "
    "not_equal less greater_equal mod floor_divide outer"
).split()
SETTINGS = [
    ("sum", (CUBE,), {"axis": (0, 2), "keepdims": True}),
    ("mean", (CUBE,), {"axis": -1}),
    ("var", (CUBE,), {"axis": 1}),
    ("max", (CUBE,), {"axis": 2}),
    ("cumsum", (CUBE,), {"axis": 1}),
    ("squeeze", (CUBE[:, :1],), {"axis": 1}),
    ("expand_dims", (CUBE,), {"axis": 1}),
    ("transpose", (CUBE,), {"axes": (2, 0, 1)}),
    ("swapaxes", (CUBE,), {"axis1": 0, "axis2": 2}),
    ("moveaxis", (CUBE,), {"source": 0, "destination": 2}),
    ("repeat", (CUBE,), {"repeats": 2, "axis": 1}),
    ("tile", (CUBE,), {"repeats": (1, 2, 1)}),
    ("roll", (CUBE,), {"shift": 1, "axis": 2}),
    ("clip", (CUBE,), {"x_min": -0.53, "x_max": 0.41}),
    ("tril", (CUBE,), {"k": -1}),
    ("take", (CUBE,), {"indices": [0, 2], "axis": 1}),
    ("pad", (CUBE,), {"pad_width": ((0, 0), (1, 2), (0, 1))}),
]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    smooth = name not in ("argmax", "argsort")
    check_op(getattr(ops, name), X, reference=getattr(np, name), gradient=smooth)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    smooth = name not in ("mod", "floor_divide")  # these jump
    check_op(getattr(ops, name), Y, X, reference=getattr(np, name), gradient=smooth)


@pytest.mark.parametrize(("name", "args", "settings"), SETTINGS)
def test_settings(name, args, settings):
    given = {"x_min": "a_min", "x_max": "a_max", "repeats": "repeats"}
    if name == "tile":
        given["repeats"] = "reps"

    def reference(*arrays, **settings):
        named = {given.get(key, key): value for key, value in settings.items()}
        return getattr(np, name)(*arrays, **named)

    smooth = name != "clip"  # a difference may step over its corners
    check_op(
        getattr(ops, name), *args, reference=reference, gradient=smooth, **settings
    )


@pytest.mark.parametrize(
    "name",
    "relu relu6 elu selu gelu silu softplus softsign sigmoid log_sigmoid softmax "
    "log_softmax hard_sigmoid leaky_relu celu squareplus tanh_shrink".split(),
)
def test_activations(name):
    check_op(getattr(ops, name), CUBE + 0.013)


def test_products():
    check_op(ops.matmul, X, Y.T, reference=np.matmul)
    check_op(ops.dot, X, Y.T, reference=np.dot)
    check_op(lambda a, b: ops.einsum("bij,kj->bik", a, b), CUBE, X)


def test_joining_and_choosing():
    check_op(lambda a, b: ops.concatenate([a, b], axis=1), X, Y)
    check_op(lambda a, b: ops.stack([a, b], axis=-1), X, Y)
    check_op(lambda a, b: ops.where(ops.greater(a, 0.5), a, b), X, Y)
    check_op(lambda a: ops.reshape(a, (-1, 2)), X)
    check_op(lambda a: a[:, 1:3] * 2.0 - a[:, :1], X)
