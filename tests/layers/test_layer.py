"""The base class: what built-in layers and users' own get from it."""

import inspect
import json
import random
import re
from copy import deepcopy

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.layers import Dense, Layer


class Scale(Layer):
    built_times = 0

    def build(self, input_shape):
        self.built_times += 1
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.factor


class Block(Layer):
    """Layers in attributes, lists and dicts, and one that nobody calls at first."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = Dense(3, name="first")
        self.more = [Dense(3, name="a"), {"b": Dense(3, name="b")}]

    def call(self, x):
        return self.more[1]["b"](self.more[0](self.first(x)))


X = np.arange(6, dtype="float32").reshape(2, 3)


# ---- building ----------------------------------------------------------------


def test_it_is_built_once():
    layer = Scale()
    assert not layer.built
    for rows in (1, 2, 5):
        layer(np.ones((rows, 3)))
    assert layer.built and layer.built_times == 1 and len(layer.weights) == 1
    with pytest.raises(ValueError, match="input of shape|axis -1|shapes|broadcast"):
        layer(np.ones((2, 4)))


def test_paths_are_kerass():
    def paths(k):
        k.utils.clear_session()

        class Inner(k.layers.Layer):
            def build(self, input_shape):
                self.dense = k.layers.Dense(2)
                self.dense.build(input_shape)
                self.w = self.add_weight(shape=(1,), name="w", trainable=False)
                self.v = self.add_weight(shape=(1,))

            def call(self, x):
                return self.dense(x) * self.v

        class Outer(k.layers.Layer):
            def __init__(self):
                super().__init__()
                self.parts = [Inner(), Inner(name="named")]
                self.table = {
                    "z": k.layers.Dense(1),
                    "a": k.layers.BatchNormalization(),
                }

            def call(self, x):
                for part in self.parts:
                    x = part(x)
                return self.table["a"](self.table["z"](x))

        layer = Outer()
        layer(X)
        return [
            [(w.path, tuple(w.shape)) for w in weights]
            for weights in (layer.weights, layer.trainable_weights, layer.variables)
        ]

    assert paths(lamina) == paths(keras)


def test_build_with_many_shapes():
    class Pair(Layer):
        def build(self, a_shape, b_shape):
            self.sizes = (a_shape, b_shape)

        def call(self, a, b=None):
            return a if b is None else a + b

    pair = Pair()
    pair(X, b=X)
    assert pair.sizes == ((2, 3), (2, 3))
    assert pair.get_build_config() == {
        "shapes_dict": {"a_shape": (2, 3), "b_shape": (2, 3)}
    }
    copy = Pair.from_config(pair.get_config())
    copy.build_from_config(json.loads(json.dumps(pair.get_build_config())))
    assert copy.sizes == pair.sizes

    class Wrong(Layer):
        def build(self, one, two):
            pass

        def call(self, a, b):
            return a

    with pytest.raises(ValueError, match=r"`one`.*\['a_shape', 'b_shape'\]"):
        Wrong()(X, X)


def test_structures_of_shapes():
    class Sum(Layer):
        def build(self, input_shape):
            self.seen = input_shape

        def call(self, inputs):
            return inputs["a"] + inputs["b"][0]

    layer = Sum()
    layer({"a": X, "b": [X]})
    assert layer.seen == {"a": (2, 3), "b": [(2, 3)]}


def test_add_weight():
    layer = Layer()
    assert layer.add_weight().shape == ()
    w = layer.add_weight((2,), dtype="int32", name="w", trainable=False)
    assert w.numpy().tolist() == [0, 0]
    assert layer.non_trainable_weights == [w]
    hooked = layer.add_weight((2,), regularizer="l2", constraint="non_neg")
    assert float(hooked.regularizer(jnp.ones(2))) == pytest.approx(0.02)
    assert hooked.constraint(jnp.array([-1.0])).tolist() == [0.0]
    for shape in (5, (None, 3), (2.5,)):
        with pytest.raises(ValueError, match="shape of integers"):
            layer.add_weight(shape)


@pytest.mark.parametrize(
    "make, shape, expected",
    [
        (lambda: Dense(3), (None, 4), (None, 3)),
        (lambda: lamina.layers.Conv2D(3, 3), (2, 8, 8, 1), (2, 6, 6, 3)),
        (lambda: lamina.layers.TimeDistributed(Dense(3)), (None, 2, 4), (None, 2, 3)),
        (lambda: lamina.Sequential([Dense(3), Dense(2)]), (None, 4), (None, 2)),
    ],
)
def test_layers_that_are_asked_for_their_shape_are_not_built(make, shape, expected):
    layer, count = make(), lamina.layers.Activation("relu").name
    assert layer.compute_output_shape(shape) == expected
    inner = [x for x in layer._flatten_layers() if x.built]
    assert not layer.built and not layer.weights and not inner
    layer.build((*shape[:-1], 7))  # on another shape
    x = np.ones((2, *shape[1:-1], 7))
    assert layer(x).shape == (2, *expected[1:])
    number = int(lamina.layers.Activation("relu").name.partition("_")[2])
    assert number == int(count.partition("_")[2] or 0) + 1


def test_own_layers_that_were_asked_for_their_shape_are_built_as_others():
    class Own(Dense):
        pass

    layer = Own(3)
    assert layer.compute_output_shape((None, 4)) == (None, 3)
    layer.build((None, 4))
    assert len(layer.weights) == 2 and layer(np.ones((2, 4))).shape == (2, 3)
    with pytest.raises(ValueError, match="is built already"):
        layer.build((None, 4))
    assert isinstance(layer, lamina.Operation) and issubclass(Dense, lamina.Operation)


def test_weights_made_too_late_are_refused():
    class Late(Layer):
        def call(self, x):
            self.dense = Dense(2)
            return self.dense(x)

    said = "'late' .Late. is built already, so you cannot .*'dense'"
    with pytest.raises(ValueError, match=said):
        Late()(X)
    layer = Scale()
    layer.build((None, 3))
    with pytest.raises(ValueError, match="is built already"):
        layer.build((None, 3))
    with pytest.raises(ValueError, match="is built already, so you cannot .*'extra'"):
        layer.add_weight((), name="extra")
    layer.not_a_weight = 3


def test_calling_super_build_first():
    class First(Layer):
        def build(self, input_shape):
            super().build(input_shape)
            self.w = self.add_weight((input_shape[-1],))

        def call(self, x):
            return x * self.w

    class Second(Scale):
        def build(self, input_shape):
            super().build(input_shape)
            self.other = self.add_weight((1,), name="other")

    assert First()(X).shape == (2, 3)
    layer = Second(name="second")
    layer(X)
    assert [w.path for w in layer.weights] == [
        f"second/{layer.factor.name}", "second/other"
    ]  # fmt: skip


def test_forgetting_super_init():
    class Forgot(Layer):
        def __init__(self):
            self.dense = Dense(2)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(RuntimeError, match=r"'Forgot', you forgot to call `super"):
        Forgot()(X)
    with pytest.raises(RuntimeError, match="forgot"):
        Forgot().add_weight()


def test_attributes_before_super_init():
    class Early(Layer):
        def __init__(self):
            self.dense = Dense(2)
            super().__init__()

        def call(self, x):
            return self.dense(x)

    layer = Early()
    np.testing.assert_array_equal(layer(X), layer.dense(X))
    assert [id(v) for v in layer.weights] == [id(v) for v in layer.dense.weights]


@pytest.mark.parametrize(
    "kwargs, word",
    [
        ({"unit": 3}, "unit.*It takes: units, activation"),
        ({"name": "a/b"}, "without '/'"),
        ({"name": 3}, "name=3"),
        ({"input_shape": 3}, r"a tuple such as \(3,\)"),
    ],
)
def test_bad_arguments(kwargs, word):
    with pytest.raises((ValueError, TypeError), match=word):
        Dense(2, **kwargs)


# ---- what it owns ------------------------------------------------------------


def test_containers_are_looked_into():
    layer = Block()
    layer(X)
    assert len(layer.weights) == 6
    layer.more.append(Dense(1))
    layer.more[-1].build((None, 3))
    assert len(layer.weights) == 8
    layer.more.pop()
    del layer.first
    assert len(layer.weights) == 4


def test_shared_layers_count_once():
    layer = Block()
    layer.more[0] = layer.first
    layer(X)
    assert len(layer.weights) == 4 and layer.count_params() == 24


def test_trainable_switches():
    layer = Block()
    layer(X)
    assert len(layer.trainable_weights) == 6
    layer.first.trainable = False
    assert len(layer.trainable_weights) == 4 and len(layer.non_trainable_weights) == 2
    layer.trainable = False
    assert layer.trainable_weights == layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == 6
    layer.trainable = True
    assert len(layer.trainable_weights) == 6


def test_frozen_before_it_is_built():
    frozen = Dense(2, trainable=False)
    outer = lamina.Sequential([lamina.Input((3,)), frozen, Dense(1)])
    assert outer.trainable_weights == outer.layers[1].weights
    frozen.trainable = True
    assert len(outer.trainable_weights) == 4
    norm = lamina.layers.BatchNormalization()
    norm.trainable = False
    norm.build((None, 3))
    norm.trainable = True
    assert len(norm.trainable_weights) == 2


def test_weights_in_and_out():
    layer = Dense(2, name="d")
    with pytest.raises(ValueError, match=r"`count_params` on layer 'd'.*build"):
        layer.count_params()
    layer.build((None, 3))
    layer.set_weights([np.ones((3, 2)), [1.0, 2.0]])
    assert layer.get_weights()[1].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="length 1, but the layer was expecting 2"):
        layer.set_weights([np.ones((3, 2))])
    with pytest.raises(ValueError, match=r"'d/kernel' has shape \(3, 2\).*\(2, 3\)"):
        layer.set_weights([np.zeros((2, 3)), np.zeros(2)])
    assert layer.get_weights()[0].sum() == 6.0


# ---- calls -------------------------------------------------------------------


class Flag(Layer):
    def call(self, x, training=None):
        return x * (2.0 if training else 1.0)


class Outer(Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def test_training_flows_inwards():
    layer = Outer(Outer(Flag()))
    assert layer(X, training=True).sum() == 2 * X.sum()
    assert layer(X, training=False).sum() == layer(X).sum() == X.sum()

    class Own(Outer):
        def call(self, x, training=True):
            return self.inner(x)

    assert Own(Flag())(X).sum() == 2 * X.sum()
    assert Own(Flag())(X, training=False).sum() == X.sum()

    class Never(Outer):
        def call(self, x):
            return self.inner(x, training=False)

    assert Never(Flag())(X, training=True).sum() == X.sum()


def test_bad_calls():
    with pytest.raises(ValueError, match="'dense' .Dense.*Received: 'text'"):
        Dense(2)("text")
    with pytest.raises(TypeError, match="does not take.*It takes: inputs, training"):
        Dense(2)(X, wrong=X)
    with pytest.raises(ValueError, match="min_ndim=2, found ndim=1.*\\(3,\\)"):
        Dense(2)(np.ones(3))
    layer = Dense(2)
    layer(X)
    with pytest.raises(ValueError, match=r"axis -1 .*value 3.*\(2, 4\)"):
        layer(np.ones((2, 4)))
    with pytest.raises(ValueError, match="takes numbers.*text.*StringLookup"):
        Dense(2)(np.array([["a"]]))
    with pytest.raises(ValueError, match="takes numbers.*objects.*pad_sequences"):
        Dense(2)(np.array([[None]]))
    with pytest.raises(NotImplementedError, match="`call"):
        Layer()(X)
    with pytest.raises(ValueError, match="last axis is not given"):
        Dense(2)(lamina.Input((None,)))


class Mistake(Layer):
    def call(self, x, scale=1):
        return {"a": x}["b"]  # the line


def notes_of(error):
    """Our notes; JAX may add one of its own on how to see its frames."""
    return [n for n in error.__notes__ if "This happened in layer" in n]


@pytest.mark.parametrize("symbolic", [False, True])
def test_a_users_exception_is_kept_and_noted_once(symbolic):
    inner = Mistake(name="mistake")
    outer = Outer(Outer(inner))
    x = lamina.Input((3,)) if symbolic else X
    with pytest.raises(KeyError) as caught:
        outer(x, training=True) if symbolic else outer(x)
    assert caught.value.args == ("b",)
    assert "# the line" in str(caught.traceback[-1].statement)
    (note,) = notes_of(caught.value)
    assert "layer 'outer_1/outer/mistake' (Mistake)" in note
    shape = "float32[None, 3]" if symbolic else "float32[2, 3]"
    assert re.search(rf"x: {re.escape(shape)}", note)


def test_an_error_in_a_model_is_noted_once():
    x = lamina.Input((3,))

    class Picky(Layer):
        def call(self, x):
            if x.shape[0] == 2:
                raise ZeroDivisionError("two rows")
            return x

    model = lamina.Model(x, Picky(name="picky")(Dense(3)(x)), name="m")
    with pytest.raises(ZeroDivisionError) as caught:
        model(X)
    assert caught.value.args == ("two rows",)
    (note,) = notes_of(caught.value)
    assert "'m/picky' (Picky)" in note and "float32[2, 3]" in note


# ---- losses ------------------------------------------------------------------


def test_losses():
    class Penalty(Layer):
        def call(self, x):
            self.add_loss([jnp.sum(x), 1.0])
            return x

    inner = Penalty(activity_regularizer=lambda y: jnp.max(y))
    layer = Outer(inner)
    for _ in range(2):
        layer(X)
        assert [float(v) for v in layer.losses] == [15.0, 1.0, 2.5]
    assert [float(v) for v in inner.losses] == [15.0, 1.0, 2.5]
    dense = Dense(1, kernel_regularizer=lambda w: jnp.sum(w), kernel_initializer="ones")
    dense(X)
    assert [float(v) for v in dense.losses] == [3.0]
    dense.trainable = False
    assert dense.losses == []
    with pytest.raises(ValueError, match="symbolic tensor"):
        Layer().add_loss(lamina.Input(()))


def test_stateless_call():
    class Count(Layer):
        def __init__(self):
            super().__init__()
            self.n = self.add_weight((), trainable=False)
            self.w = self.add_weight((), initializer="ones", regularizer="l2")

        def call(self, x):
            self.n.assign_add(1.0)
            self.add_loss(jnp.sum(x))
            return x * self.w

    layer = Count()
    with pytest.raises(ValueError, match="must be built"):
        layer.stateless_call([], [], X)
    layer(X)
    start = layer.n.numpy()
    call = jax.jit(lambda t, n: layer.stateless_call(t, n, X, return_losses=True))
    y, (n,), losses = call([3.0], [5.0])
    assert float(y.sum()) == 45.0 and float(n) == 6.0
    assert [round(float(v), 4) for v in losses] == [15.0, 0.09]
    assert layer.n.numpy() == start
    y, new = layer.stateless_call(layer.trainable_variables, [1.0], X)
    assert float(new[0]) == 2.0 and float(y.sum()) == 15.0
    with pytest.raises(ValueError, match="list of 1 values.*Received: 2"):
        layer.stateless_call([1.0, 2.0], [1.0], X)


# ---- masks -------------------------------------------------------------------


def test_masks_flow_through_layers_that_support_them():
    masked = lamina.layers.Masking()(np.array([[[1.0], [0.0]]]))

    class Seen(Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True
            self.seen = []

        def call(self, x, mask=None):
            self.seen.append(None if mask is None else mask.tolist())
            return x

    layer = Seen()
    layer(layer(masked))
    assert layer.seen == [[[True, False]]] * 2
    layer(masked, mask=jnp.array([[False, False]]))
    assert layer.seen[-1] == [[False, False]]
    layer(np.ones((1, 2, 1)))
    assert layer.seen[-1] is None

    class Deaf(Layer):
        def call(self, x):
            return x + 1

    with pytest.warns(UserWarning, match="'deaf' .Deaf.*does not support masking"):
        Deaf()(masked)


def test_masks_of_several_arguments():
    class Two(Layer):
        def call(self, a, b, a_mask=None, b_mask=None):
            return a_mask, b_mask

    m = lamina.layers.Masking()
    left, right = Two()(m(np.zeros((1, 1, 1))), m(np.ones((1, 1, 1))))
    assert (left.tolist(), right.tolist()) == ([[False]], [[True]])


# ---- dtypes ------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_casting(policy):
    class Look(Layer):
        def build(self, input_shape):
            self.w = self.add_weight((3,), initializer="ones")
            self.exact = self.add_weight((3,), autocast=False)
            self.inner = Dense(2, dtype="float32")

        def call(self, x, index, setting=1.0):
            self.seen = (x.dtype, index.dtype, self.w.dtype, self.exact.value.dtype)
            return x * self.w, self.inner(x)

    layer = Look(dtype=policy)
    y, z = layer(X, np.array([1, 2]))
    half = layer.compute_dtype
    exact = layer.variable_dtype
    assert layer.seen == (half, "int32", half, exact)
    assert y.dtype == half and z.dtype == "float32"
    assert layer.w.raw_value.dtype == exact
    y, z = layer(lamina.Input((3,)), lamina.Input((), dtype="int32"))
    assert (y.dtype, z.dtype) == (half, "float32")

    class AsIs(Layer):
        def call(self, x):
            return x

    assert AsIs(dtype=policy, autocast=False)(X).dtype == "float32"


# ---- shapes ------------------------------------------------------------------


def test_shapes_without_data():
    assert Dense(2).compute_output_shape((None, 3)) == (None, 2)
    assert Dense(2).compute_output_shape(input_shape=(4, 3)) == (4, 2)
    assert lamina.layers.Add().compute_output_shape([(None, 3), (None, 3)]) == (None, 3)
    make = lamina.layers
    for layer, shape, expected in (
        (make.Dense(2), (None, None), (None, 2)),
        (make.Conv2D(3, 2), (2, 8, 8, None), (2, 7, 7, 3)),
        (make.LSTM(3, return_sequences=True), (None,) * 3, (None, None, 3)),
        (make.BatchNormalization(), (None, None), (None, None)),
        (make.ConvLSTM2D(3, 2), (None, 3, None, 8, 3), (None, None, 7, 3)),
        (lamina.Sequential([make.Dense(2), make.Dense(1)]), (4, None), (4, 1)),
    ):
        drawn = random.getstate()
        assert layer.compute_output_shape(shape) == expected
        assert not layer.built and random.getstate() == drawn
    with pytest.raises(ValueError, match="needs a shape of integers, each known"):
        Dense(2)(lamina.Input((None,)))
    spec = Dense(2).compute_output_spec(lamina.KerasTensor((None, 3)))
    assert (spec.shape, spec.dtype) == ((None, 2), "float32")

    class Two(Layer):
        def call(self, a, b):
            return {"sum": a + b, "a": a[0]}

    assert Two().compute_output_shape((None, 3), (None, 3)) == {
        "sum": (None, 3), "a": (3,)
    }  # fmt: skip

    class Told(Layer):
        def call(self, x):
            raise AssertionError("not traced")

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 7)

    assert Told()(lamina.Input((3,))).shape == (None, 7)


# ---- configs -----------------------------------------------------------------


class Plain(Layer):
    def __init__(self, units, activation="relu", *, parts=(), **kwargs):
        super().__init__(**kwargs)
        self.dense = [Dense(units, activation=activation), *parts]

    def call(self, x):
        return self.dense[0](x)


class Written(Plain):
    def get_config(self):
        return {**super().get_config(), "units": 5}


def test_configs_without_get_config():
    layer = Plain(3, "tanh", parts=[Dense(1)], name="mine", dtype="mixed_bfloat16")
    config = json.loads(json.dumps(layer.get_config()))
    assert (config["units"], config["activation"], config["name"]) == (
        3,
        "tanh",
        "mine",
    )
    copy = Plain.from_config(config)
    assert [type(x) for x in copy.dense] == [Dense, Dense]
    assert copy.dtype_policy == layer.dtype_policy
    assert json.loads(json.dumps(copy.get_config())) == config


def test_configs_with_get_config():
    assert Written.from_config(Written(3).get_config()).dense[0].units == 5


def test_what_a_class_gives_its_users_base_is_no_part_of_the_config():
    class Base(Layer):
        def __init__(self, way="mean", flow="in", **kwargs):
            super().__init__(**kwargs)
            self.way, self.flow = way, flow

    class Fixed(Base):
        def __init__(self, units=1, **kwargs):
            super().__init__(way="add", **kwargs)
            self.units = units

    class Passing(Base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    for layer in (Fixed(), Fixed(2, flow="out"), Passing("max")):
        again = type(layer).from_config(layer.get_config())
        assert (again.way, again.flow) == (layer.way, layer.flow)
        assert deepcopy(layer).flow == layer.flow
    assert "way" not in Fixed(2).get_config() and "flow" not in Fixed().get_config()


def test_a_users_subclass_of_ours():
    class Wide(Dense):
        def __init__(self, factor, **kwargs):
            super().__init__(10 * factor, **kwargs)
            self.factor = factor

        def get_config(self):
            config = super().get_config()
            del config["units"]
            return {**config, "factor": self.factor}

    copy = Wide.from_config(Wide(2, activation="relu").get_config())
    assert copy.units == 20 and copy.activation is lamina.activations.relu


def test_inputs_and_outputs():
    layer = Dense(2)
    with pytest.raises(AttributeError, match="never been called"):
        _ = layer.output
    x = lamina.Input((3,))
    y = layer(x)
    assert layer.input is x and layer.output is y


def test_arrays_given_out_are_the_users_own():
    layer = Dense(2)
    layer.build((None, 3))
    for array in (layer.get_weights()[0], layer.kernel.numpy(), np.array(layer.kernel)):
        before = layer.kernel.numpy()
        array[:] = 9
        np.testing.assert_array_equal(layer.kernel.numpy(), before)


def test_a_constructor_without_kwargs():
    class Short(Layer):
        def __init__(self, units):
            super().__init__()
            self.dense = Dense(units)

        def call(self, x):
            return self.dense(x)

    layer = Short(4)
    layer.trainable = False
    copy = Short.from_config(json.loads(json.dumps(layer.get_config())))
    assert copy(X).shape == (2, 4)
    assert (copy.name, copy.trainable, copy.trainable_weights) == (
        layer.name,
        False,
        [],
    )
    assert copy.dtype_policy == layer.dtype_policy


# ---- signatures of own hooks -----------------------------------------------------


def summing(name, *bodies):
    """Make a layer of two inputs with one hook of its own."""

    def call(self, a, b):
        return a + b

    return type("Summing", (Layer,), {"call": call, name: bodies[0]})


SHAPE_HOOKS = [
    lambda self, shape: shape,
    lambda self, input_shape: input_shape,
    lambda self, a_shape: a_shape,
    lambda self, a_shape, b_shape: a_shape,
    lambda self, b_shape, extra=None: b_shape,
    lambda self, *shapes: shapes[0],
    lambda self, **shapes: shapes["b_shape"],
]


@pytest.mark.parametrize("hook", SHAPE_HOOKS)
def test_an_own_output_shape_or_build_takes_what_its_signature_names(hook):
    a, b = lamina.Input((5,)), lamina.Input((5,))
    layer = summing("compute_output_shape", hook)()
    assert layer(a, b).shape == layer(b=b, a=a).shape == (None, 5)
    seen = []

    def build(self, *args, **kwargs):
        seen.append(hook(self, *args, **kwargs))

    build.__signature__ = inspect.signature(hook)
    summing("build", build)()(a, b)
    assert seen == [(None, 5)]


def test_a_hook_whose_arguments_have_no_names_of_the_call():
    a, b = lamina.Input((5,)), lamina.Input((5,))
    for hook in ("compute_output_shape", "build"):
        layer = summing(hook, lambda self, s1, s2: s1)()
        getattr(type(layer), hook).__name__ = hook
        with pytest.raises(ValueError, match="`s1`, which does not end in `_shape`"):
            layer(a, b)


def test_an_own_mask_hook_gets_none_where_no_input_has_a_mask():
    seen = []

    def compute_mask(self, inputs, mask=None):
        seen.append(mask)

    layer = summing("compute_mask", compute_mask)()
    masked = lamina.layers.Embedding(5, 3, mask_zero=True)(lamina.Input((4,)))
    plain = lamina.Input((4, 3))
    layer(plain, plain)
    layer(masked, plain)
    assert seen[0] is None
    assert seen[1][0].shape == (None, 4) and seen[1][1] is None


def test_a_lambda_with_an_output_shape_on_structures():
    Lambda = lamina.layers.Lambda
    a, b = lamina.Input((10,)), lamina.Input((10,))
    first = Lambda(lambda v: v[0] - v[1], output_shape=(10,))
    assert first([a, b]).shape == first((a, b)).shape == (None, 10)
    by_key = Lambda(lambda v: v["a"] - v["b"], output_shape=(10,))
    x = by_key({"a": a, "b": b})
    assert x.shape == (None, 10)
    net = lamina.Model([a, b], x)
    assert net.predict([np.ones((2, 10)), np.ones((2, 10))], verbose=0).sum() == 0
    own = Lambda(lambda v: v[0], output_shape=lambda shapes: shapes[0])
    assert own([a, b]).shape == (None, 10)
    small = Lambda(lambda v: v, output_shape=(1,))
    assert small.compute_output_shape([(None, 10), (None, 10)]) == (None, 1)
    assert small.compute_output_shape({"a": (3, 10)}) == (3, 1)
    twice = Lambda(lambda v: [v, v[:, :4]], output_shape=[(10,), (4,)])
    assert [t.shape for t in twice(a)] == [(None, 10), (None, 4)]
    assert Lambda(lambda v: v[0], output_shape=(None, 2))(
        [lamina.Input(batch_shape=(3, None, 2)), b]
    ).shape == (3, None, 2)


def test_a_layer_that_does_not_convert_its_arguments_gets_them_as_they_are():
    seen = []

    class Raw(Layer):
        def __init__(self, convert=None, **kwargs):
            super().__init__(**kwargs)
            if convert is not None:
                self._convert_input_args = convert

        def call(self, x, more=None):
            seen.append((type(x).__name__, getattr(x, "dtype", None)))
            return x

    x = np.ones((2, 3), "float64")
    Raw(dtype="bfloat16")(x)
    Raw(False, dtype="bfloat16")(x)
    free = Raw(False)
    free._allow_non_tensor_positional_args = True
    with pytest.raises(ValueError, match="Only input tensors"):
        Raw(False)("text")
    assert free("text") == "text" and free([1, 2]) == [1, 2]
    names, dtypes = zip(*seen, strict=True)
    assert names == ("ArrayImpl", "ndarray", "str", "list")
    assert str(dtypes[0]) == "bfloat16" and dtypes[1] == x.dtype


def test_a_layer_may_take_positional_arguments_that_are_no_tensors():
    class Free(Layer):
        _allow_non_tensor_positional_args = True

        def call(self, x, factor):
            return x * factor

    assert Free()(np.ones((1, 2)), 3).tolist() == [[3.0, 3.0]]
    assert Free()(lamina.Input((2,)), 3).shape == (None, 2)
    with pytest.raises(ValueError, match="Only input tensors"):
        Scale()("text")


@pytest.mark.parametrize("m", [lamina, keras], ids=["lamina", "keras"])
def test_names_that_subclasses_of_keras_layers_use(m):
    class Table(m.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = self._tracker.track(m.layers.Dense(2))
            self.mean = m.metrics.Mean()

        def build(self, input_shape):
            self.still = self.add_weight(shape=(3,), trainable=False, name="still")
            self.moving = self.add_weight(shape=(2,), name="moving")
            self.dense.build(input_shape)

        def call(self, x, training=None):
            return self.dense(x)

        def load_own_variables(self, store):
            own = self._trainable_variables + self._non_trainable_variables
            for i, variable in enumerate(own):
                variable.assign(store[str(i)])

    layer = Table()
    layer.build((None, 4))
    assert layer._trainable_variables == [layer.moving]
    assert layer._non_trainable_variables == [layer.still]
    assert (layer._layers, layer._metrics) == ([layer.dense], [layer.mean])
    assert layer._call_has_training_arg and not layer._call_has_mask_arg
    assert not m.layers.Flatten()._call_has_training_arg
    store = {}
    layer.save_own_variables(store)
    other = Table()
    other.build((None, 4))
    other.load_own_variables(store)
    np.testing.assert_array_equal(other.moving, layer.moving)
    np.testing.assert_array_equal(other.still, layer.still)


@pytest.mark.parametrize("m", [lamina, keras], ids=["lamina", "keras"])
def test_a_subclass_keeps_its_layers_under_a_name_of_keras(m):
    class Stack(m.layers.Layer):
        def __init__(self, layers):
            super().__init__()
            self._layers = layers

        def call(self, x):
            for layer in self._layers:
                x = layer(x)
            return x

    stack = Stack([m.layers.Dense(2), m.layers.Dense(1)])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    result = stack(x)
    a, b, c, d = map(np.asarray, stack.weights)
    np.testing.assert_allclose(result, (x @ a + b) @ c + d, rtol=1e-5, atol=1e-6)


TEXTS = ["a b", b"a", np.array(["a", "b"]), np.array([["a"]], object), np.str_("a")]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_text_where_numbers_are_due_is_told_so(text):
    x = lamina.Input((1,))
    takers = [
        lamina.Model(x, Dense(1)(x)),
        lamina.Sequential([lamina.Input((1,)), Dense(1)]),
        Dense(1),
        lamina.layers.Rescaling(2.0),
        lamina.layers.Normalization(mean=0.0, variance=1.0),
        lamina.layers.CategoryEncoding(3),
        lamina.layers.RandomFlip(),
        lamina.layers.Discretization([1.0]),
    ]
    for taker in takers:
        with pytest.raises(ValueError, match="takes numbers|Only input tensors"):
            taker(text)
    for call in (lamina.ops.convert_to_tensor, lambda t: lamina.ops.add(t, 1)):
        with pytest.raises(TypeError, match="Ops take numbers"):
            call(text)


def test_numbers_where_text_is_due_are_told_so():
    x = lamina.Input((1,), dtype="string")
    words = lamina.layers.StringLookup(vocabulary=["a"])
    net = lamina.Model(x, words(x))
    for numbers in (np.ones((2, 1)), jnp.ones((2, 1))):
        with pytest.raises(ValueError, match="takes text"):
            net(numbers)
        with pytest.raises(TypeError, match="takes text"):
            words(numbers)


def test_what_a_call_assigns_may_be_known_already():
    class Renaming(lamina.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((3, 3), name="w")
            self.dense = lamina.layers.Dense(3)
            self.dense.build(input_shape)

        def call(self, x):
            self.w = self.w
            self.view, self.last = self.w, self.dense
            self.dense = self.dense
            return self.last(x) @ self.view

    layer = Renaming()
    x = np.ones((2, 3), "float32")
    layer(x)
    paths = [v.path for v in layer.weights]
    layer(x)
    assert [v.path for v in layer.weights] == paths and len(paths) == 3
    model = lamina.Sequential([lamina.Input((3,)), Renaming()])
    model.compile("sgd", "mse")
    model.fit(x, x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-6)


class Anew(Layer):
    """Makes a layer in each call, and keeps it in some way."""

    def __init__(self, keep):
        super().__init__()
        self.keep, self.items = keep, {}

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(3, 3))

    def call(self, x):
        layer = Dense(2)
        if self.keep == "item":
            self.items["a"] = layer
        elif self.keep == "append":
            self.items.setdefault("all", []).append(layer)
        else:
            self.found = {"list": [layer], "dict": {"a": layer}}[self.keep]
        return layer(x @ self.kernel)


@pytest.mark.parametrize("keep", ["list", "dict", "item"])
def test_a_call_that_makes_layers_in_containers_is_refused(keep):
    x, message = np.ones((2, 3), "float32"), "Make weights and layers in `__init__"
    model = lamina.Sequential([Anew(keep)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=message):
        model.fit(x, np.ones((2, 2)), verbose=0)
    if keep != "item":
        with pytest.raises(ValueError, match=message):
            Anew(keep)(x)


def test_weights_that_a_call_appends_are_named():
    model = lamina.Sequential([Anew("append")])
    model.compile("sgd", "mse")
    message = r"/anew\w*/dense\w*/kernel.* `call` makes anew each time"
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((2, 3), "float32"), np.ones((2, 2)), verbose=0)


@pytest.mark.parametrize("make", [lamina.metrics.Mean, lamina.random.SeedGenerator])
def test_a_call_that_makes_a_metric_or_a_generator_is_refused(make):
    class Keeps(Layer):
        def __init__(self):
            super().__init__()
            self.first, self.others = make(), [make()]

        def call(self, x):
            self.second = self.first if self.known else make()
            self.others = [*self.others, self.first]
            return x

    layer = Keeps()
    layer.known = True
    x = np.ones((1, 3), "float32")
    layer(x), layer(x)
    layer.known = False
    with pytest.raises(ValueError, match="such as 'second'"):
        layer(x)


def test_a_call_may_exchange_what_it_holds():
    class Two(Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(2), Dense(2)

        def build(self, input_shape):
            self.a.build(input_shape), self.b.build(input_shape)

        def call(self, x):
            self.a, self.b = self.b, self.a
            return self.a(x)

    layer = Two()
    x = np.ones((1, 3), "float32")
    first, second, third = layer(x), layer(x), layer(x)
    assert len(layer.weights) == 4
    np.testing.assert_array_equal(first, third)
    assert not np.allclose(first, second)
    assert len(lamina.Sequential([lamina.Input((3,)), Two()]).weights) == 4


def test_an_axis_that_the_input_lacks_is_refused():
    layer = lamina.layers.Identity()
    layer.input_spec = lamina.layers.InputSpec(axes={3: 4, -5: None})
    with pytest.raises(ValueError, match="expected an axis 3, found ndim=2"):
        layer(np.ones((2, 3)))


# ---- what a subclass inherits, and what it says for itself ---------------------


class Quiet(lamina.layers.Dropout):
    """A built-in layer under a user's name."""


class Doubled(lamina.layers.ReLU):
    def call(self, x):
        return 2 * super().call(x)


class Mine(Dense):
    """A built-in layer with weights under a user's name."""


def test_what_makes_nothing_is_built_when_it_is_made():
    assert lamina.layers.ReLU().built and Quiet(0.5).built
    assert not Doubled().built and not Block().built and not Mine(2).built

    class Said(Doubled):
        _nothing_to_build = True

    assert Said().built


def test_an_inherited_argument_is_a_setting_and_an_own_one_is_not():
    class Scaled(Quiet):
        factor = 1.0

    inner = Scaled(0.5)
    model = lamina.Sequential([lamina.Input((3,)), inner])
    before = inner._changed_at
    inner.factor = 2.0
    assert inner._changed_at == before
    np.testing.assert_array_equal(model.predict(X, verbose=0), X)
    assert not model(X + 1, training=True).all()
    inner.rate = 0.0
    assert inner._changed_at > before
    np.testing.assert_array_equal(model(X + 1, training=True), X + 1)


def test_what_a_call_sets_compiles_nothing_again():
    class Annealed(Quiet):
        def call(self, inputs, training=False):
            self.rate = self.rate / 2
            return super().call(inputs, training=training)

    inner = Annealed(0.5)
    inner(X)
    before = inner._changed_at
    inner(X)
    assert inner._changed_at == before


def test_only_a_class_that_says_so_is_quantized():
    layer = Mine(2)
    layer.build((None, 3))
    with pytest.raises(NotImplementedError, match="of its own. Pass `type_check=False"):
        layer.quantize("int8")
    layer.quantize("int8", type_check=False)
    assert layer.quantization_mode == "int8"

    class Declared(Dense):
        _quantizes = True

    layer = Declared(2)
    layer.build((None, 3))
    layer.quantize("int8")
    assert layer.quantization_mode == "int8"


def test_a_stack_refuses_several_outputs_where_the_call_is_inherited():
    class Two(Layer):
        def call(self, x):
            return x, 2 * x

    class Sum(Layer):
        def call(self, pair):
            return pair[0] + pair[1]

    with pytest.raises(ValueError, match="gives 2 outputs"):
        lamina.Sequential([lamina.Input((3,)), Two(), Quiet(0.5)])
    model = lamina.Sequential([lamina.Input((3,)), Two(), Sum()])
    np.testing.assert_array_equal(model(X), 3 * X)


def test_a_deleted_weight_is_given_up():
    layer = Layer()
    layer.w = layer.add_weight(shape=(2,), name="w")
    layer.v = layer.same = layer.add_weight(shape=(3,), name="v")
    del layer.w, layer.v
    assert [w.name for w in layer.weights] == ["v"]
    del layer.same
    assert layer.weights == []


class Tall(Dense):
    def call(self, x):
        return lamina.ops.expand_dims(super().call(x), -1)

    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape), 1)


class TallTwice(Tall):
    def call(self, x):
        return lamina.ops.concatenate([super().call(x)] * 2, axis=-1)

    def compute_output_shape(self, input_shape):
        return (*super().compute_output_shape(input_shape)[:-1], 2)


def same_shape(base):
    class Own(base):
        def compute_output_shape(self, input_shape):
            return super().compute_output_shape(input_shape)

    return Own


@pytest.mark.parametrize(
    "make, shape, expected",
    [
        (lambda: same_shape(lamina.layers.GRU)(3), (5, 4), (None, 3)),
        (lambda: same_shape(lamina.layers.Conv2D)(3, 2), (5, 5, 1), (None, 4, 4, 3)),
        (lambda: same_shape(lamina.layers.Lambda)(lambda x: x[:, :2]), (4,), (None, 2)),
        (lambda: same_shape(lamina.Sequential)([Dense(3)]), (4,), (None, 3)),
        (lambda: Tall(3), (4,), (None, 3, 1)),
        (lambda: TallTwice(3), (4,), (None, 3, 2)),
    ],
)
def test_shapes_may_be_asked_of_super(make, shape, expected):
    assert make().compute_output_shape((None, *shape)) == expected
    assert make()(lamina.Input(shape)).shape == expected


def test_a_layer_of_no_other_has_no_shape_to_ask_for():
    class Plain(Layer):
        def call(self, x):
            return x

        def compute_output_shape(self, input_shape):
            return super().compute_output_shape(input_shape)

    with pytest.raises(NotImplementedError, match="compute_output_shape"):
        Plain().compute_output_shape((None, 3))


@pytest.mark.parametrize("name, config", [("Add", {"axis": -1}), ("Dense", {})])
def test_a_config_that_does_not_fit_is_a_type_error(name, config):
    with pytest.raises(TypeError, match=f"'{name}' could not be made from its config"):
        lamina.layers.deserialize({"class_name": name, "config": config})


def test_build_may_ask_for_the_layers_own_output_shape():
    class Asks(lamina.layers.Conv1D):
        def build(self, input_shape):
            super().build(input_shape)
            self.shift = self.add_weight(
                shape=self.compute_output_shape(input_shape)[1:]
            )

        def call(self, x):
            return super().call(x)

    layer = Asks(4, 3)
    assert layer(np.ones((2, 8, 1))).shape == (2, 6, 4)
    assert [w.shape for w in layer.weights] == [(3, 1, 4), (4,), (6, 4)]
