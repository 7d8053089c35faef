"""What holds for every test and every docstring example."""

import doctest
import inspect
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

collect_ignore = ["tests/editor_mistakes.py"]  # for type checkers

# Before anything imports JAX or Keras.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiled programs outlive the run, and the workers share them. Most are small,
# so none is too quick to keep. `pytest --cache-clear` removes them.
XLA_CACHE = Path(__file__).parent / ".pytest_cache" / "d" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(XLA_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# The same examples in every run, and no deadline: the first call compiles.
settings.register_profile("lamina", deadline=None, derandomize=True)
settings.load_profile("lamina")


@pytest.fixture(autouse=True)
def fresh_state():
    """Starts each test with the same seeds, names and registered objects.

    A library that the test's module has not imported is left alone: it has no
    state yet, and importing it here would cost every test its import time.
    """
    registered, before = {}, {}
    if lamina := sys.modules.get("lamina"):
        lamina.utils.clear_session(free_memory=False)
        lamina.utils.set_random_seed(0)
        lamina.config.disable_traceback_filtering()  # a failing test shows its way
        registered = lamina.saving.get_custom_objects()
        before = dict(registered)
    if keras := sys.modules.get("keras"):
        keras.utils.clear_session(free_memory=False)  # a full collection is 0.1 s
        keras.utils.set_random_seed(0)
    yield
    # What a test registers for files is gone after it; what a module registers stays.
    registered.clear()
    registered.update(before)


# The tables of cases whose programs take long to compile, and the short ones there.
_LARGE = (
    "tests/applications/", "tests/core/test_masks.py", "tests/examples/",
    "tests/export/", "tests/initializers/", "tests/kernels/", "tests/layers/",
    "tests/parity/", "tests/saving/test_copies.py",
    "tests/saving/test_legacy.py", "tests/saving/test_with_keras.py",
    "tests/test_distillation.py", "tests/test_quantizers.py", "tests/test_wrappers.py",
    "tests/training/test_chunks.py", "tests/training/test_class_weight.py",
    "tests/training/test_reached.py",
)  # fmt: skip
_QUICK = ("test_layer_configs.py", "test_bad_arguments.py")
_EVERY = 16  # which of the cases an everyday run takes
# Single tests that take as long as a table.
_LONG = (
    "tests/applications/test_weights.py::test_efficientnet_scales_once_more",
    "tests/layers/test_quantized.py::test_errors_pass_from_block_to_block",
)


def pytest_collection_modifyitems(items):
    """Leaves out most cases of the large tables, unless all are asked for.

    `make test` is for every day, and CI stays within its time. `make test-whole` runs
    all of them.
    """
    if os.environ.get("LAMINA_TESTS") == "whole":
        return
    cases: dict = {}
    for item in items:
        path = item.nodeid.partition("::")[0]
        if path.startswith(_LARGE) and not path.endswith(_QUICK):
            cases.setdefault((path, getattr(item, "originalname", "")), []).append(item)
    kept = {id(item) for table in cases.values() for item in table[::_EVERY]}
    left_out = {id(item) for table in cases.values() for item in table} - kept
    left_out |= {id(item) for item in items if item.nodeid.startswith(_LONG)}
    items[:] = [item for item in items if id(item) not in left_out]


# doctest asks a function's globals which module it belongs to. Those of a
# decorated function are its decorator's, and those of what a function makes are that
# function's, so it would pass over every `@op` and all that say where they stand.
_belongs = doctest.DocTestFinder._from_module  # type: ignore[attr-defined]


def _belongs_unwrapped(finder, module, thing):
    if inspect.isfunction(thing) and thing.__module__ == module.__name__:
        return True
    return _belongs(finder, module, inspect.unwrap(thing))


doctest.DocTestFinder._from_module = _belongs_unwrapped  # type: ignore[attr-defined]
