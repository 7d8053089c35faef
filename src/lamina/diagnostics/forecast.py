"""`Model.forecast`: what a training step and a prediction will cost, before any run."""

import io
import math
from dataclasses import dataclass
from html import escape
from shutil import get_terminal_size
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings, structure
from lamina.core.checks import positive_int
from lamina.core.extras import load_rich
from lamina.core.input_spec import InputSpec
from lamina.core.matching import Slots
from lamina.core.operation import graph_of, takes_text
from lamina.core.symbolic import SymbolicTensor
from lamina.diagnostics.cost import Cost, Machine, cost_of, machine
from lamina.diagnostics.elsewhere import DeviceForecast, on_devices, units
from lamina.layers.building import built_on
from lamina.training import step
from lamina.training.compiled import training_of
from lamina.training.drive import CompiledStep, is_small
from lamina.training.prepare import outputs_for, prepare
from lamina.training.step import StateVariables

_WIDTH = 78  # of a table, where the terminal is not narrower
_NOTE = (
    "Time is an estimate; no step was run. It is FLOPs / {flops}FLOP/s + bytes / "
    "{bytes}B/s + {kernel:.1f} us a kernel + {call:.0f} us, rates that a short "
    "measurement of this machine gave. Expect it to be off by a factor of two, and by "
    "more where steps are so short that the loop around them counts."
)


@dataclass(frozen=True)
class Parameters:
    """Numbers of one kind that a model holds.

    Attributes:
        count: how many numbers.
        bytes: the memory that they take.
    """

    count: int
    bytes: int


@dataclass(frozen=True)
class StepForecast:
    """What one step will cost.

    Attributes:
        batch_size: rows in the step.
        cost: its FLOPs, bytes and memory.
        estimated_seconds: how long it may take here, estimated.
    """

    batch_size: int
    cost: Cost
    estimated_seconds: float

    @property
    def flops(self) -> float:
        """Operations on numbers."""
        return self.cost.flops

    @property
    def bytes_accessed(self) -> float:
        """Bytes that its kernels read and write."""
        return self.cost.bytes_accessed

    @property
    def peak_bytes(self) -> int:
        """The most memory held at once: weights, batch, outputs and all between."""
        return self.cost.peak_bytes

    @property
    def samples_per_second(self) -> float:
        """Rows in a second, estimated."""
        return self.batch_size / self.estimated_seconds


@dataclass(frozen=True, repr=False)
class Forecast:
    """What `Model.forecast` returns; prints as a table.

    Attributes:
        name: the model's name.
        batch_size: rows in a step.
        trainable: the weights that training changes.
        frozen: the other weights.
        optimizer: the optimizer's own numbers; None where there is no optimizer.
        training: a step of training; None for a model that is not compiled.
        prediction: a step of prediction.
        machine: what the times are estimated with.
        device: what one of several devices holds and sends in a training step; None
            where no devices were asked for.
    """

    name: str
    batch_size: int
    trainable: Parameters
    frozen: Parameters
    optimizer: Parameters | None
    training: StepForecast | None
    prediction: StepForecast
    machine: Machine
    device: DeviceForecast | None = None

    @property
    def title(self) -> str:
        """The headline of the table."""
        return f"Forecast of {self.name!r}, {self.batch_size} rows a step"

    @property
    def rows(self) -> list:
        """The table: the name of each figure, then its texts."""
        parts = {"Trainable": self.trainable, "Frozen": self.frozen}
        if self.optimizer is not None:
            parts["Optimizer"] = self.optimizer
        steps = [s for s in (self.training, self.prediction) if s is not None]

        def each(text):
            return [text(s) for s in steps]

        blank = [""] * (len(steps) - 1)
        return [
            *(
                [f"{name} parameters", f"{p.count:,} ({units(p.bytes)}B)", *blank]
                for name, p in parts.items()
            ),
            ["", *(["Training step"] if self.training else []), "Prediction"],
            ["FLOPs", *each(lambda s: units(s.flops).strip())],
            ["Bytes read and written", *each(lambda s: f"{units(s.bytes_accessed)}B")],
            ["Peak memory", *each(lambda s: f"{units(s.peak_bytes)}B")],
            ["  weights and batch", *each(lambda s: f"{units(_lasting_bytes(s))}B")],
            ["  in between", *each(lambda s: f"{units(s.cost.temp_bytes)}B")],
            ["Estimated time", *each(lambda s: _time(s.estimated_seconds))],
            ["Estimated samples/s", *each(lambda s: _rounded(s.samples_per_second))],
            *(_device_rows(self.device, blank) if self.device else []),
        ]

    @property
    def notes(self) -> list:
        """What must be known to read the figures."""
        rates = self.machine
        notes = [
            _NOTE.format(
                flops=units(rates.flops_per_second),
                bytes=units(rates.bytes_per_second),
                kernel=rates.kernel_seconds * 1e6,
                call=rates.call_seconds * 1e6,
            )
        ]
        if self.training is None:
            notes.append("The model is not compiled: there is no training step yet.")
        if any(s and s.cost.open_loops for s in (self.training, self.prediction)):
            notes.append("Loops of unknown length are counted as one iteration.")
        if self.device is not None:
            notes.extend(_device_notes(self.device))
        return notes

    def __rich__(self):
        load_rich()
        from rich.table import Table
        from rich.text import Text  # square brackets in it mean nothing

        table = Table(
            title=Text(self.title),
            caption=Text(" ".join(self.notes)),
            show_header=False,
            title_justify="left",
            caption_justify="left",
        )
        for row in self.rows:
            if not row[0]:
                table.add_section()
            table.add_row(*map(Text, row), style=None if row[0] else "bold")
        return table

    def __repr__(self):
        load_rich()
        from rich.console import Console

        file, width = io.StringIO(), min(_WIDTH, get_terminal_size((_WIDTH, 0)).columns)
        console = Console(
            file=file, width=width, color_system=None, force_jupyter=False
        )
        console.print(self.__rich__())
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    def _repr_html_(self):
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.rows
        )
        return (
            f"<table><caption>{escape(self.title)}</caption>{rows}</table>"
            f"<p>{escape(' '.join(self.notes))}</p>"
        )


def forecast(
    model,
    batch_size=32,
    input_shape=None,
    target_shape=None,
    devices=None,
    distribution=None,
    topology=None,
    memory=None,
) -> Forecast:
    """Say what a step will cost; see `Model.forecast`."""
    batch_size = positive_int("forecast", "batch_size", batch_size)
    training = training_of(model)
    if step.runs_eagerly(model):
        raise ValueError(
            "`forecast` looks at compiled steps, and this model's run uncompiled: "
            "`compile` was given `run_eagerly=True` or `jit_compile=False`, or a layer "
            "has `supports_jit = False`."
        )
    if takes_text(model):
        raise ValueError(
            "`forecast` sees what is compiled, but the model begins with layers that "
            "take text, which run outside. Forecast the model behind them."
        )
    x = _inputs(model, batch_size, input_shape)
    outputs = outputs_for(model, x)  # builds the model
    step_cost = device = None
    if training.settings.compiled:
        step_cost = _train_cost(model, batch_size, x, outputs, target_shape)
    if devices is not None or topology is not None:
        if step_cost is None:
            raise ValueError(
                "`forecast` says of a training step what several devices hold. Call "
                "`compile` first."
            )

        def batch_of(rows):
            x = _inputs(model, rows, input_shape)
            given = _targets(model, rows, outputs_for(model, x), target_shape)
            return x, given[0], None

        device = on_devices(
            model, batch_of, batch_size, devices, distribution, topology, memory
        )
    variables = StateVariables(model)
    prediction = cost_of(
        CompiledStep(model, "predict", variables), variables.read(), (x, None, None)
    )
    rates = machine(model.compute_dtype)

    def of(cost):
        return StepForecast(batch_size, cost, rates.seconds(cost))

    optimizer = model.optimizer if step_cost is not None else None
    return Forecast(
        name=model.name,
        batch_size=batch_size,
        trainable=_parameters(model.trainable_weights),
        frozen=_parameters(model.non_trainable_weights),
        optimizer=None if optimizer is None else _parameters(optimizer.variables),
        training=None if step_cost is None else of(step_cost),
        prediction=of(prediction),
        machine=rates,
        device=device,
    )


def _train_cost(model, batch_size, x, outputs, target_shape):
    settings = training_of(model).settings
    fresh = not settings.prepared
    y, sure = _targets(model, batch_size, outputs, target_shape)
    batch = (x, y, None)
    prepare(model, batch)
    variables = StateVariables(model)
    made = CompiledStep(model, "train", variables, donate=not is_small(variables))
    cost = cost_of(made, variables.read(), batch)
    if fresh and not sure:
        # The losses and metrics are made again for the targets that really come.
        settings.compiled_loss.forget()
        settings.compiled_metrics.forget()
    return cost


def _parameters(variables):
    unique = {id(v): v for v in variables}.values()
    sizes = [(math.prod(v.shape), jnp.dtype(v.dtype).itemsize) for v in unique]
    return Parameters(sum(n for n, _ in sizes), sum(n * size for n, size in sizes))


# ---- shapes --------------------------------------------------------------------


def _is_shape(value):
    return isinstance(value, (list, tuple)) and all(
        d is None or (isinstance(d, int) and not isinstance(d, bool)) for d in value
    )


def _leaves(value, what) -> Any:
    """Return an InputSpec for each leaf of a structure of shapes."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        dtype = jax.dtypes.canonicalize_dtype(value.dtype).name
        return InputSpec(dtype, shape=value.shape)
    if _is_shape(value):
        return InputSpec(shape=value)
    if isinstance(value, dict):
        return {key: _leaves(one, what) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_leaves(one, what) for one in value]
    raise ValueError(
        f"`forecast` expected `{what}` to be a shape such as (None, 28, 28, 1), the "
        f"batch first, or a list or dict of shapes. Received: {what}={value!r}"
    )


def _inputs(model, batch_size, given):
    """Return the shapes of a batch of inputs, in the model's structure."""
    given = None if given is None else _leaves(given, "input_shape")
    graph = graph_of(model)
    if graph is None and not hasattr(model, "inputs"):
        return _undrawn_inputs(model, batch_size, given)
    tensors, names = model.inputs, model.input_names
    if given is None:
        given = [InputSpec(shape=t.shape) for t in tensors]
    else:
        slots = Slots(model.input, names, f"model {model.name!r}", "input")
        given = slots.each(given, "input_shape", needed=range(len(names)))
    specs = []
    for tensor, name, found in zip(tensors, names, given, strict=True):
        shape, drawn = tuple(found.shape or ()), tuple(tensor.shape)
        fits = len(shape) == len(drawn) and all(
            None in (a, b) or a == b for a, b in zip(shape[1:], drawn[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"`forecast`: input {name!r} of {model.name!r} has the shape {drawn}, "
                f"the batch first. Received: input_shape={tuple(shape)}"
            )
        sizes = [b if a is None else a for a, b in zip(shape, drawn, strict=True)]
        spec = _spec(sizes, found.dtype or tensor.dtype, batch_size, f"input {name!r}")
        specs.append(spec)
    return structure.pack_like(model.input, specs)


def _undrawn_inputs(model, batch_size, given):
    if given is None:
        known = list(built_on(model).values())
        if len(known) != 1 or known[0] is None:
            raise ValueError(
                f"`forecast` does not know what {model.name!r} takes: it is not drawn "
                "from `Input`s. Give `input_shape=(None, 28, 28, 1)`, the batch "
                'first, or `input_shape=lamina.KerasTensor((None, 64), "int32")`.'
            )
        given = _leaves(known[0], "input_shape")
        # What it was built for had a batch size of its own.
        given = structure.map_leaves(
            lambda one: InputSpec(one.dtype, shape=(None, *one.shape[1:])), given
        )
    dtype = model.input_dtype
    return structure.map_leaves(
        lambda one: _spec(one.shape, one.dtype or dtype, batch_size, "the input"), given
    )


def _spec(shape, dtype, batch_size, what) -> Any:
    if len(shape) == 0 or shape[0] not in (None, batch_size):
        raise ValueError(
            f"`forecast`: {what} has the shape {tuple(shape)}, whose first axis is not "
            f"the batch of {batch_size}. Give None there, or that batch_size."
        )
    if None in shape[1:]:
        raise ValueError(
            f"`forecast` needs all sizes but the batch's, and {what} has the shape "
            f"{tuple(shape)}. Give `input_shape` with a number in place of each None "
            "but the first."
        )
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jax.ShapeDtypeStruct((batch_size, *shape[1:]), dtype)


def _targets(model, batch_size, outputs, given):
    """Return the shapes of the targets, and whether they are sure to be these."""
    compiled = training_of(model).settings
    if given is not None:
        floatx = settings.floatx()
        return structure.map_leaves(
            lambda one: _spec(one.shape, one.dtype or floatx, batch_size, "the target"),
            _leaves(given, "target_shape"),
        ), True
    predictions = structure.flatten(outputs)
    if step.own_loss(model):
        specs = [_like(p) for p in predictions]
        return structure.pack_like(outputs, specs), False
    if compiled.loss is None:
        return None, False
    compiled.compiled_loss.make(model, outputs)
    specs, sure = [None] * len(predictions), True
    for term in compiled.compiled_loss.terms:
        kind = getattr(getattr(term.loss, "fn", None), "targets", None)
        sure = sure and kind is not None and term.alone
        for place in structure.flatten(term.places):
            specs[place] = _like(predictions[place])
            if kind == "labels":
                axis = getattr(term.loss, "axis", -1)
                specs[place] = _labels(predictions[place], axis)
    return structure.pack_like(outputs, specs), sure


def _like(tensor: SymbolicTensor) -> Any:
    return jax.ShapeDtypeStruct(tensor.shape, settings.floatx())


def _labels(tensor, axis) -> Any:
    shape = list(tensor.shape)
    del shape[axis]
    return jax.ShapeDtypeStruct(tuple(shape), jnp.int32)


# ---- texts ---------------------------------------------------------------------


def _device_rows(found, blank):
    rows = [
        ["", f"On each of {found.devices:,} {found.kind}", *blank],
        ["State of training", f"{units(found.state_bytes)}B", *blank],
        ["Rows of a batch", f"{units(found.batch_bytes)}B", *blank],
        ["In between", f"{units(found.temp_bytes)}B", *blank],
        ["Together", f"{units(found.peak_bytes)}B", *blank],
    ]
    for name, one in sorted(found.collectives.items()):
        sent = f"{one.count:,}, {units(one.bytes)}B sent"
        rows.append([name, sent, *blank])
    return rows


def _device_notes(found):
    notes = [f"On devices: {found.distribution}; the state is exact."]
    if found.compiled_for < found.devices:
        notes.append(
            f"The rest is that of {found.compiled_for} devices with as many rows each, "
            "for which it was compiled."
        )
    if found.fits is False:
        notes.append(
            f"It does not fit in {units(found.memory)}B: try "
            f"{', or '.join(found.advice)}."
        )
    elif found.fits:
        notes.append(f"It fits in {units(found.memory)}B.")
    return notes + found.remarks


def _lasting_bytes(found):
    return found.peak_bytes - found.cost.temp_bytes


def _rounded(number):
    """Return a number with two digits, as an estimate has no more."""
    digits = 1 - math.floor(math.log10(number))
    return f"about {round(number, digits):,.{max(digits, 0)}f}"


def _time(seconds):
    sizes = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    unit = next((u for u, size in sizes.items() if seconds >= size), "us")
    return f"{_rounded(seconds / sizes[unit])} {unit}"
