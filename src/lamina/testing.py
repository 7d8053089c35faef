"""Checks for ops and layers of your own, as Lamina's own tests use them.

    from lamina.testing import check_layer

    def test_scale():
        check_layer(Scale, {"initializer": "ones"}, np.ones((2, 5, 3), "float32"))

Each raises AssertionError with what was compared where something differs.
"""

import inspect as _inspect
import json as _json

import jax as _jax
import jax.numpy as _jnp
import numpy as _np

from lamina.core import structure as _structure
from lamina.core.config import deserialize_keras_object as _deserialize_keras_object
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.masks import get_mask as _get_mask
from lamina.core.masks import set_mask as _set_mask
from lamina.core.owner import layers_in as _layers_in
from lamina.core.symbolic import SymbolicTensor as _SymbolicTensor
from lamina.core.tracebacks import boundary as _boundary

__all__ = ["check_layer", "check_op", "compare_numbers"]


@_boundary
def check_op(fn, *args, reference=None, gradient=True, tolerance=1e-5, **kwargs):
    """Check that an op means the same in every way that it can be called.

    Eager and compiled calls agree; symbolic calls, with a known and an unknown first
    axis, give the same shape and dtype; the gradient agrees with differences, in
    double precision where the op allows it.

    Args:
        fn: a function of arrays, under `@op` or built of ops.
        args: its arguments; NumPy arrays, in lists too, are its data.
        reference: a function of the same arguments that gives the right numbers.
        gradient: whether to check the gradient for float arguments.
        tolerance: the relative and absolute difference that passes.
        kwargs: settings that stay the same in every call.

    Returns:
        What the eager call gave.

    Raises:
        AssertionError: something differs.

    >>> import lamina, numpy as np
    >>> x = np.array([[0.5, -1.0]], "float32")
    >>> lamina.testing.check_op(lamina.ops.square, x, reference=np.square).tolist()
    [[0.25, 1.0]]
    """
    name = getattr(fn, "__name__", repr(fn))
    arrays, call = _split(lambda *a: fn(*a, **kwargs), args)
    eager = call(arrays)
    _same(f"`{name}` compiled and eager", _jax.jit(call)(arrays), eager, tolerance)
    for unknown in (False, True):
        specs = [_symbolic(a, unknown) for a in arrays]
        _same_specs(f"`{name}` on symbolic tensors", call(specs), eager)
    if reference is not None:
        expected = reference(*args, **kwargs)
        _same(f"`{name}` and its reference", eager, expected, tolerance)
    if gradient and any(a.dtype.kind == "f" for a in arrays):
        _check_gradient(name, call, arrays)
    return eager


@_boundary
def check_layer(
    cls,
    init_kwargs=None,
    inputs=None,
    *,
    input_shape=None,
    call_kwargs=None,
    reference=None,
    custom_objects=None,
    expected_output_shape=None,
    expected_num_trainable_weights=None,
    expected_num_non_trainable_weights=None,
    expected_num_seeds=None,
    supports_masking=None,
    mixed_precision=True,
    training_step=True,
    tolerance=1e-5,
    gradient_tolerance=1e-4,
):
    """Check what every layer owes.

    Its config survives JSON and makes the same layer again; symbolic, eager and
    compiled calls agree; a mask on the input reaches the output; it runs in
    `mixed_bfloat16`; a small step against the gradient lowers a loss; its weights can
    be saved and loaded. With `reference` its numbers are compared as well.

    Args:
        cls: the class of the layer.
        init_kwargs: arguments of its constructor.
        inputs: an array, or a list or dict of arrays, for its first argument.
        input_shape: a shape, or a list or dict of shapes, in place of `inputs`.
        call_kwargs: more arguments of every call, such as `{"training": True}`.
        reference: a class or layer of the Keras kind that gives the right numbers
            for the same weights.
        custom_objects: names that its config needs.
        expected_output_shape: the shape, or structure of shapes, of the output.
        expected_num_trainable_weights: how many weights are trained.
        expected_num_non_trainable_weights: how many are not.
        expected_num_seeds: how many random generators it has.
        supports_masking: what the attribute of that name must be.
        mixed_precision: whether to run it in `mixed_bfloat16`.
        training_step: whether to take a training step.
        tolerance: the difference of outputs that passes.
        gradient_tolerance: the difference of gradients that passes.

    Returns:
        The layer, built.

    Raises:
        AssertionError: something differs.

    >>> import lamina
    >>> layer = lamina.testing.check_layer(
    ...     lamina.layers.Dense, {"units": 3}, input_shape=(2, 4)
    ... )
    >>> layer.count_params()
    15
    """
    init_kwargs, call_kwargs = dict(init_kwargs or {}), dict(call_kwargs or {})
    if inputs is None:
        inputs = _random(input_shape)
    inputs = _map(_np.asarray, inputs)
    name = cls.__name__
    layer = cls(**init_kwargs)
    lent = {name: cls, **(custom_objects or {})}
    copy = _round_trip(layer, lent)

    outputs = layer(inputs, **call_kwargs)
    _check_symbolic(copy, inputs, outputs, call_kwargs)
    _check_counts(
        layer,
        outputs,
        output_shape=expected_output_shape,
        trainable=expected_num_trainable_weights,
        frozen=expected_num_non_trainable_weights,
        seeds=expected_num_seeds,
        masking=supports_masking,
    )
    steady = not _draws(layer, call_kwargs)
    # A call in training may change the state that the next one sees.
    state = _Pure(layer, call_kwargs).state()
    found = _numbers(layer, state, inputs, call_kwargs)
    if call_kwargs.get("training"):
        outputs = layer(inputs, **call_kwargs)
    if steady:
        _same(f"`{name}` compiled and eager", found["output"], outputs, tolerance)
        _check_reload(layer, copy, inputs, call_kwargs, outputs, tolerance)
        _check_mask(layer, inputs, call_kwargs, outputs, tolerance)
    if mixed_precision and "dtype" not in init_kwargs and _takes_dtype(cls):
        _check_mixed(cls, init_kwargs, layer, inputs, call_kwargs, outputs)
    if training_step and layer.trainable_variables:
        _check_step(layer, inputs, call_kwargs)
    if reference is not None:
        if _inspect.isclass(reference):
            reference = reference(**init_kwargs)
        reference(inputs, **call_kwargs)  # pyright: ignore
        compare_numbers(
            layer, reference, inputs, call_kwargs, tolerance, gradient_tolerance, state
        )
    return layer


# ---- parts of check_op -------------------------------------------------------


def _split(fn, args):
    """Return the arrays in `args`, and `fn` as a function of them alone."""
    leaves = _structure.flatten(args)
    places = [
        i for i, x in enumerate(leaves) if isinstance(x, (_np.ndarray, _jax.Array))
    ]

    def call(arrays):
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        return fn(*_structure.pack_like(args, filled))

    return [_np.asarray(leaves[i]) for i in places], call


def _symbolic(array, unknown):
    shape = list(array.shape)
    # Size 1 broadcasts, which an unknown size never promises.
    if unknown and shape and shape[0] > 1:
        shape[0] = None
    return _SymbolicTensor(shape, array.dtype)


def _check_gradient(name, call, arrays):
    random = _np.random.default_rng(0)
    with _jax.enable_x64(True):
        floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
        start = [_jnp.asarray(arrays[i], "float64") for i in floats]

        def weighted(values):
            filled = list(arrays)
            for place, value in zip(floats, values, strict=True):
                filled[place] = value
            outputs = [_jnp.asarray(y) for y in _jax.tree.leaves(call(filled))]
            draws = _np.random.default_rng(1)
            return sum(
                _jnp.sum(y * draws.normal(size=y.shape))
                for y in outputs
                if _jnp.issubdtype(y.dtype, _jnp.floating)
            )

        filled = list(arrays)
        for place, value in zip(floats, start, strict=True):
            filled[place] = value
        kinds = {_jnp.asarray(y).dtype.name for y in _jax.tree.leaves(call(filled))}
        if not any(kind.startswith(("float", "bfloat")) for kind in kinds):
            return
        # Ops that keep to single precision allow only a coarse difference.
        fine = "float32" not in kinds
        step, near = (1e-6, 1e-5) if fine else (3e-3, 5e-3)
        way = [random.normal(size=v.shape) for v in start]
        gradients = _jax.grad(weighted)(start)
        found = sum(float((s * d).sum()) for s, d in zip(gradients, way, strict=True))
        ahead, behind = (
            float(
                weighted([v + sign * step * d for v, d in zip(start, way, strict=True)])
            )
            for sign in (1, -1)
        )
    expected = (ahead - behind) / (2 * step)
    assert _np.isclose(found, expected, rtol=near, atol=near / 10), (
        f"`{name}`: the gradient along a random direction is {found}, differences of "
        f"the function give {expected}"
    )


# ---- parts of check_layer ----------------------------------------------------


class _Pure:
    """A layer as a pure function `(trainable, others, inputs) -> outputs, others`."""

    def __init__(self, layer, call_kwargs):
        self.layer = layer
        self.call_kwargs = call_kwargs

    def state(self):
        """Return the values of its Variables."""

        def values(variables):
            return [_jnp.asarray(v.value) for v in variables]

        layer = self.layer
        return values(layer.trainable_variables), values(layer.non_trainable_variables)

    def __call__(self, trainable, others, inputs):
        return self.layer.stateless_call(trainable, others, inputs, **self.call_kwargs)


def _map(fn, value):
    return _structure.map_leaves(lambda x: None if x is None else fn(x), value)


def _random(shape):
    random = _np.random.default_rng(0)
    if isinstance(shape, dict):
        return {k: _random(v) for k, v in shape.items()}
    if shape is None:
        raise ValueError("`check_layer` needs `inputs` or `input_shape`.")
    if any(isinstance(d, (list, tuple)) for d in shape):
        return [_random(s) for s in shape]
    return random.normal(size=shape).astype("float32")


def _plain(config):
    return _json.loads(_json.dumps(config, sort_keys=True))


def _round_trip(layer, custom_objects):
    """Return a layer made from the config of another, by way of JSON."""
    cls, config = type(layer), layer.get_config()
    try:
        text = _json.dumps(config)
    except TypeError as error:
        raise AssertionError(
            f"`{cls.__name__}.get_config()` holds what JSON cannot: {error}. "
            f"Received: {config}"
        ) from error
    copy = cls.from_config(_json.loads(text))
    whole = _plain(_serialize_keras_object(layer))
    other = _deserialize_keras_object(whole, custom_objects=custom_objects)
    for made, way in ((copy, "from_config"), (other, "deserialize_keras_object")):
        assert type(made) is cls, f"`{way}` made a {type(made)}, not a {cls}"
        found, expected = _plain(made.get_config()), _plain(config)
        assert found == expected, (
            f"`{cls.__name__}` made by `{way}` has another config: {found} instead of "
            f"{expected}"
        )
    return other


def _check_symbolic(layer, inputs, outputs, call_kwargs):
    """Compare symbolic calls of an unbuilt layer with what arrays gave."""
    name = type(layer).__name__
    for unknown in (True, False):

        def spec(x, unknown=unknown):
            return _symbolic(x, unknown) if hasattr(x, "shape") else x

        specs, settings = _map(spec, inputs), _map(spec, call_kwargs)
        _same_specs(f"`{name}` on symbolic input", layer(specs, **settings), outputs)
    if isinstance(inputs, _np.ndarray) and not call_kwargs:
        shape = tuple(inputs.shape)
        found = layer.compute_output_shape(shape)
        expected = _map(lambda y: tuple(y.shape), outputs)
        assert found == expected, (
            f"`{name}.compute_output_shape({shape})` gives {found}, the output has "
            f"{expected}"
        )


def _check_counts(layer, outputs, output_shape, trainable, frozen, seeds, masking):
    shapes = _map(lambda y: tuple(y.shape), outputs)
    counted = len(layer.variables) - len(layer.weights)
    for what, found, expected in (
        ("output shape", shapes, output_shape),
        ("number of trainable weights", len(layer.trainable_weights), trainable),
        ("number of other weights", len(layer.non_trainable_weights), frozen),
        ("number of random generators", counted, seeds),
        ("`supports_masking`", layer.supports_masking, masking),
    ):
        assert expected is None or found == expected, (
            f"`{type(layer).__name__}`: {what} is {found}, expected {expected}"
        )


def _draws(layer, call_kwargs):
    """Whether a call draws random numbers, so that no two calls agree."""
    return call_kwargs.get("training") and len(layer.variables) > len(layer.weights)


def _check_reload(layer, copy, inputs, call_kwargs, expected, tolerance):
    """Save the weights layer by layer into dicts, and load them into the copy."""
    pairs = zip(_layers_in(layer), _layers_in(copy), strict=True)
    for own, other in pairs:
        store = {}
        own.save_own_variables(store)
        other.load_own_variables(store)
    if not call_kwargs.get("training"):
        found = copy(inputs, **call_kwargs)
        what = f"`{type(layer).__name__}` loaded and saved"
        _same(what, found, expected, tolerance)


def _check_mask(layer, inputs, call_kwargs, expected, tolerance):
    """A mask that is True everywhere changes nothing, and comes out again."""
    if not layer.supports_masking or not isinstance(inputs, _np.ndarray):
        return
    steps_last = getattr(layer, "data_format", None) == "channels_first"
    if inputs.ndim < 3 or call_kwargs or steps_last:
        return
    x = _jnp.asarray(inputs)
    mask = _jnp.ones(x.shape[:2], bool)
    _set_mask(x, mask)
    outputs = layer(x)
    name = type(layer).__name__
    _same(f"`{name}` with a mask of True and without", outputs, expected, tolerance)
    wanted = layer.compute_mask(x, mask)
    if wanted is not None and not isinstance(outputs, (list, tuple, dict)):
        found = _get_mask(outputs)
        assert found is not None, f"`{name}` lost the mask of its input"
        assert _np.array_equal(found, wanted), f"`{name}` carries another mask"


def _takes_dtype(cls):
    takes = _inspect.signature(cls.__init__).parameters.values()
    return any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in takes)


def _check_mixed(cls, init_kwargs, layer, inputs, call_kwargs, expected):
    """In half precision outputs are bfloat16 and near to those in float32."""
    half = cls(**{**init_kwargs, "dtype": "mixed_bfloat16"})
    outputs = half(inputs, **call_kwargs)
    name = cls.__name__
    for weight in half.weights:
        kept = next(w for w in layer.weights if w.name == weight.name)
        assert weight.dtype == kept.dtype, (
            f"`{name}`: in mixed precision {weight.path!r} is {weight.dtype}, not "
            f"{kept.dtype}"
        )
    weights = layer.get_weights()
    half.set_weights(weights)
    if not _draws(layer, call_kwargs):
        # A call may change what the next one computes, as renormalization does.
        outputs, expected = half(inputs, **call_kwargs), layer(inputs, **call_kwargs)
        layer.set_weights(weights)
    pairs = zip(_jax.tree.leaves(outputs), _jax.tree.leaves(expected), strict=True)
    for found, wide in pairs:
        if wide.dtype != _jnp.float32:
            continue
        assert found.dtype == _jnp.bfloat16, (
            f"`{name}` in mixed_bfloat16 gives {found.dtype}, not bfloat16"
        )
        if _draws(layer, call_kwargs):
            continue
        scale = float(_jnp.max(_jnp.abs(wide))) if wide.size else 0.0
        error = _np.asarray(found, "float32") - _np.asarray(wide)
        # Eight bits of mantissa, and a few roundings on the way.
        assert _np.abs(error).max(initial=0) <= 0.03 * max(scale, 1e-3), (
            f"`{name}` in mixed_bfloat16 differs by {_np.abs(error).max()} from "
            f"float32 values of up to {scale}"
        )


def _check_step(layer, inputs, call_kwargs):
    """Take a small step against the gradient; the loss must fall."""
    takes = _inspect.signature(layer.call).parameters
    training = {"training": True} if "training" in takes else {}
    pure = _Pure(layer, {**call_kwargs, **training})
    trainable, others = pure.state()
    random = _np.random.default_rng(2)

    def loss(trainable):
        outputs, _ = pure(trainable, others, inputs)
        floats = [y for y in _jax.tree.leaves(outputs) if y.dtype.kind == "f"]
        draws = [random.normal(size=y.shape).astype("float32") for y in floats]
        return sum(_jnp.mean((y - d) ** 2) for y, d in zip(floats, draws, strict=True))

    # Traced once, so that both evaluations draw the same targets.
    both = _jax.jit(_jax.value_and_grad(loss))
    before, gradients = both(trainable)
    name = type(layer).__name__
    for variable, slope in zip(layer.trainable_variables, gradients, strict=True):
        assert _np.isfinite(slope).all(), (
            f"`{name}`: the gradient of {variable.path!r} is not finite"
        )
    length = float(_jnp.sqrt(sum(_jnp.sum(s**2) for s in gradients)))
    assert length > 0, f"`{name}`: no gradient reaches any weight"
    moved = [v - 1e-2 / length * s for v, s in zip(trainable, gradients, strict=True)]
    after, _ = both(moved)
    # Below that the fall drowns in rounding.
    if length > 1e-3:
        assert after < before, (
            f"`{name}`: a step against the gradient took the loss from {before} to "
            f"{after}"
        )


@_boundary
def compare_numbers(
    layer,
    reference,
    inputs,
    call_kwargs=None,
    tolerance=1e-5,
    gradient_tolerance=1e-4,
    state=None,
):
    """Compare outputs, new state and gradients of two built layers.

    Args:
        layer: the layer.
        reference: a layer of the Keras kind; it is given the same weights.
        inputs: an array, or a list or dict of arrays.
        call_kwargs: more arguments of the call.
        tolerance: the difference of outputs and states that passes.
        gradient_tolerance: the difference of gradients that passes.
        state: the values of the layer's Variables, trained ones and others.

    Returns:
        The layer's output.

    Raises:
        AssertionError: something differs, or the weights do not match.

    >>> import lamina, numpy as np
    >>> layer, reference = lamina.layers.Dense(2), lamina.layers.Dense(2)
    >>> x = np.ones((3, 4))
    >>> _ = layer(x), reference(x)  # builds them
    >>> lamina.testing.compare_numbers(layer, reference, x).shape
    (3, 2)
    """
    name, call_kwargs = type(layer).__name__, call_kwargs or {}
    for what in ("weights", "trainable_weights"):
        ours, theirs = (
            [(w.name, tuple(w.shape)) for w in getattr(x, what)]
            for x in (layer, reference)
        )
        assert ours == theirs, f"`{name}` has {what} {ours}, its reference {theirs}"
    trainable, others = state or _Pure(layer, call_kwargs).state()
    own = dict(zip(map(id, layer.non_trainable_variables), others, strict=True))
    like = {
        id(theirs): own[id(ours)]
        for ours, theirs in zip(
            layer.non_trainable_weights, reference.non_trainable_weights, strict=True
        )
    }
    given = [
        like[id(v)] if id(v) in like else _jnp.asarray(v.value)
        for v in reference.non_trainable_variables
    ]
    expected = _numbers(reference, (trainable, given), inputs, call_kwargs)
    found = _numbers(layer, (trainable, others), inputs, call_kwargs)
    for what, value in found.items():
        allowed = gradient_tolerance if "gradient" in what else tolerance
        text = f"{what} of `{name}` and of its reference"
        _same(text, value, expected[what], allowed)
    return found["output"]


def _numbers(layer, state, inputs, call_kwargs):
    """Return output, new state and gradients of a call, compiled."""
    pure = _Pure(layer, call_kwargs)
    leaves, tree = _jax.tree.flatten(inputs)
    places = [i for i, x in enumerate(leaves) if x.dtype.kind == "f"]
    trainable, others = state

    def run(trainable, values):
        filled = list(leaves)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        outputs, new = pure(trainable, others, _jax.tree.unflatten(tree, filled))
        random = _np.random.default_rng(3)
        total = _jnp.zeros(())
        for y in _jax.tree.leaves(outputs):
            if _jnp.issubdtype(y.dtype, _jnp.floating):
                total += _jnp.sum(y * random.normal(size=y.shape).astype("float32"))
        states = [
            n for n in new if _jnp.issubdtype(_jnp.asarray(n).dtype, _jnp.floating)
        ]
        return total, (outputs, states)

    values = [_jnp.asarray(leaves[i]) for i in places]
    step = _jax.jit(_jax.value_and_grad(run, argnums=(0, 1), has_aux=True))
    (_, (outputs, states)), (weights, gradients) = step(trainable, values)
    return {
        "output": outputs,
        "new state": states,
        "gradient of weights": weights,
        "gradient of inputs": gradients,
    }


# ---- comparing ---------------------------------------------------------------


def _same(what, found, expected, tolerance):
    found, expected = _jax.tree.leaves(found), _jax.tree.leaves(expected)
    assert len(found) == len(expected), (
        f"{what}: {len(found)} arrays and {len(expected)} arrays"
    )
    for a, b in zip(found, expected, strict=True):
        a, b = _np.asarray(a), _np.asarray(b)
        assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
        if a.dtype.kind not in "biu":
            a, b = (v if v.dtype.kind == "c" else v.astype("float64") for v in (a, b))
        _np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)


def _same_specs(what, specs, arrays):
    specs, arrays = _jax.tree.leaves(specs), _jax.tree.leaves(arrays)
    assert len(specs) == len(arrays), f"{what}: {len(specs)} outputs, not {len(arrays)}"
    for spec, array in zip(specs, arrays, strict=True):
        fits = len(spec.shape) == array.ndim and all(
            a is None or a == b for a, b in zip(spec.shape, array.shape, strict=True)
        )
        assert fits, f"{what}: shape {spec.shape}, the array has {array.shape}"
        assert spec.dtype == array.dtype.name, (
            f"{what}: dtype {spec.dtype}, the array has {array.dtype.name}"
        )
