"""Building a layer: once, under its name, from the shapes that `build` asks for."""

import functools
import threading

import numpy as np

from lamina.core.context import context, having
from lamina.core.symbolic import SymbolicTensor
from lamina.layers.call import signature_of

# Held while a layer is built, with those in it: other threads wait for its weights.
lock = threading.RLock()


def building(build):
    """Wrap a `build` method: name scope, build once, remember the shapes."""

    @functools.wraps(build)
    def wrapped(self, *args, **kwargs):
        self._check_constructed()
        if context.calling and context.calling[-1] is self and self._path is not None:
            return build(self, *args, **kwargs)  # a subclass's super().build()
        names = signature_of(self.build).names
        shapes = dict(zip(names, args, strict=False)) | kwargs
        shapes = {k: as_shape(v) for k, v in shapes.items()}
        if self.__dict__.pop("_asked_for_shape", False) and shapes == built_on(self):
            return None  # built as its output's shape was asked for, unseen
        with (
            lock,
            self._entered(),
            having(autocast=None, remat=self._remat_mode),
        ):
            self._path = "/".join(context.scopes)
            if self._build_shapes is None:
                self._build_shapes = shapes
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


def with_shapes(layer, method, shapes, masks=None):
    """Call `build` or `compute_output_shape` with the shapes that it asks for.

    They are matched by name; what needs one argument gets the first, however named.

    Args:
        layer: the layer.
        method: its method.
        shapes: the shapes of the tensors that it is called on, by name.
        masks: the shapes of masks, for a method that asks for them.

    Raises:
        ValueError: the signature names no argument that a shape belongs to.
    """
    takes = signature_of(method)
    names = takes.plain
    required = [n for n in names if n not in takes.defaults]
    known = {**(masks or {}), **shapes}
    named = {k: v for k, v in known.items() if k in names}
    if named and all(n in named for n in required):
        return method(**named)
    if len(required) <= 1 and (names or takes.any_position):
        return method(*list(shapes.values())[:1])
    if not required:
        return method(**shapes) if takes.any_keyword else method()
    wrong = next(n for n in required if n not in named)
    reason = ", which does not end in `_shape`"
    if wrong.endswith("_shape"):
        argument = wrong.removesuffix("_shape")
        reason = f", but `call()` does not have argument `{argument}`"
    name = method.__name__
    raise ValueError(
        f"`{name}()` of layer {layer.name!r} ({type(layer).__name__}) has the "
        f"argument `{wrong}`{reason}. Name each argument of `{name}` after one of "
        f"`call`, with `_shape` added. There are shapes for {sorted(shapes)}."
    )


def built_on(layer) -> dict:
    """Return the shapes that a layer was built on, by name; {} before that."""
    return getattr(layer, "_build_shapes", None) or {}


def as_shape(value):
    """Turn the lists that JSON makes of shapes back into tuples."""
    return map_shapes(tuple, value)


def map_shapes(function, value):
    """Apply `function` to a shape, or to every shape of a structure."""
    if isinstance(value, dict):
        return {k: map_shapes(function, v) for k, v in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    if all(d is None or isinstance(d, (int, np.integer)) for d in value):
        return function(value)
    return type(value)(map_shapes(function, v) for v in value)


def spec_of(shapes, dtype):
    """Return symbolic tensors for a shape, or for a structure of shapes."""
    return map_shapes(lambda shape: SymbolicTensor(shape, dtype), shapes)
