"""Graphs to be built in Lamina and in real Keras: functions of the library."""


def chain(k):
    x = k.Input((4,), name="in")
    return k.Model(x, k.layers.Dense(2)(k.layers.Dense(3, activation="relu")(x)))


def residual(k):
    x = k.Input((4,))
    h = k.layers.Dense(4)(x)
    h = k.layers.Add()([h, x])
    return k.Model(x, k.layers.Dense(1)(k.layers.Activation("relu")(h)))


def branches(k):
    x = k.Input((8,), name="x")
    a = k.layers.Dense(3, name="a")(x)
    b = k.layers.Dense(3, name="b2")(k.layers.Dense(5, name="b1")(x))
    c = k.layers.Concatenate(name="cat")([b, a])
    return k.Model(
        x, [k.layers.Dense(1, name="o1")(c), k.layers.Dense(2, name="o2")(a)]
    )


def two_inputs(k):
    a, b = k.Input((32,), name="table"), k.Input((8,), name="other")
    x = k.layers.Dense(4)(b)
    y = k.layers.Dense(4)(k.layers.Dense(6)(a))
    return k.Model([a, b], k.layers.Dense(1)(k.layers.Multiply()([x, y])))


def shared(k):
    a, b = k.Input((5,)), k.Input((5,))
    encoder = k.layers.Dense(3, name="encoder")
    return k.Model([a, b], k.layers.Subtract()([encoder(a), encoder(b)]))


def shared_in_a_row(k):
    x = k.Input((3,))
    cell = k.layers.Dense(3, name="cell")
    return k.Model(x, k.layers.Dense(2)(cell(cell(cell(x)))))


def dicts(k):
    left, right = k.Input((2,), name="left"), k.Input((3,), name="right")
    x = k.layers.Concatenate()([right, left])
    outputs = {"z": k.layers.Dense(1)(x), "a": k.layers.Dense(2)(x)}
    return k.Model({"right": right, "left": left}, outputs)


def nested_structure(k):
    a, b, c = (k.Input((2,), name=n) for n in "abc")
    x = k.layers.Add()([a, k.layers.Dense(2)(b)])
    return k.Model([a, {"b": b, "c": c}], [{"x": x}, k.layers.Average()([x, c])])


def model_as_layer(k):
    x = k.Input((4,), name="inner_in")
    inner = k.Model(x, k.layers.Dense(3, name="inner_dense")(x), name="inner")
    y = k.Input((4,), name="outer_in")
    return k.Model(y, k.layers.Dense(2, name="top")(inner(y)))


def model_called_twice(k):
    x = k.Input((4,), name="inner_in")
    inner = k.Model(x, k.layers.Dense(3, name="inner_dense")(x), name="inner")
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    return k.Model([a, b], k.layers.Concatenate()([inner(b), inner(a)]))


def sequential_as_layer(k):
    tower = k.Sequential(
        [k.Input((4,)), k.layers.Dense(3), k.layers.Dense(2)], name="tower"
    )
    x = k.Input((4,))
    return k.Model(x, k.layers.Dense(1)(tower(x)), name="whole")


def unused_input(k):
    a, b = k.Input((1,), name="a"), k.Input((2,), name="b")
    return k.Model([a, b], k.layers.Dense(1)(b))


def sub_model(k):
    x = k.Input((4,), name="x")
    a = k.layers.Dense(3, name="a")(x)
    b = k.layers.Dense(3, name="b")(a)
    k.layers.Dense(3, name="not_used")(b)
    return k.Model(x, [b, a])


def reused_in_another(k):
    x = k.Input((4,), name="x")
    first, second = k.layers.Dense(4, name="first"), k.layers.Dense(4, name="second")
    k.Model(x, second(first(x)))
    y = k.Input((4,), name="y")
    return k.Model(y, first(second(first(y))))


def masks(k):
    x = k.Input((4,), dtype="int32", name="words")
    e = k.layers.Embedding(7, 3, mask_zero=True)(x)
    h = k.layers.SimpleRNN(3, return_sequences=True)(e)
    return k.Model(x, k.layers.SimpleRNN(2)(h))


def mask_from_inside(k):
    x = k.Input((4,), dtype="int32", name="inner_words")
    inner = k.Model(x, k.layers.Embedding(7, 3, mask_zero=True)(x), name="inner")
    y = k.Input((4,), dtype="int32", name="words")
    return k.Model(y, k.layers.SimpleRNN(2)(inner(y)))


def convolutions(k):
    x = k.Input((8, 8, 2))
    h = k.layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    h = k.layers.BatchNormalization()(h)
    h = k.layers.MaxPooling2D()(h)
    skip = k.layers.Conv2D(3, 1, strides=2)(x)
    h = k.layers.Flatten()(k.layers.add([h, skip]))
    return k.Model(x, k.layers.Dropout(0.5)(k.layers.Dense(2)(h)))


def bare_ops(k):
    x = k.Input((4,), name="x")
    y = k.ops.concatenate([x * 2.0, 1.0 - x], axis=-1)
    y = k.layers.Dense(3)(k.ops.relu(y))
    return k.Model(x, k.ops.reshape(y, (-1, 3, 1)) + k.ops.ones((3, 1)))


def frozen_call(k):
    x = k.Input((3,))
    h = k.layers.BatchNormalization(name="frozen")(x, training=False)
    return k.Model(x, k.layers.Dense(2)(h))


def several_outputs(k):
    x = k.Input((5, 3))
    y, h = k.layers.SimpleRNN(4, return_state=True, name="rnn")(x)
    return k.Model(x, [k.layers.Subtract()([h, y]), y])


def uneven_depths(k):
    x = k.Input((4,), name="x")
    a = k.layers.Dense(4, name="a")(x)
    b = k.layers.Dense(4, name="b")(a)
    c = k.layers.Dense(4, name="c")(x)
    d = k.layers.Add(name="d")([c, b, a])
    e = k.layers.Add(name="e")([x, d])
    return k.Model(x, [e, c])


def inner_with_two_ends(k):
    a, b = k.Input((2,), name="ia"), k.Input((2,), name="ib")
    both = [k.layers.Add(name="p")([a, b]), k.layers.Dense(3, name="q")(b)]
    inner = k.Model([a, b], both, name="inner")
    x = k.Input((2,), name="x")
    p, q = inner([x, x])
    return k.Model(x, k.layers.Concatenate()([q, p]))


ALL = [
    chain, residual, branches, two_inputs, shared, shared_in_a_row, dicts,
    nested_structure, model_as_layer, model_called_twice, sequential_as_layer,
    unused_input, sub_model, reused_in_another, masks, mask_from_inside, convolutions,
    bare_ops, frozen_call, several_outputs, uneven_depths, inner_with_two_ends,
]  # fmt: skip
