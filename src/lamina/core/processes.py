"""How the processes of a run meet, and hear of what ends one of them.

What all have to do, such as `fit` or `get_weights`, begins with a meeting: a process
that comes to another place, or does not come, is named there, before compiled code
waits for it. As long as a process runs, one of its threads asks the service that joined
them whether another one failed.
"""

import atexit
import collections
import contextlib
import datetime
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Any

import jax
from jax._src import distributed

from lamina.core.naming import listed
from lamina.core.native import library

_PAUSE = 1.0  # seconds between two questions whether another process failed
_LOOKS = 1e-3, 0.1  # shortest and longest between two looks whether all have come
_PATIENCE = 10.0  # seconds that a process may take to leave what it can leave
_WAIT = 20.0  # seconds to wait for processes that do nothing; then they are named
_PARTING = 5.0  # seconds to wait until all have heard that this process ends
_LOG = (
    "Its own log says why. Start all of them again: `fit(resume=folder)` goes on from "
    "the last snapshot."
)
_GONE = (
    "A process of this run that was killed, or ended by itself, shows like this in the "
    f"others. JAX names it some seconds later, and ends them. {_LOG}"
)
_FAILED = "lamina/failed/"  # where processes note what ends them, wherever they are
_ENDED = "lamina/ended/"  # and how far they had come when they ended
_BLOCKS = "lamina/block/"  # what each begins together with the others, by number
_MET = "lamina/met/"  # that all have come to it
_NOW = "lamina/now/"  # what each process is in
_KEPT = 4  # of them are kept there
_TERMINATED = "lamina/told to end/"  # and that SIGTERM came
_NOTICE = "RECEIVED_PREEMPTION_NOTICE"  # where JAX looks for that
_entered: collections.Counter[str] = collections.Counter()  # blocks here, of each kind
_over = threading.Event()  # this process ends, and waits for nobody
_now: dict[str, Any] = {"block": None, "failed": None, "watches": False, "meets": 0}
_now |= {"number": 0, "kind": None, "passed": 0}  # of the last meeting; see `_enter`
_now["alone"] = False  # whether the last `fit` was one that no other process shares
_SAID = {
    "get": "get_weights`, `numpy` or `save",
    "call": "model(x)",
    "first": "first batch",
}


def service() -> Any:
    """Return the client of the service that joined the processes, or None."""
    return distributed.global_state.client


def number() -> int:
    """Return the number of this process, also before JAX has asked for devices."""
    return distributed.global_state.process_id


@contextlib.contextmanager
def joining(limit):
    """Say every 20 seconds for whom this process waits while it joins the others.

    Args:
        limit: the seconds after which JAX gives up.
    """
    joined = threading.Event()

    def say():
        begun = time.monotonic()
        while not joined.wait(_WAIT):
            state: Any = distributed.global_state
            if state.client is not None:
                seconds = time.monotonic() - begun
                _say(
                    f"Process {state.process_id} of {state.num_processes} has waited "
                    f"{seconds:.0f} s for {_late(state)} JAX gives up after {limit} s."
                )

    threading.Thread(target=say, name="lamina-joining", daemon=True).start()
    try:
        yield
    finally:
        joined.set()


def _late(state):
    """Return which processes have not joined yet, in words, as far as one can know."""
    host, _, port = state.coordinator_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PAUSE):
            listens = True
    except OSError:
        listens = False
    if not listens:
        return (
            f"process 0, and nothing listens at {state.coordinator_address}: process 0 "
            "has not come to `initialize`, has ended, or has another address."
        )
    if state.num_processes == 2 and state.process_id == 0:
        return "process 1, which has not come to `initialize`."
    return (
        "others: at least one has not come to `initialize`, and does not say in its "
        "log that it waits."
    )


class _Block:
    """What a process does together with the others, such as one `fit`.

    Args:
        kind: what it does. Blocks are counted by it: a file that one process saves
            alone, because it has all weights, moves no other count.
    """

    def __init__(self, kind):
        count = _entered[kind] + 1
        if kind == "save":  # which has no meeting, where it is counted
            _entered[kind] = count
        self.kind = kind
        self.place = f"lamina/{kind}/{count}/"  # of failures in it
        self.met = False  # whether the others have begun it, too
        self.failed: str | None = None
        self.agreed = False  # whether all end it at one place, by an exception
        self.ended = threading.Event()


@contextlib.contextmanager
def watched(kind, several, about=None):
    """Stop a block where another process fails in it, and tell the others if this does.

    A process that waits for another in compiled code cannot be reached by an exception:
    such a process says why, and ends.

    Args:
        kind: what the block does.
        several: whether several processes do it together.
        about: what all have to do it with, as `meet` takes it.

    Raises:
        RuntimeError: another process failed. The message names it and what it raised.
        ValueError: another process does it with something else.
    """
    several = several and service() is not None
    meets = several and kind != "save"  # which one may do alone
    if not several or _now["block"] is not None:
        if meets:
            meet(kind, about)
        yield
        return
    note_ends()
    block = _now["block"] = _Block(kind)
    try:
        if meets:
            meet(kind, about)
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


def meet(kind, about=None):
    """Wait until all processes begin what this one begins.

    They may be busy with something that is not known here: it waits on, after a word.

    Args:
        kind: what that is.
        about: what all have to do it with: texts by name.

    Raises:
        RuntimeError: one of them begins something else, ended or failed. The message
            names it.
        ValueError: one of them has another text; in all of them.
    """
    _now["meets"] += 1
    try:
        _meet(service(), kind, about or {})
    finally:
        _now["meets"] -= 1


def _meet(client, kind, about):
    count, said = jax.process_count(), False
    _enter(client, kind, about)
    asked = begun = time.monotonic()
    while (found := _all_begin(client, count, asked)) is None:
        asked, block = time.monotonic(), _now["block"]
        if found := (block and block.failed) or _failure(block):
            raise RuntimeError(found)
        if said or asked - begun < _WAIT:
            continue
        begun = asked
        missing, busy = _missing(client, count)
        if busy or not missing:
            continue
        _say(
            f"Process {number()} waits at `{_said(kind)}` for {missing}. All processes "
            "have to call it."
        )
        said = True
    if found:
        raise ValueError(found)


@contextlib.contextmanager
def met_after(kind):
    """Do something in a block, and meet the others once all have done it.

    Args:
        kind: what that is.

    Raises:
        RuntimeError: one of them failed in it. The message names it.
    """
    try:
        yield
    except BaseException:
        # The others hear of it at that meeting, which this process leaves out.
        _count(kind)
        raise
    meet(kind)


def _enter(client, kind, about):
    """Say that this process begins something that all have to do.

    What is begun inside of a block, by a callback, is begun by the others where they
    have met as often in that block (`note_met`).
    """
    block = _now["block"]
    inside = block is not None and block.met
    if block is not None:
        block.met = block.kind != "save"
    if not inside:
        _now["passed"] = 0
    at, me = _count(kind), number()
    text = json.dumps([kind, _now["passed"] if inside else None, about])
    client.key_value_set(f"{_BLOCKS}{at}/{me}/is", text)
    client.key_value_delete(f"{_BLOCKS}{at - _KEPT}/{me}/is")
    if me == 0:
        client.key_value_delete(f"{_MET}{at - _KEPT}")


def _count(kind) -> int:
    """Return the number of a meeting."""
    _entered[kind] += 1
    _now.update(number=_now["number"] + 1, kind=kind)
    return _now["number"]


def _all_begin(client, count, since) -> str | None:
    """Wait for a moment until all begin what this process does; None if they do not.

    The first process looks at all, and tells the others: they may be thousands.

    Returns:
        What they do not do it with alike, in words; empty where they do.
    """
    at, (pause, longest) = _now["number"], _LOOKS
    if number() > 0:
        try:
            found = client.blocking_key_value_get(f"{_MET}{at}", int(_PAUSE * 1000))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise  # the service is gone
            return None
        return found
    while time.monotonic() < since + _PAUSE:
        found = client.key_value_dir_get(f"{_BLOCKS}{at}/")
        if len(found) == count:
            doing = {int(key.split("/")[-2]): json.loads(text) for key, text in found}
            if any(kind != _now["kind"] for kind, *_ in doing.values()):
                return None
            told = _differing(_now["kind"], {i: doing[i][2] for i in sorted(doing)})
            client.key_value_set(f"{_MET}{at}", told)
            return told
        time.sleep(pause)
        pause = min(2 * pause, longest)
    return None


def _differing(kind, about):
    """Return in which texts processes differ, in words, or an empty text."""
    first = about[0]
    for i, other in about.items():
        for name in dict.fromkeys((*first, *other)):
            one, two = first.get(name, "none"), other.get(name, "none")
            if one != two:
                return (
                    f"The processes do not do the same in `{_said(kind)}`: the {name} "
                    f"of process 0 is {one}, and that of process {i} is {two}. Every "
                    "process runs the same script with the same arguments."
                )
    return ""


def _missing(client, count):
    """Return the processes that have not come, in words, and whether one may yet."""
    found = client.key_value_dir_get(f"{_BLOCKS}{_now['number']}/")
    come = {key.split("/")[-2] for key, _ in found}
    known = dict(client.key_value_dir_get(_NOW))
    missing, busy = [], False
    for i in map(str, range(count)):
        if i not in come:
            about = known.get(f"{_NOW}{i}", "[null, null, false]")
            inside, last, alone = json.loads(about)
            busy = busy or inside is not None
            does = f"last called `{_said(last)}`" if last else "has called nothing yet"
            if alone:
                does = "trains a model of its own: no `Distribution` is there"
            missing.append(f"process {i}, which {does}")
    return listed(missing, 8), busy


def _said(kind):
    return _SAID.get(kind, kind)


def note_alone(alone) -> None:
    """Note whether this process trains a model that it shares with no other."""
    _now["alone"] = alone


def note_met() -> None:
    """Note that this process comes to a place where all meet."""
    _now["passed"] += 1


def _astray(client, me):
    """Return what to say of a process that does something else; None if none does."""
    at, kind = _now["number"], _now["kind"]
    if at == 0:
        return None
    for place in (at, at + 1):
        found = client.key_value_dir_get(f"{_BLOCKS}{place}/{'0/' * (me > 0)}")
        for key, text in found:
            other, met, _ = json.loads(text)
            missed = met is not None and met < _now["passed"]
            if (place == at and other != kind) or (place > at and missed):
                mine = f"calls `{_said(kind)}`" if place == at else "does not"
                said = (
                    "The processes do not do the same: process "
                    f"{key.split('/')[-2]} calls `{_said(other)}` where process {me} "
                    f"{mine}. Every process runs the same script."
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


def is_terminated(step) -> bool:
    """Tell whether SIGTERM came to one of the processes, in all at one step of a block.

    Args:
        step: a number that grows, the same in all.
    """
    from jax.experimental import multihost_utils

    found = multihost_utils.reached_preemption_sync_point(step)
    if found:
        _now["block"].agreed = True
        _say(*(text for _, text in service().key_value_dir_get(_TERMINATED)))
    return found


def of_how_many() -> tuple[int, int] | None:
    """Return the number of this process, and how many there are; None for one alone."""
    if service() is None:
        return None
    return number(), distributed.global_state.num_processes


def stand_for(process_id, count) -> None:
    """Let JAX say here that this is one of the processes, without joining them.

    A script that is imported may call `jax.distributed.initialize()` then.
    """
    state: Any = distributed.global_state
    state.initialize = lambda *_, **__: None
    jax.process_index = lambda backend=None: process_id
    jax.process_count = lambda backend=None: count


def note_ends() -> None:
    """Watch the others from now on, and let them hear of what ends this process."""
    if _now["watches"] or service() is None:
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
        _note(_ENDED, json.dumps(_entered | {"number": _now["number"]}))

    sys.excepthook = hook
    atexit.register(end)  # runs before JAX waits for the others
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_work, name="lamina-watch", daemon=True).start()
    _say_if_gone()


def _say_if_gone():
    """Let it be said that the first process ended, when JAX ends this one for that."""
    address = distributed.global_state.coordinator_address
    say = getattr(library(), "lamina_say_if_gone", None)
    if number() == 0 or address is None or say is None:
        return
    host, _, port = address.rpartition(":")
    text = (
        "Process 0, which joins the processes of this run, is gone: it ended, or JAX "
        f"ended it for a task that JAX names above. {_LOG} JAX ends process "
        f"{number()}, which cannot go on without it.\n"
    )
    say(host.strip("[]").encode(), port.encode(), text.encode())


def _terminate(signal_number, frame):
    """End this process; a `fit` ends in all at one step, which JAX finds."""
    text = f"Process {number()} was told to end, by SIGTERM."
    block = _now["block"]
    if block is not None and block.kind == "fit":
        _note(_TERMINATED, text)
        now = datetime.datetime.now(datetime.UTC).isoformat()
        with contextlib.suppress(Exception):  # another process had one, too
            service().key_value_set(_NOTICE, now)
        return
    _note(_FAILED if block is None else block.place, text)
    raise SystemExit(128 + signal_number)


def _reason(error):
    me = number()
    if isinstance(error, KeyboardInterrupt):
        return f"Process {me} was interrupted."
    notes = [note.partition("\n")[0] for note in getattr(error, "__notes__", [])]
    text = f"Process {me} failed: {type(error).__name__}: {error}"
    return "\n".join([text[:1000], *notes])


def _note(place, text):
    """Note something of this process, once, for the others to read."""
    with contextlib.suppress(Exception):  # the service may be gone
        service().key_value_set(f"{place}{number()}", text[:1000])


def _say(*lines):
    print(*lines, sep="\n", file=sys.stderr, flush=True)


# ---- the thread ----------------------------------------------------------------


def _work():
    shown, ended = None, {}
    while not _over.wait(_PAUSE):
        block = _now["block"]
        if block is None and _now["meets"]:
            continue  # there it is found and raised
        with contextlib.suppress(Exception):
            now = [block and block.kind, _now["kind"], _now["alone"]]
            if shown != now:
                place = f"{_NOW}{number()}"
                service().key_value_set(place, json.dumps(now), allow_overwrite=True)
                shown = now
            _tell_of_ended(ended)
        failed = _failure(block)
        if failed is None:
            continue
        me = f"Process {number()}"
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

    def part():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()  # what was printed would be lost
        service().shutdown()

    parting = threading.Thread(target=part, daemon=True)
    parting.start()
    parting.join(_PARTING)
    os._exit(1)


def _failure(block):
    """Return what another process noted that ends a block, or all; None for nothing."""
    with contextlib.suppress(Exception):
        client, me = service(), number()
        for place in (_FAILED,) if block is None else (block.place, _FAILED):
            for key, text in client.key_value_dir_get(place):
                if key != f"{place}{me}":
                    return text
        return _ended_before(client) or _astray(client, me)
    return None


def _tell_of_ended(known):
    """Say which processes ended some seconds ago, while this one goes on."""
    for key, _ in service().key_value_dir_get(_ENDED):
        since = known.setdefault(key, time.monotonic())
        if since + _PARTING < time.monotonic():
            known[key] = math.inf  # once
            _say(f"Process {key.rpartition('/')[2]} ended. Process {number()} goes on.")


def _ended_before(client):
    """Return what to say of a process that ended and never begins what this one did."""
    kind, count = _now["kind"], _entered[_now["kind"]]
    for key, text in client.key_value_dir_get(_ENDED):
        other, come = key.rpartition("/")[2], json.loads(text)
        if come.get(kind, 0) < count:
            return f"Process {other} ended: it has no `{_said(kind)}` number {count}."
        if come["number"] > _now["number"]:
            return f"Process {other} ended: it did something else than this process."
    return None
