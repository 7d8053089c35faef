"""`CallbackList`: several callbacks called as one."""

from typing import Any

from lamina.callbacks.callback import HOOKS, Callback
from lamina.callbacks.history import History
from lamina.callbacks.progbar_logger import ProgbarLogger
from lamina.core import structure

_PHASES = ("train", "test", "predict")


class CallbackList(Callback):
    """Several callbacks called as one, in their order.

    Its hooks take `logs` as a dict or as a function that returns one. The function
    is called at most once, and only if one of the callbacks needs the values, so
    that a loop need not fetch them from the device for nobody.

    Args:
        callbacks: callbacks, in any nesting of lists.
        add_history: whether to add a `History` if there is none.
        add_progbar: whether to add a `ProgbarLogger` if there is none.
        model: the model that runs.
        params: the settings of the loop: `verbose`, `epochs`, `steps`.

    Attributes:
        stopper: the place of the callback that has set `stop_training`, or None.

    Raises:
        TypeError: one of `callbacks` is not a callback.

    >>> import lamina
    >>> steps = []
    >>> each = lamina.callbacks.LambdaCallback(
    ...     on_train_batch_end=lambda batch, logs: steps.append((batch, logs["loss"]))
    ... )
    >>> callbacks = lamina.callbacks.CallbackList([each], add_history=True)
    >>> callbacks.listens_to_batches("train"), callbacks.listens_to_batches("test")
    (True, False)
    >>> callbacks.on_train_batch_end(0, lambda: {"loss": 0.5})
    >>> steps
    [(0, 0.5)]
    """

    _takes_lazy_logs = True

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params,
    ):
        super().__init__()
        self.callbacks = [c for c in structure.flatten(callbacks) if c is not None]
        for callback in self.callbacks:
            _check(callback)
        self._history = self._find_or_add(History, add_history)
        self._progbar = self._find_or_add(ProgbarLogger, add_progbar)
        self._listeners = {}
        self.stopper: int | None = None
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def _find_or_add(self, cls, add):
        for callback in self.callbacks:
            if isinstance(callback, cls):
                return callback
        if not add:
            return None
        self.callbacks.append(cls())
        return self.callbacks[-1]

    def __iter__(self):
        return iter(self.callbacks)

    def append(self, callback):
        """Add one callback at the end."""
        _check(callback)
        self.callbacks.append(callback)
        self._listeners.clear()

    def set_params(self, params):
        """Hand the settings of the loop to each callback."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model):
        """Hand the model to each callback."""
        self._model = model
        self._listeners.clear()
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def listens_to_batches(self, phase) -> bool:
        """Tell whether a callback needs the values of single batches.

        The progress bar does not: it is content with what it is told now and then.

        Args:
            phase: `"train"`, `"test"` or `"predict"`.
        """
        if phase not in _PHASES:
            raise ValueError(
                f"`listens_to_batches` expected `phase` to be one of {_PHASES}. "
                f"Received: phase={phase!r}"
            )
        return any(
            not getattr(callback, "_takes_lazy_logs", False)
            for moment in ("begin", "end")
            for callback, _ in self._listening(f"on_{phase}_batch_{moment}")
        )

    def note(self, text):
        """Let the bar say something at the end of the epoch's line."""
        if self._progbar is not None:
            self._progbar.note = text

    def close(self):
        """Give the terminal back, end profiles; a loop calls it however it ends."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback._close()

    def _listening(self, hook):
        found = self._listeners.get(hook)
        if found is None:
            found = self._listeners[hook] = [
                (c, getattr(c, hook)) for c in self.callbacks if _listens(c, hook)
            ]
        return found

    def _tell(self, hook, logs, *place):
        listening = self._listening(hook)
        if not listening:
            return
        values = None
        for callback, method in listening:
            given = logs
            if not getattr(callback, "_takes_lazy_logs", False):
                if values is None:
                    values = logs() if callable(logs) else logs
                    values = {} if values is None else values
                given = values
            try:
                method(*place, given)
            except Exception as error:
                error.add_note(
                    f"Raised by the callback `{type(callback).__name__}` in `{hook}`"
                    + (f"({place[0]})." if place else ".")
                )
                raise
            if not getattr(self._model, "stop_training", False):
                self.stopper = None
            elif self.stopper is None:
                self.stopper = self.callbacks.index(callback)


def _hook(name):
    def of_epoch(self, epoch, logs=None):
        self._tell(name, logs, epoch)

    def of_batch(self, batch, logs=None):
        self._tell(name, logs, batch)

    def of_loop(self, logs=None):
        self._tell(name, logs)

    hook = of_batch if "batch" in name else of_epoch if "epoch" in name else of_loop
    hook.__name__ = name
    hook.__doc__ = f"Call `{name}` of each callback."
    return hook


for _name in HOOKS:
    setattr(CallbackList, _name, _hook(_name))
for _moment in ("begin", "end"):
    setattr(
        CallbackList,
        f"on_batch_{_moment}",
        getattr(CallbackList, f"on_train_batch_{_moment}"),
    )


def _listens(callback, hook):
    if isinstance(callback, Callback):
        return callback._listens(hook)
    return hasattr(callback, hook)


def _check(callback):
    if isinstance(callback, type):
        raise TypeError(
            f"`callbacks` expected callbacks, not classes. Received: {callback!r}. "
            f"Write {callback.__name__}()."
        )
    # Callbacks of other packages may derive from another base class.
    if not hasattr(callback, "set_model") or not hasattr(callback, "on_train_begin"):
        raise TypeError(
            "`callbacks` expected instances of `lamina.callbacks.Callback`. Received: "
            f"{callback!r} (of type {type(callback).__name__})"
        )
