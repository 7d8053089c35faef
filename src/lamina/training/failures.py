"""How the processes of a run hear that one of them failed.

Nobody has to come by for that: a thread of each process asks the service that joined
them, for as long as the process runs.
"""

import atexit
import collections
import contextlib
import datetime
import json
import os
import re
import signal
import sys
import threading
from typing import Any

import jax

from lamina.core import placement

_PAUSE = 1.0  # seconds between two questions whether another process failed
_PATIENCE = 10.0  # seconds that a process may take to leave what it can leave
_PARTING = 5.0  # seconds to wait until all have heard that this process ends
_GONE = (
    "A process of this run that was killed, or ended by itself, shows like this in the "
    "others. JAX names it some seconds later, and ends them. Its own log says why. "
    "Start all of them again: `fit(resume=folder)` goes on from the last snapshot."
)
_FAILED = "lamina/failed/"  # where processes note what ends them, wherever they are
_ENDED = "lamina/ended/"  # and how far they had come when they ended
_BLOCKS = "lamina/block/"  # what each does together with the others, by number
_KEPT = 4  # of them are kept there
_TERMINATED = "lamina/told to end/"  # and that SIGTERM came
_NOTICE = "RECEIVED_PREEMPTION_NOTICE"  # where JAX looks for that
_entered: collections.Counter[str] = collections.Counter()  # blocks here, of each kind
_over = threading.Event()  # this process ends, and waits for nobody
_now: dict[str, Any] = {"block": None, "failed": None, "watches": False}
_now |= {"number": 0, "kind": None, "passed": 0}  # of the last block; see `_enter`


class _Block:
    """What a process does together with the others, such as one `fit`.

    Args:
        kind: what it does. Blocks are counted by it: a file that one process saves
            alone, because it has all weights, moves no other count.
    """

    def __init__(self, kind):
        if kind == "save":
            _entered[kind] += 1
        self.kind = kind
        self.place = f"lamina/{kind}/{_entered[kind]}/"  # of failures in it
        self.barriers = 0
        self.failed: str | None = None
        self.agreed = False  # whether all end it at one place, by an exception
        self.ended = threading.Event()


@contextlib.contextmanager
def watched(kind, several):
    """Stop a block where another process fails in it, and tell the others if this does.

    Who waits for another process in compiled code cannot be reached by an exception:
    such a process says why, and ends.

    Args:
        kind: what the block does.
        several: whether several processes do it together.

    Raises:
        RuntimeError: another process failed. The message names it and what it raised.
    """
    several = several and placement.service() is not None
    if several and kind != "save":  # which one may do alone
        _enter(kind)
    if not several or _now["block"] is not None:
        yield
        return
    block = _now["block"] = _Block(kind)
    note_ends()
    try:
        yield
    except BaseException as error:
        # What JAX says of a process that is gone explains nothing.
        if _of_runtime(error):
            if block.failed or (found := _failure(block)):
                raise RuntimeError(block.failed or found) from error
            error.add_note(_GONE)
        if not (block.failed or block.agreed):
            _note(block.place, _reason(error))
        raise
    finally:
        block.ended.set()
        _now["block"] = None


def _enter(kind):
    """Say that this process begins something that all have to do.

    What is begun inside of a block, by a callback, is begun by the others where they
    have met as often in that block (`note_met`).
    """
    inside = _now["block"] is not None
    if not inside:
        _now["passed"] = 0
    _entered[kind] += 1
    number = _now["number"] + 1
    _now.update(number=number, kind=kind)
    about = json.dumps([kind, _now["passed"] if inside else None])
    with contextlib.suppress(Exception):
        client, me = placement.service(), placement.number()
        client.key_value_set(f"{_BLOCKS}{number}/{me}/is", about)
        client.key_value_delete(f"{_BLOCKS}{number - _KEPT}/{me}/is")


def note_met() -> None:
    """Note that this process comes to a place where all meet."""
    _now["passed"] += 1


def _astray(client, me):
    """Return what to say of a process that does something else; None if none does.

    The first process looks at all, and the others at the first: they may be thousands.
    """
    number, kind = _now["number"], _now["kind"]
    if number == 0:
        return None
    for at in (number, number + 1):
        for key, text in client.key_value_dir_get(f"{_BLOCKS}{at}/{'0/' * (me > 0)}"):
            other, met = json.loads(text)
            missed = met is not None and met < _now["passed"]
            if (at == number and other != kind) or (at > number and missed):
                name = key.split("/")[-2]
                said = (
                    f"The processes do not do the same: process {name} calls `{other}` "
                    f"where process {me} does not. Every process runs the same script."
                )
                _note(_FAILED, said)
                return said
    return None


def _of_runtime(error):
    """Tell whether JAX's runtime raised it, which does as other exceptions too."""
    status = re.match(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED): ", str(error))
    return isinstance(error, jax.errors.JaxRuntimeError) or status is not None


def check_others() -> None:
    """Raise if another process failed.

    Raises:
        RuntimeError: the message names it.
    """
    block = _now["block"]
    if block is not None and block.failed:
        raise RuntimeError(block.failed)
    note_met()


def all_come(where) -> bool:
    """Tell whether all processes come to a place in a block, within some seconds."""
    block = _now["block"]
    if block is None:
        return True
    block.barriers += 1
    name = f"{block.place}{block.barriers}/{where}"
    try:
        placement.service().wait_at_barrier(name, int(_PATIENCE * 1000))
    except Exception:
        return False
    return True


def is_terminated(step) -> bool:
    """Tell whether SIGTERM came to one of the processes, in all at one step of a block.

    Args:
        step: a number that grows, the same in all.
    """
    from jax.experimental import multihost_utils

    found = multihost_utils.reached_preemption_sync_point(step)
    if found:
        _now["block"].agreed = True
        _say(*(text for _, text in placement.service().key_value_dir_get(_TERMINATED)))
    return found


def note_ends() -> None:
    """Watch the others from now on, and let them hear of what ends this process."""
    if _now["watches"] or placement.service() is None:
        return
    _now["watches"] = True
    before = sys.excepthook

    def hook(kind, error, trace):
        before(kind, error, trace)
        # An interactive process goes on; what others heard of is theirs to tell.
        if not hasattr(sys, "ps1") and _now["failed"] is None:
            _note(_FAILED, _reason(error))

    def end():
        _over.set()
        _note(_ENDED, json.dumps(_entered))

    sys.excepthook = hook
    atexit.register(end)  # runs before JAX waits for the others
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_work, name="lamina-watch", daemon=True).start()


def _terminate(number, frame):
    """End this process; a `fit` ends in all at one step, which JAX finds."""
    text = f"Process {placement.number()} was told to end, by SIGTERM."
    block = _now["block"]
    if block is not None and block.kind == "fit":
        _note(_TERMINATED, text)
        now = datetime.datetime.now(datetime.UTC).isoformat()
        with contextlib.suppress(Exception):  # another process had one, too
            placement.service().key_value_set(_NOTICE, now)
        return
    _note(_FAILED if block is None else block.place, text)
    raise SystemExit(128 + number)


def _reason(error):
    me = placement.number()
    if isinstance(error, KeyboardInterrupt):
        return f"Process {me} was interrupted."
    return f"Process {me} failed: {type(error).__name__}: {error}"


def _note(place, text):
    """Note something of this process, once, for the others to read."""
    with contextlib.suppress(Exception):  # the service may be gone
        placement.service().key_value_set(f"{place}{placement.number()}", text[:1000])


def _say(*lines):
    print(*lines, sep="\n", file=sys.stderr, flush=True)


# ---- the thread ----------------------------------------------------------------


def _work():
    while not _over.wait(_PAUSE):
        block = _now["block"]
        failed = _failure(block)
        if failed is None:
            continue
        me = f"Process {placement.number()}"
        if block is not None:
            block.failed = failed
            if block.ended.wait(_PATIENCE):
                continue
            _say(failed, f"{me} waits for it and ends.")
        else:
            _now["failed"] = failed
            _say(failed, f"{me} ends.")
            os.kill(os.getpid(), signal.SIGINT)
            if _over.wait(_PATIENCE):
                return
        _part()


def _part():
    """End this process, and let the others know that it is not to be waited for."""
    parting = threading.Thread(target=placement.service().shutdown, daemon=True)
    parting.start()
    parting.join(_PARTING)
    os._exit(1)


def _failure(block):
    """Return what another process noted that ends a block, or all; None for nothing."""
    with contextlib.suppress(Exception):
        client, me = placement.service(), placement.number()
        for place in (_FAILED,) if block is None else (block.place, _FAILED):
            for key, text in client.key_value_dir_get(place):
                if key != f"{place}{me}":
                    return text
        # What is saved by one process alone has no number that all know.
        if block is not None and block.kind != "save":
            return _ended_before(client) or _astray(client, me)
    return None


def _ended_before(client):
    """Return what to say of a process that ended and never begins what this one did."""
    kind, count = _now["kind"], _entered[_now["kind"]]
    for key, come in client.key_value_dir_get(_ENDED):
        if json.loads(come).get(kind, 0) < count:
            number = key.rpartition("/")[2]
            return f"Process {number} ended: it has no `{kind}` number {count}."
    return None
