"""`TFSMLayer`: a TensorFlow SavedModel as a layer, computed on the host."""

import functools
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.types import DType
from lamina.layers.foreign import (
    as_expected,
    engine_for,
    foresee,
    is_traced,
    parted,
    refuse_in_safe_mode,
    result_of,
)
from lamina.layers.layer import Layer


class TFSMLayer(Layer):
    """A TensorFlow SavedModel as a layer, for inference.

    Its functions run in TensorFlow on the host, also from compiled code. The weights
    stay there: they are not Variables, and gradients through the layer are an error.

    Args:
        filepath: the folder of the SavedModel.
        call_endpoint: the name of the function to call: an attribute of what is
            loaded, or one of its signatures.
        call_training_endpoint: that of the function to call with `training=True`.
        trainable: kept for compatibility.
        name: the layer's name.
        dtype: the dtype policy.

    Raises:
        ImportError: TensorFlow is not installed.
        ValueError: there is no function of that name.

    >>> import lamina, numpy as np, tempfile, tensorflow as tf  # doctest: +SKIP
    >>> module, folder = tf.Module(), tempfile.mkdtemp()  # doctest: +SKIP
    >>> takes = [tf.TensorSpec((None, 2))]  # doctest: +SKIP
    >>> module.serve = tf.function(lambda x: 2 * x, takes)  # doctest: +SKIP
    >>> tf.saved_model.save(module, folder)  # doctest: +SKIP
    >>> layer = lamina.layers.TFSMLayer(folder)  # doctest: +SKIP
    >>> layer(np.ones((1, 2))).tolist()  # doctest: +SKIP
    [[2.0, 2.0]]
    """

    _runs_given_code = True
    _other_engine = "TensorFlow"

    def __init__(
        self,
        filepath: str | PathLike,
        call_endpoint: str = "serve",
        call_training_endpoint: str | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        tf: Any = engine_for("TFSMLayer", "tensorflow")
        self.filepath = str(filepath)
        self.call_endpoint = call_endpoint
        self.call_training_endpoint = call_training_endpoint
        self._reloaded_obj = tf.saved_model.load(self.filepath)
        self.call_endpoint_fn = self._endpoint(call_endpoint)
        self.call_training_endpoint_fn = self.call_endpoint_fn
        if call_training_endpoint:
            self.call_training_endpoint_fn = self._endpoint(call_training_endpoint)

    def _endpoint(self, name):
        loaded = self._reloaded_obj
        if hasattr(loaded, name):
            return getattr(loaded, name)
        if name in loaded.signatures:
            return loaded.signatures[name]
        raise ValueError(
            f"The endpoint '{name}' is neither an attribute of the reloaded "
            "SavedModel, nor an entry in the `signatures` field of the reloaded "
            "SavedModel. Select another endpoint. Available endpoints for this "
            f"SavedModel: {list(loaded.signatures)}"
        )

    def call(self, inputs, training=False, **kwargs):
        arrays, rebuild = parted((inputs, kwargs))
        function = self.call_training_endpoint_fn if training else self.call_endpoint_fn
        run = _Run(self, function, rebuild)
        if is_traced(arrays):
            foresee(run, arrays)
            outputs = _called(run, arrays)
        else:
            outputs = [jnp.asarray(x) for x in run(arrays)]
        return run.pack(outputs)

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """Make the layer from its config, which names the folder of a SavedModel.

        Raises:
            ValueError: `safe_mode` is not False.
        """
        refuse_in_safe_mode(
            "A `TFSMLayer` loads an external SavedModel, which holds programs of its "
            "author.",
            safe_mode,
        )
        return super().from_config(config)


class _Run:
    """One call of a SavedModel's function: all that is known of it but the arrays.

    Args:
        layer: the layer.
        function: the function.
        rebuild: makes `(inputs, kwargs)` of the arrays among them.
    """

    expected: Any = None

    def __init__(self, layer, function, rebuild):
        self.layer, self.function, self.rebuild = layer, function, rebuild
        self.pack: Any = None

    def _run(self, tensors):
        """Return the tensors that the function gives, and note how they were nested."""
        import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]

        wanted = _dtypes_of(self.function, len(tensors))
        tensors = [
            tf.cast(x, d) if d and _alike(x.dtype, d) else x
            for x, d in zip(tensors, wanted, strict=True)
        ]
        inputs, kwargs = self.rebuild(tensors)
        outputs, self.pack = parted(self.function(inputs, **kwargs), tf.is_tensor)
        return outputs

    def foresee(self, shapes, dtypes):
        """Find out what the function gives for arrays of these shapes and dtypes."""
        import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]

        specs = [
            tf.TensorSpec(shape, dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        drawn = tf.function(lambda *xs: self._run(xs)).get_concrete_function(*specs)
        outputs = tf.nest.flatten(drawn.structured_outputs)
        if not all(x.shape.is_fully_defined() for x in outputs):
            outputs = self._run([tf.zeros(s.shape, s.dtype) for s in specs])
        self.expected = [
            result_of(self.layer, x.shape, x.dtype.as_numpy_dtype) for x in outputs
        ]

    def __call__(self, arrays):
        """Return what the function gives, as NumPy arrays."""
        import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]

        with tf.device("CPU"):
            outputs = self._run([tf.constant(np.asarray(x)) for x in arrays])
            found = [x.numpy() for x in outputs]
        wanted = self.expected
        if wanted is None:
            wanted = [result_of(self.layer, x.shape, x.dtype) for x in found]
        return [
            as_expected(x, w, self.layer) for x, w in zip(found, wanted, strict=True)
        ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _called(run, arrays):
    return jax.pure_callback(run, run.expected, arrays, vmap_method="sequential")


def _called_forward(run, arrays):
    return _called(run, arrays), None


def _called_backward(run, kept, gradients):
    raise NotImplementedError(
        f"`TFSMLayer` {run.layer.name!r} is for inference: there are no gradients "
        "through it, so no layer before it can be trained. Put it first in the model; "
        "or load the model itself, from a `.keras` file."
    )


_called.defvjp(_called_forward, _called_backward)


def _dtypes_of(function, count):
    """Return the dtypes of the tensors that a function takes; None where unknown."""
    import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]

    for concrete in getattr(function, "concrete_functions", [function]):
        signature = getattr(concrete, "structured_input_signature", ())
        specs = tf.nest.flatten(signature)
        specs = [x for x in specs if isinstance(x, tf.TensorSpec)]
        if len(specs) == count:
            return [x.dtype for x in specs]
    return [None] * count


def _alike(dtype, other):
    """Tell whether two dtypes differ in nothing but their precision."""
    return dtype != other and (
        (dtype.is_floating and other.is_floating)
        or (dtype.is_integer and other.is_integer)
    )
