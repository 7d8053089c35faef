"""`TensorBoard`."""

import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina.callbacks import event_file
from lamina.callbacks.callback import Callback
from lamina.callbacks.event_file import EventFile
from lamina.callbacks.learning_rate import learning_rates
from lamina.core.checks import is_integer
from lamina.core.config import serialize_keras_object
from lamina.core.tracebacks import warn

_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end")


class TensorBoard(Callback):
    """Write what TensorBoard shows: curves, the model, weights, a profile.

    The values of the training are the run `train` below `log_dir`, those of the
    validation the run `validation`. `epoch_loss` and the like are drawn over the
    epochs, `batch_loss` over the batches of the training, and
    `evaluation_loss_vs_iterations` over the optimizer's steps. TensorFlow is not
    needed; look with `tensorboard --logdir logs`.

    Args:
        log_dir: the folder of the log.
        histogram_freq: how many epochs apart the weights' histograms are; 0 for none.
        write_graph: whether to write the layers of a Sequential or Functional model.
        write_images: whether the weights are written as images with the histograms.
        write_steps_per_second: whether to write the speed.
        update_freq: `"epoch"`, or how many batches apart values are written within
            an epoch; `"batch"` is 1.
        profile_batch: the batch to profile, counted from 1, or `(first, last)`; 0 for
            none.
        embeddings_freq: how many epochs apart the tables of embedding layers are
            written for the projector; 0 for never.
        embeddings_metadata: the file of labels of each embedding layer by its name,
            or one file for all; paths are relative to `log_dir`.

    Raises:
        ImportError: the package `tensorboard` is not installed.
        ValueError: a frequency or `profile_batch` is none of these, or, in `fit`,
            `embeddings_metadata` names no embedding layer of the model.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> board = lamina.callbacks.TensorBoard(folder)
    >>> x = np.ones((4, 2))
    >>> history = model.fit(x, x[:, :1], callbacks=[board], verbose=0)
    >>> [path.parent.name for path in pathlib.Path(folder).glob("*/events.*")]
    ['train']
    """

    on_every_process = False

    def __init__(
        self,
        log_dir: str | PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int | str | Sequence[int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: dict | None = None,
    ):
        super().__init__()
        event_file.require_tensorboard("TensorBoard")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = _epochs("histogram_freq", histogram_freq)
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq: Any = _batches(update_freq)
        self.profile_batch = profile_batch
        self.embeddings_freq = _epochs("embeddings_freq", embeddings_freq)
        self.embeddings_metadata = embeddings_metadata
        self._first, self._last = _profiled(profile_batch)
        self._forget()

    @property
    def summary(self):
        """Refuse: Keras has TensorFlow's writers here.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            "`TensorBoard.summary` is left out: it is TensorFlow's module, and events "
            "are written without TensorFlow. Put your own numbers into `logs` in a "
            "callback that comes before this one; they are drawn as curves."
        )

    def _forget(self):
        self._runs = {}
        self._step = 0  # batches of this training so far
        self._before = 0  # those of the epochs before
        self._iterations = 0
        self._epoch_began = self._batch_began = 0.0
        self._tracing = False
        self._traced = self._first == 0
        self._mark: Any = None  # the batch in the profile

    def get_state(self):
        """Return how many batches there were."""
        return {"step": self._step, "before": self._before, "traced": self._traced}

    def _check_state(self, state):
        counts = [state.get(name) for name in ("step", "before", "traced")]
        if not all(isinstance(n, int) and 0 <= n < 1 << 62 for n in counts):
            raise ValueError(
                "The state of `TensorBoard` is numbers of batches. Received: "
                f"{state!r:.100}"
            )

    def set_state(self, state):
        """Go on counting."""
        self._check_state(state)
        self._step, self._before = state["step"], state["before"]
        self._traced = state["traced"]
        self._note_begin()

    def _listens(self, hook):
        if hook in _BATCH_HOOKS and getattr(type(self), hook) is getattr(
            TensorBoard, hook
        ):
            return self.update_freq != "epoch" or self._first > 0
        return super()._listens(hook)

    # ---- hooks -----------------------------------------------------------------

    def on_train_begin(self, logs=None):
        """Begin new files, and write the model."""
        self._stop_trace()
        self._forget()
        if self.write_graph:
            self._write_graph()
        if self.embeddings_freq:
            self._write_projector()

    def on_train_end(self, logs=None):
        """End a profile that is still taken."""
        self._stop_trace()

    def on_epoch_begin(self, epoch, logs=None):
        """Note where the epoch begins."""
        self._before = self._step
        self._note_begin()

    def on_epoch_end(self, epoch, logs=None):
        """Write the values of the epoch, and the weights when it is time to."""
        logs = logs or {}
        values = {k: v for k, v in logs.items() if not k.startswith("val_")}
        validation = {
            k.removeprefix("val_"): v for k, v in logs.items() if k.startswith("val_")
        }
        if logs:
            # An optax transformation keeps its learning rate to itself.
            with contextlib.suppress(AttributeError):
                values |= learning_rates(self.model)
            if self.write_steps_per_second:
                spent = time.perf_counter() - self._epoch_began
                values["steps_per_second"] = (self._made() - self._iterations) / spent
        self._write("train", epoch, event_file.scalars(values, "epoch_"))
        self._write("validation", epoch, event_file.scalars(validation, "epoch_"))
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            for name, table in self._embeddings().items():
                self._write_table(name, table)

    def on_train_batch_begin(self, batch, logs=None):
        """Begin the profile when it is time to."""
        self._batch_began = time.perf_counter()
        if not self._traced and not self._tracing and self._step + 1 >= self._first:
            jax.profiler.start_trace(self._folder("train"))
            self._tracing = True
        if self._tracing:
            self._mark = jax.profiler.StepTraceAnnotation("train", step_num=batch)
            self._mark.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        """Write the values of the batch, and end the profile, when it is time to."""
        before, self._step = self._step, self._before + batch + 1
        self._end_mark()
        if self._tracing and self._step >= self._last:
            self._stop_trace()
        # Several batches may have been run at once.
        every = self.update_freq
        if every == "epoch" or self._step // every == before // every:
            return
        values = dict(logs or {})
        if self.write_steps_per_second:
            spent = time.perf_counter() - self._batch_began
            values["steps_per_second"] = (self._step - before) / spent
        self._write("train", self._step, event_file.scalars(values, "batch_"))

    def on_test_end(self, logs=None):
        """Write the values of the evaluation."""
        summaries = event_file.scalars(logs or {}, "evaluation_", "_vs_iterations")
        self._write("validation", self._made(), summaries)

    # ---- what is written -------------------------------------------------------

    def _folder(self, run):
        return str(Path(self.log_dir, run))

    def _write(self, run, step, summaries):
        if not summaries:
            return
        if run not in self._runs:
            self._runs[run] = EventFile(self._folder(run))
        self._runs[run].write(step, *summaries)

    def _write_graph(self):
        kind = type(self._model).__name__
        if kind not in ("Sequential", "Functional"):
            return
        try:
            # Without what `compile` was given, which need not be serializable.
            config = serialize_keras_object(self._model.get_config())
            text = json.dumps({"class_name": kind, "config": config})
        except Exception as error:  # a user's layer may have no config
            warn(f"`TensorBoard` could not write the graph of the model: {error}")
        else:
            self._write("train", 0, [event_file.model_graph(text)])

    def _write_weights(self, epoch):
        summaries = []
        for layer in self.model.layers:
            for weight in layer.weights:
                tag = weight.path.replace(":", "_")
                values = np.asarray(weight.value)
                summaries.append(event_file.histogram(f"{tag}/histogram", values))
                if self.write_images:
                    summaries.append(event_file.image(f"{tag}/image", values))
        self._write("train", epoch, [s for s in summaries if s is not None])

    # ---- embeddings ------------------------------------------------------------

    def _embeddings(self):
        layers = {layer.name: layer for layer in self.model.layers}
        return {n: x.embeddings for n, x in layers.items() if hasattr(x, "embeddings")}

    def _write_projector(self):
        from google.protobuf import text_format
        from tensorboard.plugins.projector import ProjectorConfig  # pyright: ignore

        names = list(self._embeddings())
        labels = self.embeddings_metadata or {}
        if isinstance(labels, (str, os.PathLike)):
            labels = dict.fromkeys(names, labels)
        unknown = [name for name in labels if name not in names]
        if unknown:
            raise ValueError(
                "`TensorBoard` expected `embeddings_metadata` to name embedding "
                f"layers of the model: {names}. Received: {unknown}"
            )
        config = ProjectorConfig()
        for name in names:
            entry = config.embeddings.add(tensor_name=name, tensor_path=_table(name))
            if name in labels:
                entry.metadata_path = os.fspath(labels[name])
        path = Path(self.log_dir, "projector_config.pbtxt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_format.MessageToString(config))

    def _write_table(self, name, table):
        path = Path(self.log_dir, _table(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.asarray(table.value, "float32"), "%.9g", delimiter="\t")

    # ---- time ------------------------------------------------------------------

    def _note_begin(self):
        self._iterations = self._made()
        self._epoch_began = time.perf_counter()

    def _made(self):
        """Return how many steps the optimizer has made."""
        model = self.model
        iterations = getattr(getattr(model, "optimizer", None), "iterations", 0)
        return int(np.asarray(iterations))

    def _close(self):
        self._stop_trace()

    def _stop_trace(self):
        self._end_mark()
        if not self._tracing:
            return
        self._tracing = False
        self._traced = True
        try:
            # The steps run on after they were called; the profile is to show them.
            jax.block_until_ready([v.value for v in self.model.variables])
        finally:
            jax.profiler.stop_trace()

    def _end_mark(self):
        if self._mark is not None:
            self._mark.__exit__(None, None, None)
            self._mark = None


def _table(name):
    return f"embeddings/{re.sub('[^A-Za-z0-9_.-]', '_', name)}.tsv"


def _epochs(name, value):
    if not is_integer(value) or value < 0:
        raise ValueError(
            f"`TensorBoard` expected `{name}` to be a number of epochs, or 0. "
            f"Received: {name}={value!r}"
        )
    return value


def _batches(value):
    if value == "batch":
        return 1
    if value != "epoch" and not (is_integer(value) and value > 0):
        raise ValueError(
            "`TensorBoard` expected `update_freq` to be 'epoch', 'batch' or a positive "
            f"number of batches. Received: update_freq={value!r}"
        )
    return value


def _profiled(value):
    """Return the first and the last batch to profile; zeros for none."""
    pair: Any = value
    if isinstance(value, str) and re.fullmatch(r"\d+(,\d+)?", value):
        # Keras' old way to write it.
        pair = [int(part) for part in value.split(",")]
        pair = pair * 2 if len(pair) == 1 else pair
    elif is_integer(value):
        pair = (value, value)
    good = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not good or not all(map(is_integer, pair)) or not 0 <= pair[0] <= pair[1]:
        raise ValueError(
            "`TensorBoard` expected `profile_batch` to be a non-negative integer, or a "
            "tuple of 2 positive integers, the first batch and the last. Received: "
            f"profile_batch={value!r}"
        )
    return tuple(pair)
