"""What `keras.src.ops` has beside functions: a class for each, and rules of shapes."""

from lamina import KerasTensor, ops
from lamina.core.op import OPS, class_of


def operation_names(module):
    """Return by name the ops that a module of Keras, or one in it, has a class for."""
    return {name: op for (of, name), op in OPS.items() if f"{of}.".startswith(module)}


def operation_class(module, name):
    """Return Keras' class of an op, of which graphs record uses; None for no op."""
    op = operation_names(f"{module}.").get(name)
    return None if op is None else class_of(op)


def compute_conv_output_shape(
    input_shape, filters, kernel_size, strides=1, padding="valid",
    data_format="channels_last", dilation_rate=1,
):  # fmt: skip
    """Return the shape that a convolution gives."""
    channels = input_shape[-1 if data_format == "channels_last" else 1]
    kernel = KerasTensor((*kernel_size, channels, filters))
    settings = strides, padding, data_format, dilation_rate
    return ops.conv(KerasTensor(input_shape), kernel, *settings).shape


def compute_pooling_output_shape(
    input_shape, pool_size, strides, padding="valid", data_format="channels_last"
):
    """Return the shape that pooling gives."""
    settings = pool_size, strides, padding, data_format
    return ops.max_pool(KerasTensor(input_shape), *settings).shape
