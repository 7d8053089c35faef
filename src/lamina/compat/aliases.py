"""Modules under Keras' names whose names are Lamina's."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import lamina
from lamina.compat import private

VERSION = "3.15.1"
# Asks worker processes, which find `site/sitecustomize.py`, to install as well.
FLAG = "LAMINA_AS_KERAS"
_SITE = str(Path(__file__).parent / "site")

# Names of the package, each with what stands before the paths of Keras' API.
_ROOTS = ("keras", "tf_keras", "tensorflow.keras")
_PACKAGES = ("keras.api", "keras._tf_keras.keras", *_ROOTS)
# Of TensorFlow's Keras alone.
_LEGACY = ("tf_keras", "tensorflow.keras", "keras._tf_keras.keras")


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
    found = [n for n in (*_ROOTS, "keras.src") if n in sys.modules]
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


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules under Keras' names, and its version."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in ("keras", "tf_keras", "tensorflow"):
            return None
        if fullname == "tensorflow":
            return self._tensorflow()
        if _where(fullname) is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        spec.origin = "lamina"
        return spec

    def _tensorflow(self):
        """Return the spec of TensorFlow with another `keras`, or of that alone."""
        sys.meta_path.remove(self)
        try:
            real = importlib.util.find_spec("tensorflow")
        finally:
            sys.meta_path.insert(0, self)
        if real is None:
            # A package that asks for TensorFlow alone wants to know if there is one.
            if not _of_the_program():
                return None
            return importlib.machinery.ModuleSpec("tensorflow", self, is_package=True)
        if real.loader is not None:
            real.loader = _WithKeras(real.loader)
        return real

    def create_module(self, spec):
        return ModuleType(spec.name)

    def exec_module(self, module):
        from lamina.core import settings  # JAX comes with it: not before it is needed

        settings.put("as_keras", True)
        name = module.__name__
        where = _where(name)
        if where is None:
            module.__dict__["__getattr__"] = _absent_tensorflow
        else:
            module.__dict__.update(_contents(name, *where))

    def find_distributions(self, context=None):
        """Say to `importlib.metadata` which version of Keras this is."""
        if context is not None and str(context.name).lower() == "keras":
            yield _Distribution()


class _Distribution(importlib.metadata.Distribution):
    def read_text(self, filename):
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: keras\nVersion: {VERSION}\n"
        return None

    def locate_file(self, path):
        return Path(__file__).parent / str(path)


class _WithKeras(importlib.abc.Loader):
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
        elif file != __file__:
            break
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") == "__main__":
        return True
    path = Path(frame.f_code.co_filename).absolute()
    folders = {Path.cwd(), Path(sys.path[0]).absolute()}
    own = not folders.isdisjoint(path.parents) and "site-packages" not in path.parts
    return own or str(wanted).startswith("tensorflow.")


class _Nothing:
    """A type of TensorFlow's: nothing is an instance of it."""


def _absent_tensorflow(name):
    if name == "keras":
        return importlib.import_module("tensorflow.keras")
    if name in ("RaggedTensor", "SparseTensor", "Tensor", "Variable"):
        return _Nothing
    if name == "data":
        return SimpleNamespace(Dataset=_Nothing)
    raise AttributeError(
        f"TensorFlow is not installed: of it there is `tensorflow.keras`, which is "
        f"Lamina, and nothing else. `tensorflow.{name}` needs `pip install tensorflow`."
    )


def _where(name):
    """Return the package of a module and its path inside, or None for no module."""
    if name == "keras._tf_keras":
        return "keras._tf_keras", ""
    for package in sorted(_PACKAGES, key=len, reverse=True):
        if name == package or name.startswith(f"{package}."):
            path = name[len(package) + 1 :]
            return (package, path) if _is_module(package, path) else None
    return None


def _is_module(package, path):
    if not path or _is_private(path):
        return path == path.lower()  # a class is not a module
    if package in _LEGACY and private.legacy(path):
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


def _names(package, path):
    """Return the public names of a module, and the function that finds a name."""
    if _is_private(path):
        public = _lamina(path.partition(".")[2])

        def find(word):
            if isinstance(getattr(public, word, None), ModuleType):
                raise AttributeError(f"{word} is a module.")
            return private.find(word)

        return [], find
    mine = _lamina(path)
    held = private.legacy(path) if package in _LEGACY else {}
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
            thing = getattr(thing, word)
        elif where and _is_private(where[1]):
            try:
                thing = _names(*where)[1](word)
            except AttributeError:
                known = hasattr(_lamina(where[1].partition(".")[2]), word)
                if not _where(inner) or (i + 1 == len(words) and not known):
                    raise
                module = inner
        elif _where(inner):
            module = inner
        else:
            thing = _names(*where)[1](word) if where else _absent_tensorflow(word)
    return thing


def _contents(name, package, path):
    """Return what a module holds: all else is looked up when it is asked for."""
    names, lookup = _names(package, path)

    def find(word):
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
        return value

    public = [n for n in names if not n.startswith("_")]
    return {
        "__getattr__": find,
        "__dir__": lambda: public,
        "__all__": public,
        "__doc__": "Lamina, under the name of Keras.",
    }
