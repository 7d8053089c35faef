"""The loop over the batches of an epoch, under `fit`, `evaluate` and `predict`.

Logs stay on the device until somebody reads them. The model's Variables are written
back at the end, however the loop ends.
"""

from contextlib import nullcontext
from typing import Any

from lamina.callbacks.callback_list import CallbackList
from lamina.core import settings, structure
from lamina.core.placement import distribution, is_first
from lamina.data import ArraySource, open_source
from lamina.training import failures, together
from lamina.training.compiled import training_of
from lamina.training.mapped import Mapped

_FREE: Any = nullcontext()


def drive(kind, chunks, logs: Any, callbacks, held=_FREE, count=0, guard=None):
    """Run the compiled calls of an epoch, one after the other.

    Args:
        kind: `"train"`, `"test"` or `"predict"`.
        chunks: the Chunks, and a method `run(state, chunk)` for one of them.
        logs: what holds the State, what the last call said (`given`), and the Variables
            of the State (`variables`; None where a run changes none). Called, it
            returns the logs.
        callbacks: the `CallbackList`.
        held: a context that a call is not interrupted in.
        count: how many steps were done before.
        guard: the Guard that looks for numbers that are not finite, or None.

    Yields:
        Each Chunk, done, and how many steps are.
    """
    variables = logs.variables
    listens = callbacks.listens_to_batches(kind)
    watched = listens and logs.variables is not None
    begin = getattr(callbacks, f"on_{kind}_batch_begin")
    end = getattr(callbacks, f"on_{kind}_batch_end")
    for chunk in chunks:
        failures.check_others()
        if listens:
            begin(count)
        if watched:
            logs.state = variables.read()
        if guard is not None:
            guard.take(chunk, logs.state)
        with held:
            logs.state, logs.given = chunks.run(logs.state, chunk)
            count += chunk.count
            if watched:
                variables.write(logs.state)
        if guard is not None:
            guard.check(logs.state)
        end(chunk.last(count), logs)
        if watched:
            logs.state = variables.read()
        yield chunk, count


def callbacks_for(model, given, verbose, source, history=False, epochs=1):
    """Return the `CallbackList` of a loop.

    Of several processes the first one prints and writes, and hands its callbacks what
    the others have as well.
    """
    if not is_first(distribution()):
        verbose, given = 0, _of_all(given)
    if isinstance(given, CallbackList):
        return given
    return CallbackList(
        given,
        add_history=history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=source.batches,
    )


def _of_all(given):
    """Return the callbacks that run in every process."""
    alone = isinstance(given, CallbackList)
    found = list(given) if alone else structure.flatten(given)
    found = [c for c in found if getattr(c, "on_every_process", True)]
    return [c for c in found if c is not None]


def limited(steps):
    """Return how many steps to run at most: a number, or None for all there are."""
    limit = settings.get("max_steps_per_epoch")
    if limit is None:
        return steps
    return limit if steps is None else min(steps, limit)


def source_for(model, x, y=None, sample_weight=None, **rules):
    """Return the source of batches for whatever a model was given.

    What works on text is done, and other text is left out.

    Args:
        model: the model that will take the batches.
        x: inputs, or what yields batches; see `lamina.data.open_source`.
        y: targets.
        sample_weight: weights.
        rules: more arguments, `open_source` takes them.
    """
    source = open_source(x, y, sample_weight, **rules)
    if (steps := together.least_batches(source)) is not None:
        source = open_source(x, y, sample_weight, **{**rules, "steps": steps})
    on_host, first = training_of(model).on_host, source.first()[0]
    if on_host(model, first) is first:
        return source

    def change(batch):
        x, y, weight = batch
        return on_host(model, x), y, weight

    if not isinstance(source, ArraySource):
        return Mapped(source, change)
    source.change = change
    return source
