"""Rematerialization: activations dropped after use and computed again backward.

What a layer computes stays in memory until the backward pass has used it. A call
under `remat` keeps its arguments alone and runs a second time backward: less memory
for more work. Numbers and gradients stay the same.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from lamina.core import structure
from lamina.core.context import Scope, context, having
from lamina.core.masks import masks_of, put_masks
from lamina.core.tracebacks import boundary
from lamina.core.variable import scratch

_MODES = ("full", "activations", "larger_than", "list_of_layers", None)
# What `activations` keeps: the results of products and convolutions.
_PRODUCTS = ("dot_general", "conv_general_dilated")


class RematMode(NamedTuple):
    """Which layers forget their activations."""

    mode: str | None
    output_size_threshold: int = 1024
    layer_names: tuple = ()


class RematScope(Scope):
    """Let layers made in a `with` block forget activations and compute them again.

    A layer remembers the innermost scope that it was made in. `Model`s pass it on to
    the layers inside rather than obey it; a layer that obeys holds for all inside.

    Args:
        mode: `"full"`, every layer; `"activations"`, layers with an activation
            function, which keep the results of products and convolutions alone;
            `"larger_than"`, layers with more than `output_size_threshold` numbers in
            their outputs; `"list_of_layers"`, those in `layer_names`; None, no layer.
        output_size_threshold: a number of elements.
        layer_names: the names of layers.

    Raises:
        ValueError: there is no such mode.

    Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost".

    >>> import lamina
    >>> with lamina.RematScope(mode="full"):
    ...     layer = lamina.layers.Dense(2, activation="tanh")
    """

    @boundary
    def __init__(
        self,
        mode: str = "full",
        output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ):
        if mode not in _MODES:
            raise ValueError(
                f"`RematScope` expected `mode` to be one of {list(_MODES)}. "
                f"Received: mode={mode!r}"
            )
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or [])

    def _block(self):
        names = tuple(self.layer_names)
        return having(remat=RematMode(self.mode, self.output_size_threshold, names))


def get_current_remat_mode() -> RematMode | None:
    """Return what the innermost `RematScope` says, or None outside of all."""
    return context.remat


def remat(f):
    """Return `f` such that the backward pass computes its inside again.

    Variables that `f` assigns, random seeds among them, are assigned once; masks and
    losses come out as from `f` itself.

    Args:
        f: a function or a layer.

    >>> import jax, lamina
    >>> square = lamina.remat(lambda x: x * x)
    >>> float(jax.grad(square)(3.0))
    6.0
    """
    return _remat(f)


def remat_for(mode, call, name, has_activation, outputs):
    """Return `call` as a mode wants it.

    Args:
        mode: a RematMode, or None.
        call: the function that computes the outputs of a layer or operation.
        name: the name of the layer or operation.
        has_activation: whether it has an activation function.
        outputs: a function that gives the outputs as symbolic tensors.
    """
    if mode is None or mode.mode is None or context.runs("again"):
        return call
    if mode.mode == "full":
        return _remat(call)
    if mode.mode == "activations":
        return _remat(call, _is_product) if has_activation else call
    if mode.mode == "list_of_layers":
        return _remat(call) if name in mode.layer_names else call
    shapes = [getattr(t, "shape", ()) for t in structure.flatten(outputs())]
    size = sum(math.prod(d or 1 for d in shape) for shape in shapes)
    return _remat(call) if size > mode.output_size_threshold else call


def _is_product(primitive, *args, **parameters):
    return primitive.name in _PRODUCTS


def _remat(f, policy=None):
    @functools.wraps(f)
    def again(*args, **kwargs):
        if context.runs("symbolic"):
            return f(*args, **kwargs)
        return _checkpointed(f, policy, args, kwargs)

    return again


def _checkpointed(f, policy, args, kwargs):
    """Call `f` under `jax.checkpoint`, its effects carried out of it as results."""
    given, tree = jax.tree.flatten((args, kwargs))
    places = [i for i, x in enumerate(given) if isinstance(x, jax.Array)]
    arrays = [given[i] for i in places]
    found = {}

    def run(arrays, masks):
        leaves = list(given)
        for place, array in zip(places, put_masks(arrays, masks), strict=True):
            leaves[place] = array
        args, kwargs = jax.tree.unflatten(tree, leaves)
        with scratch("again") as frame, having(losses=[]):
            outputs = f(*args, **kwargs)
            found["variables"] = list(frame.values)
            flat, found["tree"] = jax.tree.flatten(outputs)
            return flat, masks_of(flat), list(frame.values.values()), context.losses

    run = jax.checkpoint(run, policy=policy)
    flat, masks, values, losses = run(arrays, masks_of(arrays))
    for variable, value in zip(found["variables"], values, strict=True):
        variable._store(value)
    _add_losses(losses)
    return jax.tree.unflatten(found["tree"], put_masks(flat, masks))


def _add_losses(losses):
    if context.losses is not None:
        context.losses.extend(losses)
    elif context.calling:
        context.calling[-1].add_loss(losses)
