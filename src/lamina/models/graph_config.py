"""Models drawn as a graph, as configs: their layers, the calls of them, their ends."""

import heapq
import inspect
from typing import Any

from lamina.core import structure
from lamina.core.config import (
    deserialize_keras_object,
    numbered,
    serialize_keras_object,
)
from lamina.core.operation import graph_of
from lamina.core.registry import ours
from lamina.core.symbolic import SymbolicTensor, nodes_of
from lamina.layers.call import signature_of

GRAPH_KEYS = ("name", "layers", "input_layers", "output_layers")


def takes_graph(cls) -> bool:
    """Tell whether a class of models can be made from `inputs` and `outputs`."""
    parameters = inspect.signature(cls.__init__).parameters
    kinds = {p.kind for p in parameters.values()}
    takes_any = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return takes_any <= kinds or parameters.keys() >= {"inputs", "outputs"}


@numbered
def graph_config(model):
    """Return the config of a graph model: its layers, their calls, its ends."""
    graph: Any = graph_of(model)
    used = set(graph.nodes)
    calls = {op: [n for n in nodes_of(op) if n in used] for op in graph.operations}
    position = {node: i for nodes in calls.values() for i, node in enumerate(nodes)}

    def where(tensor):
        return [tensor.node.operation.name, position[tensor.node], tensor.index]

    def end(tensor):
        name, node, index = where(tensor)
        return [name, node + _counts_from_one(tensor.node.operation), index]

    layers = []
    for operation, nodes in calls.items():
        config = serialize_keras_object(operation)
        config["name"] = operation.name
        config["inbound_nodes"] = [
            _node_config(node, where) for node in nodes if not node.is_input
        ]
        layers.append(config)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": structure.map_leaves(where, graph.input),
        "output_layers": structure.map_leaves(end, graph.output),
    }


def _counts_from_one(operation):
    """Tell whether its first call is number one where a graph's ends are named.

    Keras counts the call that drew a graph model as well, there alone.
    """
    return graph_of(operation) is not None and takes_graph(type(operation))


def _node_config(node, where):
    def encode(x):
        if not isinstance(x, SymbolicTensor):
            return serialize_keras_object(x)
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": x.shape, "dtype": x.dtype, "keras_history": where(x)},
        }

    kwargs, default = node.kwargs, _usual_flag(node.operation)
    drawn = {"drawn": True} if default is not None and "training" in kwargs else {}
    if default is not None and not drawn:
        kwargs = {**kwargs, "training": default}  # as Keras writes it
    return {
        "args": structure.map_leaves(encode, node.args),
        "kwargs": {k: structure.map_leaves(encode, v) for k, v in kwargs.items()},
        **drawn,
    }


def _usual_flag(operation):
    """Return the training flag of a call that was given none; None without a default.

    Keras writes it whether it was given or not.
    """
    return signature_of(operation.call).defaults.get("training")


def graph_from_config(cls, config):
    """Make a graph model from `graph_config`.

    Raises:
        ValueError: the calls name layers or outputs that the config does not hold.
    """
    operations, waiting = {}, []
    for data in config["layers"]:
        operation = deserialize_keras_object(data)
        name = data.get("name", getattr(operation, "name", None))
        if not nodes_of(operation):  # else it has a name from where it was called
            operation.name = name
        operations[name] = operation
        waiting += [(operation, call) for call in data.get("inbound_nodes", [])]
    tensors = _Tensors(operations)
    for operation, call in waiting:
        if not any(True for _ in tensors.places(call)):
            raise ValueError(
                f"The config calls {operation.name!r} on no tensor of its graph, which "
                "would compute something now."
            )
    _run(waiting, tensors)
    # A subclass may have arguments of its own; ours have these.
    known = ("trainable", "dtype") if ours(cls) else config.keys() - set(GRAPH_KEYS)
    return cls(
        inputs=tensors.ends(config["input_layers"]),
        outputs=tensors.ends(config["output_layers"]),
        name=config.get("name"),
        **{
            key: value if key == "trainable" else deserialize_keras_object(value)
            for key, value in config.items()
            if key in known
        },
    )


def _run(calls, tensors):
    """Run the calls of a graph in rounds, each in the first that has all it takes.

    Later calls of one layer wait for its earlier ones: places count them.
    """
    todo, blocked, left = [], {}, set(range(len(calls)))
    after, last = {}, {}
    for i, (operation, _) in enumerate(calls):
        if id(operation) in last:
            after[last[id(operation)]] = i
        else:
            todo.append((0, i))
        last[id(operation)] = i
    while todo:
        turn, i = heapq.heappop(todo)
        operation, call = calls[i]
        missing = tensors.missing(call)
        if missing is not None:
            blocked.setdefault(missing, []).append(i)
            continue
        node = id(operation), len(nodes_of(operation))
        args, kwargs = tensors.arguments(call)
        drawn = isinstance(call, dict) and call.get("drawn")
        flag = kwargs.get("training")
        if flag is not None and not drawn and flag == _usual_flag(operation):
            del kwargs["training"]
        operation(*args, **kwargs)
        left.discard(i)
        free = blocked.pop(node, [])
        free += [after[i]] if i in after else []
        for j in free:
            heapq.heappush(todo, (turn + (j < i), j))
    if left:
        tensors.refuse([calls[i] for i in sorted(left)])


class _Tensors:
    """The outputs that a graph's calls have given so far, by their place."""

    def __init__(self, operations):
        self.operations = operations
        # A layer that is shared with a model inside was called there already.
        self.earlier = {
            name: sum(not node.is_input for node in nodes_of(operation))
            for name, operation in operations.items()
        }

    def find(self, place):
        name, node, index = place[:3]
        operation = self.operations.get(name)
        node += self.earlier.get(name, 0)
        if operation is None or node >= len(nodes_of(operation)):
            return None
        outputs = nodes_of(operation)[node].outputs
        return outputs[index] if index < len(outputs) else None

    def places(self, x):
        if isinstance(x, list) and x and all(_is_old_place(p) for p in x):
            yield from x
        elif isinstance(x, dict):
            if x.get("class_name") == "__keras_tensor__":
                yield x["config"]["keras_history"]
                return
            for value in x.values():
                yield from self.places(value)
        elif isinstance(x, (list, tuple)):
            for value in x:
                yield from self.places(value)

    def missing(self, call):
        """Return which node of which operation a call waits for; None for no one."""
        for place in self.places(call):
            if self.find(place) is None:
                name, node = place[:2]
                return id(self.operations.get(name)), node + self.earlier.get(name, 0)
        return None

    def refuse(self, waiting):
        """Raise for calls that can never run."""
        for operation, call in waiting:
            for place in self.places(call):
                if place[0] not in self.operations:
                    raise ValueError(
                        f"Missing node: {place[0]}, which {operation.name!r} takes. "
                        f"The config holds the layers {sorted(self.operations)}."
                    )
        names = sorted({operation.name for operation, _ in waiting})
        raise ValueError(
            f"The config's graph has a loop: the calls of {names} wait for each "
            "other's outputs."
        )

    def arguments(self, call):
        if not isinstance(call, dict):
            # Keras 2: a list of [name, node, tensor, keyword arguments].
            tensors = [self.find(place) for place in call]
            kwargs = call[0][3] if call and len(call[0]) > 3 else {}
            decoded = {k: self.decode(v) for k, v in kwargs.items()}
            return [tensors if len(tensors) > 1 else tensors[0]], decoded
        args = [self.decode(x) for x in call["args"]]
        return args, {k: self.decode(v) for k, v in call["kwargs"].items()}

    def decode(self, x):
        if isinstance(x, dict):
            if x.get("class_name") == "__keras_tensor__":
                return self.find(x["config"]["keras_history"])
            if "class_name" in x and "config" in x:
                return deserialize_keras_object(x)
            return {k: self.decode(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return type(x)(self.decode(v) for v in x)
        return x

    def ends(self, places):
        """Return tensors for `[name, node, index]` entries in any structure."""
        if isinstance(places, dict):
            return {key: self.ends(value) for key, value in places.items()}
        if _is_place(places):
            name, node, index = places
            if node and _counts_from_one(self.operations.get(name)):
                node -= 1
            found = self.find([name, node, index])
            if found is None:
                raise ValueError(
                    f"The config names {list(places)} as an input or output of the "
                    "model, which no call in it gives."
                )
            return found
        return type(places)(self.ends(value) for value in places)


def _is_old_place(x):
    return isinstance(x, list) and len(x) in (3, 4) and _is_place(x[:3])


def _is_place(x):
    return isinstance(x, (list, tuple)) and [*map(type, x)] == [str, int, int]
