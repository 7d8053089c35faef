"""Where batches meet the devices."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import placement
from lamina.core.context import having
from lamina.core.owner import layers_in
from lamina.core.placement import Distribution, has_own_rows, output_path
from lamina.core.processes import note_alone, service, watched
from lamina.core.tracebacks import warn
from lamina.core.variable import forget_layouts, lay_out
from lamina.training.compiled import training_of
from lamina.training.together import (
    brief,
    check_alike,
    check_settings,
    check_shared_rows,
    data_text,
    form_text,
    several,
)


def placing(early=False):
    """Return what places batches: a function of a batch, and of `before`; or None.

    The one thing that does. It goes by the distribution that holds now, in other
    threads too. `before` is how many axes come before that of the rows. None: a step
    takes batches as they are.

    Args:
        early: whether to put batches on one device; elsewhere steps do it.
    """
    now = placement.distribution()
    if now is not None:
        return Divided(now)
    return _on_device if early else None


def _on_device(batch, before=0):
    return jax.tree.map(jnp.asarray, tuple(batch))


class Divided:
    """Divides the rows of batches among the devices.

    Args:
        by: the `Distribution`.
    """

    def __init__(self, by):
        self._by = by
        groups = placement.row_groups(by)
        self._groups = len(groups)  # whose rows together are the batch
        self._sums = any(len(group) > 1 for group in groups)
        self._seen = 0

    @property
    def seen(self):
        """A checksum of the batches so far, or 0 where they are not compared."""
        return self._seen if self._sums else 0

    def compare_no_more(self):
        """Leave out the batches of this object where processes compare theirs."""
        self._sums = False

    def __call__(self, batch, before=0):
        """Return a batch on the devices; see `placing`."""
        if self._sums:
            count = len(jax.tree.leaves(batch)[0]) if before else 1
            self._seen = brief(batch, self._seen, count)
        return jax.tree.map(lambda array: self._put(array, before), tuple(batch))

    def _put(self, array, before):
        now, groups, shape = self._by, self._groups, tuple(array.shape)
        if groups == 1 or len(shape) <= before:
            return placement.put(array, now.rows_sharding(shape, before))
        whole = (*shape[:before], shape[before] * groups, *shape[before + 1 :])
        sharding = now.rows_sharding(whole, before)
        if sharding.is_fully_replicated and now.row_parts > 1:
            raise ValueError(
                "With `auto_shard_dataset=False` each process gives its own rows. "
                f"{shape[before]} rows of each, {whole[before]} in all, cannot be "
                f"divided into {now.row_parts} parts. Give batches that can, and leave "
                "out a shorter last one."
            )
        if isinstance(array, jax.Array) and array.is_fully_replicated:
            array = array.addressable_data(0)  # what a layer gave lies on all devices
        return jax.make_array_from_process_local_data(sharding, array, whole)


class distributed:  # noqa: N801
    """A `with` block that runs a model under the distribution that holds, or its own.

    Its own is that which it was made or trained under before. A model that was made
    before the distribution comes to lie as that says.

    Args:
        model: the model.
        what: the method that runs it, such as `"fit"`.
        data: arrays by name that all processes have to give alike.
    """

    _blocks: Any = None

    def __init__(self, model, what, **data):
        self._model, self._what, self._data = model, what, data

    def __enter__(self):
        if not Distribution.any_made and jax.device_count() == 1:
            return
        model, what = self._model, self._what
        variables = model.variables
        now = placement.distribution_of(variables)
        if what == "fit":
            note_alone(now is None)
            if now is None:
                _warn_of_others(model)
        training = training_of(model)
        if training.under is not now:  # programs hold layouts of what layers return
            training.under = now
            training.programs.drop()
        with contextlib.ExitStack() as blocks:
            blocks.enter_context(having(distribution=now))
            about = self._about(now) if several() else None
            blocks.enter_context(watched(what, several(), about))
            if has_own_rows(now):
                placement.row_groups(now)  # refuses a mesh in which it cannot be
                if what.endswith("on_batch"):
                    check_shared_rows(brief(jax.tree.map(np.asarray, self._data)))
            _lay_out(now, model, variables)
            self._blocks = blocks.pop_all()

    def _about(self, now):
        """Return what all processes have to run the model with."""
        about = {"distribution": now.described()}
        if now.auto_shard_dataset:
            return about | {name: data_text(x) for name, x in self._data.items()}
        whole = self._what.startswith(("train_", "test_"))
        return about | {name: form_text(x, whole) for name, x in self._data.items()}

    def __exit__(self, *exception):
        return self._blocks is not None and self._blocks.__exit__(*exception)


def _warn_of_others(model):
    if service() is not None and (count := jax.process_count()) > 1:
        warn(
            f"This is one of {count} processes, and each of them trains a "
            f"{model.name!r} of its own, because no `Distribution` is there. Begin "
            "with `lamina.distribution.set_distribution(lamina.distribution."
            "DataParallel())` to train one model in all."
        )


def _lay_out(now, model, variables):
    if now is not None and now.plan_for(model):
        forget_layouts(variables, now)
        training_of(model).programs.drop()
    lay_out(variables)


def check_placed(model, groups, rows):
    """Lay out all that training changes, and warn of what was meant otherwise.

    Args:
        model: the model.
        groups: the Variables of its State.
        rows: the rows of its first batch.
    """
    now = placement.distribution()
    if now is None:
        return
    variables = [v for group in groups for v in group]
    _lay_out(now, model, variables)
    outputs = list(map(output_path, layers_in(model)))
    remarks = now.remarks(variables, outputs)
    remarks += row_remarks(now, rows * len(placement.row_groups(now)))
    for text in filter(now.once, remarks):
        warn(text)


def row_remarks(by, rows) -> list[str]:
    """Return a warning where a batch of all processes cannot be divided.

    Args:
        by: the `Distribution`.
        rows: the rows of the batch.
    """
    parts = by.row_parts
    fewer = rows - rows % parts
    if fewer == rows:
        return []
    sizes = (fewer, fewer + parts) if fewer else (parts,)
    return [
        f"Batches of {rows} rows cannot be divided by {parts} devices: each device "
        "computes all of every such batch. Choose a `batch_size` that is a multiple of "
        f"{parts}, such as {' or '.join(map(str, sizes))}."
    ]


def check_together(model, variables, batch, settings):
    """Refuse processes that would train something else each.

    Args:
        model: the model.
        variables: the Variables of its State.
        batch: its first batch.
        settings: a function that gives the settings of the run.
    """
    if not several():
        return
    check_settings(settings())
    now = placement.distribution()
    if now.auto_shard_dataset:
        check_alike(
            batch,
            "The processes give different batches. Each has to give the whole batch, "
            "and trains on its part. Where each has rows of its own, say so: "
            f"`{type(now).__name__}(..., auto_shard_dataset=False)`.",
        )
    else:
        check_shared_rows(brief(batch))
    check_alike(
        [v.raw_value for group in variables.groups for v in group],
        f"The processes start with different weights of {model.name!r}. Set one seed "
        "in all, by `lamina.utils.set_random_seed`, or begin with "
        "`lamina.distribution.initialize()`, which agrees on one.",
    )


def filled_up(x, size):
    """Repeat the last row of a batch, or zeros, until there are `size` of them."""

    def pad(a):
        rows = np.asarray(a)
        last = rows[-1:] if len(rows) else np.zeros((1, *rows.shape[1:]), rows.dtype)
        return np.concatenate([rows, np.repeat(last, size - len(rows), axis=0)])

    return jax.tree.map(pad, x)
