"""Warns of a training that would go on and learn nothing, before its first epoch.

Only what is certain is said: of layers and losses of the library, given what they
cannot use. Each is a `UserWarning` of its own first words, and is silenced by them.
"""

from typing import Any

import numpy as np

from lamina import activations, losses
from lamina.core.masks import get_mask
from lamina.core.operation import graph_of
from lamina.core.registry import ours
from lamina.core.tracebacks import warn
from lamina.losses.crossentropy import ShapedCrossentropy
from lamina.training import step
from lamina.training.by_output import match_targets, names_of
from lamina.training.compiled import training_of

_BINARY = (losses.binary_crossentropy, losses.binary_focal_crossentropy)
_CATEGORICAL = (
    losses.categorical_crossentropy,
    losses.categorical_focal_crossentropy,
    losses.sparse_categorical_crossentropy,
)
# What they give is no probability: it may be negative.
_NO_PROBABILITY = (
    activations.linear,
    activations.elu,
    activations.selu,
    activations.gelu,
    activations.silu,
    activations.leaky_relu,
    activations.tanh,
)
# Layers that take numbers as they come, and learn badly from large ones.
_UNSCALED = ("Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D")
_RESHAPING = ("Flatten", "Reshape")
# Layers that end in an activation.
_ENDS = ("Activation", "Conv2D", "Dense")
_BRIGHT = 200  # images from 0 to 255 have pixels beyond it


def advise(model, source) -> None:
    """Warn of what the layers and losses of a model make of its data.

    A model is looked at in its first `fit` after `compile`, if it is a graph and the
    step is the library's: only the user's own step knows what it does with its data.

    Args:
        model: the model, built and compiled.
        source: its data: the indices and targets of all rows in memory, else those of
            the first batch.
    """
    training, graph = training_of(model), graph_of(model)
    settings, known = training.settings, training.programs.of(model).made
    if graph is None or step.own_loss(model) or "advised" in known:
        return
    known["advised"] = True
    x, y, weights = source.first()
    rows = source.arrays or (x, y)
    leaves = (_leaves(graph, part) for part in (x, rows[0]))
    for tensor, batch, array in zip(graph.inputs, *leaves, strict=True):
        takers = [n.operation for n in graph.nodes if _is_in(tensor, n.input_tensors)]
        _look_at_indices(tensor, array if _is_plain(array) else batch, takers)
        _look_at_pixels(graph, tensor, batch)
    if rows[1] is not None and settings.prepared:
        _look_at_outputs(model, rows[1], weights)


def _leaves(graph, x):
    # Beside what is left as it came, there is what layers made of text.
    return x.inputs if type(x).__name__ == "Prepared" else graph.leaves(x)


def _is_in(tensor, tensors):
    return any(tensor is other for other in tensors)


def _is_plain(array):
    """Tell whether all of an array may be looked at: it is in memory."""
    return type(array) is np.ndarray


def _name(tensor):
    return tensor.name if tensor.node is None else tensor.node.operation.name


def _range(array):
    """Return the least and the greatest number of an array, or None without any."""
    dtype = getattr(array, "dtype", None)
    if dtype is None or np.dtype(dtype).kind not in "iuf" or not np.size(array):
        return None
    array = np.asarray(array)
    return array.min(), array.max()


def _kind(layer):
    """Return the name of the class of a layer of the library."""
    return type(layer).__name__ if ours(type(layer)) else None


def _look_at_indices(tensor, array, takers):
    tables = [x for x in takers if _kind(x) == "Embedding"]
    low, high = (tables and _range(array)) or (0, 0)
    for layer in tables:
        if low < 0:
            cure = "A negative index counts from the end. Look at the indices."
        elif high >= layer.input_dim:
            cure = f"One beyond gives NaN. Give it `input_dim={int(high) + 1}`."
        else:
            continue
        warn(
            f"Indices out of range: layer {layer.name!r} has rows 0 to "
            f"{layer.input_dim - 1}, and input {_name(tensor)!r} holds {low} to "
            f"{high}. {cure}"
        )


def _look_at_pixels(graph, tensor, batch):
    size = tensor.shape[1:]
    if len(size) != 3 or not {size[0], size[-1]} & {1, 3, 4}:
        return
    takers = _unscaled_takers(graph, tensor)
    found = _range(batch) if takers else None
    if found and found[0] >= 0 and _BRIGHT < found[1] <= 255:
        warn(
            f"Pixels as they are: input {_name(tensor)!r} holds values up to "
            f"{found[1]}, and layer {takers[0].name!r} takes them unscaled, which "
            "trains slowly or not at all. Put `layers.Rescaling(1 / 255)` first, or "
            "divide by 255."
        )


def _unscaled_takers(graph, tensor):
    """Return the layers that take a tensor as it is; none where one scales it."""
    takers = []
    for node in graph.nodes:
        if not _is_in(tensor, node.input_tensors):
            continue
        layer, output = node.operation, node.outputs[0]
        if _kind(layer) in _RESHAPING:
            inner = _unscaled_takers(graph, output)
        elif _kind(layer) in _UNSCALED and not _is_normalized(graph, output):
            inner = [layer]
        else:
            inner = []
        if not inner:
            return []
        takers += inner
    return takers


def _is_normalized(graph, tensor):
    """Tell whether a layer after it scales it, or one of the user's own may."""
    after = [n.operation for n in graph.nodes if _is_in(tensor, n.input_tensors)]
    kinds = map(_kind, after)
    return any(kind is None or "Normalization" in kind for kind in kinds)


def _look_at_outputs(model, y, weights):
    graph, outputs = graph_of(model), graph_of(model).output
    compiled_loss = training_of(model).settings.compiled_loss
    names = names_of(model, outputs)
    if names != compiled_loss.names:
        return
    takers = compiled_loss.takers(len(names))
    targets = match_targets(y, outputs, names, takers, required=False)
    masked = any(get_mask(tensor) is not None for tensor in graph.outputs)
    counted = weights is None and not masked
    for term, true, tensor in compiled_loss.alone(targets, outputs):
        where, kind = compiled_loss.where(term), getattr(term.loss, "fn", None)
        binary = kind in _BINARY
        if binary and counted:  # what does not count may hold anything
            _look_at_labels(term.loss, true, where)
        whole = isinstance(term.loss, ShapedCrossentropy) or kind in _CATEGORICAL
        if (binary or whole) and not getattr(term.loss, "from_logits", False):
            _look_at_probabilities(term.loss, tensor, where)


def _look_at_labels(loss, targets, where):
    low, high = _range(targets) or (0, 1)
    if low < 0 or high > 1:
        warn(
            f"Targets beyond 0 and 1: `{loss.name}` of {where} is given {low} to "
            f"{high}, for which it falls without end. Labels of two classes are 0 and "
            "1; for several classes there is 'sparse_categorical_crossentropy', for "
            "amounts 'mse'."
        )


def _look_at_probabilities(loss, tensor, where):
    layer: Any = tensor.node.operation if tensor.node is not None else None
    if _kind(layer) in _ENDS and layer.activation in _NO_PROBABILITY:
        word = getattr(layer.activation, "__name__", "linear")
        last = "sigmoid" if getattr(loss, "fn", None) in _BINARY else "softmax"
        warn(
            f"No probabilities: `{loss.name}` of {where} expects them, and layer "
            f"{layer.name!r} ends in `{word}`. Give it `activation={last!r}`, or the "
            "loss `from_logits=True`."
        )
