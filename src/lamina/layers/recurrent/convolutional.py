"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: an LSTM with convolutions for products."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.arguments import given
from lamina.core.checks import described
from lamina.core.input_spec import InputSpec
from lamina.core.types import Identifier, Initializer, Seed, Sizes
from lamina.kernels import conv, scan
from lamina.layers.convolution import WINDOW, keep_window, refuse_strided_dilation
from lamina.layers.recurrent.cells import LSTMCell
from lamina.layers.recurrent.gated import cell_arguments, show_cell
from lamina.layers.recurrent.rnn import RNN


class ConvLSTMCell(LSTMCell):
    """One step of `ConvLSTM`, with its arguments and the number of dimensions first.

    Inputs `(batch, *spatial, channels)`, states `[h, c]` with `filters` channels and
    the sizes that the convolution gives.
    """

    _saved_never = (*LSTMCell._saved_never, "units")
    _size = "filters"
    _paddings = ("valid", "same")
    kernel_size: tuple
    strides: tuple
    dilation_rate: tuple
    padding: str
    data_format: str

    def __init__(
        self,
        rank,
        filters,
        kernel_size,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs,
    ):
        arguments: Any = given(locals()) | {"implementation": 1}
        for name in ("rank", "filters", *WINDOW):
            del arguments[name]
        super().__init__(filters, **arguments)
        self.rank = rank
        self.filters = self.units
        keep_window(self, kernel_size, strides, padding, data_format, dilation_rate)
        refuse_strided_dilation(self)
        self._last = self.data_format == "channels_last"
        self._gate_axis = -1 if self._last else 1

    def build(self, input_shape):
        if None in input_shape[1:]:
            raise ValueError(
                f"{described(self)} only supports static input shapes. Received: input "
                f"shape {tuple(input_shape)}. Give all sizes but those of the batch "
                "and of time in the shape of the input."
            )
        self._step_shape = tuple(input_shape[1:])
        channels = input_shape[-1] if self._last else input_shape[1]
        self._make_kernels(channels, self.kernel_size)

    def get_initial_state(self, batch_size=None):
        # The sizes are those of an output; the batch may be known by name alone.
        one = jax.ShapeDtypeStruct((1, *self._step_shape), self.compute_dtype)
        kernel = jax.ShapeDtypeStruct(self.kernel.shape, self.compute_dtype)
        shape = list(jax.eval_shape(self._convolve_inputs, one, kernel).shape)
        shape[0], shape[self._gate_axis] = batch_size, self.filters
        return [jnp.zeros(shape, self.compute_dtype)] * 2

    def _convolve_inputs(self, x, kernel):
        return conv(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            channels_last=self._last,
        )

    def _convolve_state(self, h, kernel):
        ones = (1,) * self.rank
        return conv(
            h,
            kernel,
            strides=ones,
            padding="same",
            dilation=ones,
            channels_last=self._last,
        )

    def _of_inputs(self, inputs, mask):
        z = self._by_gate(self._convolve_inputs, inputs, mask, self.kernel.value)
        if self.bias is None:
            return z
        bias = self.bias.value
        return z + (bias if self._last else bias.reshape(-1, *(1,) * self.rank))

    def _of_state(self, h, mask):
        kernel = self.recurrent_kernel.value
        return self._by_gate(self._convolve_state, h, mask, kernel)

    def _by_gate(self, convolve, x, masks, kernel):
        """Convolve all gates at once, or each with a mask of its own."""
        if masks is None:
            return convolve(x, kernel)
        parts = jnp.split(kernel, len(masks), axis=-1)
        gates = [convolve(x * m, k) for m, k in zip(masks, parts, strict=True)]
        return jnp.concatenate(gates, axis=self._gate_axis)


class ConvLSTM(RNN):
    r"""Long short-term memory over images: convolutions in place of products.

    $i, f, g, o$ are the parts of $x_t * K + h_{t-1} * R + b$ along the channels;
    $c_t = \sigma(f)\, c_{t-1} + \sigma(i) \tanh(g)$; $h_t = \sigma(o) \tanh(c_t)$.
    The first convolution takes `strides`, `padding` and `dilation_rate`, the second
    keeps sizes. The base of `ConvLSTM1D`, `ConvLSTM2D` and `ConvLSTM3D`.

    Input `(batch, time, *spatial, channels)`, or with `data_format="channels_first"`
    `(batch, time, channels, *spatial)`; output `(batch, *new spatial, filters)` alike,
    or with `return_sequences` `(batch, time, *new spatial, filters)`. Its states are
    $h$ and $c$, of the output's shape.

    Args:
        filters: the number of output channels.
        kernel_size: the cells of the window, one number for each spatial
            dimension, or one for all.
        strides: the distance of neighbouring windows in the input.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the distance of neighbouring cells of the window.
        activation: the function in place of tanh, or its name.
        recurrent_activation: the function of the gates, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel
            `(*kernel_size, channels, 4 * filters)`.
        recurrent_initializer: the first values of
            `(*kernel_size, filters, 4 * filters)`.
        bias_initializer: the first values of the bias `(4 * filters,)`.
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

    Raises:
        ValueError: an argument out of its range, both strides and dilation above 1,
            or a size of the input (other than batch and time) that is not known.

    Source: Shi et al., 2015, "Convolutional LSTM network: a machine learning approach
    for precipitation nowcasting".
    """

    _saved_never = (*RNN._saved_never, "cell")
    _saved_last = ("activity_regularizer",)
    rank = 2

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
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
        **kwargs,
    ):
        super().__init__(
            **cell_arguments(ConvLSTMCell, {**locals(), "rank": self.rank})
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        sizes = dict(enumerate(sequences_shape[2:], 2))
        self.input_spec = InputSpec(ndim=len(sequences_shape), axes=sizes)

    def _check_states(self, states):
        shape = self.cell.get_initial_state(1)[0].shape[1:]
        given = [jnp.shape(s) for s in states]
        if [tuple(s[1:]) for s in given] != [shape, shape]:
            raise ValueError(
                f"{described(self)} expected `initial_state` to hold two states of "
                f"shape (batch, {', '.join(map(str, shape))}), h and c. Received: "
                f"shapes {given}"
            )

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the recurrence over time, the inputs of all steps convolved at once."""
        cell = self.cell
        if type(cell) is not ConvLSTMCell:
            return super().inner_loop(sequences, initial_state, mask, training)
        batch, time = sequences.shape[:2]
        drop, recurrent = cell._masks(sequences[:, 0], initial_state[0], training)
        drop = jax.tree.map(lambda m: jnp.repeat(m, time, axis=0), drop)
        rows = sequences.reshape(batch * time, *sequences.shape[2:])
        z = cell._of_inputs(rows, drop)
        return scan(
            lambda z, states: cell._advance(z, states, recurrent),
            z.reshape(batch, time, *z.shape[1:]),
            initial_state,
            mask=mask,
            reverse=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )


show_cell(ConvLSTM, ConvLSTMCell)


class ConvLSTM1D(ConvLSTM):
    """Runs over sequences of rows, `(batch, time, steps, channels)`, as `ConvLSTM`.

    >>> import lamina, numpy as np
    >>> lamina.layers.ConvLSTM1D(4, 3)(np.ones((1, 2, 5, 3))).shape
    (1, 3, 4)
    """

    rank = 1


class ConvLSTM2D(ConvLSTM):
    """Runs over videos, `(batch, time, height, width, channels)`, as `ConvLSTM`.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)
    >>> layer(np.ones((1, 2, 5, 5, 3))).shape
    (1, 2, 5, 5, 4)
    """

    rank = 2


class ConvLSTM3D(ConvLSTM):
    """Runs over volumes, `(batch, time, depth, height, width, channels)`.

    The arguments are those of `ConvLSTM`.

    >>> import lamina, numpy as np
    >>> lamina.layers.ConvLSTM3D(4, 2)(np.ones((1, 2, 3, 3, 3, 1))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3
