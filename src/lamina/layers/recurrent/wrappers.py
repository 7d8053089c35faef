"""Layers around layers: both directions of time, and every step of it."""

from typing import Any

import jax.numpy as jnp

from lamina.core import structure
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.context import having
from lamina.core.masks import set_mask
from lamina.core.owner import layers_in, trains_by_default
from lamina.core.references import make_again
from lamina.core.registry import CustomObjectScope
from lamina.core.rows import rows_apart, weakest
from lamina.core.variable import pure
from lamina.kernels import scan
from lamina.layers.basic import Wrapper
from lamina.layers.call import plain_shape, signature_of
from lamina.layers.layer import Layer

_MERGES = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    None: lambda a, b: (a, b),
}


class Bidirectional(Layer):
    """Run a recurrent layer over a sequence in both directions of time.

    Input `(batch, time, features)`. The outputs of the two runs are merged step by
    step, each at its own place in time. With `return_state`, the states of the
    forward run follow the output, then those of the backward run.

    Args:
        layer: the layer, such as an `LSTM`; two copies of it are used.
        merge_mode: `"concat"`, `"sum"`, `"mul"`, `"ave"`, or None for both outputs.
        weights: arrays for the first values of the weights, forward ones first.
        backward_layer: the layer for the backward run, with the opposite
            `go_backwards`; a copy of `layer` when None.

    Raises:
        ValueError: a layer that is none, is not recurrent, or does not fit the other;
            an unknown `merge_mode`.

    Source: Schuster and Paliwal, 1997, "Bidirectional recurrent neural networks".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Bidirectional(lamina.layers.LSTM(4))
    >>> layer(np.ones((2, 5, 3))).shape
    (2, 8)
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs,
    ):
        for name, value in (("layer", layer), ("backward_layer", backward_layer)):
            if value is not None or name == "layer":
                _check_recurrent(name, value)
        if merge_mode not in _MERGES:
            raise ValueError(
                "Invalid merge mode. `Bidirectional` expected `merge_mode` to be one "
                "of 'sum', 'mul', 'ave', 'concat' and None. "
                f"Received: merge_mode={merge_mode!r}"
            )
        super().__init__(**kwargs)
        self.forward_layer = _copy(layer, "forward_")
        if backward_layer is None:
            backward_layer = _copy(
                layer, "backward_", go_backwards=not layer.go_backwards
            )
        self.backward_layer = backward_layer
        self._check_pair()
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn"):
                one.use_cudnn = layer.use_cudnn
            # A masked step must add nothing to the merged output.
            if hasattr(one, "zero_output_for_mask"):
                one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self.input_spec = layer.input_spec
        self.supports_masking = True
        self.return_state = layer.return_state
        self.return_sequences = layer.return_sequences
        self.stateful = layer.stateful
        self._first_weights = weights

    @property
    def rows_independent(self):
        return weakest(
            self.forward_layer.rows_independent, self.backward_layer.rows_independent
        )

    def _check_pair(self):
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "Forward layer and backward layer should have different `go_backwards` "
                f"value. Received: forward_layer.go_backwards={forward.go_backwards}, "
                f"backward_layer.go_backwards={backward.go_backwards}"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            one, other = getattr(forward, name), getattr(backward, name)
            if one != other:
                raise ValueError(
                    "Forward layer and backward layer are expected to have the same "
                    f'value for attribute "{name}", got "{one}" for forward layer and '
                    f'"{other}" for backward layer'
                )

    def build(self, sequences_shape, initial_state_shape=None):
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    def call(self, sequences, initial_state=None, mask=None, training=None):
        first = last = None
        if initial_state is not None:
            half = len(initial_state) // 2
            if len(initial_state) != 2 * half:
                raise ValueError(
                    f"Layer {self.name!r} (Bidirectional) expected `initial_state` to "
                    "hold the states of the forward layer, then as many of the "
                    f"backward layer. Received: {len(initial_state)} states"
                )
            first, last = list(initial_state[:half]), list(initial_state[half:])
        y, states = self._directed(self.forward_layer, sequences, first, mask, training)
        back, more = self._directed(
            self.backward_layer, sequences, last, mask, training
        )
        if self.return_sequences:
            back = jnp.flip(back, axis=1)
        if self.merge_mode in ("sum", "mul", "ave") and y.shape != back.shape:
            raise ValueError(
                f"Layer {self.name!r} (Bidirectional) expected outputs of one shape "
                f"from both layers, with merge_mode={self.merge_mode!r}. Received: "
                f"{y.shape} from {self.forward_layer.name!r}, {back.shape} from "
                f"{self.backward_layer.name!r}. Give both as many units, or merge by "
                "'concat' or None."
            )
        output = _MERGES[self.merge_mode](y, back)
        if not self.return_state:
            return output
        outputs = output if self.merge_mode is None else (output,)
        return (*outputs, *states, *more)

    def _directed(self, layer, sequences, states, mask, training):
        takes = signature_of(layer.call)
        kwargs = {"training": training} if takes.training else {}
        if takes.mask:
            kwargs["mask"] = mask
        result = layer(sequences, initial_state=states, **kwargs)
        y, *states = result if self.return_state else (result,)
        return y.astype(self.compute_dtype), states

    def reset_state(self):
        """Set the states kept between calls to zero.

        Raises:
            AttributeError: the layer is not stateful.
        """
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self):
        """Set the states kept between calls to zero."""
        self.reset_state()

    @property
    def states(self):
        """The states kept between calls, forward ones first, or None."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return (*forward, *backward) if forward and backward else None

    def compute_mask(self, sequences, previous_mask):
        if structure.is_nested(previous_mask):
            previous_mask = structure.flatten(previous_mask)[0]
        mask = previous_mask if self.return_sequences else None
        return (mask, mask) if self.merge_mode is None else mask

    def get_config(self):
        config = super().get_config()
        config.pop("weights")
        config["layer"] = serialize_keras_object(self.forward_layer)
        config["backward_layer"] = serialize_keras_object(self.backward_layer)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        with CustomObjectScope(custom_objects):
            for name in ("layer", "backward_layer"):
                if config.get(name) is not None:
                    config[name] = deserialize_keras_object(config[name])
        return cls(**config)


def _check_recurrent(name, layer):
    if not isinstance(layer, Layer):
        raise ValueError(
            f"`Bidirectional` expected `{name}` to be a layer. Received: {layer!r} (of "
            f"type {type(layer).__name__})"
        )
    for attribute in ("go_backwards", "return_sequences", "return_state", "stateful"):
        if not hasattr(layer, attribute):
            raise ValueError(
                f"`Bidirectional` expected `{name}` to be a recurrent layer such as "
                f"`LSTM`, with an attribute `{attribute}`. Received: {layer!r}"
            )


def _copy(layer, prefix, **changes):
    """Return a new layer of the same config, its name prefixed."""
    name = prefix + layer.name.removeprefix(prefix)
    return make_again(layer, name=name, **changes)


class TimeDistributed(Wrapper):
    """Apply a layer to every time step of its input on its own.

    Input `(batch, time, ...)`; the layer sees `(batch, ...)`, with the same weights
    at each step. A mask `(batch, time, ...)` is handed on step by step to a layer
    that takes one.

    Args:
        layer: the layer.

    Raises:
        ValueError: `layer` is not a layer, the input has fewer than three axes, or the
            mask does not fit it.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.TimeDistributed(lamina.layers.Dense(4))
    >>> layer(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    def __init__(self, layer: Any, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(
                "Please initialize `TimeDistributed` layer with a `Layer` instance. "
                f"Received: {layer!r} (of type {type(layer).__name__})"
            )
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    @property
    def rows_independent(self):
        return self.layer.rows_independent

    @property
    def _least_rank(self):
        return self.layer._least_rank + 1

    def build(self, input_shape):
        if not isinstance(input_shape, (tuple, list)) or len(input_shape) < 3:
            raise ValueError(
                "`TimeDistributed` Layer should be passed an `input_shape` with at "
                f"least 3 dimensions, received: {input_shape}"
            )
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs, training=None, mask=None):
        takes = signature_of(self.layer.call)
        if mask is not None:
            _check_mask(mask, inputs)
        mask = mask if takes.mask else None
        kwargs = {"training": training} if takes.training else {}

        def step(x, mask):
            set_mask(x, mask)
            return self.layer(x, **kwargs)

        # Time is folded into the batch, one call for all steps, where that is the same.
        trains = training
        if training is None:
            trains = any(map(trains_by_default, layers_in(self.layer)))
        if rows_apart(self.layer, trains) and inputs.ndim >= self._least_rank:
            return _folded(step, inputs, mask)
        outputs, penalty = _stepped(step, inputs, mask, self.layer)
        if penalty is not None:
            self.add_loss(penalty)
        return outputs


def _check_mask(mask, inputs):
    shape, wanted = plain_shape(mask), plain_shape(inputs)[:2]
    if len(shape) < 2:
        raise ValueError(
            "The `mask` passed to the `TimeDistributed` layer must be at least 2D "
            f"(batch, timesteps), but it has {len(shape)} dimension(s) with shape "
            f"{shape}."
        )
    for size, needed in zip(shape, wanted, strict=False):
        if size is not None and needed is not None and size != needed:
            raise ValueError(
                f"The `mask` passed to the `TimeDistributed` layer has a shape {shape} "
                f"that is incompatible with the input shape {plain_shape(inputs)}. "
                "The first two dimensions must match. Expected mask shape prefix: "
                f"{wanted}."
            )


def _folded(step, inputs, mask):
    batch, time = inputs.shape[:2]

    def fold(x):
        return x.reshape(batch * time, *x.shape[2:])

    outputs = step(fold(inputs), None if mask is None else fold(jnp.asarray(mask)))
    return structure.map_leaves(lambda y: y.reshape(batch, time, *y.shape[1:]), outputs)


def _stepped(step, inputs, mask, layer, assigned=()):
    """Run the steps one after the other; return the outputs and a penalty, or None.

    Args:
        step: runs the layer on one step and its mask.
        inputs: `(batch, time, ...)`.
        mask: `(batch, time, ...)` or None.
        layer: the layer.
        assigned: weights that are trained and that its calls assign all the same.
    """
    variables = layer.variables
    carried = [v for v in variables if not v.made_trainable or v in assigned]
    known = {v: v.raw_value for v in variables}
    run = pure(step, variables)
    changed, penalties = set(), []

    def advance(now, states, shared):
        values, penalty = shared
        before = known | dict(zip(carried, values, strict=True))
        losses = []
        with having(losses=losses):
            outputs, after = run(tuple(before.values()), *now)
        after = dict(zip(variables, after, strict=True))
        changed.update(v for v in variables if after[v] is not before[v])
        penalties.extend(losses)
        # The mean of the steps, as where one call serves all of them.
        penalty = penalty + sum(losses) / inputs.shape[1]
        return outputs, states, (tuple(after[v] for v in carried), penalty)

    shared = tuple(known[v] for v in carried), jnp.zeros(())
    now = (inputs, None if mask is None else jnp.asarray(mask))
    _, outputs, _, (values, penalty) = scan(advance, now, (), shared=shared)
    if not changed.issubset(carried):
        return _stepped(step, inputs, mask, layer, changed)
    for variable, value in zip(carried, values, strict=True):
        if variable in changed:
            variable.assign(value)
    return outputs, penalty if penalties else None
