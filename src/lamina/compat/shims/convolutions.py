"""Sizes and settings of convolutions, as layers written for TensorFlow's Keras ask."""

from lamina.compat.shims.private import standardize_tuple
from lamina.core.checks import one_of


def normalize_tuple(value, n, name):
    """Return `n` whole numbers, one of them standing for all."""
    return standardize_tuple(value, n, name, allow_zero=True)


def normalize_padding(value):
    """Return a padding by its name here."""
    known = "valid", "same", "causal"
    return one_of("Convolution", "padding", str(value).lower(), known)


def convert_data_format(data_format, ndim):
    """Return the axes of data by TensorFlow's letters."""
    spatial = "DHW"[5 - ndim :]
    return f"NC{spatial}" if data_format == "channels_first" else f"N{spatial}C"


def conv_output_length(input_length, filter_size, padding, stride, dilation=1):
    """Return how long the result of a convolution is; None where that is not known."""
    if input_length is None:
        return None
    more = (filter_size - 1) * dilation
    starts = {"valid": -more, "full": more}.get(padding, 0) + input_length
    return -(-starts // stride)


def conv_input_length(output_length, filter_size, padding, stride):
    """Return how long the input of a convolution is, for a length of its result."""
    if output_length is None:
        return None
    return _transposed(output_length, filter_size, padding, stride)


def deconv_output_length(
    input_length, filter_size, padding, output_padding=None, stride=0, dilation=1
):
    """Return how long the result of a transposed convolution is."""
    if input_length is None:
        return None
    window = (filter_size - 1) * dilation + 1
    if output_padding is not None:
        length = _transposed(input_length, window, padding, stride)
        return length + output_padding
    more = {"valid": max(window - stride, 0), "full": 2 - stride - window}
    return input_length * stride + more.get(padding, 0)


def _transposed(length, window, padding, stride):
    outside = {"same": window // 2, "full": window - 1}.get(padding, 0)
    return (length - 1) * stride + window - 2 * outside
