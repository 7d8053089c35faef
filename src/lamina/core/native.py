"""The library of kernels that are compiled ahead of time, where there is one."""

import ctypes
import functools
import os
import sys
from pathlib import Path

# Built by hatch_build.py: one library for each level of x86-64 instructions (2 is
# what all have), one without a level elsewhere.
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the library that this machine runs best, or None."""
    if os.environ.get("LAMINA_NATIVE", "1") == "0":
        return None
    here = Path(__file__).parents[1] / "kernels" / "native"
    try:
        base = ctypes.CDLL(str(here / f"kernels{_SUFFIX}"))
        best = here / f"kernels-v{base.lamina_level()}{_SUFFIX}"
        return ctypes.CDLL(str(best)) if best.exists() else base
    except OSError:
        return None
