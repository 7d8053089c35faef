"""Copies of layers, models and optimizers within a process, and for pickle.

A copy is made again from its config and gets the values of the original. Configs
that stay in memory may refer to what no file could hold: the classes themselves,
and functions and objects that have no config.
"""

import numpy as np

from lamina.core.config import deserialize_keras_object, numbered, serialize_shared
from lamina.core.context import context, having
from lamina.core.walk import generators, objects


class References:
    """What a config refers to: classes by a name, other things by a number.

    Args:
        things: whether the config stays in memory, so that things without a config
            of their own may be held; otherwise classes alone are noted.
        lambdas: whether lambdas count as such things; if not they are written as
            bytecode, which pickle needs.
        classes: the classes to begin with.
        objects: the things to begin with.
    """

    def __init__(self, things=True, lambdas=True, classes=None, objects=()):
        self.things = things
        self.lambdas = things and lambdas
        self.classes = dict(classes or {})
        self.objects = list(objects)

    def lend(self, name, thing) -> str:
        """Note a class or function and return the name to write for it.

        Raises:
            ValueError: another one has the name already.
        """
        name = f"held>{name}" if self.things else name
        while self.classes.get(name, thing) is not thing:
            if not self.things:
                raise ValueError(
                    f"Two classes or functions of the name {name!r} are in use: "
                    f"{self.classes[name]!r} and {thing!r}. A file could not tell them "
                    "apart. Register one under another name with "
                    "`@lamina.saving.register_keras_serializable(package, name)`."
                )
            name += "'"
        self.classes[name] = thing
        return name

    def lent(self, **fields):
        """Return a block that reads configs which refer to what it holds."""
        classes = self.classes
        return having(
            context.configs, references=self, custom_objects=classes, **fields
        )

    def put(self, thing) -> int:
        """Hold a thing and return its number."""
        self.objects.append(thing)
        return len(self.objects) - 1


def describe(thing, lambdas=True) -> tuple:
    """Return what it takes to make `thing` again: config, values, what it refers to."""
    held = References(lambdas=lambdas)
    with having(context.configs, references=held):
        config = serialize_shared(thing)
    return config, values_of(thing), held.classes, held.objects


def remake(config, values, classes, things):
    """Make an object again from what `describe` returned."""
    held = References(classes=classes, objects=things)
    # Pickle runs code from the file as it is: lambdas make it no less safe.
    with held.lent(shared={}, safe_mode=False):
        thing = deserialize_keras_object(config)
    put_values(thing, values)
    return thing


def values_of(root) -> dict:
    """Return the values of all Variables that `root` holds, as NumPy arrays."""
    values = {}
    for path, thing in objects(root).items():
        own = {}
        thing.save_own_variables(own)
        seeds = {k: np.asarray(g.state.raw_value) for k, g in generators(thing).items()}
        values[path] = own, seeds
    return values


def put_values(root, values) -> None:
    """Put back what `values_of` returned."""
    for path, thing in objects(root).items():
        own, seeds = values.get(path, ({}, {}))
        if own:
            thing.load_own_variables(own)
        for name, generator in generators(thing).items():
            if name in seeds:
                generator.state.assign(seeds[name])


def make_again(thing, numbering=None, shared=None, **changes):
    """Make a new object from the config of one, with fresh values.

    Args:
        thing: the object.
        numbering: a function that numbers what it shares with others.
        shared: what was made again already, by number and name.
        changes: what to change in the config.
    """
    held = References()
    with having(context.configs, references=held, numbering=numbering):
        config = {**numbered(type(thing).get_config)(thing), **changes}
    shared = {} if shared is None else shared
    with held.lent(shared=shared):
        return type(thing).from_config(config)
