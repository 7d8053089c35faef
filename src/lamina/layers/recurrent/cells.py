"""Cells: one step of a recurrence, `(inputs, states) -> (output, states)`.

A cell knows nothing of time. `RNN` calls it once per step, and holds its dropout
masks for the whole sequence, so that every step drops the same units.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core import structure
from lamina.core.budget import looked_at
from lamina.core.checks import fraction, positive_int
from lamina.core.config import deserialize_keras_object
from lamina.core.random import SeedGenerator
from lamina.core.registry import CustomObjectScope
from lamina.core.rows import weakest
from lamina.core.types import Identifier, Initializer, Seed
from lamina.kernels import dense, dropout
from lamina.layers.call import signature_of
from lamina.layers.layer import Layer
from lamina.layers.weights import keep, make


class DropoutMasks:
    """The part of a cell that draws dropout masks, which all steps of an `RNN` share.

    The cell has the rates `dropout` and `recurrent_dropout` and a `seed_generator`;
    with a `dropout_mask_count`, a mask is a list of that many.
    """

    dropout_mask_count: int | None = None
    _dropout_mask = _recurrent_dropout_mask = None
    # What a cell that has this part holds.
    dropout: float
    recurrent_dropout: float
    seed_generator: SeedGenerator
    compute_dtype: str

    def get_dropout_mask(self, step_input):
        """Return the mask of the inputs, drawn now unless one is held; hold it."""
        if self._dropout_mask is None:
            self._dropout_mask = self._draw(step_input, self.dropout)
        return self._dropout_mask

    def get_recurrent_dropout_mask(self, step_input):
        """Return the mask of the state, drawn now unless one is held; hold it."""
        if self._recurrent_dropout_mask is None:
            self._recurrent_dropout_mask = self._draw(
                step_input, self.recurrent_dropout
            )
        return self._recurrent_dropout_mask

    def reset_dropout_mask(self):
        """Let go of the mask of the inputs."""
        self._dropout_mask = None

    def reset_recurrent_dropout_mask(self):
        """Let go of the mask of the state."""
        self._recurrent_dropout_mask = None

    def hold_masks(self, inputs, states):
        """Draw the masks that all steps share, for inputs and states as given."""
        self.get_dropout_mask(inputs)
        self.get_recurrent_dropout_mask(structure.flatten(states)[0])

    def release_masks(self):
        """Let go of both masks."""
        self.reset_dropout_mask()
        self.reset_recurrent_dropout_mask()

    def _draw(self, like, rate):
        if not rate:
            return None
        ones = jnp.ones(like.shape, self.compute_dtype)
        count = self.dropout_mask_count
        masks = [
            dropout(ones, rate, self.seed_generator.next()) for _ in range(count or 1)
        ]
        return masks if count else masks[0]


class Cell(DropoutMasks, Layer):
    """What the built-in cells share: weights, first states, dropout masks.

    Args:
        units: the size of the output and of each state.
        gates: how many parts of `units` columns each kernel has.
        settings: arguments by name; initializers, regularizers and constraints
            are taken from it.
        dropout: the share of inputs dropped.
        recurrent_dropout: the share of the state dropped on its way back in.
        seed: the seed of the masks.
        implementation: 1 draws a mask per gate, 0 and 2 one for all of them.
    """

    _saved_never = (*Layer._saved_never, "implementation")
    rows_independent = True
    activation: Any
    recurrent_activation: Any
    bias_initializer: Any
    bias_regularizer: Any
    bias_constraint: Any
    state_size: Any
    use_bias: bool
    _size = "units"

    def __init__(
        self,
        units: int,
        gates: Any,
        settings: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: Seed,
        implementation: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = positive_int(owner, self._size, units)
        keep(self, settings)
        self.dropout = fraction(owner, "dropout", dropout)
        self.recurrent_dropout = fraction(owner, "recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        if implementation not in (0, 1, 2):
            raise ValueError(
                f"`{owner}` expected `implementation` to be 0, 1 or 2. "
                f"Received: implementation={implementation!r}"
            )
        # With recurrent dropout every gate sees its own share of the state.
        self.implementation = 1 if recurrent_dropout else implementation
        several = self.implementation == 1 and gates > 1
        self.dropout_mask_count = gates if several else None
        self.output_size = self.units
        self._gates = gates

    def build(self, input_shape):
        self._make_kernels(input_shape[-1])

    def _make_kernels(self, features, window=()):
        columns = self._gates * self.units
        self.kernel = make(self, "kernel", (*window, features, columns))
        self.recurrent_kernel = make(
            self, "recurrent", (*window, self.units, columns), name="recurrent_kernel"
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=self._bias_shape(),
                initializer=self._first_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _bias_shape(self):
        return (self._gates * self.units,)

    def _first_bias(self, shape, dtype=None):
        return self.bias_initializer(shape, dtype=dtype)

    def get_initial_state(self, batch_size=None):
        zeros = jnp.zeros((batch_size, self.units), self.compute_dtype)
        return [zeros for _ in structure.flatten(self.state_size)]

    def _masks(self, inputs, state, training):
        """Return the masks of one step: those held, or new ones for a lone cell."""
        if not training:
            return None, None
        first, second = self._dropout_mask, self._recurrent_dropout_mask
        if first is None:
            first = self._draw(inputs, self.dropout)
        if second is None:
            second = self._draw(state, self.recurrent_dropout)
        return first, second


def _product(x, mask, kernel):
    """Return `(x * mask) @ kernel`; a list of masks has one for each gate."""
    if not isinstance(mask, list):
        return dense(x if mask is None else x * mask, kernel)
    parts = jnp.split(kernel, len(mask), axis=1)
    return jnp.concatenate(
        [dense(x * m, part) for m, part in zip(mask, parts, strict=True)], axis=-1
    )


class SimpleRNNCell(Cell):
    r"""One step of a plain recurrence.

    $h_t = \mathrm{activation}(x_t K + h_{t-1} R + b)$

    Inputs `(batch, features)`, states `[(batch, units)]`.

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
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, from 0 to 1.
        recurrent_dropout: the share of the state dropped, from 0 to 1.
        seed: the seed of the dropout.

    Raises:
        ValueError: `units` is not a positive integer, or a share is not in 0..1.

    >>> import lamina, numpy as np
    >>> cell = lamina.layers.SimpleRNNCell(4)
    >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(2))
    >>> output.shape
    (2, 4)
    """

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
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Seed = None,
        **kwargs,
    ):
        # One gate: a mask per gate and a mask for all are the same here.
        super().__init__(units, 1, locals(), dropout, recurrent_dropout, seed, **kwargs)
        self.use_bias = use_bias
        self.state_size = self.units

    def call(self, inputs, states, training=False):
        h = states[0] if structure.is_nested(states) else states
        mask, recurrent_mask = self._masks(inputs, h, training)
        z = _product(inputs, mask, self.kernel.value)
        if self.bias is not None:
            z = z + self.bias.value
        z = z + _product(h, recurrent_mask, self.recurrent_kernel.value)
        h = self.activation(z) if self.activation is not None else z
        return h, [h] if structure.is_nested(states) else h


class LSTMCell(Cell):
    r"""One step of a long short-term memory.

    $i, f, g, o = x_t K + h_{t-1} R + b$ in four equal parts;
    $c_t = \sigma(f)\, c_{t-1} + \sigma(i)\,\mathrm{activation}(g)$;
    $h_t = \sigma(o)\,\mathrm{activation}(c_t)$, with $\sigma$ the recurrent
    activation.

    Inputs `(batch, features)`, states `[h, c]` of shape `(batch, units)`.

    Args:
        units: the size of the output and of both states.
        activation: the function of the candidate and of the memory, or its name.
        recurrent_activation: the function of the gates, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, 4 * units)`.
        recurrent_initializer: the first values of `(units, 4 * units)`.
        bias_initializer: the first values of the bias `(4 * units,)`.
        unit_forget_bias: whether the bias of the forget gate begins at one.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, from 0 to 1.
        recurrent_dropout: the share of the state dropped, from 0 to 1.
        seed: the seed of the dropout.

    Raises:
        ValueError: `units` is not a positive integer, or a share is not in 0..1.

    Source: Hochreiter and Schmidhuber, 1997, "Long short-term memory".

    >>> import lamina, numpy as np
    >>> cell = lamina.layers.LSTMCell(4)
    >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(2))
    >>> c.shape
    (2, 4)
    """

    _gate_axis = -1

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
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(units, 4, locals(), dropout, recurrent_dropout, seed, **kwargs)
        self.use_bias = use_bias
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]

    def _first_bias(self, shape, dtype=None):
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        # On the host, for which nothing is compiled.
        first = np.asarray(self.bias_initializer((self.units,), dtype=dtype))
        rest = np.asarray(self.bias_initializer((2 * self.units,), dtype=dtype))
        return np.concatenate([first, np.ones_like(first), rest])

    def call(self, inputs, states, training=False):
        mask, recurrent_mask = self._masks(inputs, states[0], training)
        return self._advance(self._of_inputs(inputs, mask), states, recurrent_mask)

    def _of_inputs(self, inputs, mask):
        """Return what the inputs add to the gates, the bias with it."""
        z = _product(inputs, mask, self.kernel.value)
        return z if self.bias is None else z + self.bias.value

    def _of_state(self, h, mask):
        """Return what the state adds to the gates."""
        return _product(h, mask, self.recurrent_kernel.value)

    def _advance(self, z, states, recurrent_mask):
        """Return the output and the new states for what the inputs gave."""
        h, c = states
        z = z + self._of_state(h, recurrent_mask)
        i, f, g, o = jnp.split(z, 4, axis=self._gate_axis)
        i, f, o = (self.recurrent_activation(gate) for gate in (i, f, o))
        c = f * c + i * self.activation(g)
        h = o * self.activation(c)
        return h, [h, c]


class GRUCell(Cell):
    r"""One step of gated recurrent units.

    $z, r, g$ are the parts of $x_t K + h_{t-1} R + b$;
    $\hat h = \mathrm{activation}(g)$ with the reset gate $\sigma(r)$ on the
    recurrent part of $g$; $h_t = \sigma(z)\, h_{t-1} + (1 - \sigma(z))\,\hat h$.

    Inputs `(batch, features)`, states `[(batch, units)]`.

    Args:
        units: the size of the output and of the state.
        activation: the function of the candidate, or its name.
        recurrent_activation: the function of the gates, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, 3 * units)`.
        recurrent_initializer: the first values of `(units, 3 * units)`.
        bias_initializer: the first values of the bias: `(2, 3 * units)` when the
            reset comes after the product, else `(3 * units,)`.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel is projected with after each step.
        recurrent_constraint: likewise for the recurrent kernel.
        bias_constraint: likewise for the bias.
        dropout: the share of inputs dropped in training, from 0 to 1.
        recurrent_dropout: the share of the state dropped, from 0 to 1.
        reset_after: whether the reset gate is applied to the product
            (`r * (h @ R)`) rather than to the state (`(r * h) @ R`).
        seed: the seed of the dropout.

    Raises:
        ValueError: `units` is not a positive integer, or a share is not in 0..1.

    Source: Cho et al., 2014, "Learning phrase representations using RNN
    encoder-decoder for statistical machine translation".

    >>> import lamina, numpy as np
    >>> cell = lamina.layers.GRUCell(4)
    >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(2))
    >>> output.shape
    (2, 4)
    """

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
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(units, 3, locals(), dropout, recurrent_dropout, seed, **kwargs)
        self.use_bias = use_bias
        self.reset_after = reset_after
        self.state_size = self.units

    def _bias_shape(self):
        columns = 3 * self.units
        return (2, columns) if self.reset_after else (columns,)

    def call(self, inputs, states, training=False):
        h = states[0] if structure.is_nested(states) else states
        mask, recurrent_mask = self._masks(inputs, h, training)
        before = after = None
        if self.bias is not None:
            bias = self.bias.value
            before, after = bias if self.reset_after else (bias, None)
        x = _product(inputs, mask, self.kernel.value)
        if before is not None:
            x = x + before
        xz, xr, xg = jnp.split(x, 3, axis=-1)
        kernel = self.recurrent_kernel.value
        if self.reset_after:
            y = _product(h, recurrent_mask, kernel)
            if after is not None:
                y = y + after
            yz, yr, yg = jnp.split(y, 3, axis=-1)
            r = self.recurrent_activation(xr + yr)
            yg = r * yg
        else:
            masked = isinstance(recurrent_mask, list)
            gates = recurrent_mask[:2] if masked else recurrent_mask
            y = _product(h, gates, kernel[:, : 2 * self.units])
            yz, yr = jnp.split(y, 2, axis=-1)
            r = self.recurrent_activation(xr + yr)
            last = recurrent_mask[2] if masked else recurrent_mask
            yg = _product(r * h, last, kernel[:, 2 * self.units :])
        z = self.recurrent_activation(xz + yz)
        h = z * h + (1 - z) * self.activation(xg + yg)
        return h, [h] if structure.is_nested(states) else h


class StackedRNNCells(Layer):
    """Cells in a stack: each takes the output of the one below.

    Inputs `(batch, features)`, states a list with the states of each cell.

    Args:
        cells: the cells, lowest first.

    Raises:
        ValueError: one of them has no `call` or no `state_size`.

    >>> import lamina, numpy as np
    >>> cells = [lamina.layers.LSTMCell(4), lamina.layers.GRUCell(2)]
    >>> lamina.layers.RNN(cells)(np.ones((1, 5, 3))).shape
    (1, 2)
    """

    def __init__(self, cells: Any, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ValueError(
                "`StackedRNNCells` expected `cells` to be a list of cells. "
                f"Received: cells={cells!r}"
            )
        for cell in cells:
            for name in ("call", "state_size"):
                if not hasattr(cell, name):
                    raise ValueError(
                        f"All cells must have a `{name}` "
                        f"{'method' if name == 'call' else 'attribute'}. "
                        f"Received cell without a `{name}`: {cell!r} in "
                        f"cells={cells!r}"
                    )
        self.cells = list(cells)

    @property
    def rows_independent(self):
        return weakest(*(getattr(x, "rows_independent", False) for x in self.cells))

    @property
    def _runs_given_code(self):
        return not all(isinstance(cell, Layer) for cell in self.cells)

    @property
    def state_size(self):
        looked_at(self.cells)  # each of which may hold the same others twice
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self):
        return output_size(self.cells[-1])

    def get_initial_state(self, batch_size=None):
        return [first_state(c, batch_size, self.compute_dtype) for c in self.cells]

    def build(self, input_shape):
        """Build each cell for what the one before it gives."""
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
                cell.built = True
            input_shape = (input_shape[0], output_size(cell))

    def call(self, inputs, states, training=False, **kwargs):
        new_states = []
        for cell, state in zip(self.cells, states, strict=True):
            nested = structure.is_nested(state)
            inputs, new = call_cell(
                cell, inputs, list(state) if nested else [state], training, **kwargs
            )
            if not nested and structure.is_nested(new):
                (new,) = new
            new_states.append(new)
        return inputs, new_states

    def hold_masks(self, inputs, states):
        """Draw the dropout masks that all steps share, in every cell."""
        for cell, state in zip(self.cells, states, strict=True):
            if isinstance(cell, (DropoutMasks, StackedRNNCells)):
                cell.hold_masks(inputs, state)
            inputs = jnp.zeros((inputs.shape[0], output_size(cell)))

    def release_masks(self):
        """Let go of the dropout masks of every cell."""
        for cell in self.cells:
            if isinstance(cell, (DropoutMasks, StackedRNNCells)):
                cell.release_masks()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        with CustomObjectScope(custom_objects):
            cells: Any = [deserialize_keras_object(c) for c in config.pop("cells")]
        return cls(cells, **config)


def output_size(cell) -> int:
    """Return the size of a cell's output; by default that of its first state."""
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size
        size = size[0] if structure.is_nested(size) else size
    return size


def first_state(cell, batch_size, dtype) -> Any:
    """Return what a cell says its first states are, by default zeros."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    dtype = getattr(cell, "compute_dtype", dtype)
    return structure.map_leaves(
        lambda size: jnp.zeros((batch_size, size), dtype), cell.state_size
    )


def call_cell(cell, inputs, states, training, **kwargs) -> Any:
    """Run one step of any cell, be it a Layer or a plain object with `call`."""
    if isinstance(cell, Layer) and signature_of(cell.call).training:
        kwargs["training"] = training
    return (cell if callable(cell) else cell.call)(inputs, states, **kwargs)
