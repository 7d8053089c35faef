"""Structures of inputs and outputs, of one and of several, beside real Keras."""

import warnings

import keras
import numpy as np
import pytest

import lamina

X = np.arange(12, dtype="float32").reshape(4, 3) / 10
NESTS = {
    "tensor": 0,
    "list": [0],
    "tuple": (0,),
    "dict": {"a": 0},
    "two": [0, 0],
    "names": {"a": 0, "b": 0},
    "list in list": [[0]],
    "list in dict": {"a": [0]},
    "dict in list": [{"a": 0}],
    "deep": {"a": [0, 0], "b": {"c": 0}},
}


def packed(k, nest, make):
    count = len(k.tree.flatten(nest))
    return k.tree.pack_sequence_as(nest, [make(i) for i in range(count)])


def drawn(k, takes, gives):
    inputs = packed(k, takes, lambda i: k.Input((3,), name=f"i{i}"))
    joined = k.tree.flatten(inputs)
    joined = joined[0] if len(joined) == 1 else k.layers.Add()(joined)
    outputs = packed(
        k, gives, lambda i: k.layers.Dense(i + 1, "tanh", name=f"o{i}")(joined)
    )
    model = k.Model(inputs, outputs)
    for i, weight in enumerate(model.weights):
        weight.assign(
            np.cos(np.arange(np.prod(weight.shape)) + i).reshape(weight.shape)
        )
    return model


def shown(value):
    """Return a structure with lists of numbers for its leaves."""
    if isinstance(value, dict):
        return {key: shown(one) for key, one in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return type(value)(map(shown, value))
    return np.round(np.asarray(value), 4).tolist()


def shapes(k, value):
    return k.tree.map_structure(lambda t: str(t.shape), value)


def looked_at(k, takes, gives, folder):
    """Return what every way to run a model gives."""
    model = drawn(k, NESTS[takes], NESTS[gives])
    x = packed(k, NESTS[takes], lambda i: X + i)
    model.save(folder / f"{k.__name__}.keras")
    with warnings.catch_warnings():
        if k is keras:  # it warns of structures that it made itself
            warnings.simplefilter("ignore")
        loaded = k.models.load_model(folder / f"{k.__name__}.keras")
        clone = k.models.clone_model(model)
    state = [v.value for v in model.trainable_variables]
    stateless = shown(model.stateless_call(state, [], x)[0])
    return {
        "stateless_call": stateless,
        "call": shown(model(x)),
        "training": shown(model(x, training=True)),
        "symbolic": shapes(k, model(model.input)),
        "output": shapes(k, model.output),
        "shapes": (model.input_shape, model.output_shape),
        "computed": shapes(k, model.compute_output_spec(model.input)),
        "predict": shown(model.predict(x, verbose=0)),
        "batches": shown(model.predict(x, batch_size=3, verbose=0)),
        "predict_on_batch": shown(model.predict_on_batch(x)),
        "loaded": (shown(loaded(x)), loaded.output_shape),
        "cloned": (k.tree.map_structure(np.shape, clone(x)), clone.input_shape),
        "stack": shown(k.Sequential([model])(x)),
    }


@pytest.mark.parametrize("gives", NESTS)
def test_outputs(gives, tmp_path):
    mine = looked_at(lamina, "tensor", gives, tmp_path)
    assert mine == looked_at(keras, "tensor", gives, tmp_path)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("takes", NESTS)
def test_inputs(takes, tmp_path):
    mine = looked_at(lamina, takes, "list", tmp_path)
    assert mine == looked_at(keras, takes, "list", tmp_path)


ONE, TWO = np.ones((4, 1), "float32"), np.ones((4, 2), "float32")


@pytest.mark.parametrize(
    "gives, y, settings",
    [
        ("list", ONE, {"loss": ["mse"], "metrics": ["mae"]}),
        ("list", [ONE], {"loss": {"o0": "mse"}, "metrics": [["mae"], ["mse"]]}),
        ("tuple", ONE, {"loss": "mse", "metrics": [{"o0": "mae"}]}),
        ("dict", ONE, {"loss": ["mse"], "metrics": ["mae", "mse"]}),
        ("list in dict", {"a": [ONE]}, {"loss": "mse", "metrics": {"a": ["mae"]}}),
        ("two", [ONE, TWO], {"loss": "mse", "metrics": ["mae", "mse"]}),
        ("two", (ONE, TWO), {"loss": ["mse", None], "metrics": [None, "mae"]}),
        ("two", [ONE, TWO], {"loss": ["mse", "mae"], "loss_weights": [0.5, 2]}),
        (
            "two",
            {"o0": ONE, "o1": TWO},
            {"loss": {"o1": "mae", "o0": "mse"}, "metrics": [["mae"], []]},
        ),
        (
            "names",
            {"a": ONE, "b": TWO},
            {"loss": ["mse", "mae"], "loss_weights": [2, 3], "metrics": ["mae", "mse"]},
        ),
        (
            "names",
            {"a": ONE, "b": TWO},
            {"loss": {"b": "mse", "a": "mae"}, "loss_weights": {"b": 2, "a": 3}},
        ),
        (
            "deep",
            {"a": [ONE, TWO], "b": {"c": np.ones((4, 3))}},
            {"loss": ["mse", "mae", "mse"], "loss_weights": [0.5, 2, 3]},
        ),
        (
            "deep",
            {"a": [ONE, TWO], "b": {"c": np.ones((4, 3))}},
            {
                "loss": {"a": ["mse", "mae"], "b": {"c": "mae"}},
                "loss_weights": {"a": [0.5, 2], "b": {"c": 3}},
            },
        ),
    ],
)
def test_losses_and_metrics(gives, y, settings):
    found = {}
    for k in (lamina, keras):
        model = drawn(k, 0, NESTS[gives])
        model.compile("sgd", **settings)
        logs = model.evaluate(X, y, verbose=0, return_dict=True)
        found[k] = {name: round(float(value), 4) for name, value in logs.items()}
        model.fit(X, y, verbose=0)
    assert found[lamina] == found[keras]


def test_several_losses_of_one_output_of_two():
    losses = {}
    for k in (lamina, keras):
        model = drawn(k, 0, [0, 0])
        model.compile("sgd", [["mse", "mae"], "mse"], loss_weights=[[0.5, 2.0], 1.0])
        logs = model.evaluate(X, [ONE, TWO], verbose=0, return_dict=True)
        losses[k] = round(float(logs["loss"]), 4)
    assert losses[lamina] == losses[keras]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("gives", ["two", "pair", "names", "deep"])
def test_losses_of_a_part_beside_those_of_its_members(gives, weighted):
    nest = {"pair": (0, 0), "deep": {"a": (0, 0), "b": {"c": [0, 0], "d": 0}}}
    nest = {**NESTS, **nest}[gives]
    found = []
    for k in (lamina, keras):

        def gap(true, pred, k=k):
            pairs = zip(k.tree.flatten(true), k.tree.flatten(pred), strict=True)
            return sum(k.losses.mean_absolute_error(a, b) for a, b in pairs)

        loss, weights = {
            "two": ((gap, ["mse", "mae"]), (2.0, [3.0, 0.5])),
            "pair": ([gap, ("mse", None)], [2.0, (3.0, 0.5)]),
            "names": ([gap, {"a": "mse", "b": "mae"}], [2.0, {"a": 3.0, "b": 0.5}]),
            "deep": (
                {"a": [gap, (None, "mse")], "b": [gap, {"c": gap}]},
                {"a": [2.0, (1.0, 3.0)], "b": [4.0, {"c": 0.5}]},
            ),
        }[gives]
        model = drawn(k, 0, nest)
        model.compile("sgd", loss, loss_weights=weights if weighted else None)
        y = packed(k, nest, lambda i: np.full((4, i + 1), i + 1.0, "float32"))
        logs = model.evaluate(X, y, verbose=0, return_dict=True)
        found.append({name: round(float(value), 4) for name, value in logs.items()})
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_a_clone_takes_tensors_by_name_where_inputs_have_names():
    for k in (lamina, keras):
        tensors = [k.Input((3,)), k.Input((3,))]
        with pytest.raises(ValueError, match="must have the same structure as model"):
            k.models.clone_model(drawn(k, NESTS["names"], 0), input_tensors=tensors)
