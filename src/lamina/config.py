"""Process-wide settings, under the names that Keras gives them."""

from lamina.core import settings as _settings
from lamina.core import tracebacks as _tracebacks
from lamina.core.context import context as _context
from lamina.core.policy import dtype_policy, set_dtype_policy
from lamina.core.settings import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from lamina.core.tracebacks import boundary as _boundary

__all__ = [
    "backend",
    "disable_flash_attention",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_flash_attention",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "enable_unsafe_deserialization",
    "epsilon",
    "explain_recompiles",
    "floatx",
    "image_data_format",
    "is_flash_attention_enabled",
    "is_interactive_logging_enabled",
    "is_nnx_enabled",
    "is_traceback_filtering_enabled",
    "max_epochs",
    "max_steps_per_epoch",
    "set_backend",
    "set_dtype_policy",
    "set_epsilon",
    "set_explain_recompiles",
    "set_floatx",
    "set_image_data_format",
    "set_max_epochs",
    "set_max_steps_per_epoch",
]


def backend() -> str:
    """Return the name of the engine, which is always `"jax"`.

    >>> import lamina
    >>> lamina.config.backend()
    'jax'
    """
    return "jax"


@_boundary
def set_backend(backend: str) -> None:
    """Accept `"jax"`, the one engine there is.

    Raises:
        ValueError: another engine.

    >>> import lamina
    >>> lamina.config.set_backend("jax")
    """
    if backend != "jax":
        raise ValueError(
            f"Lamina has one engine, 'jax'. Received: backend={backend!r}. For another "
            "one use Keras, which reads Lamina's files."
        )


def enable_interactive_logging() -> None:
    """Print progress to the terminal, as a bar that redraws itself.

    >>> import lamina
    >>> lamina.config.enable_interactive_logging()
    >>> lamina.config.is_interactive_logging_enabled()
    True
    """
    _settings.put("interactive_logging", True)


def disable_interactive_logging() -> None:
    """Send progress to Python's `logging` instead of the terminal.

    >>> import lamina
    >>> lamina.config.disable_interactive_logging()
    >>> lamina.config.is_interactive_logging_enabled()
    False
    >>> lamina.config.enable_interactive_logging()
    """
    _settings.put("interactive_logging", False)


def is_interactive_logging_enabled() -> bool:
    """Tell whether progress is printed to the terminal.

    >>> import lamina
    >>> lamina.config.is_interactive_logging_enabled()
    True
    """
    return _settings.get("interactive_logging")


def enable_traceback_filtering() -> None:
    """Leave Lamina's own frames out of tracebacks.

    >>> import lamina
    >>> lamina.config.enable_traceback_filtering()
    >>> lamina.config.is_traceback_filtering_enabled()
    True
    """
    _tracebacks.enable(True)


def disable_traceback_filtering() -> None:
    """Show Lamina's own frames in tracebacks.

    >>> import lamina
    >>> lamina.config.disable_traceback_filtering()
    >>> lamina.config.is_traceback_filtering_enabled()
    False
    """
    _tracebacks.enable(False)


def is_traceback_filtering_enabled() -> bool:
    """Tell whether Lamina's own frames are left out of tracebacks.

    >>> import lamina
    >>> lamina.config.enable_traceback_filtering()
    >>> lamina.config.is_traceback_filtering_enabled()
    True
    """
    return _settings.get("traceback_filtering")


def enable_flash_attention() -> None:
    """Ask for flash attention where there is a choice; XLA decides.

    >>> import lamina
    >>> lamina.config.enable_flash_attention()
    >>> lamina.config.is_flash_attention_enabled()
    """
    _settings.put("flash_attention", None)


def disable_flash_attention() -> None:
    """Ask for plain attention.

    >>> import lamina
    >>> lamina.config.disable_flash_attention()
    >>> lamina.config.is_flash_attention_enabled()
    False
    >>> lamina.config.enable_flash_attention()
    """
    _settings.put("flash_attention", False)


def is_flash_attention_enabled() -> bool | None:
    """Return None when flash attention may be used, False when not.

    >>> import lamina
    >>> lamina.config.is_flash_attention_enabled() is None
    True
    """
    return _settings.get("flash_attention")


def enable_unsafe_deserialization() -> None:
    """Let configs hold lambdas, which are code, for the rest of this thread.

    Only for files from people you trust; `safe_mode=False` where one is loaded counts
    for that file alone.

    >>> import lamina
    >>> lamina.config.enable_unsafe_deserialization()  # doctest: +SKIP
    """
    _context.configs.safe_mode = False


def is_nnx_enabled() -> bool:
    """Tell whether Variables are Flax NNX's; they never are.

    >>> import lamina
    >>> lamina.config.is_nnx_enabled()
    False
    """
    return False


def max_epochs() -> int | None:
    """Return the limit on the epochs of every `fit`, or None.

    >>> import lamina
    >>> lamina.config.set_max_epochs(2)
    >>> lamina.config.max_epochs()
    2
    >>> lamina.config.set_max_epochs(None)
    """
    return _settings.get("max_epochs")


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of every `fit`; None takes the limit away.

    >>> import lamina
    >>> lamina.config.set_max_epochs(1)  # to try a script out
    >>> lamina.config.max_epochs()
    1
    >>> lamina.config.set_max_epochs(None)
    """
    _settings.put("max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """Return the limit on the steps of an epoch, or None.

    >>> import lamina
    >>> lamina.config.set_max_steps_per_epoch(10)
    >>> lamina.config.max_steps_per_epoch()
    10
    >>> lamina.config.set_max_steps_per_epoch(None)
    """
    return _settings.get("max_steps_per_epoch")


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limit the steps of every epoch; None takes the limit away.

    >>> import lamina
    >>> lamina.config.set_max_steps_per_epoch(10)  # to try a script out
    >>> lamina.config.max_steps_per_epoch()
    10
    >>> lamina.config.set_max_steps_per_epoch(None)
    """
    _settings.put("max_steps_per_epoch", max_steps_per_epoch)


def explain_recompiles() -> bool:
    """Tell whether it is said what made a step of a model compile again.

    >>> import lamina
    >>> lamina.config.explain_recompiles()
    False
    """
    return _settings.get("explain_recompiles") is not None


@_boundary
def set_explain_recompiles(value: bool) -> None:
    """Say on stderr, in one line each time, what made a step compile again.

    A step of `fit`, `evaluate` or `predict` is compiled for the shapes and dtypes of
    its arguments. The line names the model, the step, the argument that differs and
    how, and what to do: `the train step of 'net' is compiled again: x float32[32,4]
    -> float32[8,4]. ...`. Nothing is looked at while it is off, which is the default.

    Args:
        value: whether to. It counts for each `fit`, `evaluate` and `predict` that
            begins afterwards.

    Raises:
        TypeError: `value` is not a bool.

    >>> import lamina
    >>> lamina.config.set_explain_recompiles(True)
    >>> lamina.config.explain_recompiles()
    True
    >>> lamina.config.set_explain_recompiles(False)
    """
    if not isinstance(value, bool):
        raise TypeError(
            "`set_explain_recompiles` expected `value` to be a bool. Received: "
            f"value={value!r}"
        )
    from lamina.diagnostics.recompiles import watched

    _settings.put("explain_recompiles", watched if value else None)
