"""`fit`: the loop that trains."""

import math
import os
import signal
import time
from functools import partial
from typing import Any

from lamina.callbacks.backup_and_restore import (
    BackupAndRestore,
    random_state,
    set_random_state,
)
from lamina.core import settings
from lamina.core.budget import errors_about
from lamina.core.checks import is_integer, positive_int
from lamina.core.placement import Distribution
from lamina.core.tracebacks import warn
from lamina.data import EmptyData, open_source, split, unpack
from lamina.training import checks, together
from lamina.training.alone import alone, until_end
from lamina.training.compiled import require_compiled
from lamina.training.drive import Logs, chunks, drive, is_small
from lamina.training.evaluate import run_test
from lamina.training.interrupt import Interrupts
from lamina.training.placing import check_together, distributed
from lamina.training.prepare import (
    callbacks_for,
    limited,
    order_seed,
    prepare,
    ready,
)
from lamina.training.resuming import (
    check_found,
    described,
    metric_names,
    note_settings,
    put_back,
)
from lamina.training.step import State, StateVariables, copied

_ROUND = 16  # calls after which several processes ask whether to keep the run


def fit(
    model,
    *,
    x,
    y,
    batch_size,
    epochs,
    verbose,
    callbacks,
    validation_split,
    validation_data,
    shuffle,
    class_weight,
    sample_weight,
    initial_epoch,
    steps_per_epoch,
    validation_steps,
    validation_batch_size,
    validation_freq,
    resume,
    guard,
    advise,
):
    """Train; see `Model.fit`.

    `guard` makes what looks for numbers that are not finite; None looks for none.
    `advise` warns of what the data show, and returns what is to be called after the
    first epoch, or None.
    """
    with until_end(model), alone(model, "fit"), distributed(model, "fit"):
        require_compiled(model, "fit")
        _check(epochs, initial_epoch, validation_freq, shuffle)
        limit = settings.get("max_epochs")
        epochs = min(epochs, limit) if limit is not None else epochs
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split(
                x, y, sample_weight, validation_split
            )
        with together.first_batch():
            source = open_source(
                x,
                y,
                sample_weight,
                batch_size=batch_size,
                shuffle=shuffle,
                steps=limited(steps_per_epoch),
                seed=order_seed(),
            )
            source.first()
        source = ready(model, source)
        first = source.first()
        prepare(model, first)
        if Distribution.any_made:
            variables = StateVariables(model)
            given = {
                "epochs": (initial_epoch, epochs),
                "steps_per_epoch": limited(steps_per_epoch),
                "validation_data": validation_data is not None,
                "validation_freq": validation_freq,
                "resume": resume is not None,
            }
            given = partial(described, model, variables, **given)
            check_together(model, variables, first, given)
        if class_weight is not None:
            source = checks.with_class_weight(model, source, class_weight)
            first = source.first()
        checks.check_targets(model, source)
        checks.check_numbers(model, source)
        look = advise(model, source)
        held_out = None
        if validation_data is not None:
            size = (
                batch_size if validation_batch_size is None else validation_batch_size
            )
            held_out = _validation(model, validation_data, size, validation_steps)
        if held_out is not None:
            checks.check_alike(first, held_out.first(), model)
        model.stop_training = False
        callbacks = callbacks_for(
            model, callbacks, verbose, source, history=True, epochs=epochs
        )
        keeper = _keeper(resume, callbacks)
        run = Run(model, source, held_out, callbacks, keeper, guard)
        run.look = look
        arguments = {
            "steps_per_epoch": limited(steps_per_epoch),
            "class_weight": class_weight,
        }
        try:
            run.train(initial_epoch, epochs, validation_freq, arguments)
        finally:
            callbacks.close()
        return model.history


def _check(epochs, initial_epoch, validation_freq, shuffle):
    """Refuse settings that would go unnoticed or fail with other words."""
    for name, value in (("epochs", epochs), ("initial_epoch", initial_epoch)):
        if not is_integer(value) or value < 0:
            raise ValueError(
                f"`fit` expected `{name}` to be a whole number, 0 or more. Received: "
                f"{name}={value!r}"
            )
    if not isinstance(validation_freq, (list, tuple, set, range)):
        positive_int("fit", "validation_freq", validation_freq)
    if isinstance(shuffle, str) and shuffle != "batch":
        raise ValueError(
            "`fit` expected `shuffle` to be True, False or 'batch'. Received: "
            f"shuffle={shuffle!r}"
        )


def _keeper(resume, callbacks):
    """Return what stores and restores the run, if anything does."""
    if resume is not None:
        if isinstance(resume, BackupAndRestore):
            return resume
        if not isinstance(resume, (str, os.PathLike)):
            raise TypeError(
                "`resume` expected a folder or a `BackupAndRestore`. Received: "
                f"resume={resume!r}"
            )
        return BackupAndRestore(resume, save_freq=None, delete_checkpoint=False)
    return next((c for c in callbacks if isinstance(c, BackupAndRestore)), None)


def _validation(model, data, batch_size, steps):
    """Return the source of validation batches, or None for data without any."""
    x, y, weight = (
        unpack(data) if isinstance(data, (list, tuple)) else (data, None, None)
    )
    try:
        rules = {"batch_size": batch_size, "steps": steps, "restarts": True}
        source = _first_or_none("", lambda: open_source(x, y, weight, **rules))
        return source and ready(model, source)
    except ValueError as error:
        error.add_note("It was given as `validation_data`.")
        raise


def _first_or_none(when, opened):
    """Return a source of validation batches, or None where a process has none."""
    source = why = None
    try:
        source = opened()
        source.first()
    except EmptyData as error:
        why = error
    empty = together.first_with(why)
    if empty is not None:
        warn(
            f"The training goes on without validation{when}, so no log begins with "
            f"'val_'. The validation data: {why or f'Process {empty} has none.'}"
        )
        return None
    return source


def _due(epoch, frequency):
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return (epoch + 1) in frequency


class _RanOut(Exception):
    """The data gave nothing for an epoch after the first one."""


class Run:
    """One training: what its epochs share.

    Args:
        model: the model, prepared.
        source: the source of batches.
        held_out: the source of validation batches, or None.
        callbacks: the `CallbackList`.
        keeper: the `BackupAndRestore` of the run, or None.
        guard: makes what looks for the first number that is not finite; or None.
    """

    def __init__(self, model, source, held_out, callbacks, keeper, guard):
        self.model, self.source, self.held_out = model, source, held_out
        self.callbacks, self.keeper = callbacks, keeper
        self.makes_guard = guard
        self.listens = together.any_of(callbacks.listens_to_batches("train"))
        self.interrupts = Interrupts(keeper is not None and not together.several())
        self._marks: Any = None  # where the sources' present epochs began
        self._began: Any = None  # the shared generators, then
        self._logs: Any = None  # what the last step said, where a run goes on
        self._epochs = 0  # that were run
        self.look: Any = None  # what is to be looked at after the first of them
        self.donates = False
        self._calls = 0
        self._place: Any = None  # what placed the batches of the last epoch

    def train(self, epoch, epochs, validation_freq, arguments):
        """Run all epochs, from the number `epoch` on."""
        complete = False
        logs = {}
        run = self._described(arguments)
        with self.interrupts:
            try:
                self.callbacks.on_train_begin()
                if self.keeper is not None:
                    together.check_shared(self.keeper.backup_dir, "resume")
                with self._reading():
                    found = self._open(run, epochs)
                step = 0
                if found is not None:
                    epoch, step = found["epoch"], found["step"]
                    if step == 0:
                        self._put_back(found)
                        found = None
                        self._say_finished(epoch, epochs)
                stopped = self._is_stopped()
                while epoch < epochs and not stopped:
                    try:
                        logs = self._epoch(epoch, step, found, validation_freq)
                    except _RanOut as end:
                        warn(f"{end} The training ends here.")
                        break
                    self._epochs += 1
                    stopped = self._after_epoch()
                    if self.look is not None:
                        self.look()
                        self.look = None
                    epoch, step, found = epoch + 1, 0, None
                    self._keep_epoch(epoch, epochs)
                if _averages(self.model.optimizer) and epochs > 0:
                    self.model.optimizer.finalize_variable_values(
                        self.model.trainable_weights
                    )
                complete = True
            except KeyboardInterrupt:
                if not together.several():  # others do not come to what it may do
                    self.callbacks.on_train_end(logs)
                raise
            finally:
                if self.keeper is not None:
                    note_settings(self.model, run["optimizer"])
                    self.keeper.close(complete)
            self.callbacks.on_train_end(logs)

    def _epoch(self, epoch, skip, found, validation_freq):
        model, callbacks = self.model, self.callbacks
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        if found is not None:
            self._put_back(found)
        else:
            self._begin()
        logs = self._steps(epoch, skip)
        if _due(epoch, validation_freq) and self._validates(epoch):
            results = run_test(model, self.held_out, callbacks)
            logs |= {f"val_{name}": value for name, value in results.items()}
        callbacks.on_epoch_end(epoch, logs)
        return logs

    def _validates(self, epoch):
        """Tell whether there are validation data; those of an iterator may end."""
        if self.held_out is not None:
            when = f" from epoch {epoch + 1} on"
            self.held_out = _first_or_none(when, lambda: self.held_out)
        return self.held_out is not None

    def _is_stopped(self, each=True):
        """Tell whether the training was stopped, in this process or another."""
        return self._noted(together.stopped(self.model.stop_training, each))

    def _after_epoch(self):
        """Tell the same after an epoch, in which processes may have drifted apart."""
        stops = self.model.stop_training
        if not together.several():
            return stops
        kept = StateVariables(self.model, State._fields[:-1])  # without the metrics
        variables = [v for group in kept.groups for v in group]
        return self._noted(together.after_epoch(stops, self._place, variables))

    def _noted(self, stopped):
        if stopped:
            self.model.stop_training = True
        return stopped

    # ---- the steps of one epoch --------------------------------------------------

    def _steps(self, epoch, skip):
        model, callbacks = self.model, self.callbacks
        held, keeper = self.interrupts.held, self.keeper
        variables = StateVariables(model)
        # A step may overwrite its State in place unless somebody holds on to it, and
        # where that is worth a copy.
        self.donates = not self.listens and not is_small(variables)
        state = variables.copy() if self.donates else variables.read()
        logs = Logs(model, variables, state, self._logs)
        guard = self._guard(logs, skip)
        count = skip
        begin = time.perf_counter()
        chosen = chunks(
            model,
            "train",
            variables,
            self.source,
            donate=self.donates,
            skip=skip,
            single=self.listens or (guard is not None and guard.each),
            counted=keeper is not None and keeper.counts,
        )
        compiles = True
        try:
            with chosen as found:
                steps = drive("train", found, logs, callbacks, held, skip, guard)
                for count in steps:
                    if self._is_stopped(self.listens):
                        break
                    ends = self._is_terminated()
                    if keeper is not None and (ends or self._is_due(keeper)):
                        self._keep(logs.state, epoch, count, logs.given)
                    if ends:
                        raise SystemExit(128 + signal.SIGTERM)
                    if compiles:  # which does not count
                        begin, found.waited = time.perf_counter(), 0.0
                    compiles = False
                self._place = found.place
            if guard is not None:
                guard.check(logs.state, last=True)
        finally:
            good = guard is not None and guard.good
            with held:
                variables.write(good or logs.state)
        self._check_count(count, epoch)
        results = logs()
        share = found.waited / (time.perf_counter() - begin)
        callbacks.note(
            f"waited {share:.0%} of the time for data" if share > 0.1 else ""
        )
        return results

    def _guard(self, logs, count):
        if self.makes_guard is None:
            return None
        hides = getattr(self.model.optimizer, "clipvalue", None) is not None
        each = self.listens or hides
        return self.makes_guard(
            self.model, logs.variables, logs.state, count, each, self.donates
        )

    def _check_count(self, count, epoch):
        source = self.source
        if count == 0:
            message = (
                f"Epoch {epoch + 1} had no batch: the data ran out. A generator that "
                "was run through is empty afterwards; give `steps_per_epoch`, or an "
                "object that can be iterated again."
            )
            raise _RanOut(message) if self._epochs else ValueError(message)
        stopped = self.model.stop_training
        if source.batches is not None and count < source.batches and not stopped:
            warn(
                "Your input ran out of data; interrupting the epoch. It gave "
                f"{count} of {source.batches} batches. Make sure that your dataset or "
                "generator can generate enough batches, or lower `steps_per_epoch`."
            )
            source.batches = count

    # ---- snapshots -------------------------------------------------------------

    def _described(self, arguments):
        if self.keeper is None:
            return {}
        data = self.source.described()
        return described(self.model, StateVariables(self.model), **data, **arguments)

    def _open(self, run, epochs):
        """Return the snapshot to go on from, or None.

        Raises:
            ValueError: its run took more batches than there are.
        """
        if self.keeper is None:
            return None
        variables = StateVariables(self.model)
        known = {"model": self.model, "variables": variables}
        check = partial(check_found, **known, sources=self._sources())
        found = self.keeper.open(run, self.callbacks, variables.groups, check)
        if found is None:
            return None
        self._marks = found["marks"]
        # The second one is that of validation, which may be another in each run.
        for source, mark in zip(self._sources(), self._marks, strict=False):
            if source.mark().keys() == mark.keys() and found["epoch"] < epochs:
                most = (found["epoch"] + 1) * (source.batches or math.inf)
                if mark.get("taken", 0) > most:  # of a source without end, perhaps
                    raise ValueError(
                        f"{mark['taken']} batches were taken before epoch "
                        f"{found['epoch'] + 1}, and an epoch has {source.batches}."
                    )
                source.go_to(mark)
        return found

    def _reading(self):
        """Say of values that no run wrote that the snapshot holds them."""
        folder = str(self.keeper.backup_dir) if self.keeper is not None else ""
        return errors_about(f"the snapshot in {folder!r}", "holds no state of this run")

    def _say_finished(self, epoch, epochs):
        """Print that a run that goes on has nothing left to do."""
        done = f"The run in {str(self.keeper.backup_dir)!r} is finished after epoch"
        if self.callbacks.params.get("verbose") and self.model.stop_training:
            print(f"{done} {epoch}: it was stopped there.")
        elif self.callbacks.params.get("verbose") and epoch >= epochs:
            print(f"{done} {epoch} of {epochs}. Ask for more, or take another folder.")

    def _put_back(self, found):
        """Take over what the snapshot holds, once nothing else will change it."""
        with self._reading():
            put_back(found, self.model, StateVariables(self.model), self.callbacks)
            self.model.stop_training = found["stop"]
            self._began, self._logs = found["began"], found["logs"]
            if not self.source.replays:
                set_random_state(found["random"])
            elif not self._marks[0].get("begun", True):
                # The batches up to the place are made again, with the same numbers.
                set_random_state(self._began)

    def _begin(self):
        """Note where an epoch begins."""
        self._marks = [source.mark() for source in self._sources()]
        self._began, self._logs = random_state(), None

    def _sources(self):
        return [s for s in (self.source, self.held_out) if s is not None]

    def _keep(self, state, epoch, step, logs=None):
        """Store the run as it is after `step` steps of an epoch."""
        if self.donates:  # the next step overwrites it
            state = copied(state)
        self.keeper.store(
            state,
            self.callbacks,
            epoch=epoch,
            step=step,
            marks=self._marks,
            began=self._began,
            logs=logs,
            stop=bool(self.model.stop_training),
            metrics=metric_names(self.model, StateVariables(self.model)),
            stopper=self.callbacks.stopper,
        )

    def _is_terminated(self):
        """Tell whether SIGTERM came, to this process or another."""
        self._calls += 1
        return self.interrupts.terminated or together.is_terminated(self._calls)

    def _is_due(self, keeper):
        """Tell whether it is time for a snapshot; several processes agree on it."""
        due = keeper.due()
        if keeper.counts or not together.several():
            return due
        # Clocks differ; and to agree takes the time of a small step.
        return self._calls % _ROUND == 0 and together.any_of(due)

    def _keep_epoch(self, epoch, epochs):
        """Store the run between two epochs, when it is time to or it is the last."""
        if self.keeper is None:
            return
        last = epoch >= epochs or self.model.stop_training
        if last or together.any_of(self.keeper.due_after_epoch()):
            self._begin()
            self._keep(StateVariables(self.model).copy(), epoch, 0)


def _averages(optimizer):
    """Tell whether an optimizer, or the one inside it, averages weights."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return getattr(optimizer, "use_ema", False) or (inner and _averages(inner))
