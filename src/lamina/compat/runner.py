"""`python -m lamina train.py`: a program for Keras, with Lamina in its place."""

import builtins
import os
import pkgutil
import runpy
import sys
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType

from lamina.compat.aliases import install


def run(arguments) -> int:
    """Run a program as `python` does.

    Args:
        arguments: a script, which may be compiled, a folder or archive with a
            `__main__.py`, `-m` and a module, `-c` and a text, or `-` for a text on
            standard input; then what the program is given.

    Returns:
        The exit code.

    Raises:
        RuntimeError: Keras was imported before.
    """
    install()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show
    # Not the module of this command, whose names the program would find among its own.
    main = sys.modules["__main__"] = ModuleType("__main__")
    space = main.__dict__
    space |= {"__builtins__": builtins, "__annotations__": {}}
    first, *rest = sys.argv = list(arguments)
    if first == "-m":
        _first_path(Path.cwd())
        del sys.argv[0]
        runpy._run_module_as_main(rest[0], alter_argv=True)  # pyright: ignore
    elif first in ("-c", "-"):
        from lamina.compat import without_tensorflow  # scripts may do without

        _first_path("")
        if first == "-c":
            del sys.argv[1]
        text = rest[0] if first == "-c" else sys.stdin.buffer.read()
        file = "<string>" if first == "-c" else "<stdin>"
        code = compile(text, file, "exec")
        if isinstance(text, bytes):
            text = decode_source(text)
        without_tensorflow.note(code, text)
        exec(code, space)
    elif pkgutil.get_importer(first) is not None:
        _first_path(Path(first).absolute())
        runpy._run_module_as_main("__main__", alter_argv=False)  # pyright: ignore
    else:
        _first_path(Path(first).resolve().parent)
        main.__file__ = file = (
            first if Path(first).is_absolute() else f"{Path.cwd()}{os.sep}{first}"
        )
        compiled = first.endswith(".pyc")
        of = SourcelessFileLoader if compiled else SourceFileLoader
        main.__loader__ = loader = of("__main__", file)
        try:
            text = loader.get_data(file)
        except OSError as error:
            reason = f"[Errno {error.errno}] {error.strerror}"
            print(
                f"{sys.executable}: can't open file {file!r}: {reason}", file=sys.stderr
            )
            return 2
        if compiled:
            code = loader.get_code("__main__")
        else:
            code = loader.source_to_code(text, file)
        exec(code, space)  # pyright: ignore
    return 0


def _first_path(folder):
    """Put what comes first in `sys.path` where Python has put that of the command."""
    if not sys.flags.safe_path:
        sys.path[0] = str(folder)


def _show(kind, error, trace):
    """Print an error without the frames that stand before the program's own."""
    frames = [trace]
    while frames[-1] is not None:
        frames.append(frames[-1].tb_next)
    ran = [
        i for i, one in enumerate(frames[:-1]) if one.tb_frame.f_code is run.__code__
    ]
    own = frames[ran[0] + 1 :] if ran else frames
    while own[0] is not None and own[0].tb_frame.f_code.co_filename.startswith("<froz"):
        del own[0]
    sys.__excepthook__(kind, error.with_traceback(own[0]), own[0])
