"""`InputSpec`: what a layer says of the tensors that it takes."""

from typing import Any

from lamina.core import structure
from lamina.core.config import Constructed
from lamina.core.dtypes import standardize_dtype
from lamina.core.symbolic import plain_shape
from lamina.core.types import DType, Shape


class InputSpec(Constructed):
    """What a layer accepts as one input; None accepts anything.

    Args:
        dtype: the dtype.
        shape: the shape; None in it accepts any size there.
        ndim: the number of axes.
        max_ndim: the largest number of axes.
        min_ndim: the smallest number of axes.
        axes: a dict from axes to sizes.
        allow_last_axis_squeeze: whether a last axis of size 1 may come or go.
        name: the key, where inputs come as a dict.
        optional: whether the input may be None.

    >>> import lamina
    >>> lamina.layers.InputSpec(min_ndim=2, axes={-1: 8})
    InputSpec(min_ndim=2, axes={-1: 8})
    """

    _saved_never = ("allow_last_axis_squeeze", "name", "optional")

    def __init__(
        self,
        dtype: DType = None,
        shape: Shape | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Any = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        self.dtype = standardize_dtype(dtype) if dtype is not None else None
        self.shape = tuple(shape) if shape is not None else None
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.name, self.optional = name, optional
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        try:
            self.axes = {int(k): size for k, size in (axes or {}).items()}
        except (ValueError, TypeError, AttributeError):
            raise TypeError(
                "Argument `axes` must be a dict with integer keys. Received: "
                f"axes={axes}"
            ) from None
        limit = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and limit is not None and max(self.axes) > limit - 1:
            raise ValueError(
                f"Axis {max(self.axes)} is greater than the maximum allowed value: "
                f"{limit - 1}"
            )

    def __repr__(self):
        shown = [f"{k}={v}" for k, v in self.get_config().items() if v]
        return f"InputSpec({', '.join(shown)})"


def check_inputs(spec, inputs, layer) -> None:
    """Raise unless `inputs` are what `spec` says.

    Args:
        spec: an InputSpec, or a structure of them.
        inputs: the tensors, in a structure alike.
        layer: the layer, for the message.

    Raises:
        ValueError: naming the layer, what was expected and what came.
    """
    if not spec:
        return
    alone = type(spec) is InputSpec and not isinstance(inputs, (list, tuple, dict))
    specs: list = [spec] if alone else structure.flatten(spec)
    if alone:
        inputs = [inputs]
    elif isinstance(inputs, dict) and all(s is not None and s.name for s in specs):
        missing = [s.name for s in specs if s.name not in inputs and not s.optional]
        if missing:
            raise ValueError(
                f"Missing data for input {missing[0]!r} of {_called(layer)}. You "
                f"passed a dictionary with keys {sorted(inputs)}. Expected the keys "
                f"{sorted(s.name for s in specs)}"
            )
        inputs = [inputs.get(s.name) for s in specs]
    else:
        inputs = structure.flatten(inputs)
    if len(inputs) != len(specs):
        raise ValueError(
            f"{_called(layer, start=True)} expected {len(specs)} input(s). Received "
            f"{len(inputs)} input tensors. Inputs received: "
            f"{[_shape(x) for x in inputs]}"
        )
    for position, (x, one) in enumerate(zip(inputs, specs, strict=True)):
        if one is None or (x is None and one.optional):
            continue
        if not hasattr(x, "shape"):
            raise ValueError(
                f"Inputs to a layer should be tensors. Got {x!r} (of type {type(x)}) "
                f"as input for {_called(layer)}."
            )
        problem = _problem(one, x)
        if problem:
            raise ValueError(
                f"Input {position}{f' ({one.name!r})' if one.name else ''} of "
                f"{_called(layer)} is incompatible with the layer: {problem}. Full "
                f"shape received: {plain_shape(x)}{_advice(one, x, layer)}"
            )


def _called(layer, start=False):
    return f"{'Layer' if start else 'layer'} {layer.name!r} ({type(layer).__name__})"


def _shape(x):
    return tuple(x.shape) if hasattr(x, "shape") else x


def _advice(spec, x, layer):
    """Return a sentence where an axis is missing, or not where it is looked for."""
    shape = plain_shape(x)
    maker = getattr(getattr(x, "node", None), "operation", None)
    if len(shape) > 3 and spec.axes.get(-1) == shape[1] and _has_channels(layer):
        return (
            ". Are the channels in axis 1? Move them, `numpy.moveaxis(x, 1, -1)`, or "
            'set `data_format="channels_first"`'
        )
    if maker is not None and spec.ndim and len(shape) == spec.ndim + 1:
        return (
            f". If the {x.shape[1]} in axis 1 is the number of rows, leave it out: the "
            "shape of an `Input` is that of one row"
        )
    if spec.ndim is None or spec.ndim != len(shape) + 1 or len(shape) < 2:
        return ""
    if maker is None or getattr(maker, "return_sequences", True):
        inner = tuple(-1 if n is None else n for n in shape[1:])
        return (
            f". `lamina.layers.Reshape({(*inner, 1)})` adds a last axis of size 1"
            if inner.count(-1) < 2
            else ""
        )
    return (
        f". Layer {maker.name!r} ({type(maker).__name__}) returns the last step alone: "
        "give it `return_sequences=True`"
    )


def _has_channels(layer):
    return getattr(layer, "data_format", None) == "channels_last"


def _problem(spec, x):
    shape = tuple(x.shape)
    ndim = len(shape)
    if spec.ndim is not None and ndim != spec.ndim and not spec.allow_last_axis_squeeze:
        return f"expected ndim={spec.ndim}, found ndim={ndim}"
    if spec.max_ndim is not None and ndim > spec.max_ndim:
        return f"expected max_ndim={spec.max_ndim}, found ndim={ndim}"
    if spec.min_ndim is not None and ndim < spec.min_ndim:
        return f"expected min_ndim={spec.min_ndim}, found ndim={ndim}"
    if spec.dtype is not None and standardize_dtype(x.dtype) != spec.dtype:
        return f"expected dtype={spec.dtype}, found dtype={standardize_dtype(x.dtype)}"
    for axis, size in spec.axes.items():
        if size is None:
            continue
        if not -ndim <= axis < ndim:
            return f"expected an axis {axis}, found ndim={ndim}"
        if isinstance(shape[axis], int) and shape[axis] != size:
            return f"expected axis {axis} of input shape to have value {size}"
    if spec.shape is not None:
        return _shape_problem(spec, shape)
    return None


def _shape_problem(spec, shape):
    wanted = spec.shape
    if spec.allow_last_axis_squeeze:
        if shape and shape[-1] == 1:
            shape = shape[:-1]
        if wanted and wanted[-1] == 1:
            wanted = wanted[:-1]
    if len(wanted) != len(shape) or any(
        isinstance(w, int) and isinstance(s, int) and w != s
        for w, s in zip(wanted, shape, strict=False)
    ):
        return f"expected shape={spec.shape}, found shape={shape}"
    return None
