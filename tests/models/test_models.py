"""Sequential, Functional and subclassed models: what they take, hold and refuse."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina import layers
from lamina.core import structure
from lamina.layers import Dense, Layer

X = np.arange(6, dtype="float32").reshape(2, 3)


# ---- Sequential --------------------------------------------------------------


def test_add_and_pop():
    model = lamina.Sequential(name="stack")
    model.add(lamina.Input((3,)))
    model.add(Dense(4, name="a"))
    model.add(Dense(2, name="b"))
    assert model.output_shape == (None, 2) and model.built
    assert model.pop().name == "b"
    assert model.output_shape == (None, 4) and len(model.weights) == 2
    model.add(Dense(5, name="c"))
    assert model(X).shape == (2, 5)
    assert [x.name for x in model.layers] == ["a", "c"]
    while model.layers:
        model.pop()
    model.pop()
    with pytest.raises(IndexError, match="'stack' has no layers to pop"):
        model.pop()


@pytest.mark.parametrize(
    "first",
    [lambda: [lamina.Input((3,)), Dense(2)],
     lambda: [layers.InputLayer(shape=(3,)), Dense(2)],
     lambda: [Dense(2, input_shape=(3,))], lambda: [Dense(2, input_dim=3)],
     lambda: [Dense(2, batch_input_shape=(None, 3))]],
)  # fmt: skip
def test_shapes_given_first(first):
    model = lamina.Sequential(first())
    assert model.built and model.input_shape == (None, 3)
    assert model.count_params() == 8


def test_built_by_the_first_call():
    model = lamina.Sequential([Dense(4), Dense(2)])
    assert not model.built and model.weights == []
    with pytest.raises(AttributeError, match="'sequential' has no defined outputs"):
        _ = model.outputs
    with pytest.raises(ValueError, match="`input_shape`"):
        model.build()
    model(X)
    model(np.ones((7, 3)))
    assert model.count_params() == 26
    with pytest.raises(
        ValueError, match="axis -1 of input shape to have value 3.*(2, 4)"
    ):
        model(np.ones((2, 4)))
    model.add(Dense(1))
    assert model(X).shape == (2, 1)


def test_built_by_hand():
    model = lamina.Sequential([Dense(4), Dense(2)])
    model.build((None, 3))
    assert model.input_shape == (None, 3)
    kernels = [layer.kernel.numpy() for layer in model.layers]
    np.testing.assert_allclose(model(X), X @ kernels[0] @ kernels[1], atol=1e-6)


def test_a_build_of_ones_own_may_end_with_that_of_models():
    class Two(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def build(self, input_shape):
            self.dense.build((None, 3))
            super().build(input_shape)

        def call(self, x, more):
            return self.dense(x) + more

    for shape in (None, (None, 3)):
        model = Two()
        model.build(shape)
        assert model.built and len(model.weights) == 2
    assert Two()(np.ones((1, 3)), np.ones((1, 2))).shape == (1, 2)


def test_nested_stacks_share_weights():
    inner = lamina.Sequential([Dense(3), Dense(3)])
    model = lamina.Sequential([lamina.Input((3,)), inner, Dense(1)])
    assert len(model.weights) == 6 and model.weights[:4] == inner.weights
    assert model.get_layer("sequential") is inner


def test_layers_of_a_subclass_are_held():
    class Own(lamina.Sequential):
        def __init__(self):
            super().__init__([Dense(2)])
            self.extra = Dense(3)

        def call(self, inputs):
            return self.extra(super().call(inputs))

    model = Own()
    result = model(X)
    a, b, c, d = map(np.asarray, model.weights)
    np.testing.assert_allclose(result, (X @ a + b) @ c + d, rtol=1e-5, atol=1e-6)


def two():
    x = lamina.Input((3,))
    return lamina.Model(x, [Dense(1)(x), Dense(2)(x)])


@pytest.mark.parametrize(
    "stack, message",
    [
        (lambda: [3], "Only instances of `lamina.Layer`.*Received: 3"),
        (lambda: [Dense], "Only instances of `lamina.Layer`"),
        (lambda: [Dense(1, name="a"), Dense(1, name="a")], "unique names. Name 'a'"),
        (lambda: [lamina.Input((3,)), lamina.Input((3,))], "already been configured"),
        (lambda: [Dense(1), lamina.Input((3,))], "`Input` must be the first layer"),
        (
            lambda: [lamina.Input((3,)), two(), Dense(1)],
            r"gives 2 outputs.*lamina.Model\(",
        ),
        (lambda: [Dense(1)(lamina.Input((3,)))], "the output of a call"),
        (lambda: [lamina.Input((3,)), layers.Dot(1)], "Dot|dot"),
        (
            lambda: [lamina.Input((3,)), layers.Conv2D(2, 3)],
            "expected min_ndim=4|ndim=4",
        ),
    ],
)
def test_bad_stacks(stack, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        lamina.Sequential(stack())


def test_an_empty_stack():
    with pytest.raises(ValueError, match="has no layers. Call `model.add"):
        lamina.Sequential()(X)


def test_layers_are_reserved():
    for model in (lamina.Sequential(), two()):
        with pytest.raises(AttributeError, match="reserved"):
            model.layers = []


# ---- Functional --------------------------------------------------------------


def joined():
    a, b = lamina.Input((3,), name="a"), lamina.Input((1,), name="b")
    return lamina.Model(
        [a, b], {"sum": layers.Add()([a, b]), "b": b * 2.0}, name="join"
    )


def test_inputs_by_name_and_by_order():
    model, y = joined(), np.array([[1.0], [2.0]])
    expected = (X + y).tolist()
    for data in ([X, y], (X, y), {"b": y, "a": X}):
        out = model(data)
        assert out["sum"].tolist() == expected and out["b"].tolist() == (2 * y).tolist()
    # A last axis of one may be missing, or be one too many.
    assert model([X[..., None], y[:, 0]])["sum"].tolist() == expected
    # And the dtype is the input's.
    assert model([X.astype("int32"), y.astype("float16")])["sum"].dtype == "float32"


@pytest.mark.parametrize(
    "data, message",
    [
        (lambda x: {"a": x}, r"names \['a', 'b'\].*keys \['a'\]. Missing: \['b'\]"),
        (lambda x: {"a": x, "c": x}, r"Missing: \['b'\]. Unknown: \['c'\]"),
        (lambda x: [x], r"expects 2.*received 1.*\('a', \(None, 3\)\)"),
        (lambda x: [x, x, x], "expects 2.*received 3"),
        (lambda x: x, "expects 2.*received 1"),
        (
            lambda x: [x, x],
            r"input 'b' of model 'join': expected shape=\(None, 1\), found .*\(2, 3\)",
        ),
        (lambda x: [x[0], x[:, :1]], r"found shape=\(3,\).*`x\[None\]`"),
        (lambda x: [x, None], "'b' of model 'join' is not optional"),
    ],
)
def test_bad_inputs(data, message):
    with pytest.raises(ValueError, match=message):
        joined()(data(X))


def test_inner_keys_bind_too():
    a, b = lamina.Input((1,), name="a"), lamina.Input((1,), name="b")
    model = lamina.Model([{"a": a, "b": b}, [a * 1.0][:0]], a - b)
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    assert float(model([{"b": zero, "a": one}, []])[0, 0]) == 1.0
    with pytest.raises(ValueError, match=r"Missing: \['b'\]. Unknown: \['z'\]"):
        model([{"a": one, "z": zero}, []])


def test_optional_inputs():
    class Maybe(Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    a = lamina.Input((3,), name="a")
    b = lamina.Input((3,), name="b", optional=True)
    model = lamina.Model([a, b], Maybe()(a, b))
    assert model([X, X]).tolist() == (2 * X).tolist()
    assert model([X, None]).tolist() == model({"a": X}).tolist() == X.tolist()


def leaf_models():
    return st.recursive(
        st.just("leaf"),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3),
            st.dictionaries(st.sampled_from("pqrs"), inner, min_size=1, max_size=3),
            st.tuples(inner, inner),
        ),
        max_leaves=5,
    )


@settings(max_examples=15, deadline=None)
@given(leaf_models(), st.data())
def test_any_nesting(nest, data):
    count = len(structure.flatten(nest))
    inputs = structure.pack_like(nest, [lamina.Input((2,)) for _ in range(count)])
    results = [x + float(i) for i, x in enumerate(structure.flatten(inputs))]
    picked = data.draw(leaf_models())
    chosen = [
        results[data.draw(st.integers(0, count - 1))] for _ in structure.flatten(picked)
    ]
    outputs = structure.pack_like(picked, chosen)
    model = lamina.Model(inputs, outputs)
    values = structure.pack_like(
        nest, [np.full((1, 2), 10.0 * i) for i in range(count)]
    )
    got = model(values)
    lone = isinstance(picked, (list, tuple)) and len(picked) == 1
    assert structure.same_shape(got, picked[0] if lone else picked)
    expected = [11.0 * next(i for i, r in enumerate(results) if r is t) for t in chosen]
    assert [float(y[0, 0]) for y in structure.flatten(got)] == expected
    again = lamina.Model.from_config(json.loads(json.dumps(model.get_config())))
    assert [float(y[0, 0]) for y in structure.flatten(again(values))] == expected
    drawn = model(inputs)
    assert structure.same_shape(drawn, picked)


def test_models_in_models_share_weights():
    x = lamina.Input((3,))
    encoder = lamina.Model(x, Dense(2)(x), name="encoder")
    a, b = lamina.Input((3,)), lamina.Input((3,))
    model = lamina.Model([a, b], layers.Subtract()([encoder(a), encoder(b)]))
    assert len(model.weights) == 2 and model.get_layer("encoder") is encoder
    np.testing.assert_allclose(model([X, X]), np.zeros((2, 2)), atol=1e-6)
    encoder.set_weights([np.ones((3, 2)), np.zeros(2)])
    np.testing.assert_allclose(model([X, 0 * X]), encoder(X))


def test_cut_from_the_middle():
    x = lamina.Input((3,))
    a = Dense(4, name="a", activation="relu")(x)
    b = Dense(5, name="b")(a)
    whole = lamina.Model(x, Dense(1, name="c")(b))
    lower = lamina.Model(whole.input, whole.get_layer("b").output)
    upper = lamina.Model(whole.get_layer("a").output, whole.output)
    assert [w.path for w in upper.weights] == [
        "b/kernel",
        "b/bias",
        "c/kernel",
        "c/bias",
    ]
    np.testing.assert_allclose(lower(X), whole.get_layer("b")(whole.get_layer("a")(X)))
    features = lamina.Model(x, a)(X)
    np.testing.assert_allclose(upper(features), whole(X), rtol=1e-6)
    # A cut through the middle leaves the whole as it was.
    assert len(whole.get_config()["layers"]) == 4
    np.testing.assert_allclose(
        lamina.Model.from_config(upper.get_config())(features).shape, (2, 1)
    )


def test_cut_with_a_branch_around_it():
    x = lamina.Input((3,))
    a = Dense(3, name="a")(x)
    y = layers.Add()([a, x])
    model = lamina.Model([a, x], y)
    np.testing.assert_allclose(model([X, X]), 2 * X)
    with pytest.raises(ValueError, match="disconnected|not connected"):
        lamina.Model(a, y)


def test_bad_graphs():
    a, b = lamina.Input((3,), name="a"), lamina.Input((3,), name="b")
    y = Dense(2, name="d")(a)
    with pytest.raises(
        ValueError, match=r"disconnected: 'add' takes the output of 'b'"
    ):
        lamina.Model(a, layers.Add()([a, b]))
    with pytest.raises(
        ValueError, match=r"path `k.0` is not connected.*none of \['b'\]"
    ):
        lamina.Model(b, {"k": [y]})
    with pytest.raises(ValueError, match="Output is not connected to `inputs`: 'd'"):
        lamina.Model(b, y)
    with pytest.raises(ValueError, match='"d" is used 2 times'):
        lamina.Model(a, Dense(2, name="d")(y))
    with pytest.raises(
        ValueError, match="`inputs` values must be KerasTensors.*lamina.Input"
    ):
        lamina.Model(X, y)
    with pytest.raises(ValueError, match="`outputs` values must be KerasTensors"):
        lamina.Model(a, Dense(3))
    with pytest.raises(ValueError, match="`inputs` argument cannot be empty"):
        lamina.Model([], y)
    with pytest.raises(ValueError, match="`outputs` argument cannot be empty"):
        lamina.Model(a, [])
    with pytest.raises(TypeError, match="takes `inputs` and `outputs`"):
        lamina.Model(a)


def test_bad_configs():
    x = lamina.Input((3,), name="x")
    config = lamina.Model(x, Dense(2, name="d")(Dense(2, name="c")(x))).get_config()

    def broken(change):
        changed = json.loads(json.dumps(config))
        change(changed)
        return changed

    def place(c, layer):
        return c["layers"][layer]["inbound_nodes"][0]["args"][0]["config"]

    def loop(c):
        place(c, 1)["keras_history"] = ["d", 0, 0]

    def lost(c):
        place(c, 1)["keras_history"] = ["nobody", 0, 0]

    def end(c):
        c["output_layers"] = ["d", 3, 0]

    for change, message in (
        (loop, r"loop: the calls of \['c', 'd'\]"),
        (lost, r"Missing node: nobody, which 'c' takes"),
        (end, r"\['d', 3, 0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            lamina.Model.from_config(broken(change))
    with pytest.raises(TypeError, match="needs the keys"):
        lamina.Model.from_config({})


def test_training_flag_in_graphs():
    x = lamina.Input((3,))
    free, fixed = (layers.BatchNormalization(momentum=0.5) for _ in range(2))
    model = lamina.Model(x, fixed(free(x), training=False))
    model(X, training=True)
    assert free.moving_mean.numpy().sum() != 0
    model(X)
    fixed_before = fixed.moving_mean.numpy()
    model(X, training=False)
    np.testing.assert_array_equal(fixed.moving_mean.numpy(), fixed_before)


def test_masks_pass_through_models():
    words = lamina.Input((4,), dtype="int32")
    inner = lamina.Model(words, layers.Embedding(9, 2, mask_zero=True)(words))
    other = lamina.Input((4,), dtype="int32")
    drawn = lamina.Model(other, layers.SimpleRNN(3)(inner(other)))
    stacked = lamina.Sequential([inner, drawn.layers[-1]])
    data = np.array([[1, 2, 0, 0]])
    expected = drawn.layers[-1](inner.layers[-1](data))
    shorter = drawn.layers[-1](inner.layers[-1](data[:, :2]))
    for model in (drawn, stacked):
        np.testing.assert_allclose(model(data), expected, rtol=1e-6)
        np.testing.assert_allclose(model.predict(data, verbose=0), shorter, rtol=1e-5)


# ---- subclasses --------------------------------------------------------------


class Net(lamina.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = [Dense(units), Dense(units)]
        self.top = Dense(1)

    def call(self, x, training=None):
        for layer in self.hidden:
            x = layer(x)
        return self.top(x)


def test_subclasses():
    net = Net()
    assert not net.built
    assert net(X).shape == (2, 1)
    assert [x.name for x in net.layers] == ["dense", "dense_1", "dense_2"]
    assert len(net.weights) == 6 and net.weights[0].path == "net/dense/kernel"
    assert net.get_layer(index=-1) is net.top
    with pytest.raises(AttributeError, match="no defined input"):
        _ = net.input
    again = Net.from_config(json.loads(json.dumps(net.get_config())))
    assert again.units == 4
    built = Net()
    built.build((None, 3))
    assert len(built.weights) == 6


def test_a_subclass_in_a_graph():
    x = lamina.Input((3,))
    net = Net(name="net")
    model = lamina.Model(x, Dense(2)(net(x)))
    assert len(model.weights) == 8
    np.testing.assert_allclose(model(X), model.layers[-1](net(X)), rtol=1e-6)


def test_a_graph_in_a_subclass():
    class Wrapped(lamina.Model):
        def __init__(self, units):
            x = lamina.Input((3,))
            super().__init__(inputs=x, outputs=Dense(units)(x))
            self.units = units

    model = Wrapped(5)
    assert model(X).shape == (2, 5) and model.input_shape == (None, 3)
    again = Wrapped.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    assert again.name == model.name
    np.testing.assert_array_equal(again(X), model(X))


def test_without_a_call():
    with pytest.raises(NotImplementedError, match="def call"):
        lamina.Model()(X)


# ---- parts -------------------------------------------------------------------


def test_get_layer():
    model = lamina.Sequential([lamina.Input((3,)), Dense(2, name="first")])
    assert model.get_layer("first") is model.get_layer(index=0)
    with pytest.raises(ValueError, match="No such layer: frist.*Did you mean 'first'"):
        model.get_layer("frist")
    with pytest.raises(ValueError, match="index 4 but model 'sequential' only has 1"):
        model.get_layer(index=4)
    for bad in ({}, {"name": "first", "index": 0}):
        with pytest.raises(ValueError, match="either a layer name or layer index"):
            model.get_layer(**bad)


def test_trainable_switches_and_counts():
    model = lamina.Sequential(
        [lamina.Input((3,)), Dense(2), layers.BatchNormalization()]
    )
    assert model.count_params() == 8 + 8
    assert sum(w.size for w in model.trainable_weights) == 12
    model.layers[0].trainable = False
    assert sum(w.size for w in model.trainable_weights) == 4
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 6
    assert not model.layers[1].trainable
    model.trainable = True
    assert sum(w.size for w in model.trainable_weights) == 12


def test_get_and_set_weights():
    model = lamina.Sequential([lamina.Input((3,)), Dense(2, name="d")])
    before = model.get_weights()
    model.set_weights([w + 1 for w in before])
    np.testing.assert_allclose(model.get_weights()[0], before[0] + 1)
    with pytest.raises(ValueError, match="length 1, but the layer was expecting 2"):
        model.set_weights(before[:1])
    with pytest.raises(ValueError, match=r"kernel' has shape \(3, 2\)"):
        model.set_weights(before[::-1])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies(copied):
    for model in (two(), lamina.Sequential([lamina.Input((3,)), Dense(2)])):
        twin = copied(model)
        for a, b in zip(
            structure.flatten(model(X)), structure.flatten(twin(X)), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        assert twin.get_config() == model.get_config()
        twin.weights[0].assign(twin.weights[0] * 0)
        assert float(np.abs(model.weights[0].numpy()).sum()) > 0


def test_state_trees():
    model = lamina.Sequential([lamina.Input((3,)), Dense(2, name="d")], name="m")
    tree = model.get_state_tree("numpy_array")
    assert list(tree["trainable_variables"]["m"]["d"]) == ["kernel", "bias"]
    tree["trainable_variables"]["m"]["d"]["bias"][:] = 7
    model.set_state_tree(tree)
    assert model.get_weights()[1].tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="no Variable 'm/d/kernal'.*'m/d/kernel'"):
        model.set_state_tree({"trainable_variables": {"m": {"d": {"kernal": 1}}}})
    with pytest.raises(ValueError, match="Unknown variable name: other"):
        model.set_state_tree({"other": {}})


def test_functions():
    x, y = lamina.Input((2,)), lamina.Input((2,))
    function = lamina.Function([x, y], {"d": x - y})
    assert function(np.ones((1, 2)), np.ones((1, 2)))["d"].tolist() == [[0.0, 0.0]]
    assert function([np.ones((1, 2)), np.zeros((1, 2))])["d"].tolist() == [[1.0, 1.0]]
    assert function.compute_output_shape([(None, 2), (None, 2)]) == {"d": (None, 2)}
    assert function([x, x])["d"].shape == (None, 2)
    with pytest.raises(ValueError, match=r"expects 2 input\(s\), but it received 1"):
        function([np.ones((1, 2))])


def test_a_deep_graph():
    """Two hundred layers and a skip each: no recursion, no search at every call."""
    x = y = lamina.Input((4,))
    for _ in range(100):
        y = layers.Add()([y, layers.Activation("tanh")(y)])
    model = lamina.Model(x, y)
    assert len(model.layers) == 201
    assert model(np.zeros((1, 4))).tolist() == [[0.0] * 4]
    assert len(lamina.Model.from_config(model.get_config()).layers) == 201
