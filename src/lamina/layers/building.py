"""Building a layer: once, under its name, from the shapes that `build` asks for."""

import functools

import numpy as np

from lamina.core.context import context, having
from lamina.core.symbolic import SymbolicTensor
from lamina.layers.call import signature_of


def building(build):
    """Wrap a `build` method: name scope, build once, remember the shapes."""

    @functools.wraps(build)
    def wrapped(self, *args, **kwargs):
        self._check_constructed()
        if context.calling and context.calling[-1] is self and self._path is not None:
            return build(self, *args, **kwargs)  # a subclass's super().build()
        with (
            self._entered(context.training),
            having(autocast=None, remat=self._remat_mode),
        ):
            self._path = "/".join(context.scopes)
            names = signature_of(self.build).names
            shapes = dict(zip(names, args, strict=False)) | kwargs
            if self._build_shapes is None:
                self._build_shapes = {k: as_shape(v) for k, v in shapes.items()}
            try:
                result = build(self, *args, **kwargs)
            except Exception:
                self._path = self._build_shapes = None  # the next try begins anew
                raise
            self.built = True
            self._finish_build()
        self._closed = True
        return result

    return wrapped


def call_build(layer, shapes, masks=None):
    """Call `build` with the shapes that its signature asks for.

    Args:
        layer: the layer.
        shapes: the shapes of the tensors that it is called on, by name.
        masks: the shapes of masks, for a `build` that asks for them.

    Raises:
        ValueError: the signature names no argument that a shape belongs to.
    """
    takes = signature_of(layer.build)
    required = [n for n in takes.names if n not in takes.defaults]
    known = {**(masks or {}), **shapes}
    named = {k: v for k, v in known.items() if k in takes.names}
    if len(takes.names) == 1 and not takes.any_keyword and not named and shapes:
        layer.build(next(iter(shapes.values())))
    elif takes.any_keyword and not named:
        layer.build(*list(shapes.values())[:1])
    elif not takes.names:
        layer.build()
    elif all(n in named for n in required if n != "kwargs"):
        layer.build(**named)
    elif len(shapes) >= 1 and len(required) <= 1:
        layer.build(next(iter(shapes.values())))
    else:
        wrong = next(n for n in required if n not in named)
        reason = ", which does not end in `_shape`"
        if wrong.endswith("_shape"):
            argument = wrong.removesuffix("_shape")
            reason = f", but `call()` does not have argument `{argument}`"
        raise ValueError(
            f"`build()` of layer {layer.name!r} ({type(layer).__name__}) has the "
            f"argument `{wrong}`{reason}. Name each argument of `build` after one of "
            f"`call`, with `_shape` added. There are shapes for {sorted(shapes)}."
        )


def as_shape(value):
    """Turn the lists that JSON makes of shapes back into tuples."""
    if isinstance(value, (list, tuple)):
        if all(v is None or isinstance(v, int) for v in value):
            return tuple(value)
        return type(value)(as_shape(v) for v in value)
    if isinstance(value, dict):
        return {k: as_shape(v) for k, v in value.items()}
    return value


def _is_shape(value):
    return isinstance(value, (list, tuple)) and all(
        d is None or isinstance(d, (int, np.integer)) for d in value
    )


def spec_of(shapes, dtype):
    """Return symbolic tensors for a shape, or for a structure of shapes."""
    if shapes is None or isinstance(shapes, SymbolicTensor):
        return shapes
    if _is_shape(shapes):
        return SymbolicTensor(shapes, dtype)
    if isinstance(shapes, dict):
        return {k: spec_of(v, dtype) for k, v in shapes.items()}
    return type(shapes)(spec_of(v, dtype) for v in shapes)
