"""What names under Keras' roots mean here.

Which modules Keras has, and where here is what it keeps private, stands in `keras.txt`.
A name of `keras.src` is first looked for in the public namespaces.
"""

import functools
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import lamina

VERSION = "3.15.1"
# What stands before the paths of Keras' API: of the first, and of TensorFlow's Keras.
PACKAGE = re.compile(
    r"(?:(keras\._tf_keras\.keras|tf_keras|tensorflow(?:\.(?:python|compat\.v[12]))?"
    r"\.keras)|keras)(?:\.api)?(?:\._v[12]\.keras)?(?:\.|$)"
)
# Modules with nothing of their own, above some of them.
IN_TENSORFLOW = (
    "tensorflow.python", "tensorflow.compat", "tensorflow.compat.v1",
    "tensorflow.compat.v2",
)  # fmt: skip
_ABOVE = (
    "keras._tf_keras", "keras.api._v1", "keras.api._v2", "tf_keras.api._v1",
    "tf_keras.api._v2", *IN_TENSORFLOW,
)  # fmt: skip


# Modules with some names in `lamina.legacy`.
_LEGACY = (
    "layers", "preprocessing.image", "preprocessing.sequence", "preprocessing.text",
)  # fmt: skip


@functools.cache
def table(section) -> dict[str, list[str]]:
    """Return the lines of a section of `keras.txt`: words by the one before them."""
    text = Path(__file__).with_name("keras.txt").read_text("utf-8")
    lines = text.partition(f"\n[{section}]\n")[2].partition("\n[")[0]
    found = re.findall(r"^([\w.]*): ((?:.+\n)(?:  .+\n)*)", f"{lines}\n", re.M)
    return {head: words.split() for head, words in found}


@functools.cache
def _modules(section):
    held = table(section)
    return {f"{home}.{word}".lstrip(".") for home in held for word in held[home]}


@functools.cache
def _renamed():
    return {old: new for new, words in table("renamed").items() for old in words}


@functools.cache
def _private():
    """Return the homes here, and the names there, of what Keras keeps private."""
    found = {}
    for home, words in table("private").items():
        for word in words:
            name, _, own = word.partition("=")
            found[name] = home, own or name
    return found


def private_words():
    """Return the names of what Keras keeps private, each after the module it is of."""
    return [(name.rpartition(".")[0], name.rpartition(".")[2]) for name in _private()]


def is_module(path, old) -> bool:
    """Tell whether Keras, or TensorFlow's with `old`, has a module at a path."""
    if not path or path in _modules("keras") or path in _renamed():
        return True
    return old and (
        path in _modules("tf_keras") or path.removeprefix("src.") in _renamed()
    )


def modules_in(path, old) -> list[str]:
    """Return the modules of the one at a path."""
    return table("keras").get(path, []) + old * table("tf_keras").get(path, [])


def is_private(path) -> bool:
    """Tell whether a path is one of `keras.src`."""
    return path == "src" or path.startswith("src.")


def public(path):
    """Return what Lamina has at a public path, or None."""
    thing, path = lamina, _renamed().get(path, path)
    for part in path.split(".") if path else ():
        thing = getattr(thing, part, None)
        if thing is None:
            return None
    return thing


@functools.cache
def _text(path):
    """Return the text that has the names of a namespace."""
    home = Path(lamina.__file__).parent.joinpath(*path.split("."))
    files = home.with_suffix(".py"), home / "__init__.py", home / "__init__.pyi"
    return "".join(file.read_text("utf-8") for file in files if file.exists())


def find(name: str, path: str = ""):
    """Return what `name` means in a module of `keras.src`.

    Args:
        name: the name.
        path: that of the module. A name that several namespaces have, such as
            `subtract`, is that of the one whose name the path holds; the modules of
            an engine (`backend.jax.numpy`) have operations, those of `ops` a class for
            each.

    Raises:
        AttributeError: neither Lamina's namespaces nor the table have it.
    """
    words = path.split(".")
    if words[:2] == ["src", "ops"] and name[:1].isupper():
        # Before layers of the same name.
        made = importlib.import_module("lamina.compat.shims.operations")
        if (found := made.operation_class(f"keras.{path}", name)) is not None:
            return found
    for key in (*(f"{word}.{name}" for word in words), name):
        if key in _private():
            home, own = _private()[key]
            return getattr(importlib.import_module(f"lamina.{home}"), own)
    first = {"random"} & {*words} or ({"ops"} if "backend" in words else {*words})
    spaces = sorted(table("public")[""], key=lambda one: one not in first)
    if (own := path.removeprefix("src.")) in _modules("keras"):
        spaces.insert(0, own)  # applications and data sets have functions of one name
    for space in spaces:
        module = "lamina" if space == "lamina" else f"lamina.{space}"
        if module not in sys.modules and name not in _text(space):
            continue  # to import it takes a while: other packages come with some
        value = getattr(importlib.import_module(module), name, None)
        if value is not None and not isinstance(value, ModuleType):
            return value
    for old in (*_LEGACY, "losses", "backend"):
        if name in legacy(old):
            return legacy(old)[name]
    raise AttributeError("Of `keras.src` there are the public names, and few others.")


@functools.cache
def legacy(path) -> dict:
    """Return what TensorFlow's Keras has in a module, and Keras 3 has not."""
    if path == "backend":
        return importlib.import_module("lamina.compat.shims.backend").functions()
    if path in ("losses", "metrics"):
        pairs = (word.split("=") for word in table("losses")[""])
        found = {short: getattr(lamina.losses, long) for short, long in pairs}
        return found | ({"Reduction": find("Reduction")} if path == "losses" else {})
    if path in _LEGACY:
        module = importlib.import_module(f"lamina.legacy.{path}")
        return {name: getattr(module, name) for name in module.__all__}
    return {}


def known(name):
    """Tell whether there is a module of this name."""
    return name in _ABOVE or where(name) is not None


@functools.cache
def where(name):
    """Return whether a module is of TensorFlow's Keras, and its path; None for none."""
    found = PACKAGE.match(name)
    if found is None:
        return None
    path, old = name[found.end() :], found[1] is not None
    if ".python." in (found[1] or ""):
        path = f"src.{path}".rstrip(".")
    return (old, path) if is_module(path, old) else None


def names_in(old, path):
    """Return the names of a public module, and the function that finds a name."""
    if is_private(path):
        return [], functools.partial(find, path=path)
    mine = public(path)
    held = legacy(path) if old else {}
    if not path:
        held = {"__version__": VERSION, "version": lambda: VERSION, "src": lamina}
    beside = table("lamina").get(path, ())

    def lookup(word):
        thing = held[word] if word in held else getattr(mine, word)
        if isinstance(thing, ModuleType) or word in beside:
            raise AttributeError("It is Lamina's own.")
        return thing

    listed = {*held, *getattr(mine, "__all__", dir(mine or object()))}
    return sorted(listed.difference(beside)), lookup
