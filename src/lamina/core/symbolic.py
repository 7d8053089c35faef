"""Tensors without data, and the record of the calls that made them."""

import functools
import itertools
import types
from typing import Any, NamedTuple

import jax

from lamina.core import structure
from lamina.core.budget import looked_at
from lamina.core.context import context, having
from lamina.core.dtypes import is_float, standardize_dtype
from lamina.core.naming import automatic_name, printable
from lamina.core.tracebacks import boundary
from lamina.core.types import Computes, DType
from lamina.core.variable import Variable, scratch


class History(NamedTuple):
    """Which output of which call a symbolic tensor is, under Keras' names."""

    operation: Any
    node_index: int
    tensor_index: int


class SymbolicTensor(Computes):
    """A shape and a dtype without data: what a graph is drawn with.

    Args:
        shape: the shape; None stands for a dimension that is not known yet.
        dtype: the dtype.
        sparse: not supported; must be False.
        ragged: not supported; must be False.
        record_history: kept for compatibility.
        name: a name for messages.

    >>> import lamina
    >>> x = lamina.KerasTensor((None, 3), dtype="float32")
    >>> (x + 1.0).shape
    (None, 3)
    """

    is_symbolic = True
    sparse = False
    ragged = False
    ragged_rank = row_splits_dtype = None
    __array_priority__ = 1000
    reshape: Any
    squeeze: Any
    __slots__ = ("__dict__", "__weakref__", "_dtype", "_shape", "index", "name", "node")

    @boundary
    def __init__(
        self,
        shape: Any,
        dtype: DType = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        **kwargs,
    ):
        if sparse or ragged:
            raise ValueError(
                "Sparse and ragged tensors are not supported. Use dense arrays, with a "
                "mask for missing entries."
            )
        self._shape = standardize_shape(shape)
        self._dtype = standardize_dtype(dtype)
        self.name = name or automatic_name("keras_tensor")
        self.node: Node | None = None
        self.index = 0
        # Of `a == b`: whether a is b, which is what `in` and `if` want to know.
        self.identical: bool | None = None

    @property
    def shape(self):
        """The shape, a tuple with None for what is not known."""
        return self._shape

    @property
    def dtype(self):
        """The dtype, a string."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._shape)

    @property
    def _keras_history(self):
        if self.node is None:
            raise AttributeError("_keras_history")
        return History(self.node.operation, self.node.position, self.index)

    def __repr__(self):
        return (
            f"<KerasTensor shape={self._shape}, dtype={self._dtype}, sparse=False, "
            f"ragged=False, name={printable(self.name)}>"
        )

    @boundary
    def __iter__(self):
        raise NotImplementedError(
            "Iterating over a symbolic KerasTensor is not supported: it has no data "
            "yet. Call layers and `lamina.ops` on the whole tensor, or take it apart "
            "with `lamina.ops.unstack(x, axis=...)`."
        )

    @boundary
    def __setitem__(self, key, value):
        raise TypeError(
            "A symbolic KerasTensor cannot be assigned to, it holds no data. Make a "
            "new one with `lamina.ops.where` or `lamina.ops.slice_update`."
        )

    @boundary
    def __bool__(self):
        if self.identical is not None:
            return self.identical
        raise TypeError(
            "A symbolic KerasTensor has no value, so it cannot decide an `if` or a "
            "`while`. Use `lamina.ops.where` or `lamina.ops.cond`, or write the model "
            "as a subclass of `lamina.Model`."
        )

    @boundary
    def __float__(self):
        raise TypeError(_no_value("a float"))

    @boundary
    def __int__(self):
        raise TypeError(_no_value("an integer"))

    @boundary
    def __array__(self, dtype=None, copy=None):
        raise ValueError(_no_value("a NumPy array"))

    @property
    def __jax_array__(self):
        # A property, because JAX may ask for the method and never call it.
        raise ValueError(
            "A symbolic KerasTensor was given to a JAX function. Symbolic tensors draw "
            "the graph of a model and hold no data: use `lamina.ops` in place of "
            "`jax.numpy`, or put the JAX code into the `call` of a Layer."
        )

    __tf_tensor__ = __jax_array__


def _no_value(kind):
    return (
        f"A symbolic KerasTensor cannot be converted to {kind}: it stands for an input "
        "of a model and holds no data. Use `lamina.ops` or a Layer on it."
    )


def standardize_shape(shape) -> tuple:
    """Return `shape` as a tuple of positive integers, zeros and None.

    Raises:
        ValueError: it is not a sequence, or holds something else.
    """
    if isinstance(shape, (str, dict)) or not hasattr(shape, "__iter__"):
        cure = f". Write `({shape},)`" if isinstance(shape, int) else ""
        raise ValueError(
            f"A shape must be a list or tuple. Received: shape={shape!r}{cure}"
        )
    result = []
    for dim in shape:
        if dim is None:
            result.append(None)
            continue
        try:
            number = int(dim.__index__())
        except Exception:
            raise ValueError(
                f"Cannot convert '{shape}' to a shape. Found invalid dimension '{dim}' "
                f"of type '{type(dim)}'."
            ) from None
        if number < 0:
            raise ValueError(
                f"Cannot convert '{shape}' to a shape. Negative dimensions are not "
                "allowed."
            )
        result.append(number)
    return tuple(result)


class Node:
    """The record of one call: what was called, with what, and what came out.

    Args:
        operation: the layer or op that was called.
        args: its positional arguments, with SymbolicTensors anywhere inside.
        kwargs: its keyword arguments, likewise.
        outputs: the SymbolicTensors it gave, in any structure.
    """

    def __init__(self, operation, args=(), kwargs=None, outputs=()):
        self.operation = operation
        self.args = args
        self.kwargs = kwargs or {}
        self.input_tensors = find_symbolic((self.args, self.kwargs))
        self.outputs = self.output_tensors = structure.flatten(outputs)
        known = nodes_of(operation)
        self.position = len(known)
        known.append(self)
        for index, tensor in enumerate(self.outputs):
            if isinstance(tensor, SymbolicTensor):
                tensor.node = self
                tensor.index = index

    @property
    def arguments(self):
        """What it was called with: `args`, `kwargs`, and the `keras_tensors` inside."""
        return types.SimpleNamespace(
            args=self.args, kwargs=self.kwargs, keras_tensors=self.input_tensors
        )

    @property
    def parent_nodes(self) -> list:
        """The nodes whose outputs it takes."""
        return [t.node for t in self.input_tensors if t.node is not None]

    @property
    def is_input(self) -> bool:
        """Whether it is where a graph begins."""
        return not self.input_tensors

    def fill(self, values):
        """Return its arguments with each symbolic tensor replaced by its value.

        Args:
            values: a dict from `id(symbolic tensor)` to value.
        """

        def swap(x):
            if not isinstance(x, SymbolicTensor):
                return x
            return in_drawn_dtype(x, values[id(x)], self.operation)

        return structure.map_leaves(swap, self.args), {
            k: structure.map_leaves(swap, v) for k, v in self.kwargs.items()
        }

    def __repr__(self):
        name = printable(self.operation.name)
        return f"<Node of {name}, {len(self.input_tensors)} inputs>"


HALF = ("bfloat16", "float16")


def in_drawn_dtype(tensor, value, taker=None):
    """Return the value of a symbolic tensor as an operation takes it.

    Integers given to an Input of floats stay integers as long as entries are moved or
    read as numbers of rows: half precision would round those. For what computes with
    them they are cast to what was drawn.

    Args:
        tensor: the symbolic tensor.
        value: its value.
        taker: the operation; None for the caller of the graph.
    """
    if not is_wide_integer(value) or not is_float(tensor.dtype):
        return value
    if tensor.node is None or not tensor.node.operation._moves_entries:
        return value
    dtypes = (tensor.dtype, getattr(taker, "compute_dtype", None))
    if getattr(taker, "_takes_integers", False) and any(d in HALF for d in dtypes):
        return value
    return value.astype(jax.dtypes.canonicalize_dtype(tensor.dtype))


def is_wide_integer(x) -> bool:
    """Tell whether `x` holds integers that half precision may round: no bytes."""
    dtype = getattr(x, "dtype", None)
    return getattr(dtype, "kind", "-") in "iu" and dtype != "uint8"


def plain_shape(x) -> tuple:
    """Return the shape of `x`, with None for what is not known."""
    return tuple(d if isinstance(d, int) else None for d in x.shape)


def is_symbolic(x) -> bool:
    """Tell whether `x` is a symbolic tensor.

    >>> import lamina
    >>> x = lamina.Input((3,))
    >>> lamina.utils.is_keras_tensor(x), lamina.utils.is_keras_tensor([1.0])
    (True, False)
    """
    return isinstance(x, SymbolicTensor)


def nodes_of(operation) -> list:
    """Return the calls of a layer or operation on symbolic tensors, in order."""
    return operation._inbound_nodes


def find_symbolic(args) -> list:
    """Return the symbolic tensors inside any nesting of containers, in order."""
    return [x for x in structure.flatten(args) if isinstance(x, SymbolicTensor)]


def any_symbolic(args, kwargs) -> bool:
    """Tell whether a symbolic tensor stands anywhere among the arguments."""
    for x in (*args, *kwargs.values()):
        if isinstance(x, SymbolicTensor):
            return True
        if isinstance(x, (list, tuple, dict)) and find_symbolic(x):
            return True
    return False


@functools.cache
def unknown_size():
    """Return a size that `infer` reports as None, for results that depend on data.

    It is the one symbolic dimension that stands for every None.
    """
    from jax import export

    (size,) = export.symbolic_shape("b", constraints=["b>=2"])
    return size


# Sizes tried in place of None where the symbolic dimension cannot decide, of rows and
# of other axes, two by two: what differs between two results is unknown. They are
# multiples of many small numbers so that usual reshapes and windows divide them. Few
# rows come first: a `call` may take them one by one. The third pair is for what needs
# long sequences, such as a crop of thousands; the others are for what takes short ones
# alone, such as a slice of a table of positions.
_PROBES = (
    (24, 240), (48, 480), (240, 240), (480, 480), (61_440, 61_440), (122_880, 122_880),
    (6, 6), (12, 12), (2, 2), (4, 4),
)  # fmt: skip


def infer(fn, *args, **kwargs):
    """Return what `fn` gives for symbolic arguments, as symbolic tensors.

    No data is computed and no Variable is changed. Dimensions of the result that
    depend on an unknown one are None.

    Args:
        fn: a function of arrays.
        args: its arguments; symbolic tensors anywhere inside.
        kwargs: its keyword arguments, likewise.
    """
    tensors = find_symbolic((args, kwargs))
    unknown = any(None in t.shape for t in tensors)
    if not unknown:
        return _as_symbolic(_abstract(fn, args, kwargs, tensors, None))
    try:
        result = _abstract(fn, args, kwargs, tensors, unknown_size())
    except Exception as error:
        return _probe(fn, args, kwargs, tensors, error)
    return _as_symbolic(result)


def _probe(fn, args, kwargs, tensors, error):
    results, worked = [], set()
    for fill in _fills(tensors, (args, kwargs)):
        try:
            results.append(_abstract(fn, args, kwargs, tensors, fill))
        except Exception as other:
            text = repr(error).lower()
            if repr(other) == repr(error) and not ("shape" in text or "size" in text):
                raise error from None  # no matter of sizes
            continue
        if fill in _PROBES:
            worked.add(fill)
            if tuple(size // 2 for size in fill) in worked:
                break  # both of a pair: many sizes will do
    if not results or len({jax.tree.structure(r) for r in results}) > 1:
        raise error

    def merge(*found):
        ranks = {len(x.shape) for x in found}
        if len(ranks) > 1:
            raise error
        sizes = zip(*map(plain_shape, found), strict=True)
        shape = [size if {size, *others} == {size} else None for size, *others in sizes]
        return SymbolicTensor(shape, found[0].dtype)

    return jax.tree.map(merge, *results)


def _fills(tensors, arguments):
    """Yield sizes to try for None: the same for all, then one for each.

    A None may have to be what another tensor has: (None, 3) + (2, None).
    """
    yield from _PROBES
    sizes = [((i, a), d) for i, t in enumerate(tensors) for a, d in enumerate(t.shape)]
    slots = [place for place, size in sizes if size is None]
    shapes = [getattr(x, "shape", ()) for x in structure.flatten(arguments)]
    known = {n for shape in shapes for n in shape if n}
    choices = sorted(known)[:4] + [240, 480]
    if len(choices) ** len(slots) > 250:
        choices = choices[:-1]
    if len(choices) ** len(slots) > 250:
        return
    for sizes in itertools.product(choices, repeat=len(slots)):
        yield dict(zip(slots, sizes, strict=True))


def _abstract(fn, args, kwargs, tensors, unknown):
    if any(t.dtype == "string" for t in tensors):
        raise TypeError(
            "Text in a graph is taken by layers such as `TextVectorization` and "
            "`StringLookup`, and by models that begin with them. Put one of these "
            "between the Input of text and what was called."
        )

    def fill(i, axis):
        if isinstance(unknown, tuple):
            return unknown[axis > 0]
        return unknown[i, axis] if isinstance(unknown, dict) else unknown

    specs = [
        jax.ShapeDtypeStruct(
            tuple(fill(i, a) if d is None else d for a, d in enumerate(t.shape)),
            jax.dtypes.canonicalize_dtype(t.dtype),
        )
        for i, t in enumerate(tensors)
    ]

    def run(arrays):
        values = {id(t): a for t, a in zip(tensors, arrays, strict=True)}

        def swap(x):
            return values[id(x)] if isinstance(x, SymbolicTensor) else x

        filled = structure.map_leaves(swap, (args, kwargs))
        with scratch("symbolic"), having(losses=[]):
            return _arrays_only(fn(*filled[0], **filled[1]))

    budget = context.configs.budget
    if budget is None:
        return jax.eval_shape(run, specs)
    looked_at((args, kwargs))
    return budget.traced(run, specs)


def _arrays_only(result):
    def check(x):
        if x is None or hasattr(x, "shape") or isinstance(x, (int, float, complex)):
            return x.value if isinstance(x, Variable) else x
        raise TypeError(
            f"A call on symbolic tensors must return arrays. Received: {x!r} (of type "
            f"{type(x).__name__})"
        )

    return structure.map_leaves(check, result)


def _as_symbolic(result):
    return jax.tree.map(lambda x: SymbolicTensor(plain_shape(x), x.dtype), result)
