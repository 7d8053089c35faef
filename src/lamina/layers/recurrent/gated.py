"""SimpleRNN, LSTM, GRU: `RNN` over a built-in cell, with a fast kernel.

The kernel computes what the cell would, for the usual activations; anything else
runs the cell itself.
"""

import functools

from lamina import activations, kernels
from lamina.core.checks import one_of
from lamina.core.constructor import parameters_of
from lamina.core.input_spec import InputSpec
from lamina.core.naming import snake_case
from lamina.core.types import Identifier, Initializer, Seed
from lamina.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.recurrent.rnn import RNN


class SimpleRNN(RNN):
    r"""A plain recurrence: $h_t = \mathrm{activation}(x_t K + h_{t-1} R + b)$.

    Input `(batch, time, features)`, output `(batch, units)`, or with
    `return_sequences` `(batch, time, units)`.

    Args:
        units: the size of the output and of the state.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, units)`.
        recurrent_initializer: the first values of `(units, units)`.
        bias_initializer: the first values of the bias `(units,)`.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, the same at all steps.
        recurrent_dropout: the share of the state dropped, the same at all steps.
        return_sequences: whether to return the outputs of all steps.
        return_state: whether to return the last state after the output.
        go_backwards: whether to begin at the end.
        stateful: whether a call begins with the state the last one ended with.
        unroll: True writes all steps out, a number that many per iteration.
        seed: the seed of the dropout.

    Raises:
        ValueError: an argument out of its range.

    >>> import lamina, numpy as np
    >>> lamina.layers.SimpleRNN(4)(np.ones((2, 5, 3))).shape
    (2, 4)
    """

    _saved_never = (*RNN._saved_never, "cell")
    _saved_if_changed = ("seed",)
    _saved_last = ("activity_regularizer",)

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(**cell_arguments(SimpleRNNCell, locals()))
        self.input_spec = InputSpec(ndim=3)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence over time, by its kernel where that may be."""
        if not _fast(self, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        run = kernels.simple_rnn
        return _run(run, self, sequences, initial_state, mask, training)


class LSTM(RNN):
    r"""Long short-term memory.

    $i, f, g, o = x_t K + h_{t-1} R + b$ in four equal parts;
    $c_t = \sigma(f)\, c_{t-1} + \sigma(i) \tanh(g)$; $h_t = \sigma(o) \tanh(c_t)$.

    Input `(batch, time, features)`, output `(batch, units)`, or with
    `return_sequences` `(batch, time, units)`. Its states are $h$ and $c$.

    Args:
        units: the size of the output and of both states.
        activation: the function in place of tanh, or its name.
        recurrent_activation: the function of the gates, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, 4 * units)`.
        recurrent_initializer: the first values of `(units, 4 * units)`.
        bias_initializer: the first values of the bias `(4 * units,)`.
        unit_forget_bias: whether the bias of the forget gate begins at one.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, the same at all steps.
        recurrent_dropout: the share of the state dropped, the same at all steps.
        seed: the seed of the dropout.
        return_sequences: whether to return the outputs of all steps.
        return_state: whether to return the last states after the output.
        go_backwards: whether to begin at the end.
        stateful: whether a call begins with the states the last one ended with.
        unroll: True writes all steps out, a number that many per iteration.
        use_cudnn: "auto" takes the fast kernel where it can, False never, True
            insists on it.

    Raises:
        ValueError: an argument out of its range, or `use_cudnn=True` where the
            kernel cannot do what is asked.

    Source: Hochreiter and Schmidhuber, 1997, "Long short-term memory".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.LSTM(4, return_sequences=True, return_state=True)
    >>> [x.shape for x in layer(np.ones((2, 5, 3)))]
    [(2, 5, 4), (2, 4), (2, 4)]
    """

    _saved_never = (*RNN._saved_never, "cell", "use_cudnn")
    _saved_last = ("activity_regularizer",)

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        recurrent_activation: Identifier = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Seed = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        **kwargs,
    ):
        super().__init__(**cell_arguments(LSTMCell, locals()))
        self.input_spec = InputSpec(ndim=3)
        self.use_cudnn = one_of("LSTM", "use_cudnn", use_cudnn, ("auto", True, False))

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence over time, by its kernel where that may be."""
        if not _fast(self, training, self.use_cudnn):
            return super().inner_loop(sequences, initial_state, mask, training)
        return _run(kernels.lstm, self, sequences, initial_state, mask, training)


class GRU(RNN):
    r"""Gated recurrent units.

    $z, r, g$ are the parts of $x_t K + h_{t-1} R + b$, the reset gate $\sigma(r)$
    on the recurrent part of $g$;
    $h_t = \sigma(z)\, h_{t-1} + (1 - \sigma(z)) \tanh(g)$.

    Input `(batch, time, features)`, output `(batch, units)`, or with
    `return_sequences` `(batch, time, units)`.

    Args:
        units: the size of the output and of the state.
        activation: the function in place of tanh, or its name.
        recurrent_activation: the function of the gates, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, 3 * units)`.
        recurrent_initializer: the first values of `(units, 3 * units)`.
        bias_initializer: the first values of the bias: `(2, 3 * units)` when the
            reset comes after the product, else `(3 * units,)`.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, the same at all steps.
        recurrent_dropout: the share of the state dropped, the same at all steps.
        seed: the seed of the dropout.
        return_sequences: whether to return the outputs of all steps.
        return_state: whether to return the last state after the output.
        go_backwards: whether to begin at the end.
        stateful: whether a call begins with the state the last one ended with.
        unroll: True writes all steps out, a number that many per iteration.
        reset_after: whether the reset gate is applied to the product
            (`r * (h @ R)`) rather than to the state (`(r * h) @ R`).
        use_cudnn: "auto" takes the fast kernel where it can, False never, True
            insists on it.

    Raises:
        ValueError: an argument out of its range, or `use_cudnn=True` where the
            kernel cannot do what is asked.

    Source: Cho et al., 2014, "Learning phrase representations using RNN
    encoder-decoder for statistical machine translation".

    >>> import lamina, numpy as np
    >>> lamina.layers.GRU(4, return_sequences=True)(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    _saved_never = (*RNN._saved_never, "cell", "use_cudnn")
    _saved_last = ("activity_regularizer",)

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        recurrent_activation: Identifier = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Seed = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **kwargs,
    ):
        super().__init__(**cell_arguments(GRUCell, locals()))
        self.input_spec = InputSpec(ndim=3)
        self.use_cudnn = one_of("GRU", "use_cudnn", use_cudnn, ("auto", True, False))

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence over time, by its kernel where that may be."""
        if not _fast(self, training, self.use_cudnn):
            return super().inner_loop(sequences, initial_state, mask, training)
        run = functools.partial(kernels.gru, reset_after=self.cell.reset_after)
        return _run(run, self, sequences, initial_state, mask, training)


_OVER_TIME = tuple(
    (
        "return_sequences return_state go_backwards stateful unroll "
        "activity_regularizer"
    ).split()
)


def cell_arguments(cell_class, given):
    """Make the cell from what a layer was given; return the arguments of `RNN`."""
    rest = dict(given["kwargs"])
    cell = cell_class(
        **{name: given[name] for name in parameters_of(cell_class)},
        implementation=rest.pop("implementation", 2),
        dtype=rest.get("dtype"),
        trainable=rest.get("trainable", True),
        name=snake_case(cell_class.__name__),
    )
    return {"cell": cell, **{k: given[k] for k in _OVER_TIME if k in given}, **rest}


def show_cell(layer_class, cell_class):
    """Let a layer's attributes be those of its cell."""
    for name in parameters_of(cell_class):
        setattr(layer_class, name, _from_cell(name))


def _from_cell(name):
    return property(
        lambda layer: getattr(layer.cell, name), doc=f"The cell's `{name}`."
    )


def _fast(layer, training, wish="auto"):
    """Tell whether the kernel computes what the cell would."""
    cell = layer.cell
    gates = getattr(cell, "recurrent_activation", activations.sigmoid)
    can = (
        type(cell) in (SimpleRNNCell, LSTMCell, GRUCell)
        and cell.activation is activations.tanh
        and gates is activations.sigmoid
        and not layer.unroll
        and not (training and cell.recurrent_dropout)
        and not (training and cell.dropout and cell.implementation == 1)
    )
    if wish is True and not can:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) was made with "
            "`use_cudnn=True`, but the fast kernel needs activation='tanh', "
            "recurrent_activation='sigmoid', unroll=False and no recurrent dropout. "
            "Pass `use_cudnn='auto'` to use it only where it can be used."
        )
    return can and wish is not False


def _run(kernel, layer, sequences, initial_state, mask, training):
    cell = layer.cell
    drop = cell.get_dropout_mask(sequences[:, 0]) if training else None
    outputs, *states = kernel(
        sequences if drop is None else sequences * drop[:, None],
        *initial_state,
        cell.kernel.value,
        cell.recurrent_kernel.value,
        None if cell.bias is None else cell.bias.value,
        mask=mask,
        reverse=layer.go_backwards,
        zero_output_for_mask=layer.zero_output_for_mask,
    )
    zeroed = layer.zero_output_for_mask and mask is not None
    return outputs[:, -1] if zeroed else states[0], outputs, states


for _layer, _cell in ((SimpleRNN, SimpleRNNCell), (LSTM, LSTMCell), (GRU, GRUCell)):
    show_cell(_layer, _cell)
