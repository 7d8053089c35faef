"""Reading programs in a process of its own, before this one does.

The reader of StableHLO is native code that crashes on some damaged programs and takes
all memory for others. So a process that may be lost reads and checks a program first,
with limits of time and memory; what it read well, it reads well again. It waits a while
for the next program, and ends by itself.
"""

import atexit
import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any

SECONDS = 8  # for all programs of a file, or where that is more:
_SECONDS_EACH = 0.8e-6  # for each byte of them
MEMORY = 1 << 30  # bytes beyond what the process has at first, and for each byte:
_MEMORY_EACH = 16
_IDLE = 20  # seconds without a program, after which the process ends

_PLATFORMS = frozenset({"cpu", "cuda", "rocm", "tpu"})
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from lamina.export.reading import serve; serve()"
)
_lock = threading.Lock()
_here: dict[str, Any] = {"process": None, "of": None}


class Unreadable(Exception):
    """The process found no program, or did not live to say so."""


class Patience:
    """The time that the programs of one file may take together."""

    def __init__(self):
        self._size, self._used = 0, 0.0

    @contextlib.contextmanager
    def spent(self, data=b""):
        """Give the seconds that are left for a program, and count what it takes."""
        self._size += len(data)
        begin = time.monotonic()
        try:
            yield max(0.0, max(SECONDS, self._size * _SECONDS_EACH) - self._used)
        finally:
            self._used += time.monotonic() - begin


def verdict(data: bytes, patience: Patience) -> tuple[bool, str]:
    """Return what the process says of a program: whether it is allowed, or why not.

    Args:
        data: the program, as `jax.export` writes it.
        patience: that of its file.

    Raises:
        Unreadable: it is damaged.
    """
    with _lock:
        for last in (False, True):
            process = _process()
            try:
                with patience.spent(data) as seconds:
                    answer = _asked(process, data, seconds)
                break
            except BrokenPipeError:
                # It ended while it waited.
                _forget()
                if last:
                    raise Unreadable("its reader does not start") from None
            except BaseException:
                _forget()  # or it would give this answer to the next question
                raise
    kind, _, text = answer.decode(errors="replace").partition(" ")
    if kind == "damaged":
        raise Unreadable(text)
    return kind == "allowed", text


def _process():
    import pickle

    process = _here["process"]
    if process is not None and process.poll() is not None:
        process = _forget()
    if process is None or _here["of"] != os.getpid():
        process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it would quote the file
            # It must not take the accelerator.
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            start_new_session=os.name == "posix",
        )
        process.stdin.write(pickle.dumps(sys.path))  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        process.stdout.read(1)  # type: ignore[union-attr]
        _here.update(process=process, of=os.getpid())
    return process


def _forget():
    """End the process, if there is one."""
    process, _here["process"] = _here["process"], None
    if process is None or _here["of"] != os.getpid():
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()


atexit.register(_forget)


def _asked(process, data, seconds):
    """Return the answer to one program."""
    late = threading.Event()

    def stop():
        late.set()
        process.kill()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    answer = b""
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(struct.pack("<Q", len(data)))
            process.stdin.write(data)
            process.stdin.flush()
            if size := process.stdout.read(8):
                answer = process.stdout.read(*struct.unpack("<Q", size))
    finally:
        timer.cancel()
    if answer:
        return answer
    code = process.wait()
    if late.is_set():
        raise Unreadable(
            f"it takes more than {seconds:.1f} s to read, what is left for its file"
        )
    if code == 0:
        raise BrokenPipeError
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    raise Unreadable(f"the process that reads it ended with {name}")


# ---- the other process -------------------------------------------------------------


def serve():
    """Answer programs until there are none for a while: the life of the process."""
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from jax import export  # noqa: F401

    from lamina.export import verifying  # noqa: F401

    outbox.write(b".")
    outbox.flush()
    with contextlib.suppress(EOFError, OSError):
        while data := _next(inbox):
            with _limited(len(data)):
                answer = _answer(data)
            outbox.write(struct.pack("<Q", len(answer)) + answer)
            outbox.flush()


def _next(inbox):
    if os.name == "posix":
        import select

        if not select.select([inbox], [], [], _IDLE)[0]:
            return b""
    size = inbox.read(8)
    return inbox.read(*struct.unpack("<Q", size)) if len(size) == 8 else b""


@contextlib.contextmanager
def _limited(size):
    """Limit the memory that one program may take, where the system can."""
    try:
        import resource

        with open("/proc/self/statm") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + MEMORY + _MEMORY_EACH * size
    highest = [n for n in (soft, hard) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *highest]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _answer(data):
    from lamina.export.verifying import Refused

    try:
        checked(data)
        return b"allowed"
    except Refused as error:
        return f"refused {error}"[:2000].encode()
    except BaseException as error:
        text = str(error)[:500].splitlines()
        return f"damaged {type(error).__name__}: {text[0] if text else ''}".encode()


def checked(data):
    """Read and check a program here; return it, and whether it must be checked again.

    Raises:
        Refused: it holds what none may.
        Exception: it is damaged.
    """
    from jax import export
    from jax.interpreters import mlir

    from lamina.export.verifying import Refused, check

    exported = export.deserialize(bytearray(data))
    # What JAX and XLA say of these when it is called is not for users.
    if exported.nr_devices != 1:
        raise Refused(f"holds a program for {exported.nr_devices} devices, not one.")
    if not set(exported.platforms) <= _PLATFORMS or not exported.platforms:
        raise Refused(f"holds a program for {str(exported.platforms)[:200]}.")
    sizes = [size for x in exported.in_avals for size in x.shape]
    if not exported.uses_global_constants and not all(type(n) is int for n in sizes):
        raise Refused("holds a program that does not take its open sizes.")
    with mlir.make_ir_context():
        module = exported.mlir_module(serialized=False)
        return exported, check(module)
