"""`LambdaCallback`."""

from collections.abc import Callable

from lamina.callbacks.callback import HOOKS, Callback
from lamina.core.naming import nearest

_KNOWN = (*HOOKS, "on_batch_begin", "on_batch_end")


class LambdaCallback(Callback):
    """A callback made from functions.

    Args:
        on_epoch_begin: a function `(epoch, logs)`.
        on_epoch_end: a function `(epoch, logs)`.
        on_train_begin: a function `(logs)`.
        on_train_end: a function `(logs)`.
        on_train_batch_begin: a function `(batch, logs)`.
        on_train_batch_end: a function `(batch, logs)`.
        kwargs: functions for the other hooks by name, such as `on_test_end`, and
            attributes that the functions may want.

    Raises:
        TypeError: there is no hook of a name that begins with `on_`, or something
            given for a hook is not a function.

    >>> import lamina
    >>> say = lamina.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"])
    ... )
    >>> say.on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **kwargs,
    ):
        super().__init__()
        for name, value in {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }.items():
            if not name.startswith("on_"):
                setattr(self, name, value)
            elif name not in _KNOWN:
                raise TypeError(
                    f"`LambdaCallback` has no hook {name!r}.{nearest(name, _KNOWN)}"
                )
            elif callable(value):
                setattr(self, name, value)
            elif value is not None:
                raise TypeError(
                    f"`LambdaCallback` expected `{name}` to be a function. Received: "
                    f"{name}={value!r}"
                )
