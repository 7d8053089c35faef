"""Modules under Keras' names whose names are Lamina's."""

import functools
import importlib
import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType

from lamina.compat import names

# Asks worker processes, which find `site/sitecustomize.py`, to install as well.
FLAG = "LAMINA_AS_KERAS"
_SITE = str(Path(__file__).parent / "site")

_ROOTS = ("keras", "tf_keras", "tensorflow.keras")


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
    sys.path_hooks.append(_Listed)
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

    _alone = False  # whether it made a module `tensorflow`

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in ("keras", "tf_keras", "tensorflow"):
            return None
        if fullname == "tensorflow":
            return self._tensorflow()
        alone = self._alone and fullname.startswith("tensorflow.")
        if not alone and fullname.startswith(names.IN_TENSORFLOW):
            return None
        if not names.known(fullname):
            # Under another name, `from` would hide the reasons.
            if alone and not names.PACKAGE.match(fullname):
                raise ModuleNotFoundError(_alone().needs(fullname), name="tensorflow")
            home, _, word = fullname.rpartition(".")
            if (found := names.where(home)) and names.is_private(found[1]):
                if not names.modules_in(found[1], True):
                    raise ModuleNotFoundError(_lacks(home, word), name="keras")
            return None
        return _spec(fullname, self)

    def _tensorflow(self):
        """Return the spec of TensorFlow with another `keras`, or of that alone."""
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        try:
            real = find_spec("tensorflow")
        finally:
            sys.meta_path.insert(0, self)
        if real is None:
            return _spec("tensorflow", self) if _alone().is_answered() else None
        if real.loader is not None:
            real.loader = _WithKeras(real.loader)  # pyright: ignore
        return real

    def create_module(self, spec):
        if spec.name == "tensorflow":
            self._alone = True
            return _alone().module()
        return ModuleType(spec.name)

    def exec_module(self, module):
        name = module.__name__
        found = names.where(name)
        if found is None:
            module.__dict__["__getattr__"] = functools.partial(_alone().absent, name)
        else:
            module.__dict__.update(_contents(name, *found))

    def find_distributions(self, context=None):
        """Say to `importlib.metadata` which version of Keras this is."""
        name = str(getattr(context, "name", "")).lower().replace("-", "_")
        if name in ("keras", "tf_keras"):
            yield _distribution(name)


def _spec(name, loader):
    spec = importlib.machinery.ModuleSpec(
        name, loader, origin="lamina", is_package=True
    )
    spec.submodule_search_locations = [f"{_Listed.MARK}{name}"]
    return spec


class _Listed:
    """Lists the modules of one, for `pkgutil.iter_modules(keras.__path__)`."""

    MARK = "lamina:"

    def __init__(self, path):
        if not path.startswith(self.MARK):
            raise ImportError(path)
        self._found = names.where(path.removeprefix(self.MARK))

    def find_spec(self, fullname, target=None):
        return None  # `_Finder` comes first

    def iter_modules(self, prefix=""):
        """Yield the name of each module, and whether it holds others."""
        if self._found is not None:
            old, path = self._found
            for word in names.modules_in(path, old):
                inner = f"{path}.{word}".lstrip(".")
                yield f"{prefix}{word}", bool(names.modules_in(inner, old))


def _alone():
    from lamina.compat import without_tensorflow  # most programs do without

    return without_tensorflow


@functools.cache
def _distribution(name):
    """Return what `importlib.metadata`, which has asked, tells of Keras."""
    from importlib.metadata import Distribution

    class Keras(Distribution):
        def read_text(self, filename):
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {names.VERSION}\n"
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


@functools.cache
def _noted():
    """Set what programs for Keras rely on, when one takes the first name of it."""
    from lamina.core import config, settings  # JAX comes with them

    settings.put("broadcast_targets", True)  # Keras' own guides do so unawares

    def unpickled(cls, file):
        return names.find("unpickled")(cls, file)

    config.Constructed._unpickle_model = classmethod(unpickled)  # pyright: ignore


def _lacks(module, word):
    return (
        f"Lamina has no {word!r} of {module!r}: of what Keras keeps private there is "
        "what packages were seen to use. Public names are there under every path."
    )


def _contents(name, old, path):
    """Return what a module holds: all else is looked up when it is asked for."""
    words, lookup = names.names_in(old, path)
    private = names.is_private(path)
    public = [n for n in words if not n.startswith("_")]

    def listed():
        if not private:
            return public
        stars = importlib.import_module("lamina.compat.shims.stars")
        return [n for n in stars.names_of(path) if n[0] != "_" and is_there(n)]

    def is_there(word):
        try:
            find(word)
        except (AttributeError, ImportError):
            return False
        return True

    def find(word):
        if alone := sys.modules.get("lamina.compat.without_tensorflow"):
            alone.hide()
        if private and word in ("__version__", "__all__"):
            return names.VERSION if word == "__version__" else listed()
        if word.startswith("__") and word not in words:
            raise AttributeError(f"module {name!r} has no attribute {word!r}")
        if names.known(inner := f"{name}.{word}"):
            return importlib.import_module(inner)
        if path == "src.backend" and names.known(inner := f"{name}.jax.{word}"):
            if word != "rnn":  # a function there
                return importlib.import_module(inner)
        if word not in ("__version__", "version"):
            _noted()
        try:
            return lookup(word)
        except AttributeError as error:
            text = f"module {name!r} has no attribute {word!r}. {error}"
            raise AttributeError(text) from None

    held = {}
    if path and public and not private:  # `vars` lists what is there
        _noted()
        here = vars(names.public(path) or names)
        words = [n for n in public if not names.known(f"{name}.{n}")]
        held = {n: lookup(n) for n in words if old or n in here}
    if not private:
        held["__all__"] = public
    return held | {
        "__getattr__": find,
        "__dir__": listed,
        "__doc__": "Lamina, under the name of Keras.",
        "__file__": getattr(names.public(path), "__file__", names.__file__),
    }
