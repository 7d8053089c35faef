"""Warns of a training that would go on and learn nothing, around its first epoch.

Only what is certain is said: of layers and losses of the library, given what they
cannot use. Each is a `UserWarning` of its own first words, and is silenced by them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamina import activations, losses, metrics
from lamina.core import structure
from lamina.core.masks import get_mask
from lamina.core.operation import graph_of
from lamina.core.placement import distribution_of, is_here
from lamina.core.registry import ours
from lamina.core.tracebacks import warn
from lamina.core.variable import scratch
from lamina.layers.activation import LeakyReLU, ReLU, Softmax
from lamina.layers.layer import ends_in_activation
from lamina.losses.crossentropy import ShapedCrossentropy
from lamina.losses.loss import targets_of
from lamina.training import step
from lamina.training.by_output import names_of
from lamina.training.compiled import training_of

_BINARY = (losses.binary_crossentropy, losses.binary_focal_crossentropy)
_CATEGORICAL = (
    losses.categorical_crossentropy,
    losses.categorical_focal_crossentropy,
    losses.sparse_categorical_crossentropy,
)
# What they give is not a probability: it may be negative.
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
# Layers whose output has the range of their input, as all that begin with "Random".
_RANGE_KEPT = {
    *("Flatten", "Reshape", "Permute", "Dropout", "SpatialDropout2D", "ZeroPadding2D"),
    *("Cropping2D", "CenterCrop", "Resizing", "UpSampling2D", "MaxPooling2D"),
    *("AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
}
# Layers after which the last activation is still that of the layer before.
_ACTIVATION_KEPT = ("Flatten", "Reshape", "Permute", "Dropout")
# The least and the greatest number that they give.
_REACH = {
    activations.sigmoid: (0, 1),
    activations.softmax: (0, 1),
    activations.tanh: (-1, 1),
}
# Metrics that count predictions which equal the target.
_EQUAL = (
    metrics.Accuracy,
    metrics.BinaryAccuracy,
    metrics.SparseCategoricalAccuracy,
)
_ROWS = 10_000  # are enough to tell amounts from classes
_BRIGHT = 200  # images from 0 to 255 have pixels beyond it
_FLAT = 64  # pixels in a row, at least


def advise(model, source) -> Callable | None:
    """Warn of what the layers and losses of a model make of its data.

    A model is looked at in its first `fit` after `compile`, if it is a graph and the
    step is the library's: only the user's own step knows what it does with its data.

    Args:
        model: the model, built and compiled.
        source: its data: the indices and targets of all rows in memory, else those of
            the first batch.

    Returns:
        What is to be called after the first epoch, if anything.
    """
    training, graph = training_of(model), graph_of(model)
    settings, known = training.settings, training.programs.of(model).made
    if step.own_loss(model) or "advised" in known:
        return None
    known["advised"] = True
    if not model.trainable_variables and (graph is None or model.weights):
        warn(
            f"Nothing to train: model {model.name!r} has no trainable weights. Set "
            "`trainable = True` where they are frozen, and make layers in "
            "`__init__()`, not in `call()`."
        )
    if graph is None:
        return None
    x, y, weights = source.first()
    rows = source.arrays or (x, y)
    leaves = (_leaves(graph, part) for part in (x, rows[0]))
    for tensor, batch, array in zip(graph.inputs, *leaves, strict=True):
        takers = [n.operation for n in graph.nodes if _is_in(tensor, n.input_tensors)]
        _look_at_indices(tensor, array if _is_plain(array) else batch, takers)
        _look_at_pixels(graph, tensor, batch)
    if rows[1] is not None and settings.prepared:
        _look_at_outputs(model, rows[1], weights)
    return _watched(model, graph, x)


def _watched(model, graph, x):
    """Return what looks for outputs that `relu` made 0 for good, where it may.

    A weight before such an output stays what it was, bit for bit; only where one does
    is the model run.
    """
    divided = distribution_of(model.variables) is not None
    ends = [(tensor, _weight_before(tensor)) for tensor in graph.outputs]
    ends = [(t, v, np.array(v)) for t, v in ends if v is not None and not divided]
    if not ends or type(x).__name__ == "Prepared":
        return None

    def look():
        still = [t for t, weight, before in ends if np.array_equal(before, weight)]
        if not still:
            return
        with scratch():
            outputs = structure.flatten(model(x, training=False))
        for tensor, output in zip(graph.outputs, outputs, strict=True):
            if _is_in(tensor, still) and not np.any(output):
                warn(
                    "Dead output: after the first epoch all that layer "
                    f"{_name(tensor)!r} gives is 0, where `relu` has no gradient: it "
                    "learns nothing. Let the last layer end in `linear`, or in "
                    "`softplus` for amounts."
                )

    return look


def _weight_before(tensor):
    """Return the last trained weight before an output that ends in `relu`, or None."""
    node = tensor.node
    if _end(tensor) is not activations.relu:
        return None
    while node is not None:
        weights = getattr(node.operation, "trainable_variables", None)
        if weights:
            return weights[-1]
        node = node.parent_nodes[0] if len(node.parent_nodes) == 1 else None
    return None


def _last(tensor) -> Any:
    """Return the layer whose activation is that of an output, or None."""
    while tensor.node is not None:
        layer, graph = tensor.node.operation, graph_of(tensor.node.operation)
        if graph is not None:
            tensor = graph.outputs[tensor.index]
        elif _kind(layer) in _ACTIVATION_KEPT:
            (tensor,) = tensor.node.input_tensors
        else:
            return layer
    return None


def _end(tensor) -> Any:
    """Return the activation that a layer of the library ends in, or None."""
    layer = _last(tensor)
    if isinstance(layer, ReLU) and not (layer.negative_slope or layer.threshold):
        return activations.relu
    if isinstance(layer, Softmax):
        return activations.softmax
    if isinstance(layer, LeakyReLU):
        return activations.leaky_relu
    if not ours(type(layer)) or not ends_in_activation(layer):
        return None
    return getattr(layer, "activation", None)


def _leaves(graph, x):
    # Beside what is left as it came, there is what layers made of text.
    return x.inputs if type(x).__name__ == "Prepared" else graph.leaves(x)


def _is_in(tensor, tensors):
    return any(tensor is other for other in tensors)


def _is_plain(array):
    """Tell whether all of an array may be looked at: it is in memory."""
    return type(array) is np.ndarray


def _name(tensor):
    layer = _last(tensor)
    return tensor.name if layer is None else layer.name


def _range(array):
    """Return the least and the greatest number of an array, or None without any."""
    dtype = getattr(array, "dtype", None) if is_here(array) else None
    if dtype is None or np.dtype(dtype).kind not in "iuf" or not np.size(array):
        return None
    array = np.asarray(array)
    return array.min(), array.max()


def _fractions(array):
    """Tell whether most numbers in the first rows of an array are not whole."""
    if not is_here(array):
        return False
    array = np.asarray(array[:_ROWS])
    return array.dtype.kind == "f" and np.mean(array % 1 != 0) > 0.5


def _kind(layer):
    """Return the name of the class of a layer of the library."""
    return type(layer).__name__ if ours(type(layer)) else None


def _look_at_indices(tensor, array, takers):
    tables = [x for x in takers if _kind(x) == "Embedding"]
    low, high = (tables and _range(array)) or (0, 0)
    if tables and _fractions(array):
        warn(
            f"Indices that are fractions: layer {tables[0].name!r} cuts them off, and "
            f"input {_name(tensor)!r} holds {low} to {high}. An `Embedding` takes "
            "whole numbers; for amounts there is `Dense`."
        )
        return
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
    takers = _unscaled_takers(graph, tensor)
    found = _range(batch) if takers else None
    if found and found[0] >= 0 and _BRIGHT < found[1] <= 255 and _is_image(batch):
        warn(
            f"Pixels as they are: input {_name(tensor)!r} holds values up to "
            f"{found[1]}, and layer {takers[0].name!r} takes them unscaled, which "
            "trains slowly or not at all. Put `layers.Rescaling(1 / 255)` first, or "
            "divide by 255."
        )


def _is_image(batch):
    """Tell whether bright numbers are pixels: with channels, or else whole."""
    size = np.shape(batch)[1:]
    if len(size) == 3:
        return bool({size[0], size[-1]} & {1, 3, 4})
    return len(size) < 3 and np.prod(size) >= _FLAT and not np.any(np.mod(batch, 1))


def _unscaled_takers(graph, tensor):
    """Return the layers that take a tensor as it is; none where one scales it."""
    takers = []
    for node in graph.nodes:
        if not _is_in(tensor, node.input_tensors):
            continue
        layer, output = node.operation, node.outputs[0]
        if _keeps_range(layer):
            inner = _unscaled_takers(graph, output)
        elif _kind(layer) in _UNSCALED and not _is_normalized(graph, output):
            inner = [layer]
        else:
            inner = []
        if not inner:
            return []
        takers += inner
    return takers


def _keeps_range(layer):
    """Tell whether what a layer gives has the range of what it takes."""
    graph, kind = graph_of(layer), _kind(layer) or ""
    if graph is not None:
        return all(n.is_input or _keeps_range(n.operation) for n in graph.nodes)
    return kind in _RANGE_KEPT or kind.startswith("Random")


def _is_normalized(graph, tensor):
    """Tell whether a layer after it scales it, or a user's layer may."""
    after = [n.operation for n in graph.nodes if _is_in(tensor, n.input_tensors)]
    kinds = map(_kind, after)
    return any(kind is None or "Normalization" in kind for kind in kinds)


def _look_at_outputs(model, y, weights):
    graph, outputs = graph_of(model), graph_of(model).output
    compiled_loss = training_of(model).settings.compiled_loss
    if names_of(model, outputs) != compiled_loss.names:
        return
    masked = any(get_mask(tensor) is not None for tensor in graph.outputs)
    counted = weights is None and not masked
    for term, true, tensor in compiled_loss.alone(y, outputs):
        where, kind = compiled_loss.where(term), getattr(term.loss, "fn", None)
        binary = kind in _BINARY
        if counted:  # what does not count may hold anything
            if binary:
                _look_at_labels(term.loss, true, where)
            _look_at_reach(term.loss, true, tensor, where)
        whole = isinstance(term.loss, ShapedCrossentropy) or kind in _CATEGORICAL
        if binary or whole:
            _look_at_probabilities(term.loss, tensor, where)
    measured = training_of(model).settings.compiled_metrics.outputs
    targets = compiled_loss.targets(y, outputs, compiled_loss.names)
    for output, true in zip(measured, targets, strict=False):
        _look_at_accuracies(output, true)


def _look_at_labels(loss, targets, where):
    low, high = _range(targets) or (0, 1)
    if low < 0 or high > 1:
        warn(
            f"Targets beyond 0 and 1: `{loss.name}` of {where} is given {low} to "
            f"{high}, for which it falls without end. Labels of two classes are 0 and "
            "1; for several classes there is 'sparse_categorical_crossentropy', for "
            "amounts 'mse'."
        )


def _look_at_reach(loss, targets, tensor, where):
    end, shape = _end(tensor), np.shape(targets)
    least, most = _REACH.get(end, (-np.inf, np.inf))
    room = most - least  # what is a little beyond may still be meant
    low, high = _range(targets) or (0, 0)
    if targets_of(loss, shape, tensor.shape)[0] != "elements":
        return
    if high > most + room or low < least - room:
        warn(
            f"Targets out of reach: those of {where} are {low} to {high}, and layer "
            f"{_name(tensor)!r} ends in `{end.__name__}`, which gives {least} to "
            f"{most}. Let it end in `linear`, or scale the targets."
        )


def _look_at_accuracies(output, targets):
    found = [m.name for m in output.metrics if type(m) in _EQUAL]
    if found and targets is not None and _fractions(targets):
        warn(
            f"Accuracy of amounts: `{found[0]}` counts predictions that equal their "
            "targets, and most targets are not whole numbers. For amounts there is "
            "'mae'."
        )


def _look_at_probabilities(loss, tensor, where):
    end = _end(tensor)
    logits = getattr(loss, "from_logits", False)
    if logits and end in (activations.softmax, activations.sigmoid):
        warn(
            f"Probabilities for logits: `{loss.name}` of {where} has "
            f"`from_logits=True`, and layer {_name(tensor)!r} ends in "
            f"`{end.__name__}`, which would be applied twice. Take one of them away."
        )
    elif not logits and end in _NO_PROBABILITY:
        word = getattr(end, "__name__", "linear")
        last = "sigmoid" if getattr(loss, "fn", None) in _BINARY else "softmax"
        warn(
            f"No probabilities: `{loss.name}` of {where} expects them, and layer "
            f"{_name(tensor)!r} ends in `{word}`. Give it `activation={last!r}`, or "
            "the loss `from_logits=True`."
        )
