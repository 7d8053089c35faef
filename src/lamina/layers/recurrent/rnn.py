"""`RNN`: runs a cell over time."""

import contextlib
from typing import Any

import jax.numpy as jnp

from lamina.core import structure
from lamina.core.context import having
from lamina.core.dtypes import is_float
from lamina.core.registry import CustomObjectScope
from lamina.core.variable import Variable, pure
from lamina.kernels import scan
from lamina.layers.layer import Layer
from lamina.layers.recurrent.cells import (
    DropoutMasks,
    StackedRNNCells,
    call_cell,
    first_state,
)


class RNN(Layer):
    """Run a cell over the time steps of a sequence.

    Input `(batch, time, ...)`. Output: the last step's output `(batch, units)`, or
    with `return_sequences` all of them, `(batch, time, units)`. Where the mask
    `(batch, time)` is False, states stay as they were and the previous output is
    given again.

    A cell is any object with `call(inputs, states) -> (output, states)` and a
    `state_size`: an integer, or a list of them, one for each state. It may have an
    `output_size` and a `get_initial_state(batch_size=None)`. A cell that is a Layer
    may own Variables, draw random numbers and call `add_loss`.

    Args:
        cell: the cell, or a list of cells, lowest first.
        return_sequences: whether to return the outputs of all steps.
        return_state: whether to return the last states after the output.
        go_backwards: whether to begin at the end; outputs come in that order too.
        stateful: whether a call begins with the states the last one ended with.
        unroll: True writes all steps out, a number that many per iteration.
        zero_output_for_mask: whether the output is zero where masked.

    Call arguments:
        sequences: the input.
        initial_state: the states before the first step; zeros by default.
        mask: which steps count, `(batch, time)`.
        training: whether dropout acts.

    Raises:
        ValueError: the cell has no `call` or `state_size`; the states given do not
            fit; `unroll` without a known number of steps; `stateful` without a
            known batch size.

    >>> import lamina, numpy as np
    >>> class Sum(lamina.layers.Layer):
    ...     state_size = 3
    ...     def call(self, x, states):
    ...         return x + states[0], [x + states[0]]
    >>> lamina.layers.RNN(Sum())(np.ones((1, 5, 3))).tolist()
    [[5.0, 5.0, 5.0]]
    """

    _never_divided = "divided, each step of a sequence would wait for a sum"

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        if not hasattr(cell, "call"):
            raise ValueError(
                f"Argument `cell` should have a `call` method. Received: cell={cell}"
            )
        if getattr(cell, "state_size", None) is None:
            raise ValueError(
                "The RNN cell should have a `state_size` attribute: an integer, or a "
                f"list of them, one for each state. Received: cell={cell}"
            )
        sizes = cell.state_size
        if not isinstance(sizes, (list, tuple, int)):
            raise ValueError(
                "state_size must be an integer, or a list/tuple of integers (one for "
                f"each state tensor). Received: state_size={sizes!r}"
            )
        if not isinstance(unroll, int) or unroll < 0:
            raise ValueError(
                f"`{type(self).__name__}` expected `unroll` to be a bool, or a number "
                f"of steps. Received: unroll={unroll!r}"
            )
        self.cell: Any = cell
        self.state_size = [sizes] if isinstance(sizes, int) else list(sizes)
        self.return_sequences = return_sequences
        self.zero_output_for_mask = zero_output_for_mask
        self.go_backwards = go_backwards
        self.unroll = unroll
        self.return_state = return_state
        self.supports_masking = True
        self.stateful = stateful
        self.states: Any = None
        self._kept = []  # the Variables in `states`

    # ---- states --------------------------------------------------------------

    @property
    def rows_independent(self):
        return not self.stateful and getattr(self.cell, "rows_independent", False)

    @property
    def _runs_given_code(self):
        return not isinstance(self.cell, Layer)

    def build(self, sequences_shape, initial_state_shape=None):
        batch_size = sequences_shape[0]
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((batch_size, *sequences_shape[2:]))
            self.cell.built = True
        if not self.stateful or self.states is not None:
            return
        if batch_size is None:
            raise ValueError(
                "When using `stateful=True` in a RNN, the batch size must be static. "
                f"Found dynamic batch size: sequence.shape={sequences_shape}. Give it "
                "with `Input(batch_shape=...)` or `Input(shape, batch_size=...)`."
            )
        first = self.get_initial_state(batch_size)
        self._kept = [
            Variable(x, dtype=self.variable_dtype, trainable=False, name="rnn_state")
            for x in structure.flatten(first)
        ]
        self.states = structure.pack_like(first, self._kept)

    # The states of a stateful layer flow through compiled steps like any Variable
    # but are not weights: they belong to the data, and files do not hold them.

    def _own_variables(self):
        kept = {id(v) for v in self._kept}
        return [v for v in super()._own_variables() if id(v) not in kept]

    @property
    def variables(self):
        """All state: weights, seeds, and last the states kept between calls."""
        return super().variables + self._kept

    def get_initial_state(self, batch_size):
        states = first_state(self.cell, batch_size, self.compute_dtype)
        return list(states) if structure.is_nested(states) else [states]

    def reset_state(self):
        for variable in self._kept:
            variable.assign(jnp.zeros(variable.shape))

    def reset_states(self):
        """Set the states kept between calls to zero."""
        self.reset_state()

    def _first_states(self, sequences, given):
        batch_size = sequences.shape[0]
        if self.stateful:
            kept = self._kept[0].shape[0]
            if isinstance(batch_size, int) and batch_size != kept:
                raise ValueError(
                    "If an RNN is stateful, the batch size of the input sequences must "
                    "be the same as the batch size of the initial state. Layer "
                    f"{self.name!r} expected a batch of {kept}. Received: {batch_size}"
                )
        if given is not None:
            states = list(given) if structure.is_nested(given) else [given]
            self._check_states(states)
        elif self.stateful:
            states = structure.pack_like(self.states, [v.value for v in self._kept])
        else:
            states = self.get_initial_state(batch_size)
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)

        def cast(state):
            state = jnp.asarray(state)
            return state.astype(dtype) if is_float(state.dtype) else state

        return structure.map_leaves(cast, states)

    def _check_states(self, states):
        sizes = structure.flatten(self.state_size)
        flat = structure.flatten(states)
        fits = len(flat) == len(sizes) and all(
            jnp.ndim(state) != 2 or jnp.shape(state)[1] == size
            for state, size in zip(flat, sizes, strict=True)
        )
        if not fits and all(isinstance(size, int) for size in sizes):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) expected `initial_state` "
                f"to hold {len(sizes)} state(s) of sizes {self.state_size}. Received: "
                f"shapes {[jnp.shape(s) for s in flat]}"
            )

    # ---- the loop ------------------------------------------------------------

    def call(self, sequences, initial_state=None, mask=None, training=False):
        states = self._first_states(sequences, initial_state)
        with self._shared_masks(sequences, states, training):
            last, outputs, states = self.inner_loop(
                sequences, states, _one_mask(mask), training=training
            )
        if self.stateful:
            flat = structure.flatten(states)
            for variable, state in zip(self._kept, flat, strict=True):
                variable.assign(state)
        output = outputs if self.return_sequences else last
        if is_float(output.dtype):
            output = output.astype(self.compute_dtype)
        return (output, *states) if self.return_state else output

    @contextlib.contextmanager
    def _shared_masks(self, sequences, states, training):
        """Hold one set of dropout masks for all steps of a call."""
        holds = training and isinstance(self.cell, (DropoutMasks, StackedRNNCells))
        if holds:
            self.cell.hold_masks(sequences[:, 0], states)
        try:
            yield
        finally:
            if holds:
                self.cell.release_masks()

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the cell over time.

        Args:
            sequences: `(batch, time, ...)`.
            initial_state: a list of states.
            mask: `(batch, time)` or None.
            training: whether dropout acts.

        Returns:
            The last output, all outputs, and the last states.
        """
        cell = self.cell
        stacked = isinstance(cell, StackedRNNCells)
        variables = []
        if isinstance(cell, Layer):
            variables = [v for v in cell.variables if not v.made_trainable]
        run = pure(lambda x, states: self._step(x, states, training), variables)
        assigned, penalized = set(), []

        def step(x, states, shared):
            values, penalty = shared
            losses = []
            with having(losses=losses):
                (y, new), now = run(values, x, states[::-1] if stacked else states)
            assigned.update(
                v for v, a, b in zip(variables, values, now, strict=True) if a is not b
            )
            if losses:
                penalized.append(True)
                penalty = penalty + sum(losses)
            return y, new[::-1] if stacked else new, (now, penalty)

        # What a masked step gives again before there is an output is the first
        # state, for a stack that of the highest cell: so the stack is turned over.
        states = initial_state[::-1] if stacked else initial_state
        last, outputs, states, (values, penalty) = scan(
            step,
            sequences,
            states,
            shared=(tuple(v.raw_value for v in variables), jnp.zeros(())),
            mask=mask,
            reverse=self.go_backwards,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )
        for variable, value in zip(variables, values, strict=True):
            if variable in assigned:
                variable.assign(value)
        if penalized:
            self.add_loss(penalty)
        return last, outputs, states[::-1] if stacked else states

    def _step(self, x, states, training):
        output, new = call_cell(self.cell, x, states, training)
        new = structure.flatten(new)
        if len(new) != len(structure.flatten(states)):
            raise ValueError(
                f"The cell {self.cell!r} of layer {self.name!r} takes "
                f"{len(structure.flatten(states))} state(s) but returned {len(new)}. "
                "Its `call` must return `(output, states)` with as many states."
            )
        return output, structure.pack_like(states, new)

    # ---- shapes and configs --------------------------------------------------

    def compute_output_spec(self, sequences, *args, **kwargs):
        if self.unroll and sequences.shape[1] is None:
            raise ValueError(
                "Cannot unroll a RNN if the time dimension is undefined. Layer "
                f"{self.name!r} received sequences of shape {sequences.shape}. Give "
                "the number of steps with `Input(shape=(steps, ...))`, or pass "
                "`unroll=False`."
            )
        return super().compute_output_spec(sequences, *args, **kwargs)

    def compute_mask(self, sequences, previous_mask):
        mask = _one_mask(previous_mask)
        mask = mask if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    @classmethod
    def from_config(cls, config, custom_objects=None):
        with CustomObjectScope(custom_objects):
            return super().from_config(config)


def _one_mask(mask):
    """Return the mask of the sequences, of `(batch, time)`, from what a call got."""
    if structure.is_nested(mask):
        mask = structure.flatten(mask)[0]
    if mask is None or getattr(mask, "is_symbolic", False):
        return mask
    mask = jnp.asarray(mask).astype(bool)
    return mask.any(tuple(range(2, mask.ndim))) if mask.ndim > 2 else mask
