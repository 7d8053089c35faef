"""Configs of older Keras in today's words: one table, and a walk that applies it."""

from lamina.core.op import OPS
from lamina.core.registry import built_in, public

_ANY = object()

# Classes under names that they had once.
_NAMES = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "Policy": "DTypePolicy",
    "PolicyV1": "DTypePolicy",
    "ThresholdedReLU": "ReLU",
    "GroupedQueryAttention": "GroupQueryAttention",
}
_RECURRENT = tuple(
    (
        "RNN SimpleRNN LSTM GRU SimpleRNNCell LSTMCell GRUCell ConvLSTM1D ConvLSTM2D "
        "ConvLSTM3D"
    ).split()
)
_GROUPS = {"groups": (1,)}
_SEPARABLE = {
    **_GROUPS,
    "kernel_initializer": _ANY,
    "kernel_regularizer": _ANY,
    "kernel_constraint": _ANY,
}

# Tables go by the name of a class, or by the namespace that it is public in.
_SPACES = ("initializers", "optimizers", "losses")

# Arguments that are gone, and the values with which they said nothing. Any other value
# stays, so that the class refuses it.
_GONE: dict = {
    **dict.fromkeys(
        _RECURRENT, {"implementation": _ANY, "time_major": (False, None), **_GROUPS}
    ),
    "initializers": {"dtype": _ANY},
    "optimizers": {
        "jit_compile": _ANY,
        "is_legacy_optimizer": _ANY,
        "schedule_decay": _ANY,
        "decay": (0, None),
        "epsilon": (None,),
    },
    "BatchNormalization": {
        "fused": _ANY,
        "virtual_batch_size": (None,),
        "adjustment": (None,),
    },
    **{f"Conv{n}DTranspose": _GROUPS for n in (1, 2, 3)},
    **{f"SeparableConv{n}D": _SEPARABLE for n in (1, 2)},
    **{f"DepthwiseConv{n}D": {**_SEPARABLE, "filters": _ANY} for n in (1, 2)},
    "Embedding": {"input_length": _ANY},
    "DTypePolicy": {"loss_scale": _ANY},
    "LossScaleOptimizer": {"dynamic": (True,), "is_legacy_optimizer": _ANY},
    "Lambda": {
        "function_type": _ANY,
        "module": _ANY,
        "output_shape_type": _ANY,
        "output_shape_module": _ANY,
        "mask_type": _ANY,
        "mask_module": _ANY,
        "output_shape": (None,),
        "mask": (None,),
    },
}

# Arguments under names that they had once.
_RENAMED: dict = {
    "optimizers": {"lr": "learning_rate"},
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "ReLU": {"theta": "threshold"},
    "LossScaleOptimizer": {"optimizer": "inner_optimizer"},
}

# Values under names that they had once.
_VALUES: dict = {
    "losses": {"reduction": {"auto": "sum_over_batch_size"}},
    "VarianceScaling": {"distribution": {"normal": "truncated_normal"}},
}


def migrated(config):
    """Return a config with what older Keras wrote replaced by today's form.

    What is in today's form comes back as it was; users' own classes are left alone.

    Args:
        config: parsed JSON.

    Raises:
        ValueError: it is nested too deeply, or its parts are of the wrong kinds.

    >>> migrated({"class_name": "SGD", "config": {"lr": 0.1, "decay": 0.0}})
    {'class_name': 'SGD', 'config': {'learning_rate': 0.1}}
    """
    try:
        return _migrated(config)
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"The config describes no model: {type(error).__name__}: {error}"
        ) from error


def _migrated(config):
    if isinstance(config, list):
        return [_migrated(x) for x in config]
    if not isinstance(config, dict):
        return config
    config = {key: _migrated(value) for key, value in config.items()}
    name, inner = config.get("class_name"), config.get("config")
    if not isinstance(name, str) or ">" in (config.get("registered_name") or ""):
        return config
    if name == "Sequential" and isinstance(inner, list):
        return {**config, "config": {"layers": inner}}
    if name == "MeanMetricWrapper" and isinstance(inner, dict):
        return _metric(inner)
    if not isinstance(inner, dict):
        return config
    config["config"] = inner = _arguments(_NAMES.get(name, name), inner)
    if name == "SyncBatchNormalization":
        inner["synchronized"] = True
    if name in _NAMES:
        config["class_name"] = _NAMES[name]
        config.pop("module", None)
    if isinstance(inner.get("layers"), list):
        config["config"] = _graph(inner)
    return config


def _arguments(name, given):
    spaces = [s for s in _SPACES if built_in(f"keras.{s}", name) is not None]
    renamed, values, gone = (
        {
            key: rule
            for row in (*spaces, name)
            for key, rule in table.get(row, {}).items()
        }
        for table in (_RENAMED, _VALUES, _GONE)
    )
    given = {renamed.get(key, key): value for key, value in given.items()}
    if "optimizers" in spaces and given.get("decay"):
        given = _with_decay(given)
    if name == "Lambda":
        given = _function(given)
    axis = given.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        given["axis"] = axis[0]
    kept = {}
    for key, value in given.items():
        if key in gone and (gone[key] is _ANY or value in gone[key]):
            continue
        if isinstance(value, str):
            value = values.get(key, {}).get(value, value)
        kept[key] = value
    return kept


def _with_decay(given):
    """Say `decay` by the schedule that computes the same."""
    schedule = {
        "initial_learning_rate": given.get("learning_rate"),
        "decay_steps": 1,
        "decay_rate": given["decay"],
    }
    kept = {key: value for key, value in given.items() if key != "decay"}
    kept["learning_rate"] = {"class_name": "InverseTimeDecay", "config": schedule}
    return kept


def _metric(inner):
    """Name the metric of a wrapped function, which Keras 2 wrote with its wrapper."""
    name, function = inner.get("name"), inner.get("fn")
    return name if name in ("accuracy", "acc") or function is None else function


def _function(given):
    """Bring the functions of a Lambda layer into today's two forms."""
    given = dict(given)
    for key in ("function", "mask", "output_shape"):
        value, kind = given.get(key), given.get(f"{key}_type")
        if kind == "lambda" and isinstance(value, list) and len(value) == 3:
            code = dict(zip(("code", "defaults", "closure"), value, strict=True))
            given[key] = {"class_name": "__lambda__", "config": code}
        elif kind == "function" and isinstance(value, str):
            given[key] = {"class_name": "function", "config": value}
    return given


# ---- graphs ----------------------------------------------------------------------


def _graph(inner):
    """Write the calls of a graph as arguments, and single ends without a list."""
    layers = [x for x in inner["layers"] if isinstance(x, dict)]
    calls = [c for x in layers for c in x.get("inbound_nodes") or []]
    if not any(_is_old(call) for call in calls):
        return {**inner, "layers": [_op(x) for x in inner["layers"]]}
    calls = [*calls, inner.get("output_layers")]
    names = {x.get("name"): _first_node(x, calls) for x in layers}
    new = []
    for layer in inner["layers"]:
        if isinstance(layer, dict) and "inbound_nodes" in layer:
            nodes = [_call(call, names) for call in layer["inbound_nodes"] or []]
            layer = {**layer, "inbound_nodes": nodes}
        new.append(layer)
    # Keras 3 counts the call that drew a model among the ends alone.
    drawn = {x.get("name") for x in layers if "input_layers" in _config_of(x)}
    ends, firsts = {}, {name: n - (name in drawn) for name, n in names.items()}
    for key in ("input_layers", "output_layers"):
        ends[key] = _ends(inner.get(key), firsts)
        if isinstance(ends[key], list) and len(ends[key]) == 1:
            ends[key] = ends[key][0]
    return {**inner, "layers": new, **ends}


def _first_node(layer, calls):
    """Return the number of a layer's first call in the graph.

    For a model inside, later versions of Keras 2 count the call that drew it as well.
    """
    count = len(layer.get("inbound_nodes") or [])
    if "layers" not in _config_of(layer):
        return 0
    return int(_mentions(calls, layer.get("name"), count))


def _config_of(layer):
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _mentions(value, name, node):
    """Tell whether a structure names one output of a layer."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return value[:2] == [name, node] or any(_mentions(x, name, node) for x in value)


def _ends(value, names):
    if isinstance(value, dict):
        return {key: _ends(x, names) for key, x in value.items()}
    if not isinstance(value, list):
        return value
    if _is_place(value, names):
        return [value[0], value[1] - names[value[0]], *value[2:]]
    return [_ends(x, names) for x in value]


def _is_place(value, names):
    if len(value) < 3 or not isinstance(value[0], str) or value[0] not in names:
        return False
    return all(type(x) is int for x in value[1:3])


def _op(entry):
    """Say which entry is an op: Keras 3 writes `.h5` files without modules.

    Layers and ops share names, such as `Multiply`; only layers are `trainable`.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        return entry
    name, given = entry.get("class_name"), entry["config"]
    if "module" in entry or "trainable" in given or "inbound_nodes" not in entry:
        return entry
    public("ops")  # fills OPS
    found = [module for module, known in OPS if known == name]
    return {**entry, "module": found[0]} if found else entry


def _is_old(call):
    return isinstance(call, list) or (isinstance(call, dict) and "args" not in call)


def _call(call, names):
    """Turn `[[layer, node, tensor, keyword arguments], ...]` into arguments."""
    if not _is_old(call):
        return call
    if isinstance(call, dict):
        return {"args": [_tensors(call, names)], "kwargs": {}}
    if len(call) >= 3 and isinstance(call[0], str):
        call = [call]
    args = [_tensors(entry[:3], names) for entry in call if isinstance(entry, list)]
    kwargs = {}
    for entry in call:
        if isinstance(entry, list) and len(entry) > 3 and isinstance(entry[3], dict):
            kwargs.update(entry[3])
    kwargs = {key: _tensors(value, names) for key, value in kwargs.items()}
    return {"args": args if len(args) == 1 else [args], "kwargs": kwargs}


def _tensors(value, names):
    """Put marked tensors where a structure names layers of the graph."""
    if isinstance(value, dict):
        return {key: _tensors(x, names) for key, x in value.items()}
    if not isinstance(value, list):
        return value
    if value[:1] == ["_CONSTANT_VALUE"] and len(value) > 2:
        return value[2]
    if len(value) < 5 and _is_place(value, names):
        history = {"keras_history": _ends(value, names)[:3]}
        return {"class_name": "__keras_tensor__", "config": history}
    return [_tensors(x, names) for x in value]
