"""What `keras.src.ops` has beside functions: a class for each, and rules of shapes."""

import functools
import inspect

from lamina import KerasTensor, ops
from lamina.core.op import OPS, OpCall


class _OfOp(type):
    """The type of an op's class: graphs record each use of the op as one of it."""

    def __instancecheck__(cls, thing):
        recorded = "function" in vars(cls) and isinstance(thing, OpCall)
        alike = recorded and thing.function is vars(cls)["function"]
        return alike or super().__instancecheck__(thing)


@functools.cache
def operation_class(module, name):
    """Return Keras' class of an op, made with its settings; None for no op."""
    if (module, name) not in OPS:
        return None
    of = OPS[module, name]
    parameters = inspect.signature(of.plain).parameters
    keys = [key for key in parameters if key in of.config]
    defaults = {key: parameters[key].default for key in keys}

    class Use(OpCall, metaclass=_OfOp):
        function = of

        def __init__(self, *given, name=None, **settings):
            settings = {**dict(zip(keys, given, strict=False)), **settings}
            whole = defaults | settings
            if missing := [
                key for key in keys if whole[key] is inspect.Parameter.empty
            ]:
                raise TypeError(
                    f"`{type(self).__name__}` expected `{missing[0]}`. Received: "
                    f"{settings}"
                )
            super().__init__(of, whole, name)

    Use.__name__ = Use.__qualname__ = name
    return Use


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
