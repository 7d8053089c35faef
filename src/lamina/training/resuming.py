"""A run that goes on from a snapshot: what must be the same, and what is put back."""

import re

import jax.numpy as jnp
import numpy as np

from lamina.callbacks.backup_and_restore import set_state_of
from lamina.core.owner import layers_in
from lamina.core.placement import own_layout, put
from lamina.core.tracebacks import warn
from lamina.data.arrays import digest
from lamina.training.compiled import training_of
from lamina.training.step import State

_LONG = 64  # entries of a list that is compared by its digest
# What says nothing about the numbers that a run computes: names count up when a script
# makes a model again, and weights were drawn already. Inner layers come by themselves.
_IDLE = {
    "name",
    "module",
    "registered_name",
    "build_config",
    "build_input_shape",
    "batch_shape",
    "layers",
    "input_layers",
    "output_layers",
}


def described(model, variables, **arguments) -> dict:
    """Return what decides the numbers of a run, as plain values.

    Args:
        model: the model, prepared.
        variables: its Variables.
        arguments: those of `fit` that count.
    """
    given = training_of(model).settings.given
    return {
        "layers": [
            _plain(layer) | {"dtype": layer.dtype_policy.name}
            for layer in layers_in(model)
        ],
        "optimizer": optimizer_of(model),
        **{name: _plain(given.get(name)) for name in ("loss", "loss_weights")},
        **{name: _plain(value) for name, value in arguments.items()},
        "weights": {
            f"{kind}[{i}]": f"{'' if kind == 'optimizer' else v.name} {v.dtype} "
            f"{v.shape}"
            for kind, group in variables.groups._asdict().items()
            for i, v in enumerate(group)
            if kind != "metrics"
        },
    }


def optimizer_of(model):
    """Return the optimizer's settings as they were when its last run began.

    Callbacks change them during a run, and what they do is part of the snapshot;
    what somebody changes between two runs is not.
    """
    now = _plain(model.optimizer)
    begun, ended = training_of(model).flags.optimizer_was or (now, None)
    return begun if now == ended else now


def note_settings(model, begun):
    """Note how the optimizer's settings were when a run began that now ends."""
    training_of(model).flags.optimizer_was = begun, _plain(model.optimizer)


def metric_names(model, variables) -> list[str]:
    """Return a name for each Variable of the metrics, in the order of `variables`."""
    names = {}
    for metric in (m for one in model.metrics for m in getattr(one, "metrics", [one])):
        for v in metric.variables:
            name = f"{metric.name}/{v.name} {v.shape}"
            while name in names.values():  # outputs may have metrics of one name
                name += "'"
            names[id(v)] = name
    return [names.get(id(v), v.path) for v in variables.groups.metrics]


def check_found(found, model, variables, sources):
    """Raise unless a snapshot holds values for the Variables, and places in the data.

    Args:
        found: the snapshot, of the form that all have.
        model: the model.
        variables: its Variables.
        sources: those of the batches, and of validation where there is any.
    """
    *groups, values = found["state"]
    *own, _ = variables.groups
    for name, some, group in zip(State._fields, groups, own, strict=False):
        # Behind its own there may be those of others that its step reached.
        more = len(some) > len(group) and name == "non_trainable"
        if len(some) != len(group) and not more:
            raise ValueError(
                f"`state` has {len(some)} {name} values, and the model {len(group)} of "
                "its own"
            )
    known = dict(zip(found["metrics"], values, strict=True))
    names = zip(metric_names(model, variables), variables.groups.metrics, strict=True)
    counted = [(v, known[name]) for name, v in names if name in known]
    for pairs in (*map(zip, own, groups), counted):
        for variable, value in pairs:
            kind = tuple(variable.shape), variable.raw_value.dtype
            if (np.shape(value), getattr(value, "dtype", None)) != kind:
                raise ValueError(
                    f"`state` holds no value for {variable.path!r}, of shape {kind[0]} "
                    f"and dtype {kind[1]}"
                )
    # The second one is that of validation, which may be another in each run.
    for source, mark in zip(sources, found["marks"], strict=False):
        if source.mark().keys() == mark.keys():
            try:
                source.check_mark(mark)
            except Exception as error:  # whatever NumPy's generators raise
                raise ValueError(f"`marks` names no place: {error!r}") from error


def put_back(found, model, variables, callbacks):
    """Give the Variables and the callbacks their stored values.

    Args:
        found: a snapshot, as `open` returned it.
        model: the model.
        variables: its Variables.
        callbacks: all callbacks of the run.
    """
    *groups, values = found["state"]
    known = dict(zip(found["metrics"], values, strict=True))
    names = metric_names(model, variables)
    count = len(variables.groups.non_trainable)
    if left := len(groups[1]) - count:
        groups[1] = groups[1][:count]
        warn(
            f"The step of model {model.name!r} reaches {left} Variables that are not "
            "among its own, such as those of a metric that `metrics` leaves out. They "
            "begin anew: until the step runs, it is not known which they are. Make "
            "them attributes of the model, and list metrics in `metrics`."
        )
    if found["step"] and not known.keys() >= {*names}:
        new = sorted({name.split("/")[0] for name in names if name not in known})
        warn(
            f"The metrics {new} are new, and the run goes on in the middle of epoch "
            f"{found['epoch'] + 1}: they count only what is left of it."
        )
    own = zip(names, variables.groups.metrics, strict=True)
    groups.append([known.get(name, v.raw_value) for name, v in own])
    state = State(*map(_laid_out, groups, variables.groups))
    variables.write(state)
    for i, callback in enumerate(callbacks):
        if i in found["callbacks"]:
            set_state_of(callback, found["callbacks"][i])


def _laid_out(values, variables):
    """Return values as they lie in their Variables."""
    pairs = zip(values, variables, strict=True)
    return tuple(
        jnp.asarray(value)
        if own_layout(variable) is None
        else put(value, variable.raw_value.sharding)
        for value, variable in pairs
    )


def _plain(value):
    """Return plain values that are the same in another process."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        array = f"{value.dtype} {value.shape}, digest {digest(value)}"
        return array if value.shape else value.tolist()
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":  # its code has line numbers
            return "lambda"
        return {
            str(k): _plain(v)
            for k, v in value.items()
            if k not in _IDLE and not str(k).endswith("_initializer")
        }
    if isinstance(value, (list, tuple)):
        whole = [_plain(v) for v in value]
        return whole if len(whole) <= _LONG else f"{len(whole)}, {digest(whole)}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, type) or not hasattr(value, "get_config"):
        return name
    try:
        config = value.get_config()
        return {"class_name": name, **_plain(config), **_wiring(config)}
    except Exception:  # not everything that users make can be saved
        return {"class_name": name}


def _wiring(config):
    """Return what tells how a graph's layers are joined, whatever their names."""
    layers = [layer for layer in config.get("layers", ()) if "inbound_nodes" in layer]
    places = {layer["name"]: i for i, layer in enumerate(layers)}
    calls = repr([layer["inbound_nodes"] for layer in layers])
    calls = re.sub(r"'(\w+)'", lambda name: str(places.get(name[1], name[1])), calls)
    return {"wiring": digest(calls)} if layers else {}
