"""`OrbaxCheckpoint`."""

import pathlib
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.callbacks.saving_callback import SavingCallback
from lamina.callbacks.sharded import orbax
from lamina.core.references import References
from lamina.saving.orbax import ORDER, WEIGHTS, order_of
from lamina.saving.state import written_assets
from lamina.saving.writing import written_config
from lamina.training.together import check_shared


class OrbaxCheckpoint(SavingCallback):
    """Save the model through Orbax while it is trained, in the background.

    `lamina.saving.load_model(directory)` and `model.load_weights(directory)` read the
    latest checkpoint; of several processes each writes its own parts of the weights.

    Args:
        directory: the folder of the checkpoints, which is made.
        monitor: the value that decides what is best.
        verbose: 1 tells what is saved.
        save_best_only: whether to save only when `monitor` improves.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        save_freq: `"epoch"`, or after how many batches to save.
        initial_value_threshold: the value to beat at first.
        max_to_keep: how many of the latest checkpoints stay; all for None.
        save_on_background: whether training goes on while a checkpoint is written.
        save_weights_only: whether to leave out the architecture and the optimizer.

    Raises:
        ValueError: `save_freq` is none of these.
        ImportError: orbax-checkpoint is not installed.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "run")
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((4, 3)), np.ones((4, 2))
    >>> keep = lamina.callbacks.OrbaxCheckpoint(folder)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[keep])
    >>> again = lamina.saving.load_model(folder)
    >>> bool((again.predict(x, verbose=0) == model.predict(x, verbose=0)).all())
    True
    """

    _saves_unknown = False

    def __init__(
        self,
        directory: str | PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ):
        super().__init__(
            monitor, verbose, save_best_only, mode, save_freq, initial_value_threshold
        )
        self.directory = directory
        self.max_to_keep = max_to_keep
        self.save_on_background = save_on_background
        self.save_weights_only = save_weights_only
        self._async_futures: list = []
        # Several processes have to come for that.
        alone = jax.process_count() == 1
        self.checkpointer: Any = self._opened() if alone else None

    def _opened(self):
        training = orbax().training
        kept = self.max_to_keep
        return training.Checkpointer(
            pathlib.Path(self.directory).absolute(),
            preservation_policy=None
            if kept is None
            else training.preservation_policies.LatestN(kept),
            save_decision_policy=training.save_decision_policies.FixedIntervalPolicy(1),
        )

    def set_model(self, model):
        """Take the model; its batches are counted on from where its optimizer is."""
        super().set_model(model)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            self._total_batches_seen = int(optimizer.iterations)

    def on_train_begin(self, logs=None):
        """Open the folder, unless it is open already.

        Raises:
            ValueError: not all processes see the same folder.
        """
        check_shared(self.directory, type(self).__name__)
        self.checkpointer = self.checkpointer or self._opened()

    def on_train_end(self, logs=None):
        """Wait until all is written, and close the folder."""
        self.wait_until_finished()
        self.checkpointer.close()
        self.checkpointer = None

    def wait_until_finished(self):
        """Wait until all checkpoints are written, those of other processes too."""
        while self._async_futures:
            self._async_futures.pop(0).result()
        if self.checkpointer is not None:
            self.checkpointer.wait()
        if self.is_multihost_enabled():
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("lamina_checkpoint")

    def is_multihost_enabled(self) -> bool:
        """Tell whether several processes write together."""
        return jax.process_count() > 1

    def is_primary_host(self) -> bool:
        """Tell whether this is the process that says and counts for all."""
        return jax.process_index() == 0

    def _save_model(self, epoch, batch, logs):
        step = epoch if batch is None else self._total_batches_seen
        place = f"{self.directory}/{step}"
        if self._should_save_model(epoch, batch, logs or {}, place):
            self._save_checkpoint(step, logs)

    def _save_checkpoint(self, step, logs=None):
        content = _content(self.model, self.save_weights_only)
        if self.save_on_background:
            save = self.checkpointer.save_checkpointables_async
            self._async_futures.append(save(step, content, force=True, overwrite=True))
        else:
            self.checkpointer.save_checkpointables(
                step, content, force=True, overwrite=True
            )


def _content(model, weights_only):
    """Return what a checkpoint holds, in copies: training goes on meanwhile."""
    alone = jax.process_count() == 1
    tree = model.get_state_tree("numpy_array" if alone else "backend_tensor")
    if not alone:
        tree = jax.tree.map(jnp.copy, tree)
    if weights_only:
        tree = {name: tree[name] for name in WEIGHTS}
    content: dict[str, Any] = {"pytree": tree, ORDER: order_of(model, tree)}
    if weights_only:
        return content
    config = written_config(model, References(things=False))
    content["model_config"] = {"config": config}
    files: dict[str, Any] = {}
    with written_assets(model) as assets:
        for name, path in assets:
            *folders, last = name.split("/")
            inner = files
            for folder in folders:
                inner = inner.setdefault(folder, {})
            inner[last] = np.frombuffer(path.read_bytes(), "uint8")
    return content | ({"assets": files} if files else {})
