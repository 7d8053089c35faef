"""A worker process that makes items of a data set: both ends of its pipes.

The worker is a new interpreter, not a fork: JAX's threads would not survive one.
It imports NumPy and what the data set needs, not JAX. Its standard input and
output carry pickled messages, so the end of either side is seen at once by the
other: a killed worker is an error, not a hang, and a killed parent ends its workers.
"""

import contextlib
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import traceback
from importlib.machinery import PathFinder
from importlib.util import LazyLoader
from typing import Any

from lamina.data.draws import SharedDraws
from lamina.data.pydataset import fetch

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from lamina.data.worker import serve; serve()"
)

_here: dict[str, Any] = {"is_worker": False}


def is_worker() -> bool:
    """Tell whether this process is one that works for a data set."""
    return _here["is_worker"]


def refuse_training():
    """Raise where a worker, importing the user's script, came to a training."""
    if _here["is_worker"]:
        raise RuntimeError(
            "A worker process imports the script that defines its data set, and the "
            "script trains at its top level. Put that part under "
            '`if __name__ == "__main__":`.'
        )


def _write(stream, message):
    _send(stream, pickle.dumps(message, protocol=5))


def _send(stream, body):
    stream.write(struct.pack("<Q", len(body)))
    stream.write(body)
    stream.flush()


def _read(stream):
    size = struct.unpack("<Q", _exactly(stream, 8))[0]
    return pickle.loads(_exactly(stream, size))


def _exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


# ---- the parent's end --------------------------------------------------------


class Worker:
    """A process that answers one request at a time.

    Args:
        name: what it works on, for messages.
    """

    def __init__(self, name: str):
        self.name = name
        from multiprocessing import spawn

        from lamina.core import placement

        self.shared = False  # whether an item drew from a generator of others
        self._version = None
        self._process = subprocess.Popen(
            [spawn.get_executable(), "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Should the user's module import JAX, it must not take the accelerator.
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            # Ctrl-C in a terminal is for the parent, which ends its workers.
            start_new_session=os.name == "posix",
        )
        self.pid = self._process.pid
        script = spawn.get_preparation_data(f"worker of {name}")
        script.pop("authkey", None)
        script["works_for"] = placement.of_run()
        with contextlib.suppress(OSError):  # the first request tells that it ended
            pickle.dump(sys.path, self._process.stdin)  # type: ignore[arg-type]
            _write(self._process.stdin, script)

    def fetch(self, index, seed, version, dataset):
        """Return an item.

        Args:
            index: which one.
            seed: for the global generators.
            version: changes when the data set has.
            dataset: the pickled data set.

        Raises:
            RuntimeError: the process has ended.
        """
        try:
            error, result = self._answer(index, seed, version, dataset)
        except (EOFError, OSError) as broken:
            raise RuntimeError(
                f"Worker process {self.pid} of `{self.name}` ended while it was to "
                f"make item {index} ({self._status()}). It may have run out of memory: "
                "fewer workers, a smaller `max_queue_size` or smaller batches need "
                "less."
            ) from broken
        if error is None:
            item, shared = result
            self.shared = self.shared or shared
            return item
        error.add_note(
            f"Worker process {self.pid} raised it for item {index} of `{self.name}`, "
            f"with this traceback:\n\n{result}"
        )
        raise error

    def _answer(self, index, seed, version, dataset):
        if version != self._version:
            error, text = self._ask(dataset)
            if error is not None:
                return error, text
            self._version = version
        return self._ask((index, seed))

    def _ask(self, request):
        _write(self._process.stdin, request)
        return _read(self._process.stdout)

    def _status(self):
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        if code >= 0:
            return f"exit code {code}"
        return f"killed by {signal.Signals(-code).name}"

    def stop(self):
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def close(self):
        """Close the pipes; for the thread that uses them."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # bytes that nobody will read
                stream.close()  # type: ignore[union-attr]


# ---- the worker's end --------------------------------------------------------


def serve():
    """Answer requests until there is no parent: the whole life of a worker."""
    _here["is_worker"] = True
    sys.meta_path.insert(0, _Later)
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What the user prints must not come between the messages.
    os.dup2(2, 1)
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
    with contextlib.suppress(EOFError, OSError):
        script, dataset, draws = _read(inbox), None, SharedDraws(None)
        if (works_for := script.pop("works_for")) is not None:
            from lamina.core import placement

            placement.stand_for(*works_for)
        while True:
            request = _read(inbox)
            try:
                if isinstance(request, bytes):
                    dataset, result = _Unpickler(request, script).load(), None
                    draws = SharedDraws(dataset)
                else:
                    with draws.watched() as drew:
                        result = fetch(dataset, *request)
                        result = result, drew()
                answer = pickle.dumps((None, result), protocol=5)
            except BaseException as error:
                answer = pickle.dumps((_sendable(error), traceback.format_exc()))
            _send(outbox, answer)


class _Later:
    """Finds Lamina's rooms for a worker: they load, with JAX, when first used.

    A user's module may say `from lamina import layers` above its data set.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        package, _, room = name.partition(".")
        if package != "lamina" or room in ("", "data", "utils") or "." in room:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


class _Unpickler(pickle.Unpickler):
    """Imports the user's script only for a class that is defined there."""

    def __init__(self, data, script):
        super().__init__(io.BytesIO(data))
        self._script = script

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "__main__":
            from multiprocessing import spawn

            spawn.prepare(self._script)
            if not hasattr(sys.modules["__main__"], global_name):
                raise AttributeError(
                    f"A worker process cannot find `{global_name}`, which is defined "
                    "in a notebook or an interactive session. Move it to a module, or "
                    "use threads (`use_multiprocessing=False`)."
                )
        return super().find_class(module_name, global_name)


def _sendable(error):
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
