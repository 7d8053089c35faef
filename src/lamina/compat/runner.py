"""`python -m lamina train.py`: a program for Keras, with Lamina in its place."""

import importlib
import runpy
import sys
from pathlib import Path

from lamina.compat.aliases import install


def run(arguments) -> None:
    """Run a script, or a module after `-m`, as `python` does.

    Args:
        arguments: the script or `-m` and the module, then what it is given.

    Raises:
        RuntimeError: Keras was imported before.
    """
    install()
    here = str(Path.cwd())
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[:] = [here, *(path for path in sys.path if path not in ("", here))]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.argv, script = list(arguments), Path(arguments[0])
    # The script's folder comes where Python has put that of the command.
    sys.path[0] = str(script.resolve().parent)
    main = importlib.import_module("__main__")
    main.__file__, main.__spec__ = str(script), None  # workers import it anew
    space = main.__dict__
    space["__name__"] = "__main__"
    exec(compile(script.read_bytes(), str(script), "exec"), space)
