"""The module `tensorflow` where TensorFlow is not installed: of it there is its Keras.

Most programs that import it take nothing else of it; some ask in this way whether there
is one, and are told that there is none.
"""

import builtins
import functools
import importlib
import linecache
import sys
from pathlib import PurePath

from lamina.compat import names


def ask_again() -> None:
    """Let each `import tensorflow` be answered by itself, though there is a module."""
    plain = builtins.__import__

    def asking(name, *arguments, **named):
        if name == "tensorflow" and not is_answered():
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)
        return plain(name, *arguments, **named)

    builtins.__import__ = asking


def is_answered() -> bool:
    """Tell whether the import of `tensorflow` that runs now gets a module.

    One that names `keras` gets it, and so does one in a file that takes `tf.keras` and
    nothing else of it. Any other that catches no `ImportError` gets it in a file that
    takes `tf.keras`, in one that is not of an installed package, and where there is
    the module already: what is missing is then said where it is used.
    """
    frame, wanted = sys._getframe(1), ""
    while frame is not None:
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__")
        if module == "importlib.util":
            wanted = str(frame.f_locals.get("fullname"))
            if wanted == "tensorflow":
                return False
        elif file.startswith("<frozen importlib"):
            wanted = str(frame.f_locals.get("name", wanted))
        elif module not in ("importlib", "lamina.compat.aliases", __name__):
            break
        frame = frame.f_back
    if frame is None or wanted.startswith("tensorflow."):
        return True
    file = frame.f_code.co_filename
    text = "".join(linecache.getlines(file, frame.f_globals))
    alone, of_keras, guarded = _read(text)
    if alone or frame.f_lineno in of_keras:
        return True
    installed = not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)
    asked = bool(of_keras) or not installed or "tensorflow" in sys.modules
    return asked and frame.f_lineno not in guarded


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


def absent(module, name):
    """Return what `tensorflow`, or a module below it, has.

    Raises:
        AttributeError: it is not of Keras.
    """
    if names.known(inner := f"{module}.{name}"):
        return importlib.import_module(inner)
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
