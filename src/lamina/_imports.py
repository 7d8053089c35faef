"""Imports on first use, and without the garbage collector.

Modules are hundreds of thousands of objects that stay, JAX' most of all; to walk
through them time and again is a tenth of the time that their import takes.
"""

import gc
import importlib
import sys
from types import ModuleType

# Public names of Keras that are left out: why, and what to use instead.
_LEFT_OUT = {
    "lamina.src": "what lies below it is private. Use the public names",
}


def imported(name):
    """Return the module of a name; what its import makes is not looked at for long."""
    if name in sys.modules or not gc.isenabled():
        return importlib.import_module(name)
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        if not gc.get_freeze_count():
            # Together: all that is there now counts as old, unseen.
            gc.freeze()
            gc.unfreeze()


def missing(module, name):
    """Return the error for a name that a module does not have.

    Args:
        module: the module's name.
        name: the attribute's name.
    """
    reason = _LEFT_OUT.get(f"{module}.{name}")
    if reason is None:
        text = f"module {module!r} has no attribute {name!r}"
        # With these Python tells the name that comes nearest.
        return AttributeError(text, name=name, obj=sys.modules[module])
    return AttributeError(f"`{module}.{name}` is left out: {reason}.")


def lazy(package):
    """Return `__getattr__`, `__dir__` and the names of a package loaded on first use.

    They stand in its stub, `__init__.pyi`, where type checkers find them as well, in
    lines `from home import name as name`; or `from home import thing`, `name = thing`.
    """
    module = sys.modules[package]
    path = f"{module.__path__[0]}/__init__.pyi"
    text = module.__spec__.loader.get_data(path).decode()  # pyright: ignore
    words = text.replace("(", " ").replace(",", " ").split()
    homes, seen, home = {}, {}, ""
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        if before == "from":
            home = word
        elif word == "as":
            homes[after] = home, before
        elif word == "=":
            homes[before] = seen[after], after
        seen[word] = home

    def find(name):
        if name not in homes:
            raise missing(package, name)
        home, thing = homes[name]
        if home == package:
            value = imported(f"{home}.{thing}")
        else:
            value = getattr(imported(home), thing)
        setattr(module, name, value)
        return value

    return find, lambda: sorted({*vars(module), *homes}), [*homes]


def offer(namespace, modules=()):
    """Return the names in a module that are neither private nor other modules.

    They become what `dir` shows of it and what `import *` takes. What a public module
    imports for itself has a name with an underscore: editors do not run this.
    """
    names = [
        name
        for name, value in namespace.items()
        if name[0] != "_" and (name in modules or not isinstance(value, ModuleType))
    ]
    namespace |= {"__all__": names, "__dir__": lambda: names}
    return names
