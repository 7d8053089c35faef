"""The module `tensorflow` where TensorFlow is not installed: of it there is its Keras.

Most programs that import it take nothing else of it; some ask in this way whether there
is one, and are told that there is none.
"""

import builtins
import functools
import importlib
import linecache
import sys
import threading
from pathlib import PurePath
from types import CodeType, ModuleType

from lamina.compat import names

_ABSENT = {"BaseException", "Exception", "ImportError", "ModuleNotFoundError"}

_hidden = threading.RLock()
_texts: dict = {}  # by code


@functools.cache
def module() -> ModuleType:
    """Return the module, which is in `sys.modules` during its imports alone.

    So each import is answered by itself, and whoever looks there, or asks `find_spec`,
    learns that there is no TensorFlow.
    """
    plain = builtins.__import__

    def importing(name, *arguments, **named):
        if name.partition(".")[0] == "tensorflow":
            with _hidden:
                try:
                    return plain(name, *arguments, **named)
                finally:
                    hide()
        if "tensorflow" in sys.modules:
            hide()
        return plain(name, *arguments, **named)

    builtins.__import__ = importing
    return ModuleType("tensorflow")


def hide() -> None:
    """Take the module out of `sys.modules`, unless an import needs it there."""
    ours = module.cache_info().currsize and sys.modules.get("tensorflow") is module()
    if ours and not _is_imported() and _hidden.acquire(blocking=False):
        sys.modules.pop("tensorflow", None)
        _hidden.release()


def _is_imported():
    """Tell whether an import of it, or of what is below it, runs now."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            name = str(frame.f_locals.get("name"))
            if name.partition(".")[0] == "tensorflow":
                return True
        frame = frame.f_back
    return False


def note(code, text) -> None:
    """Keep the text of code in no file: it is read if it asks for TensorFlow."""
    _texts[code] = text
    for one in code.co_consts:
        if isinstance(one, CodeType):
            note(one, text)


def is_answered() -> bool:
    """Tell whether the import of `tensorflow` that runs now gets a module.

    One that names `keras` gets it, and so does one in a file that takes `tf.keras` and
    nothing else of it. Any other that catches no `ImportError` gets it in a file that
    takes `tf.keras`, in one that is not of an installed package, and after one that got
    it: what is missing is then said where it is used.
    """
    frame, wanted = sys._getframe(1), ""
    while frame is not None:
        file, home = frame.f_code.co_filename, frame.f_globals.get("__name__")
        if home == "importlib.util":
            wanted = str(frame.f_locals.get("fullname"))
            if wanted == "tensorflow":
                return False
        elif file.startswith("<frozen importlib"):
            wanted = str(frame.f_locals.get("name", wanted))
        elif home == "pydoc":
            if parts := frame.f_locals.get("parts"):  # of the path to `locate`
                return parts[1:2] == ["keras"]
        elif home not in ("importlib", "lamina.compat.aliases", __name__):
            break
        frame = frame.f_back
    if frame is None or wanted.startswith("tensorflow."):
        return True
    code, line, file = frame.f_code, frame.f_lineno, frame.f_code.co_filename
    text = _texts.get(code) or "".join(linecache.getlines(file, frame.f_globals))
    alone, of_keras, guarded = _read(text)
    if alone or line in of_keras:
        return True
    if not text and _ABSENT.intersection(code.co_names):  # given to `exec`, say
        guarded = {line}
    installed = not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)
    asked = bool(of_keras) or not installed or module.cache_info().currsize
    return bool(asked) and line not in guarded


@functools.cache
def _read(text):
    """Return whether a text takes `tf.keras` alone, and the lines that do and catch."""
    from lamina.compat.uses import Module, plain

    try:
        read = Module(text, "")
    except (SyntaxError, ValueError, RecursionError):  # a cell with magics, say
        return False, set(), set()
    taken = [use for use in read.uses if plain(use[0]).startswith("tensorflow.")]
    of_keras = {line for name, line, _ in taken if names.PACKAGE.match(plain(name))}
    alone = bool(of_keras - read.statements) and all(x[1] in of_keras for x in taken)
    return alone, of_keras, read.guarded


class _Types(type):
    def __getattr__(cls, name):
        raise AttributeError(needs(f"tensorflow.{cls.__qualname__}.{name}"))

    def __call__(cls, *args, **kwargs):
        raise NotImplementedError(needs(f"tensorflow.{cls.__qualname__}"))


class _Data:
    """What `tensorflow.data` has: a type."""

    def __getattr__(self, name):
        if name == "Dataset":
            return _nothing("data.Dataset")
        raise AttributeError(needs(f"tensorflow.data.{name}"))


@functools.cache
def _nothing(name):
    """Return a type of TensorFlow's: nothing is an instance of it."""
    return _Types(name, (), {})


def absent(home, name):
    """Return what `tensorflow`, or a module below it, has.

    Raises:
        AttributeError: it is not of Keras.
    """
    if names.known(inner := f"{home}.{name}"):
        found = importlib.import_module(inner)
        hide()
        return found
    if name in ("RaggedTensor", "SparseTensor", "Tensor", "Variable"):
        return _nothing(name)
    if name == "is_tensor":
        return lambda x: False
    if name == "data":
        return _Data()
    raise AttributeError(needs(inner))


def needs(name):
    """Return the message for a name of TensorFlow's."""
    return (
        "TensorFlow is not installed: of it there is `tensorflow.keras`, which is "
        f"Lamina, and nothing else. `{name}` needs `pip install tensorflow`."
    )
