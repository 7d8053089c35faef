"""The arguments of one call of a layer, sorted by what they are."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import structure
from lamina.core.dtypes import is_float
from lamina.core.masks import get_mask, set_mask
from lamina.core.owner import layers_in
from lamina.core.policy import cast_symbolic
from lamina.core.sparse import refuse_sparse
from lamina.core.symbolic import plain_shape
from lamina.core.variable import Variable


class Signature:
    """What a `call` method takes, read once per function."""

    def __init__(self, function):
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        self.names = list(parameters)
        kinds = {name: p.kind for name, p in parameters.items()}
        self.any_keyword = inspect.Parameter.VAR_KEYWORD in kinds.values()
        self.any_position = inspect.Parameter.VAR_POSITIONAL in kinds.values()
        self.plain = [name for name, kind in kinds.items() if kind.name[:4] != "VAR_"]
        self.training = "training" in parameters
        self.mask = "mask" in parameters
        self.masks = any(map(is_mask, parameters))
        self.defaults = {
            name: p.default
            for name, p in parameters.items()
            if p.default is not inspect.Parameter.empty
        }

    def takes(self, name):
        """Tell whether an argument may be passed by this name."""
        return name in self.names or self.any_keyword


def signature_of(method) -> Signature:
    """Return the signature of a bound method, without `self`."""
    function = getattr(method, "__func__", None)
    if function is None:
        return Signature(method)
    return _bound_signature(function)


@functools.lru_cache(maxsize=4096)
def _bound_signature(function):
    return Signature(functools.partial(function, None))


def is_tensor(x) -> bool:
    """Tell whether `x` is an array, a symbolic tensor or a Variable."""
    if isinstance(x, (jax.Array, np.ndarray, Variable)):
        return True
    return getattr(x, "is_symbolic", False)


def is_mask(name) -> bool:
    """Tell whether an argument of this name is a mask."""
    return name == "mask" or name.endswith("_mask")


class Arguments:
    """The arguments of one call: converted, cast, and by name.

    Args:
        layer: the layer that is called.
        args: positional arguments.
        kwargs: keyword arguments.
    """

    def __init__(self, layer, args, kwargs):
        self.layer = layer
        self.takes = takes = signature_of(layer.call)
        # What its floats are cast to, if anything.
        dtype = layer.input_dtype if layer.autocast else None
        self.dtype = None if dtype == "string" else dtype
        # The call-context arguments that the caller gives.
        self.given = {}
        if kwargs:
            registered = layer._call_context_args
            self.given = {k: kwargs[k] for k in registered if k in kwargs}
            kwargs = {
                k: self._convert(v, False)
                for k, v in kwargs.items()
                if (k not in registered and k != "mask") or takes.takes(k)
            }
            if not takes.training:
                kwargs.pop("training", None)
        self.args = tuple(map(self._convert, args))
        self.kwargs = kwargs
        try:
            bound = takes.signature.bind(*self.args, **self.kwargs)
        except TypeError as error:
            raise TypeError(
                f"Layer {layer.name!r} ({type(layer).__name__}) was called with "
                f"arguments that its `call` does not take: {error}. It takes: "
                f"{', '.join(takes.names) or 'none'}"
            ) from None
        self.by_name = bound.arguments
        # The first argument, however it was given.
        self.first = self.args[0] if args else next(iter(self.by_name.values()), None)
        if takes.training:
            self.given["training"] = self.by_name.get("training")
        self.flag_given = self.given.get("training") is not None

    def _convert(self, value, positional=True):
        if value is None or (
            isinstance(value, jax.Array)
            and value.dtype == self.dtype
            and self.layer._convert_input_args
        ):
            return value
        positional &= not self.layer._allow_non_tensor_positional_args
        if not self.layer._convert_input_args:
            leaves = structure.flatten(value)
            if positional and not all(x is None or is_tensor(x) for x in leaves):
                self._refuse(value)
            return value
        if isinstance(value, (list, tuple, dict)):
            leaves = structure.flatten(value)
            if not any(is_tensor(x) for x in leaves):
                if positional and leaves:
                    self._refuse(value)
                return value
            return structure.map_leaves(self._leaf, value)
        if not is_tensor(value):
            if hasattr(value, "__array__") and not isinstance(value, type):
                return self._leaf(np.asarray(value))
            if positional:
                self._refuse(value)
            return value
        return self._leaf(value)

    def _refuse(self, value):
        refuse_sparse(value)
        cure = "Pass an array (`numpy.array(...)`), or give settings by keyword."
        if callable(value) and isinstance(getattr(value, "name", None), str):
            cure = f"Call it first: `{value.name}(x)`."
        elif isinstance(value, tuple) and {*map(type, value)} <= {int, type(None)}:
            cure = f"A shape alone is `lamina.Input(shape={value})`."
        raise ValueError(
            "Only input tensors may be passed as positional arguments to layer "
            f"{self.layer.name!r} ({type(self.layer).__name__}). Received: {value!r} "
            f"(of type {type(value).__name__}). {cure}"
        )

    def _leaf(self, x):
        host = self.layer._takes_text  # NumPy arrays, also numbers, stay what they are
        if isinstance(x, np.ndarray) and (host or x.dtype.kind in "OSU"):
            return self._text(x)
        if not hasattr(x, "__array__") and not is_tensor(x):
            return x
        if getattr(x, "is_symbolic", False):
            return x  # a graph keeps the tensor itself; `cast_for_inference` casts
        if self.dtype is None or not is_float(x.dtype):
            return x if isinstance(x, jax.Array) else jnp.asarray(x)
        dtype = jax.dtypes.canonicalize_dtype(self.dtype)
        if isinstance(x, jax.Array) and x.dtype == dtype:
            return x
        y = jnp.asarray(x, dtype=dtype)
        mask = get_mask(x)
        if mask is not None:
            set_mask(y, mask)
        return y

    def cast_for_inference(self):
        """Return the arguments with symbolic floats in the compute dtype."""

        def cast(x):
            if not getattr(x, "is_symbolic", False) or not is_float(x.dtype):
                return x
            dtype = self.layer.input_dtype
            return cast_symbolic(x, dtype) if x.dtype != dtype else x

        if not self.layer.autocast or self.layer.input_dtype is None:
            return self.args, self.kwargs
        return (
            structure.map_leaves(cast, self.args),
            {k: structure.map_leaves(cast, v) for k, v in self.kwargs.items()},
        )

    def _text(self, x):
        inner = layers_in(self.layer)
        if self.layer._takes_text or any(layer._takes_text for layer in inner):
            return x
        words = x.dtype.kind in "SU" or isinstance(next(x.flat, None), (str, bytes))
        raise ValueError(
            f"Layer {self.layer.name!r} ({type(self.layer).__name__}) takes numbers. "
            f"Received: an array of {'text' if words else 'objects'} "
            f"with dtype={x.dtype}, shape={x.shape}. "
            + (
                "Turn words into integers first, for instance with "
                "`lamina.layers.StringLookup` or `TextVectorization`, on the data."
                if words
                else "An array of objects is mostly a list of rows of different "
                "lengths: pad them (`lamina.utils.pad_sequences`) or use "
                "`numpy.stack`, so that the dtype is a number."
            )
        )

    @functools.cached_property
    def tensors(self) -> dict:
        """The arguments that hold tensors, by name, masks left out."""
        found = {}
        for name, value in self.by_name.items():
            if is_mask(name):
                continue
            if name in ("args", "kwargs") and isinstance(value, (tuple, dict)):
                continue
            if is_tensor(value):
                found[name] = value
            elif structure.is_nested(value):
                leaves = [x for x in structure.flatten(value) if x is not None]
                if leaves and all(is_tensor(x) for x in leaves):
                    found[name] = value
        return found

    @property
    def masked(self) -> bool:
        """Whether a mask is passed."""
        return any(is_mask(k) and v is not None for k, v in self.by_name.items())

    @property
    def shapes(self) -> dict:
        """The shapes of the tensors, by name with `_shape` added."""

        def shape(x):
            return None if x is None else plain_shape(x)

        tensors = self.tensors.items()
        return {f"{name}_shape": structure.map_leaves(shape, x) for name, x in tensors}

    @property
    def mask_shapes(self) -> dict:
        """The shapes of the masks that were passed, named alike."""
        return {
            f"{name}_shape": plain_shape(value)
            for name, value in self.by_name.items()
            if is_mask(name) and is_tensor(value)
        }

    def set(self, name, value):
        """Pass `value` under `name`, in place where the caller gave it."""
        position = self.takes.names.index(name) if name in self.takes.names else None
        if position is not None and position < len(self.args):
            self.args = (*self.args[:position], value, *self.args[position + 1 :])
        else:
            self.kwargs[name] = value
        self.by_name[name] = value

    def take_masks(self):
        """Pass the masks that the tensors carry, unless the caller passed some."""
        tensors = self.tensors
        for name, value in tensors.items():
            wanted = "mask" if len(tensors) == 1 else f"{name}_mask"
            if wanted not in self.takes.names or self.by_name.get(wanted) is not None:
                continue
            masks = masks_of(value)
            if masks is not None:
                self.set(wanted, self.layer._carried(value, masks))

    def take_arguments(self, outer) -> dict:
        """Decide the call-context arguments; return those for the calls inside.

        What the caller passes comes before what an outer call was passed, and that
        before the default of `training`.
        """
        value = (self.given if self.flag_given else outer).get("training")
        if value is None:
            value = self.takes.defaults.get("training")
        if self.takes.training and value is not None:
            self.set("training", value)
        for name in self.layer._call_context_args[1:] if len(outer) > 1 else ():
            if name not in self.given and name in outer and name in self.takes.names:
                self.set(name, outer[name])
        return {**outer, **self.given, "training": value}


def masks_of(value):
    """Return the masks of a tensor or a structure; None when there is none."""
    if not isinstance(value, (list, tuple, dict)):
        return get_mask(value)
    masks = [get_mask(x) for x in structure.flatten(value) if is_tensor(x)]
    if all(m is None for m in masks):
        return None
    return structure.map_leaves(lambda x: get_mask(x) if is_tensor(x) else None, value)
