"""The few process-wide settings: float type, fuzz factor, data format."""

import os

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_FORMATS = ("channels_last", "channels_first")

_values = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "traceback_filtering": True,
    "interactive_logging": True,
    "max_epochs": None,
    "max_steps_per_epoch": None,
    "flash_attention": None,
    "interop": {},
    "broadcast_targets": False,  # whether losses let a one stand for any length
    "explain_recompiles": None,  # or what watches compiled programs
}


def get(name):
    """Return the setting called `name`."""
    return _values[name]


def put(name, value):
    """Change the setting called `name`."""
    _values[name] = value


def floatx() -> str:
    """Return the default float dtype, as a string such as `"float32"`.

    >>> import lamina
    >>> lamina.config.floatx()
    'float32'
    """
    return _values["floatx"]


def set_floatx(value: str) -> None:
    """Set the default float dtype.

    Args:
        value: `"float16"`, `"bfloat16"`, `"float32"` or `"float64"`.

    Raises:
        ValueError: `value` is none of these.

    >>> import lamina
    >>> lamina.config.set_floatx("float16")
    >>> str(lamina.ops.ones(2).dtype)
    'float16'
    >>> lamina.config.set_floatx("float32")
    """
    if value not in _DTYPES:
        raise ValueError(
            f"`set_floatx` expected one of {', '.join(_DTYPES)}. "
            f"Received: value={value!r}"
        )
    _values["floatx"] = value


def epsilon() -> float:
    """Return the small number that keeps divisions and logarithms finite.

    >>> import lamina
    >>> lamina.config.epsilon()
    1e-07
    """
    return _values["epsilon"]


def set_epsilon(value: float) -> None:
    """Set the small number that keeps divisions and logarithms finite.

    >>> import lamina
    >>> lamina.config.set_epsilon(1e-5)
    >>> lamina.config.epsilon()
    1e-05
    >>> lamina.config.set_epsilon(1e-7)
    """
    _values["epsilon"] = value


def image_data_format() -> str:
    """Return the default order of image axes: where the channels stand.

    >>> import lamina
    >>> lamina.config.image_data_format()
    'channels_last'
    """
    return _values["image_data_format"]


def set_image_data_format(data_format: str) -> None:
    """Set the default order of image axes.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: `data_format` is neither.

    >>> import lamina
    >>> lamina.config.set_image_data_format("channels_first")
    >>> lamina.config.image_data_format()
    'channels_first'
    >>> lamina.config.set_image_data_format("channels_last")
    """
    _values["image_data_format"] = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """Return `data_format` in lower case, or the default for None."""
    if data_format is None:
        return _values["image_data_format"]
    lowered = str(data_format).lower()
    if lowered not in _FORMATS:
        raise ValueError(
            "The `data_format` argument must be one of 'channels_first', "
            f"'channels_last'. Received: data_format={data_format!r}"
        )
    return lowered


def environment_flag(name: str, default: bool) -> bool:
    """Read a yes/no environment variable; unset means `default`."""
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    return text not in ("0", "false", "no", "off")
