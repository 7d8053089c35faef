"""JAX in this process: its set-up before the first call, the programs that it keeps."""

import contextlib
import hashlib
import os
import pathlib
import platform

from lamina.core import bounds
from lamina.core.settings import environment_flag

_done = {"set_up": False}


def set_up() -> None:
    """Turn on the compilation cache and keep freed memory in the process.

    `LAMINA_CACHE_DIR` moves the cache; `LAMINA_CACHE=0` turns it off.
    `LAMINA_KEEP_MEMORY=0` leaves the C library's memory settings alone.
    """
    if _done["set_up"]:
        return
    _done["set_up"] = True
    if environment_flag("LAMINA_CACHE", True):
        _compilation_cache()
    if environment_flag("LAMINA_KEEP_MEMORY", True):
        _keep_memory()


def keep_few(program):
    """Drop what was compiled of a function of `jax.jit` where it is for many shapes."""
    count = getattr(program, "_cache_size", None)
    if count is not None and count() > bounds.PROGRAMS:
        program.clear_cache()


def _compilation_cache():
    import jax

    if jax.config.jax_compilation_cache_dir:  # pyright: ignore
        _replace_broken()
        return  # the user chose one
    root = os.environ.get("LAMINA_CACHE_DIR") or _cache_home() / "lamina" / "xla"
    folder = pathlib.Path(root).expanduser() / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home costs only the cache
    _replace_broken(str(folder))
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _replace_broken(folder=None):
    """Have broken entries replaced, without a warning in a folder of our own."""
    with contextlib.suppress(ImportError):  # another JAX keeps its own way
        from lamina.core.disk_cache import use_atomic_cache

        use_atomic_cache(folder)


def _cache_home():
    given = os.environ.get("XDG_CACHE_HOME")
    return pathlib.Path(given) if given else pathlib.Path("~/.cache").expanduser()


def _machine():
    """Name what a compiled program depends on: jaxlib and the CPU's features."""
    import jaxlib

    flags = platform.processor()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                flags = line
                break
    except OSError:
        pass
    digest = hashlib.sha256(f"{platform.machine()}{flags}".encode()).hexdigest()[:12]
    version = jaxlib.__version__  # pyright: ignore
    return f"{version}-{digest}"


def _keep_memory():
    """Keep freed memory instead of returning it to the kernel at every step.

    XLA on the CPU allocates its temporaries afresh in each step, and glibc gives
    large ones back each time. Costs resident memory; glibc only, and not where
    an accelerator is the default device.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms not in ("", "cpu") or _has_accelerator():
        return
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)
    mallopt(arena_max, 1)


def _has_accelerator():
    """Tell whether a plugin for an accelerator is installed, without starting JAX."""
    import importlib.util

    names = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "libtpu")
    return any(importlib.util.find_spec(name) is not None for name in names)
