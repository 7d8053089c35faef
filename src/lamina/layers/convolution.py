"""Convolutions over one, two or three spatial dimensions.

One class serves all dimensions of a kind; `Conv2D` and its like only say how many
there are. The arithmetic is in `lamina.kernels`.
"""

from collections.abc import Callable

import jax.numpy as jnp

from lamina.activations import relu
from lamina.core.arguments import family, given
from lamina.core.checks import described, int_tuple, one_of, positive_int
from lamina.core.input_spec import InputSpec
from lamina.core.settings import standardize_data_format
from lamina.core.types import Identifier, Initializer, Sizes
from lamina.kernels import add_bias, conv, conv_transpose, depthwise_conv
from lamina.layers import weights
from lamina.layers.layer import Layer
from lamina.layers.lora import Adaptable, replaceable
from lamina.layers.parallel import AXIS, Division


def keep_window(layer, kernel_size, strides, padding, data_format, dilation_rate):
    """Check and store what every kind of convolution takes."""
    owner, rank = type(layer).__name__, layer.rank
    layer.kernel_size = int_tuple(owner, "kernel_size", kernel_size, rank)
    layer.strides = int_tuple(owner, "strides", strides, rank)
    layer.dilation_rate = int_tuple(owner, "dilation_rate", dilation_rate, rank)
    layer.padding = one_of(owner, "padding", padding, layer._paddings)
    layer.data_format = standardize_data_format(data_format)
    layer.input_spec = InputSpec(ndim=rank + 2)


def refuse_strided_dilation(layer):
    """Raise where both strides and dilation are above 1."""
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise ValueError(
            f"`{type(layer).__name__}`: Specifying `strides > 1` is not compatible "
            f"with `dilation_rate > 1`. Received: strides={layer.strides}, "
            f"dilation_rate={layer.dilation_rate}. Leave one of them at 1."
        )


def _channels(layer, input_shape):
    """Return the number of input channels, and ask for it in later calls."""
    axis = -1 if layer.data_format == "channels_last" else 1
    channels = input_shape[axis]
    if channels is None:
        raise ValueError(
            f"{described(layer)} needs to know the number of channels. Received: input "
            f"shape {tuple(input_shape)} with data_format={layer.data_format!r}, where "
            f"axis {axis} is None. Give its size in the shape of the input."
        )
    layer.input_spec = InputSpec(ndim=layer.rank + 2, axes={axis: channels})
    return channels


def _check_size(layer, inputs):
    """Raise where a window without padding does not fit into the input."""
    if layer.padding != "valid":
        return
    last = layer.data_format == "channels_last"
    sizes = inputs.shape[1:-1] if last else inputs.shape[2:]
    for size, cells, step in zip(
        sizes, layer.kernel_size, layer.dilation_rate, strict=True
    ):
        extent = (cells - 1) * step + 1
        swapped = last and sizes[0] in (1, 3) and sizes[1:] == inputs.shape[-1:]
        if isinstance(size, int) and size < extent:
            raise ValueError(
                f"{described(layer)} has a window of {extent} cells, more than the "
                f"{size} of its input: Computed output size would be zero or negative. "
                f"Received: input shape {tuple(inputs.shape)}, "
                f"kernel_size={layer.kernel_size}, "
                f"dilation_rate={layer.dilation_rate}, "
                f"data_format={layer.data_format!r}. "
                + (
                    "Are the channels in axis 1? Give them last, or set "
                    '`data_format="channels_first"`.'
                    if swapped
                    else "Use padding='same', a smaller kernel, or fewer layers that "
                    "shrink the input before it."
                )
            )


def _rectified(layer):
    """Return the bias of a layer that is `relu(sums + bias)`, one compiled kernel."""
    if layer.bias is None or layer.activation is not relu:
        return None
    return layer.bias.value


def _finished(layer, y):
    """Add the bias and apply the activation."""
    if layer.bias is not None:
        last = layer.data_format == "channels_last"
        bias = layer.bias.value
        bias = bias if last else bias.reshape(-1, *(1,) * layer.rank)
        y = add_bias(y, bias)
    return layer.activation(y) if layer.activation is not None else y


class Windowed(Layer):
    """What every kind of convolution has: a window that moves over the input."""

    _saved_last = ("activity_regularizer",)
    _ends_in_activation = True
    rows_independent = True
    rank = 2
    _paddings: tuple[str, ...] = ("valid", "same")
    kernel_size: tuple
    strides: tuple
    dilation_rate: tuple
    padding: str
    data_format: str
    use_bias: bool
    activation: Callable | None

    def _channel_divisions(self, kernel, made, taken):
        """Return how a kernel is divided, by the axes of the channels that it has.

        Args:
            kernel: the attribute that holds it.
            made: the axis of the output's channels.
            taken: the axis of the input's channels.
        """
        shape = getattr(self, kernel).shape
        if self.data_format != "channels_last":  # products around it know the last axis
            return {}
        return {
            "outputs": Division({kernel: made, "bias": 0}, shape[made], (AXIS,)),
            "inputs": Division({kernel: taken, "bias": None}, shape[taken]),
        }

    def _keep(self, given):
        """Check and store the arguments that a constructor was given, by name."""
        owner = type(self).__name__
        for name in ("filters", "depth_multiplier", "groups"):
            if name in given:
                setattr(self, name, positive_int(owner, name, given[name]))
        keep_window(self, *(given[name] for name in WINDOW))
        self.use_bias = given["use_bias"]
        weights.keep(self, given)


WINDOW = ("kernel_size", "strides", "padding", "data_format", "dilation_rate")


@family
class Conv(Windowed, Adaptable):
    """Slides a window over the input and takes weighted sums of what it sees.

    `y[p, o] = activation(sum over t, c of x[p * strides + t * dilation_rate, c] *
    kernel[t, c, o] + bias[o])`. The base of `Conv1D`, `Conv2D` and `Conv3D`.

    Input `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
    `data_format="channels_first"`; the output alike with `filters` channels.

    Args:
        filters: the number of output channels.
        kernel_size: the cells of the window, one number for each spatial
            dimension, or one for all.
        strides: the distance of neighbouring windows.
        padding: `"valid"` (windows inside the input), `"same"` (zeros around it so
            that sizes are kept, up to strides) or, in one dimension, `"causal"`
            (zeros before it, so that no output sees later input).
        dilation_rate: the distance of neighbouring cells of the window.
        groups: the number of independent parts of channels and filters.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel
            `(*kernel_size, channels // groups, filters)`.
        bias_initializer: the first values of the bias `(filters,)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        bias_constraint: likewise for the bias.
        lora_rank: the rank of LoRA, see `enable_lora`; None trains the whole kernel.
        lora_alpha: the weight of LoRA; `lora_rank` when None.

    Raises:
        ValueError: a size is not positive, the padding is unknown, both strides
            and dilation are above 1, groups do not divide filters and channels,
            or the window is larger than the input.
    """

    _quantized = ()
    quantize = Layer.quantize
    kernel = replaceable("kernel")
    filters: int
    groups: int

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        groups: int = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        refuse_strided_dilation(self)
        self._take_variants(lora_rank, lora_alpha, None)
        if filters % groups:
            raise ValueError(
                f"`{type(self).__name__}` expected `groups` to divide `filters`. "
                f"Received: filters={filters}, groups={groups}"
            )

    def build(self, input_shape):
        channels = _channels(self, input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{described(self)} expected the number of input channels to be a "
                f"multiple of `groups`. Received: groups={self.groups}, input shape "
                f"{tuple(input_shape)} with {channels} channels"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = weights.make(self, "kernel", shape)
        self.bias = weights.make(self, "bias", shape[-1:]) if self.use_bias else None

    def _divisions(self):
        at = self.rank
        return (
            self._channel_divisions("_kernel", at + 1, at) if self.groups == 1 else {}
        )

    def call(self, inputs):
        _check_size(self, inputs)
        kernel = self.kernel.value
        own = type(self).convolution_op is Conv.convolution_op
        if own and (bias := _rectified(self)) is not None:
            return self._convolved(inputs, kernel, bias)
        return _finished(self, self.convolution_op(inputs, kernel))

    def convolution_op(self, inputs, kernel):
        """Return the sums alone: override it to change the kernel at each call."""
        return self._convolved(inputs, kernel)

    def _convolved(self, inputs, kernel, rectified=None):
        padding = self.padding
        if padding == "causal":
            before = (self.kernel_size[0] - 1) * self.dilation_rate[0]
            padding = [(before, 0)]
        return conv(
            inputs,
            jnp.asarray(kernel),
            strides=self.strides,
            padding=padding,
            dilation=self.dilation_rate,
            groups=self.groups,
            channels_last=self.data_format == "channels_last",
            rectified=rectified,
        )


class Conv1D(Conv):
    """Convolves sequences `(batch, steps, channels)`; the arguments are `Conv`'s.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Conv1D(4, 3, padding="causal")
    >>> layer(np.ones((2, 10, 8))).shape
    (2, 10, 4)
    """

    rank = 1
    _paddings = ("valid", "same", "causal")


class Conv2D(Conv):
    """Convolves images `(batch, height, width, channels)`.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Conv2D(4, (3, 3), activation="relu")
    >>> layer(np.ones((2, 10, 10, 3))).shape
    (2, 8, 8, 4)
    """

    rank = 2


class Conv3D(Conv):
    """Convolves volumes `(batch, depth, height, width, channels)`.

    >>> import lamina, numpy as np
    >>> lamina.layers.Conv3D(4, 3, strides=2)(np.ones((1, 5, 5, 5, 2))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3


@family
class ConvTranspose(Windowed):
    """Spreads every value of the input over a window: a convolution's gradient.

    The base of `Conv1DTranspose`, `Conv2DTranspose` and `Conv3DTranspose`. An axis
    of size n becomes `n * strides` long with `padding="same"`, and
    `(n - 1) * strides + (kernel_size - 1) * dilation_rate + 1` with `"valid"` (at
    least `n * strides`).

    Args:
        filters: the number of output channels.
        kernel_size: the cells of the window.
        strides: the distance of neighbouring windows in the output.
        padding: `"valid"` or `"same"`.
        output_padding: cells added at the end of each axis, fewer than the
            strides; None for the size above.
        dilation_rate: the distance of neighbouring cells of the window.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel
            `(*kernel_size, filters, channels)`.
        bias_initializer: the first values of the bias `(filters,)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        bias_constraint: likewise for the bias.

    Raises:
        ValueError: a size is not positive, the padding is unknown, both strides
            and dilation are above 1, or `output_padding` is not below `strides`.
    """

    filters: int

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        output_padding: Sizes | None = None,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())
        refuse_strided_dilation(self)
        self.output_padding = None
        if output_padding is None:
            return
        owner = type(self).__name__
        self.output_padding = int_tuple(
            owner, "output_padding", output_padding, self.rank, zero=True
        )
        pairs = zip(self.output_padding, self.strides, strict=True)
        if any(extra >= stride for extra, stride in pairs):
            raise ValueError(
                f"`{owner}`: `output_padding` must be strictly less than `strides` "
                "along each dimension. Received: "
                f"output_padding={self.output_padding}, strides={self.strides}"
            )

    def build(self, input_shape):
        shape = (*self.kernel_size, self.filters, _channels(self, input_shape))
        self.kernel = weights.make(self, "kernel", shape)
        self.bias = None
        if self.use_bias:
            self.bias = weights.make(self, "bias", (self.filters,))

    def _divisions(self):
        return self._channel_divisions("kernel", self.rank, self.rank + 1)

    def call(self, inputs):
        bias = _rectified(self)
        y = conv_transpose(
            inputs,
            self.kernel.value,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation_rate,
            channels_last=self.data_format == "channels_last",
            rectified=bias,
        )
        return _finished(self, y) if bias is None else y


class Conv1DTranspose(ConvTranspose):
    """Spreads sequences `(batch, steps, channels)`.

    >>> import lamina, numpy as np
    >>> lamina.layers.Conv1DTranspose(4, 3, strides=2)(np.ones((2, 5, 8))).shape
    (2, 11, 4)
    """

    rank = 1


class Conv2DTranspose(ConvTranspose):
    """Spreads images `(batch, height, width, channels)`.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Conv2DTranspose(4, 3, strides=2, padding="same")
    >>> layer(np.ones((2, 5, 5, 8))).shape
    (2, 10, 10, 4)
    """

    rank = 2


class Conv3DTranspose(ConvTranspose):
    """Spreads volumes `(batch, depth, height, width, channels)`.

    The arguments are those of `ConvTranspose`; `output_padding` comes after
    `data_format`, as in Keras.

    >>> import lamina, numpy as np
    >>> lamina.layers.Conv3DTranspose(4, 2, strides=2)(np.ones((1, 2, 2, 2, 3))).shape
    (1, 4, 4, 4, 4)
    """

    rank = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Sizes | None = None,
        dilation_rate: Sizes = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs,
    ):
        super().__init__(**given(locals()))


@family
class DepthwiseConv(Windowed):
    """Convolves every channel on its own, `depth_multiplier` times.

    The base of `DepthwiseConv1D` and `DepthwiseConv2D`. The output has
    `channels * depth_multiplier` channels; those of one input channel are together.

    Args:
        kernel_size: the cells of the window.
        strides: the distance of neighbouring windows.
        padding: `"valid"` or `"same"`.
        depth_multiplier: the number of output channels for each input channel.
        dilation_rate: the distance of neighbouring cells of the window.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        depthwise_initializer: the first values of the kernel
            `(*kernel_size, channels, depth_multiplier)`.
        bias_initializer: the first values of the bias.
        depthwise_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: what the kernel is projected with after each step.
        bias_constraint: likewise for the bias.

    Raises:
        ValueError: a size is not positive, the padding is unknown, or the window
            is larger than the input.
    """

    depth_multiplier: int

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        depthwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())

    def build(self, input_shape):
        channels = _channels(self, input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = weights.make(self, "depthwise", shape, name="kernel")
        self.bias = None
        if self.use_bias:
            self.bias = weights.make(self, "bias", (channels * self.depth_multiplier,))

    def call(self, inputs):
        _check_size(self, inputs)
        y = depthwise_conv(
            inputs,
            self.kernel.value,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            channels_last=self.data_format == "channels_last",
        )
        return _finished(self, y)


class DepthwiseConv1D(DepthwiseConv):
    """Convolves each channel of sequences on its own,.

    >>> import lamina, numpy as np
    >>> lamina.layers.DepthwiseConv1D(3, depth_multiplier=2)(np.ones((1, 5, 3))).shape
    (1, 3, 6)
    """

    rank = 1


class DepthwiseConv2D(DepthwiseConv):
    """Convolves each channel of images on its own,.

    >>> import lamina, numpy as np
    >>> lamina.layers.DepthwiseConv2D(3, padding="same")(np.ones((1, 5, 5, 3))).shape
    (1, 5, 5, 3)
    """

    rank = 2


@family
class SeparableConv(Windowed):
    """A depthwise convolution, then one of a single cell that mixes channels.

    The base of `SeparableConv1D` and `SeparableConv2D`: far fewer weights than a
    full convolution of the same window.

    Args:
        filters: the number of output channels.
        kernel_size: the cells of the window.
        strides: the distance of neighbouring windows.
        padding: `"valid"` or `"same"`.
        dilation_rate: the distance of neighbouring cells of the window.
        depth_multiplier: the number of channels between, for each input channel.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        depthwise_initializer: the first values of the depthwise kernel
            `(*kernel_size, channels, depth_multiplier)`.
        pointwise_initializer: the first values of the mixing kernel
            `(1..., channels * depth_multiplier, filters)`.
        bias_initializer: the first values of the bias `(filters,)`.
        depthwise_regularizer: a penalty on the depthwise kernel.
        pointwise_regularizer: a penalty on the mixing kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        depthwise_constraint: what the depthwise kernel is projected with.
        pointwise_constraint: likewise for the mixing kernel.
        bias_constraint: likewise for the bias.

    Raises:
        ValueError: a size is not positive, the padding is unknown, or the window
            is larger than the input.

    Source: Chollet, 2017, "Xception: deep learning with depthwise separable
    convolutions".
    """

    filters: int
    depth_multiplier: int

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        depth_multiplier: int = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer = "glorot_uniform",
        pointwise_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        depthwise_regularizer: Identifier = None,
        pointwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        pointwise_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep(locals())

    def build(self, input_shape):
        channels = _channels(self, input_shape)
        between = channels * self.depth_multiplier
        self.depthwise_kernel = weights.make(
            self,
            "depthwise",
            (*self.kernel_size, channels, self.depth_multiplier),
            name="depthwise_kernel",
        )
        self.pointwise_kernel = weights.make(
            self,
            "pointwise",
            (*(1,) * self.rank, between, self.filters),
            name="pointwise_kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = weights.make(self, "bias", (self.filters,))

    def call(self, inputs):
        _check_size(self, inputs)
        last = self.data_format == "channels_last"
        ones = (1,) * self.rank
        y = depthwise_conv(
            inputs,
            self.depthwise_kernel.value,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            channels_last=last,
        )
        y = conv(
            y,
            self.pointwise_kernel.value,
            strides=ones,
            padding="valid",
            dilation=ones,
            channels_last=last,
        )
        return _finished(self, y)


class SeparableConv1D(SeparableConv):
    """Convolves sequences `(batch, steps, channels)`.

    >>> import lamina, numpy as np
    >>> lamina.layers.SeparableConv1D(4, 3)(np.ones((1, 5, 3))).shape
    (1, 3, 4)
    """

    rank = 1


class SeparableConv2D(SeparableConv):
    """Convolves images `(batch, height, width, channels)`.

    >>> import lamina, numpy as np
    >>> lamina.layers.SeparableConv2D(4, 3)(np.ones((1, 5, 5, 3))).shape
    (1, 3, 3, 4)
    """

    rank = 2


Convolution1D = Conv1D
Convolution1DTranspose = Conv1DTranspose
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
Convolution3D = Conv3D
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
