"""Modules under Keras' names whose names are Lamina's."""

import functools
import importlib
import importlib.machinery
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import lamina
from lamina.compat import private

VERSION = "3.15.1"
# Asks worker processes, which find `site/sitecustomize.py`, to install as well.
FLAG = "LAMINA_AS_KERAS"
_SITE = str(Path(__file__).parent / "site")

_ROOTS = ("keras", "tf_keras", "tensorflow.keras")
# What stands before the paths of Keras' API: of the first, and of TensorFlow's Keras.
PACKAGE = re.compile(
    r"(?:(keras\._tf_keras\.keras|tf_keras|tensorflow(?:\.(?:python|compat\.v[12]))?"
    r"\.keras)|keras)(?:\.api)?(?:\._v[12]\.keras)?(?:\.|$)"
)
# Modules with nothing of their own, above some of them.
_IN_TENSORFLOW = (
    "tensorflow.python", "tensorflow.compat", "tensorflow.compat.v1",
    "tensorflow.compat.v2",
)  # fmt: skip
_ABOVE = (
    "keras._tf_keras", "keras.api._v1", "keras.api._v2", "tf_keras.api._v1",
    "tf_keras.api._v2", *_IN_TENSORFLOW,
)  # fmt: skip


def install() -> None:
    """Make `keras`, `tf_keras` and `tensorflow.keras` Lamina, in this process.

    Modules of these names are found in Lamina from then on, also in processes that
    this one starts. Called again it does nothing.

    Raises:
        RuntimeError: Keras was imported before.

    >>> import lamina
    >>> lamina.install()  # doctest: +SKIP
    >>> import keras  # it is Lamina  # doctest: +SKIP
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "keras" not in sys.modules:  # what an import that failed has left
        for name in [n for n in sys.modules if n.startswith("keras.")]:
            del sys.modules[name]
    found = [n for n in _ROOTS if n in sys.modules]
    if found:
        raise RuntimeError(
            f"`lamina.install()` comes too late: `{found[0]}` was imported already, "
            "and what was made with it is not Lamina's. Call it before, or start the "
            "program with `python -m lamina`."
        )
    sys.meta_path.insert(0, _Finder())
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ[FLAG] = "1"
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if _SITE not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *filter(None, paths)])
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras = importlib.import_module(  # pyright: ignore
            "tensorflow.keras"
        )


class _Finder:  # not of importlib.abc, which takes a while to import
    """Finds modules under Keras' names, and its version."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in ("keras", "tf_keras", "tensorflow"):
            return None
        if fullname == "tensorflow":
            return self._tensorflow()
        alone = False
        if fullname.startswith("tensorflow."):
            spec = getattr(sys.modules.get("tensorflow"), "__spec__", None)
            alone = spec is not None and spec.loader is self
        if not alone and fullname.startswith(_IN_TENSORFLOW):
            return None
        if not _known(fullname):
            if alone and not PACKAGE.match(fullname):
                # Under another name, `from` would hide the reason.
                raise ModuleNotFoundError(_needs(fullname), name="tensorflow")
            return None
        spec = _spec(fullname, self)
        spec.origin = "lamina"
        return spec

    def _tensorflow(self):
        """Return the spec of TensorFlow with another `keras`, or of that alone."""
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        try:
            real = find_spec("tensorflow")
        finally:
            sys.meta_path.insert(0, self)
        if real is None:
            # A package that asks for TensorFlow alone wants to know if there is one.
            if not _of_the_program():
                return None
            return _spec("tensorflow", self)
        if real.loader is not None:
            real.loader = _WithKeras(real.loader)  # pyright: ignore
        return real

    def create_module(self, spec):
        return ModuleType(spec.name)

    def exec_module(self, module):
        name = module.__name__
        where = _where(name)
        if where is None:
            module.__dict__["__getattr__"] = functools.partial(_absent, name)
        else:
            module.__dict__.update(_contents(name, *where))

    def find_distributions(self, context=None):
        """Say to `importlib.metadata` which version of Keras this is."""
        name = str(getattr(context, "name", "")).lower().replace("-", "_")
        if name in ("keras", "tf_keras"):
            yield _distribution(name)


def _spec(name, loader):
    return importlib.machinery.ModuleSpec(name, loader, is_package=True)


@functools.cache
def _distribution(name):
    """Return what `importlib.metadata`, which has asked, tells of Keras."""
    from importlib.metadata import Distribution

    class Keras(Distribution):
        def read_text(self, filename):
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n"
            return text if filename == "METADATA" else None

        def locate_file(self, path):
            return Path(__file__).parent / str(path)

    return Keras()


class _WithKeras:
    """Loads TensorFlow, then gives it Lamina in place of its Keras."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__dict__["__spec__"].loader = self._loader
        self._loader.exec_module(module)
        module.__dict__["keras"] = importlib.import_module("tensorflow.keras")

    def __getattr__(self, name):
        return getattr(self._loader, name)


def _of_the_program() -> bool:
    """Tell whether the program itself imports, or something below `tensorflow`."""
    frame, wanted = sys._getframe(), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            wanted = frame.f_locals.get("name", wanted)
        elif file not in (__file__, importlib.__file__):
            break
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") == "__main__":
        return True
    path = Path(frame.f_code.co_filename).absolute()
    folders = {Path.cwd(), Path(sys.path[0]).absolute()}
    own = not folders.isdisjoint(path.parents) and "site-packages" not in path.parts
    return own or str(wanted).startswith("tensorflow.") or _takes_keras(frame)


def _takes_keras(frame):
    """Tell whether a frame runs `from tensorflow import keras`."""
    import dis  # most programs do without

    taken = None
    for step in dis.get_instructions(frame.f_code):
        if step.offset == frame.f_lasti:
            break
        taken = step.argval
    return isinstance(taken, tuple) and "keras" in taken


class _Nothing:
    """A type of TensorFlow's: nothing is an instance of it."""


def _absent(module, name):
    """Return what `tensorflow`, or a module below it, has without TensorFlow."""
    if _known(inner := f"{module}.{name}"):
        return importlib.import_module(inner)
    if name in ("RaggedTensor", "SparseTensor", "Tensor", "Variable"):
        return _Nothing
    if name == "data":
        return SimpleNamespace(Dataset=_Nothing)
    raise AttributeError(_needs(inner))


def _needs(name):
    return (
        "TensorFlow is not installed: of it there is `tensorflow.keras`, which is "
        f"Lamina, and nothing else. `{name}` needs `pip install tensorflow`."
    )


def _known(name):
    """Tell whether there is a module of this name."""
    return name in _ABOVE or _where(name) is not None


@functools.cache
def _where(name):
    """Return whether a module is of TensorFlow's Keras, and its path; None for none."""
    found = PACKAGE.match(name)
    if found is None:
        return None
    path, old = name[found.end() :], found[1] is not None
    if ".python." in (found[1] or ""):
        path = f"src.{path}".rstrip(".")
    return (old, path) if _is_module(old, path) else None


def _is_module(old, path):
    if not path or _is_private(path):
        return path == path.lower()  # a class is not a module
    if old and private.legacy(path):
        return True
    return isinstance(_lamina(path), ModuleType)


def _is_private(path):
    return path == "src" or path.startswith("src.")


def _lamina(path):
    """Return what Lamina has at a path, or None."""
    thing, path = lamina, private.OLD_MODULES.get(path, path)
    for part in path.split(".") if path else ():
        thing = getattr(thing, part, None)
        if thing is None:
            return None
    return thing


def _names(old, path):
    """Return the public names of a module, and the function that finds a name."""
    if _is_private(path):
        public = _lamina(path.partition(".")[2])

        def find(word):
            if isinstance(getattr(public, word, None), ModuleType):
                raise AttributeError(f"{word} is a module.")
            return private.find(word, path)

        return [], find
    mine = _lamina(path)
    held = private.legacy(path) if old else {}
    if not path:
        held = {"__version__": VERSION, "version": lambda: VERSION}

    def lookup(word):
        return held[word] if word in held else getattr(mine, word)

    return sorted({*held, *getattr(mine, "__all__", dir(mine or object()))}), lookup


def look_up(name):
    """Return what a dotted name under Keras' roots means: None for a module.

    Args:
        name: a name with its modules, such as `"tensorflow.keras.layers.Dense"`.

    Raises:
        AttributeError: it means nothing.
    """
    module, *words = name.split(".")
    thing = None
    for i, word in enumerate(words):
        inner, where = f"{module}.{word}", _where(module)
        if thing is not None:
            try:
                thing = getattr(thing, word)
            except ImportError as error:  # a module that is imported when it is used
                raise AttributeError(str(error)) from error
        elif where and _is_private(where[1]):
            try:
                thing = _names(*where)[1](word)
                if words[i + 1 :] and not hasattr(thing, words[i + 1]):
                    thing = None if _known(inner) else thing
                    module = inner  # of the same name as a function
            except AttributeError:
                known = hasattr(_lamina(where[1].partition(".")[2]), word)
                if not _known(inner) or (i + 1 == len(words) and not known):
                    raise
                module = inner
        elif _known(inner):
            module = inner
        else:
            thing = _names(*where)[1](word) if where else _absent(module, word)
    return thing


@functools.cache
def _noted():
    from lamina.core import settings  # JAX comes with it: not before it is needed

    settings.put("as_keras", True)


def _contents(name, old, path):
    """Return what a module holds: all else is looked up when it is asked for."""
    names, lookup = _names(old, path)

    def find(word):
        if word == "__version__" and _is_private(path):
            return VERSION
        if word.startswith("__") and word not in names:
            raise AttributeError(f"module {name!r} has no attribute {word!r}")
        try:
            value = lookup(word)
        except AttributeError as error:
            try:
                return importlib.import_module(f"{name}.{word}")
            except ImportError:
                text = f"module {name!r} has no attribute {word!r}. {error}"
                raise AttributeError(text) from None
        if isinstance(value, ModuleType):
            value = importlib.import_module(f"{name}.{word}")
        if word not in ("__version__", "version"):
            _noted()
        return value

    public = [n for n in names if not n.startswith("_")]
    return {
        "__getattr__": find,
        "__dir__": lambda: public,
        "__all__": public,
        "__doc__": "Lamina, under the name of Keras.",
        "__file__": getattr(_lamina(path), "__file__", private.__file__),
    }
