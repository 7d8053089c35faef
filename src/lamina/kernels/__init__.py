"""Hot operations as plain functions of arrays, in the form XLA compiles best.

Each is right for every shape and dtype, under `jax.jit`, `jax.grad`, `jax.vmap`
and `jax.eval_shape` with symbolic dimensions.
"""

from lamina.kernels.convolution import conv as conv
from lamina.kernels.convolution import conv_transpose as conv_transpose
from lamina.kernels.convolution import depthwise_conv as depthwise_conv
from lamina.kernels.noise import dropout as dropout
from lamina.kernels.noise import keep_mask as keep_mask
from lamina.kernels.normalization import layer_norm as layer_norm
from lamina.kernels.normalization import moments as moments
from lamina.kernels.normalization import rms_norm as rms_norm
from lamina.kernels.normalization import softmax as softmax
from lamina.kernels.pooling import average_pool as average_pool
from lamina.kernels.pooling import max_pool as max_pool
from lamina.kernels.products import add_bias as add_bias
from lamina.kernels.products import dense as dense
from lamina.kernels.products import embedding as embedding
from lamina.kernels.recurrence import gru as gru
from lamina.kernels.recurrence import lstm as lstm
from lamina.kernels.recurrence import scan as scan
from lamina.kernels.recurrence import simple_rnn as simple_rnn
