"""`keras.src.testing`, by which packages test their layers."""

import itertools
import shutil
import tempfile
import unittest

import numpy as np

import lamina


def named_product(*given, **options):
    """Return a dict for each choice of options, with the name of the test's case.

    The first option changes first; a name has the values in lower case, as in Keras:
    tests are selected by it.
    """
    first = [given[0] if given else [{}]]
    made = []
    for *values, case in itertools.product(*reversed([*first, *options.values()])):
        chosen = dict(zip(options, reversed(values), strict=True))
        words = [getattr(v, "__name__", str(v)).lower() for v in chosen.values()]
        words[:0] = [case["testcase_name"]] if given else []
        named = {"testcase_name": "_".join(words)} if words else {}
        made.append({**case, **chosen, **named})
    return made


class TestCase(unittest.TestCase):
    """A test with the assertions that Keras' own tests have."""

    def setUp(self):
        """Start with nothing left by the test before."""
        lamina.utils.clear_session(free_memory=False)
        super().setUp()

    def get_temp_dir(self) -> str:
        """Return a folder that is removed after the test."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def assertAllClose(self, x1, x2, atol=1e-6, rtol=1e-6, tpu_atol=None,
                       tpu_rtol=None, msg=None):  # fmt: skip
        """Fail where numbers are further apart than allowed."""
        del tpu_atol, tpu_rtol
        pair = (lamina.ops.convert_to_numpy(x) for x in (x1, x2))
        np.testing.assert_allclose(*pair, atol=atol, rtol=rtol, err_msg=msg or "")

    def assertNotAllClose(self, x1, x2, atol=1e-6, rtol=1e-6, msg=None):
        """Fail where all numbers are as close as that."""
        with self.assertRaises(AssertionError, msg=msg):
            self.assertAllClose(x1, x2, atol, rtol)

    def assertAllEqual(self, x1, x2, msg=None):
        """Fail where entries differ."""
        np.testing.assert_array_equal(
            *map(np.asarray, (x1, x2)), err_msg=msg or ""
        )  # fmt: skip

    def assertLen(self, iterable, expected_len, msg=None):
        """Fail where there are more or fewer entries."""
        self.assertEqual(len(iterable), expected_len, msg=msg)

    def assertDType(self, x, dtype, msg=None):
        """Fail where a tensor is of another dtype."""
        self.assertEqual(lamina.backend.standardize_dtype(x.dtype), dtype, msg)

    def run_class_serialization_test(self, instance, custom_objects=None):
        """Make an object anew from its config: both have one config."""
        with lamina.saving.custom_object_scope(custom_objects or {}):
            again = type(instance).from_config(instance.get_config())
            self.assertEqual(again.get_config(), instance.get_config())
            text = lamina.saving.serialize_keras_object(instance)
            twin = lamina.saving.deserialize_keras_object(text)
        self.assertEqual(twin.get_config(), instance.get_config())
        return twin

    def run_layer_test(self, layer_cls, init_kwargs, input_shape=None, input_dtype=None,
                       input_data=None, call_kwargs=None, expected_output_shape=None,
                       expected_output_dtype=None, expected_output=None,
                       expected_num_trainable_weights=None,
                       expected_num_non_trainable_weights=None,
                       expected_num_non_trainable_variables=None,
                       expected_num_seed_generators=None, expected_num_losses=None,
                       supports_masking=None, expected_mask_shape=None,
                       custom_objects=None, run_training_check=True,
                       run_mixed_precision_check=True, **others):  # fmt: skip
        """Make, call and train a layer, and compare what it has with what is said."""
        del others
        layer = layer_cls(**init_kwargs)
        self.run_class_serialization_test(layer, custom_objects)
        if supports_masking is not None:
            self.assertEqual(layer.supports_masking, supports_masking)
        if input_data is None:
            if input_shape is None:
                return
            input_data = _filled(input_shape, input_dtype or "float32")
        output = layer(input_data, **(call_kwargs or {}))
        counts = {
            "trainable_weights": expected_num_trainable_weights,
            "non_trainable_weights": expected_num_non_trainable_weights,
            "non_trainable_variables": expected_num_non_trainable_variables,
            "losses": expected_num_losses,
        }
        for name, count in counts.items():
            if count is not None:
                self.assertLen(getattr(layer, name), count, msg=name)
        if expected_num_seed_generators is not None:
            found = [one for one in vars(layer).values()
                     if isinstance(one, lamina.random.SeedGenerator)]  # fmt: skip
            self.assertLen(found, expected_num_seed_generators)
        if expected_output_shape is not None:
            shapes = lamina.tree.map_structure(lambda x: tuple(x.shape), output)
            self.assertEqual(shapes, expected_output_shape)
        if expected_output_dtype is not None:
            lamina.tree.map_structure(self.assertDType, output, expected_output_dtype)
        if expected_output is not None:
            self.assertAllClose(output, expected_output)
        if expected_mask_shape is not None:
            mask = layer.compute_mask(input_data)
            self.assertEqual(tuple(mask.shape), tuple(expected_mask_shape))
        if run_mixed_precision_check:
            half = layer_cls(**{**init_kwargs, "dtype": "mixed_bfloat16"})
            half(input_data, **(call_kwargs or {}))
        if run_training_check:
            _train(layer_cls(**init_kwargs), input_data, call_kwargs)


def _filled(shape, dtype):
    if isinstance(shape, dict):
        return {name: _filled(one, dtype) for name, one in shape.items()}
    if isinstance(shape, list) or (shape and isinstance(shape[0], (tuple, list))):
        return [_filled(one, dtype) for one in shape]
    draw = np.random.default_rng(0).uniform(size=shape)
    return lamina.ops.convert_to_tensor(np.asarray(draw, dtype=dtype))


def _train(layer, x, call_kwargs):
    class Wrapped(lamina.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x, **(call_kwargs or {}))

    model = Wrapped()
    model.compile("sgd", "mse")
    model.fit(x, lamina.ops.convert_to_numpy(model(x)), verbose=0)
