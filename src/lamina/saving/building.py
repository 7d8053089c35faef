"""Models from configs: made as if each config were a stranger's, or tried out."""

import contextlib
import json
import math
import mmap
import random
import warnings
import weakref
from traceback import walk_tb

import jax
import numpy as np

from lamina.core import bounds, naming
from lamina.core.budget import Budget, errors_about, readable
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.context import context, having
from lamina.core.placement import on_host
from lamina.core.registry import public
from lamina.core.tracebacks import warn
from lamina.core.walk import objects
from lamina.initializers.draws import RandomInitializer
from lamina.layers.layer import Layer, noted
from lamina.layers.owner import saved_variables
from lamina.saving.state import takes_all

# Architectures that were made again from their config once.
_proven = weakref.WeakKeyDictionary()

FIX = (
    "\nA layer of your own keeps each argument of `__init__` as an attribute of its "
    "name, or has `get_config` and `from_config` that match."
)


def build(config, budget, custom_objects=None, safe_mode=True):
    """Make a model from its config, with nothing but names from the registry.

    Args:
        config: the parsed config.
        budget: a `Budget` for what it makes, with the name of the file.
        custom_objects: names that the caller lends.
        safe_mode: False lets lambdas in.

    Raises:
        ValueError: the config describes no model.
        TypeError: it needs a name that was not lent.
    """
    name = budget.name
    public("ops")  # a graph may name any of them
    safe_mode = safe_mode is not False
    try:
        with (
            having(context.configs, references=None, shared={}, budget=budget),
            errors_about(f"the config of {name.replace('The ', 'the ', 1)}"),
        ):
            model = deserialize_keras_object(config, custom_objects, safe_mode)
    except NameError as error:
        if not _is_lambda(error.__traceback__):
            raise
        raise ValueError(
            f"{name} holds a lambda that uses {error.name!r}, a name of the program "
            "around it, which no file holds. Lend it to the call that loads the file, "
            f"`custom_objects={{{error.name!r}: {error.name}}}, safe_mode=False`; "
            "better, replace the lambda by a named function registered with "
            "`@lamina.saving.register_keras_serializable()`."
        ) from error
    if not hasattr(model, "load_own_variables"):
        raise ValueError(
            f"{name} holds a {type(model).__name__}, which is neither a model nor a "
            "layer."
        )
    return model


def _is_lambda(traceback):
    """Tell whether an error comes from a function that was made of bytecode."""
    *_, (frame, _) = walk_tb(traceback)
    return "__name__" not in frame.f_globals


class FileBudget(Budget):
    """What a file's config may make: weights as large as those that it holds for them.

    The first values are zeros in place of random ones, since the file's replace them.
    """

    def __init__(self, declared, name, replaced=None):
        against = f"the file holds {readable(declared)} of them"
        super().__init__(name, bounds.COPIES * declared + bounds.SLACK, against)
        self.replaced = replaced

    def first_value(self, initializer, shape, dtype):
        """Return zeros where the file's value is sure to come."""
        sure = context.calling and takes_all(context.calling[-1])
        if isinstance(initializer, RandomInitializer) and sure:
            return np.zeros(shape, dtype)
        return super().first_value(initializer, shape, dtype)


# ---- the proof that a model can be made again --------------------------------------


def prove(model, config, held, values):
    """Warn, once, unless the config makes a model into which the values fit.

    No weight is computed for it, and nothing outside notices.
    """
    parsed = json.loads(config)
    parsed.pop("compile_config", None)
    kind = json.dumps(parsed, sort_keys=True)
    if _proven.get(model) == kind:
        return
    _proven[model] = kind
    problem = _problem(model, parsed, held, values)
    if problem:
        warn(
            f"The model was saved with all its weights, but `load_model` cannot make "
            f"it again from the file. {problem} Until that is mended, make the model "
            "by its own code and call `model.load_weights(path)`."
        )


def _problem(model, config, held, values):
    """Return why a config does not make its model again, and what to do, or None."""

    def remade(config):
        with _unnoticed(), on_host():
            return build(config, _Blank(), held.classes, safe_mode=False)

    try:
        fresh = remade(config)
    except Exception as error:
        layer = noted(error.__cause__ or error)
        name = blamed(model, lambda x: remade(serialize_keras_object(x)), layer)
        fix = "" if isinstance(error.__cause__, NameError) else FIX
        return f"{name} cannot be made again from its config: {error}{fix}"
    made = objects(fresh)
    for path, thing in objects(model).items():
        if not isinstance(thing, Layer):
            continue
        if path not in made:
            return (
                f"{_named(thing)} at {path!r} is missing from the model that its "
                f"config makes.{FIX}"
            )
        problem = _layer_problem(thing, made[path], values[path][1])
        if problem:
            return problem
    return None


def _layer_problem(thing, made, own):
    if not takes_all(thing) or not all(map(str.isdigit, own)):
        return None  # what it makes of its values is known to itself alone
    expected = {k: tuple(v.shape) for k, v in saved_variables(made).items()}
    saved = {key: value.shape for key, value in own.items()}
    if expected == saved or not (own or expected):
        return None
    return (
        f"{_named(thing)} is saved with weights of the shapes {list(saved.values())}, "
        f"but the layer that its config makes has {list(expected.values())}. Make all "
        f"weights in `__init__` or `build`.{FIX}"
    )


class _Blank(Budget):
    """Room for all, and first values that take no memory and are never used.

    They are pages of zeros that nobody touches, which JAX reads where they lie.
    """

    def __init__(self):
        super().__init__("the model", math.inf)
        self.allowed = math.inf

    def first_value(self, initializer, shape, dtype):
        size = math.prod(shape)
        pages = mmap.mmap(-1, max(size * np.dtype(dtype).itemsize, 1))
        return jax.device_put(np.frombuffer(pages, dtype, size).reshape(shape))


@contextlib.contextmanager
def _unnoticed():
    """Leave automatic names, Python's random numbers and warnings as they are."""
    state = random.getstate()
    try:
        with warnings.catch_warnings(), naming.unchanged():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)


def blamed(model, attempt, otherwise=None) -> str:
    """Name the innermost object for which `attempt` fails, or else another one."""
    for thing in reversed(objects(model).values()):
        if thing is not model:
            try:
                attempt(thing)
            except Exception:
                return _named(thing)
    return _named(otherwise or model)


def _named(thing):
    kind = "Model" if hasattr(thing, "fit") else "Layer"
    return f"{kind} {getattr(thing, 'name', '')!r} ({type(thing).__name__})"
