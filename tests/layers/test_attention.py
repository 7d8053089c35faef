import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.masks import get_mask, set_mask
from lamina.testing import check_layer
from tests.layers.parity import plain, same

L, K = lamina.layers, keras.layers
RANDOM = np.random.default_rng(5)


def draw(*shape):
    return RANDOM.normal(size=shape).astype("float32")


Q, V, KEY = draw(2, 4, 6), draw(2, 5, 3), draw(2, 5, 2)
QUERY_MASK = np.array([[1, 1, 0, 0], [1, 0, 1, 1]], bool)
VALUE_MASK = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)  # one sees nothing
SEEN = RANDOM.random((2, 4, 5)) > 0.4
SEEN[0, 0] = False


def pair(name, *shapes, **kwargs):
    """Make a layer and Keras' own, of the same config, paths and weights."""
    ours, theirs = (getattr(m, name)(name="it", **kwargs) for m in (L, K))
    assert plain(ours.get_config()) == plain(theirs.get_config())
    ours.build(*shapes), theirs.build(*shapes)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    values = [0.5 * RANDOM.normal(size=v.shape) for v in theirs.weights]
    ours.set_weights(values), theirs.set_weights(values)
    return ours, theirs


HEADS = [
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "value_dim": 4,
                            "use_gate": True, "output_shape": (3, 2)}),
    ("MultiHeadAttention", {"num_heads": 1, "key_dim": 3, "use_bias": False,
                            "sliding_window": 2, "output_shape": 5}),
    ("GroupQueryAttention", {"head_dim": 3, "num_query_heads": 4,
                             "num_key_value_heads": 2}),
    ("GroupQueryAttention", {"head_dim": 3, "num_query_heads": 2, "use_gate": True,
                             "num_key_value_heads": 1, "sliding_window": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs"), HEADS)
def test_numbers(name, kwargs):
    ours, theirs = pair(name, Q.shape, V.shape, KEY.shape, **kwargs)
    # Where keys and values differ in size, Keras on JAX works in this way alone.
    scores = "value_dim" in kwargs
    call = {"attention_mask": SEEN, "return_attention_scores": scores}
    same(ours, theirs, Q, value=V, key=KEY, **call)


CALLS = [
    {},
    {"use_causal_mask": True},
    {"attention_mask": SEEN.astype("float32")},
    {"attention_mask": SEEN[:1]},
    {"attention_mask": SEEN[:, None]},
    {"value_mask": VALUE_MASK},
    {"value_mask": VALUE_MASK, "key_mask": VALUE_MASK[::-1], "use_causal_mask": True},
]


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize(("name", "kwargs"), [HEADS[0], HEADS[3]])
def test_masks(name, kwargs, scores):
    ours, theirs = pair(name, Q.shape, V.shape, **kwargs)
    for call in CALLS:
        if name != "MultiHeadAttention" and call.get("attention_mask") is not None:
            call = {"attention_mask": SEEN}
        call = {**call, "return_attention_scores": scores}
        a, b = ours(Q, V, **call), theirs(Q, V, **call)
        for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_allclose(p, q, atol=1e-5)


def test_masks_that_tensors_carry():
    ours, theirs = pair("MultiHeadAttention", Q.shape, V.shape, **HEADS[0][1])
    query, value = jnp.array(Q), jnp.array(V)
    set_mask(query, jnp.asarray(QUERY_MASK))
    set_mask(value, jnp.asarray(VALUE_MASK))
    seen = QUERY_MASK[:, :, None] & VALUE_MASK[:, None]
    output = ours(query, value)
    np.testing.assert_allclose(output, theirs(Q, V, attention_mask=seen), atol=1e-5)
    np.testing.assert_array_equal(get_mask(output), QUERY_MASK)
    output, scores = ours(query, value, return_attention_scores=True)
    np.testing.assert_array_equal(get_mask(output), QUERY_MASK)
    assert get_mask(scores) is None


def test_masks_in_a_graph():
    ids = lamina.Input((None,), dtype="int32")
    x = L.Embedding(9, 4, mask_zero=True)(ids)
    y = L.MultiHeadAttention(2, 3)(x, x)
    assert y.shape == (None, None, 4) and get_mask(y) is not None
    model = lamina.Model(ids, y)
    rows = np.array([[3, 4, 0], [5, 0, 0]])
    longer = np.array([[3, 4, 0, 0], [5, 0, 0, 0]])
    a, b = model(rows), model(longer)
    np.testing.assert_allclose(a[0, :2], b[0, :2], atol=1e-6)
    np.testing.assert_allclose(a[1, :1], b[1, :1], atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "rank", "mask"),
    [
        ((2,), 4, (2, 3, 3)),
        ((1,), 4, (2, 2, 2)),
        ((-2,), 4, None),
        ((1, 2), 4, (2, 2, 3, 2, 3)),
        (None, 4, (2, 2, 3, 2, 3)),
        ((2, 3), 5, (2, 3, 2, 3, 2)),
        ((1, 3), 5, None),
    ],
)
def test_several_axes(axes, rank, mask):
    shape = (2, 2, 3, 2, 4)[:rank] if rank == 5 else (2, 2, 3, 4)
    x = draw(*shape)
    ours, theirs = pair(
        "MultiHeadAttention", shape, shape, num_heads=2, key_dim=3, attention_axes=axes
    )
    seen = RANDOM.random(mask) > 0.4 if mask else None
    kwargs = {"attention_mask": seen, "return_attention_scores": True}
    for a, b in zip(ours(x, x, **kwargs), theirs(x, x, **kwargs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_query_that_sees_nothing():
    layer = L.MultiHeadAttention(1, 2)
    layer.build(Q.shape, V.shape)
    values = layer.output_dense(layer.value_dense(V).mean(1, keepdims=True))
    nothing = np.zeros((2, 4, 5), bool)
    output = layer(Q, V, attention_mask=nothing)
    np.testing.assert_allclose(output, np.repeat(values, 4, 1), atol=1e-6)
    output, scores = layer(Q, V, attention_mask=nothing, return_attention_scores=True)
    assert not np.asarray(scores).any()
    zeros = layer.output_dense(jnp.zeros((2, 4, 1, 2)))
    np.testing.assert_allclose(output, zeros, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
@pytest.mark.parametrize(("name", "kwargs"), [HEADS[0], HEADS[3]])
def test_half_types(name, kwargs, dtype):
    ours, theirs = pair(name, Q.shape, V.shape, dtype=dtype, **kwargs)
    a, b = (x(Q, V, attention_mask=SEEN) for x in (ours, theirs))
    assert a.dtype == b.dtype
    a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
    np.testing.assert_allclose(a, b, atol=5e-2 if "b" in dtype else 5e-3)


def test_dropout_acts_on_weights_in_training_only():
    layer = L.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
    still = layer(Q, V)
    np.testing.assert_allclose(layer(Q, V, training=False), still)
    assert not np.allclose(layer(Q, V, training=True), still)
    layer = L.GroupQueryAttention(3, 2, 1, dropout=1.0)
    output = layer(Q, V, training=True)
    np.testing.assert_allclose(output, np.zeros_like(output), atol=1e-6)


def test_every_duty_of_a_layer():
    check_layer(L.Attention, {"use_scale": True, "name": "it"}, [Q, draw(2, 5, 6)])
    check_layer(L.AdditiveAttention, {"name": "it"}, [Q, draw(2, 5, 6)])


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "dropout": 0.2,
                                "kernel_regularizer": "l2", "attention_axes": (1,),
                                "activity_regularizer": "l1", "seed": 4}),
        ("GroupQueryAttention", {"head_dim": 3, "num_query_heads": 4, "use_gate": True,
                                 "num_key_value_heads": 2, "seed": 1}),
        ("Attention", {"use_scale": True, "score_mode": "concat", "dropout": 0.1}),
        ("AdditiveAttention", {"use_scale": False, "seed": 2}),
    ],
)  # fmt: skip
def test_configs(name, kwargs):
    ours, theirs = (getattr(m, name)(name="it", **kwargs) for m in (L, K))
    assert plain(ours.get_config()) == plain(theirs.get_config())
    written = json.loads(json.dumps(L.serialize(ours)))
    assert written["class_name"] == name
    assert plain(L.deserialize(written).get_config()) == plain(ours.get_config())


def test_activity_is_penalized_as_in_keras():
    for name, kwargs in (HEADS[0], HEADS[3]):
        ours, theirs = pair(name, Q.shape, V.shape, activity_regularizer="l2", **kwargs)
        ours(Q, V), theirs(Q, V)
        np.testing.assert_allclose(sum(ours.losses), sum(theirs.losses), rtol=1e-4)


# ---- Attention, AdditiveAttention ------------------------------------------------

SIMPLE = [
    ("Attention", {}),
    ("Attention", {"use_scale": True}),
    ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True}),
    ("AdditiveAttention", {}),
    ("AdditiveAttention", {"use_scale": False}),
]


@pytest.mark.parametrize(("name", "kwargs"), SIMPLE)
def test_simple_attention(name, kwargs):
    x = [Q, draw(2, 5, 6), draw(2, 5, 6)]
    ours, theirs = pair(name, [a.shape for a in x], **kwargs)
    some = VALUE_MASK | ~VALUE_MASK.any(-1, keepdims=True)  # nothing: see below
    same(ours, theirs, x, mask=[None, some])
    for mask, causal in (
        (None, True),
        ([QUERY_MASK, None], False),
        ([QUERY_MASK, some], True),
    ):
        call = {
            "mask": mask,
            "use_causal_mask": causal,
            "return_attention_scores": True,
        }
        if mask is not None:
            mask = [None if m is None else jnp.asarray(m) for m in mask]
        expected = theirs(x, **{**call, "mask": mask})
        for a, b in zip(ours(x, **call), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_simple_attention_gives_nothing_to_what_is_masked():
    for layer in (L.Attention(), L.AdditiveAttention()):
        call = {"mask": [None, VALUE_MASK], "return_attention_scores": True}
        output, weights = layer([Q, draw(2, 5, 6)], **call)
        assert not np.asarray(output)[1].any()  # sees nothing
        assert not np.asarray(weights)[:, :, ~VALUE_MASK[0]].any()
    far = np.array([[[-1e5], [1e5]]], "float32")
    query = np.full((1, 1, 1), 1e5, "float32")
    _, weights = L.Attention()(
        [query, far], mask=[None, np.array([[True, False]])],
        return_attention_scores=True,
    )  # fmt: skip
    assert np.asarray(weights).tolist() == [[[1.0, 0.0]]]


def test_simple_attention_carries_the_mask_of_the_query():
    query = jnp.array(Q)
    set_mask(query, jnp.asarray(QUERY_MASK))
    output = L.Attention()([query, draw(2, 5, 6)])
    np.testing.assert_array_equal(get_mask(output), QUERY_MASK)
    assert not np.asarray(output)[~QUERY_MASK].any()


def test_simple_attention_drops_weights_in_training():
    x = [Q, draw(2, 5, 6)]
    layer = L.Attention(dropout=0.5, seed=3)
    assert not np.allclose(layer(x, training=True), layer(x))


def test_first_weights_for_a_seed():
    seeded = [
        m.layers.MultiHeadAttention(2, 3, kernel_initializer=m.initializers.HeNormal(3))
        for m in (lamina, keras)
    ]
    for layer in seeded:
        layer.build(Q.shape, V.shape)
    ours, theirs = (layer.get_weights() for layer in seeded)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def bad(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_bad_input():
    bad(lambda: L.MultiHeadAttention(0, 3), "num_heads=0")
    bad(lambda: L.MultiHeadAttention(2, "a"), "key_dim='a'")
    bad(lambda: L.MultiHeadAttention(2, 3, value_dim=-1), "value_dim=-1")
    bad(lambda: L.MultiHeadAttention(2, 3, dropout=2), "dropout=2")
    bad(lambda: L.MultiHeadAttention(2, 3, output_shape=1.5), "output_shape")
    bad(lambda: L.MultiHeadAttention(2, 3, attention_axes="a"), "attention_axes")
    bad(lambda: L.MultiHeadAttention(2, 3, sliding_window=0), "sliding_window")
    flash = {"flash_attention": True}
    bad(lambda: L.MultiHeadAttention(2, 3, dropout=0.1, **flash), "not supported")
    layer = L.MultiHeadAttention(2, 3, **flash)
    bad(lambda: layer(Q, V, return_attention_scores=True), "not supported")
    if jax.default_backend() != "gpu":
        for eager in (layer, L.GroupQueryAttention(3, 4, 2, **flash)):
            with pytest.raises(RuntimeError, match="with `flash_attention=True`"):
                eager(Q, V)
    bad(lambda: L.MultiHeadAttention(2, 3)(Q, V, Q), "must be equal")
    bad(lambda: L.GroupQueryAttention(3, 3, 2), "divisible")
    bad(lambda: L.Attention(score_mode="x"), "score_mode='x'")
    bad(lambda: L.Attention()(Q), "list of inputs")
    bad(lambda: L.Attention()([Q]), "length 1")
    bad(lambda: L.Attention()([Q, Q], mask=QUERY_MASK), "mask must be a list")


# ---- axes between the batch and the features -----------------------------------


def reference(layer, q, v, axes, *, query=None, value=None, key=None, given=None,
              causal=False, window=None):  # fmt: skip
    """Attend in loops over every query, its keys counted over all attended axes."""
    wq, bq, wk, bk, wv, bv, wo, bo = (np.asarray(w) for w in layer.get_weights())
    free = [a for a in range(q.ndim - 1) if a not in axes]
    order = (*free, *axes, q.ndim - 1)
    sizes = [tuple(x.shape[a] for a in axes) for x in (q, v)]

    def flat(x):
        x = x.transpose(order)
        return x.reshape(-1, int(np.prod(x.shape[len(free) : -1])), x.shape[-1])

    def flat_mask(m, x):
        m = np.ones(x.shape[:-1], bool) if m is None else m
        m = m.reshape(*m.shape, *(1,) * (x.ndim - 1 - m.ndim))
        return flat(np.broadcast_to(m, x.shape[:-1])[..., None])[..., 0]

    seen_q = flat_mask(query, q)
    seen_k = flat_mask(value, v) & flat_mask(key, v)
    qs, vs = flat(q), flat(v)
    out = np.zeros((*qs.shape[:2], wo.shape[-1]))
    for b, t in np.ndindex(*qs.shape[:2]):
        allowed = seen_k[b] & seen_q[b, t]
        for s in range(vs.shape[1]):
            allowed[s] &= not causal or s <= t
            allowed[s] &= window is None or abs(s - t) < window
        if given is not None:
            allowed &= given.reshape(len(qs), qs.shape[1], vs.shape[1])[b, t]
        total = bo.copy()
        for h in range(wq.shape[1]):
            x = qs[b, t] @ wq[:, h] + bq[h]
            scores = (vs[b] @ wk[:, h] + bk[h]) @ x / np.sqrt(wq.shape[-1])
            weights = np.where(allowed, np.exp(scores - scores.max()), 0)
            weights = weights / weights.sum() if allowed.any() else weights
            total = total + (weights @ (vs[b] @ wv[:, h] + bv[h])) @ wo[h]
        out[b, t] = total
    free_sizes = [q.shape[a] for a in free]
    return out.reshape(*free_sizes, *sizes[0], -1).transpose(np.argsort(order))


INNER = {
    (2,): ((2, 3, 4, 5), (2, 3, 6, 5)),
    (1,): ((2, 4, 3, 5), (2, 6, 3, 5)),
    (1, 2): ((2, 2, 3, 5), (2, 3, 2, 5)),
    (-2,): ((2, 3, 4, 5), (2, 3, 4, 5)),
}


@pytest.mark.parametrize("axes", INNER)
def test_every_mask_follows_the_axes_attended_over(axes):
    at = tuple(a % 4 for a in axes)
    q, v = (draw(*shape) for shape in INNER[axes])
    layer = L.MultiHeadAttention(2, 3, attention_axes=axes)
    layer.build(q.shape, v.shape)
    layer.set_weights([draw(*w.shape) / 2 for w in layer.weights])
    masks = {
        "query": RANDOM.random(q.shape[:-1]) > 0.3,
        "value": RANDOM.random(v.shape[:-1]) > 0.3,
        "key": RANDOM.random(v.shape[:-1]) > 0.3,
    }
    free = [q.shape[a] for a in range(3) if a not in at]
    given = RANDOM.random((*free, *(x.shape[a] for x in (q, v) for a in at))) > 0.2
    names = {k: f"{k}_mask" for k in masks}
    names |= {"given": "attention_mask", "causal": "use_causal_mask"}
    every = {**masks, "given": given, "causal": True}
    chosen = [{}, every, *({k: m} for k, m in every.items())]
    chosen += [{k: m for k, m in every.items() if k != left} for left in every]
    chosen.append({"query": masks["query"][:, :, 0], "causal": True})
    for masks in chosen:
        if masks.get("query") is not None and masks["query"].ndim == 2:
            masks["query"][0, 0] = False
        expected = reference(layer, q, v, at, **masks)
        call = {names[k]: m for k, m in masks.items()}
        np.testing.assert_allclose(layer(q, v, **call), expected, atol=2e-5)
        output, weights = layer(q, v, return_attention_scores=True, **call)
        np.testing.assert_allclose(output, expected, atol=2e-5)
        assert weights.shape == (
            *free, 2, *(x.shape[a] for x in (q, v) for a in at)
        )  # fmt: skip


def test_a_window_and_carried_masks_over_an_inner_axis():
    layer = L.MultiHeadAttention(2, 3, attention_axes=(2,), sliding_window=2)
    q = draw(2, 3, 4, 5)
    mask = RANDOM.random((2, 3, 4)) > 0.3
    layer.build(q.shape, q.shape)
    carried = jnp.asarray(q)
    set_mask(carried, jnp.asarray(mask))
    expected = reference(layer, q, q, (2,), query=mask, value=mask, window=2)
    output = layer(carried, carried)
    np.testing.assert_allclose(output, expected, atol=2e-5)
    np.testing.assert_array_equal(get_mask(output), mask)


def test_a_mask_for_each_head_joins_the_others():
    given = RANDOM.random((2, 3, 4, 5)) > 0.4
    for layer in (L.MultiHeadAttention(3, 2), L.GroupQueryAttention(2, 3, 1)):
        call = {"query_mask": QUERY_MASK, "value_mask": VALUE_MASK}
        _, got = layer(Q, V, attention_mask=given, return_attention_scores=True, **call)
        _, shared = layer(Q, V, return_attention_scores=True, **call)
        assert not np.asarray(got)[~given].any()
        assert not np.asarray(got)[np.asarray(shared) == 0].any()
        allowed = given & (np.asarray(shared) > 0)
        sums = np.asarray(got).sum(-1)
        np.testing.assert_allclose(sums, allowed.any(-1), atol=1e-5)


def test_simple_attention_with_an_axis_more():
    q, v = draw(2, 3, 4, 6), draw(2, 3, 5, 6)
    seen = RANDOM.random((2, 3, 5)) > 0.4
    seen[..., 0] = True
    for layer in (L.Attention(), L.AdditiveAttention()):
        for causal in (False, True):
            call = {"use_causal_mask": causal}
            got = layer([q, v], mask=[None, seen], **call)
            for i in range(3):
                one = layer([q[:, i], v[:, i]], mask=[None, seen[:, i]], **call)
                np.testing.assert_allclose(got[:, i], one, atol=1e-5)


def test_a_subclass_with_the_names_of_keras():
    def attention(m):
        class Own(m.layers.MultiHeadAttention):
            def _compute_attention(
                self, query, key, value, attention_mask=None, training=None,
                return_attention_scores=False,
            ):  # fmt: skip
                query = m.ops.multiply(query, self._inverse_sqrt_key_dim)
                scores = m.ops.einsum(self._dot_product_equation, key, query)
                scores = self._masked_softmax(scores, attention_mask)
                scores = self._dropout_layer(scores, training=training)
                return m.ops.einsum(self._combine_equation, scores, value), scores

            def _compute_causal_mask(self, query, value=None):
                return ~super()._compute_causal_mask(query, value)

        layer = Own(2, 3, value_dim=4, attention_axes=(1,))
        layer.build((2, 4, 6), (2, 5, 6))
        layer.set_weights(
            [np.random.default_rng(1).normal(size=w.shape) for w in layer.weights]
        )
        assert (layer._num_heads, layer._key_dim, layer._value_dim) == (2, 3, 4)
        assert layer._use_bias and layer._attention_axes == (1,)
        assert layer._dropout == 0 and layer._output_shape is None
        for name in ("initializer", "regularizer", "constraint"):
            for weight in ("kernel", "bias"):
                private = getattr(layer, f"_{weight}_{name}")
                assert private is getattr(layer, f"{weight}_{name}", private)
        assert layer._activity_regularizer is None
        assert "kernel_initializer" in layer._get_common_kwargs_for_sublayer()
        seen = np.asarray(layer._compute_attention_mask(Q, V, attention_mask=SEEN))
        assert seen.shape == (2, 4, 5)
        out, scores = layer(
            Q, draw_once, return_attention_scores=True, use_causal_mask=True
        )
        return np.asarray(out), np.asarray(scores)

    draw_once = draw(2, 5, 6)
    for a, b in zip(attention(lamina), attention(keras), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_subclass_that_builds_its_projections_itself():
    class Own(L.MultiHeadAttention):
        def build(self, query_shape, value_shape, key_shape=None):
            def dense(name):
                layer = L.EinsumDense(
                    "abc,cde->abde", (None, self._num_heads, self._key_dim),
                    name=name, **self._get_common_kwargs_for_sublayer(),
                )  # fmt: skip
                layer.build(query_shape)
                return layer

            self._query_dense, self._key_dense = dense("query"), dense("key")
            self._value_dense = dense("value")
            self._build_attention(4)
            self._output_dense = L.EinsumDense("abcd,cde->abe", (None, 6))

    own, plain = Own(2, 3), L.MultiHeadAttention(2, 3, use_bias=False)
    found = own(Q, Q, use_causal_mask=True)
    plain.build(Q.shape, Q.shape)
    plain.set_weights(own.get_weights())
    expected = plain(Q, Q, use_causal_mask=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
