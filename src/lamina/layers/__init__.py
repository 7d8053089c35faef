"""All layers, one file per family."""

from lamina import ops as _ops  # installs the operators of symbolic tensors
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize
from lamina.layers.activation import ELU as ELU
from lamina.layers.activation import Activation as Activation
from lamina.layers.activation import LeakyReLU as LeakyReLU
from lamina.layers.activation import PReLU as PReLU
from lamina.layers.activation import ReLU as ReLU
from lamina.layers.activation import Softmax as Softmax
from lamina.layers.attention import AdditiveAttention as AdditiveAttention
from lamina.layers.attention import Attention as Attention
from lamina.layers.attention import GroupedQueryAttention as GroupQueryAttention  # noqa: F401
from lamina.layers.attention import MultiHeadAttention as MultiHeadAttention
from lamina.layers.convolution import Conv1D as Conv1D
from lamina.layers.convolution import Conv1DTranspose as Conv1DTranspose
from lamina.layers.convolution import Conv2D as Conv2D
from lamina.layers.convolution import Conv2DTranspose as Conv2DTranspose
from lamina.layers.convolution import Conv3D as Conv3D
from lamina.layers.convolution import Conv3DTranspose as Conv3DTranspose
from lamina.layers.convolution import DepthwiseConv1D as DepthwiseConv1D
from lamina.layers.convolution import DepthwiseConv2D as DepthwiseConv2D
from lamina.layers.convolution import SeparableConv1D as SeparableConv1D
from lamina.layers.convolution import SeparableConv2D as SeparableConv2D
from lamina.layers.core import Dense as Dense
from lamina.layers.core import Identity as Identity
from lamina.layers.core import Input as Input
from lamina.layers.core import InputLayer as InputLayer
from lamina.layers.core import Masking as Masking
from lamina.layers.core import Wrapper as Wrapper
from lamina.layers.einsum import EinsumDense as EinsumDense
from lamina.layers.embedding import Embedding as Embedding
from lamina.layers.embedding import ReversibleEmbedding as ReversibleEmbedding
from lamina.layers.function import Lambda as Lambda
from lamina.layers.input_spec import InputSpec as InputSpec
from lamina.layers.layer import Layer as Layer
from lamina.layers.merging import Add as Add
from lamina.layers.merging import Average as Average
from lamina.layers.merging import Concatenate as Concatenate
from lamina.layers.merging import Dot as Dot
from lamina.layers.merging import Maximum as Maximum
from lamina.layers.merging import Minimum as Minimum
from lamina.layers.merging import Multiply as Multiply
from lamina.layers.merging import Subtract as Subtract
from lamina.layers.merging import add as add
from lamina.layers.merging import average as average
from lamina.layers.merging import concatenate as concatenate
from lamina.layers.merging import dot as dot
from lamina.layers.merging import maximum as maximum
from lamina.layers.merging import minimum as minimum
from lamina.layers.merging import multiply as multiply
from lamina.layers.merging import subtract as subtract
from lamina.layers.normalization import BatchNormalization as BatchNormalization
from lamina.layers.normalization import GroupNormalization as GroupNormalization
from lamina.layers.normalization import LayerNormalization as LayerNormalization
from lamina.layers.normalization import RMSNormalization as RMSNormalization
from lamina.layers.normalization import UnitNormalization as UnitNormalization
from lamina.layers.pooling import AdaptiveAveragePooling1D as AdaptiveAveragePooling1D
from lamina.layers.pooling import AdaptiveAveragePooling2D as AdaptiveAveragePooling2D
from lamina.layers.pooling import AdaptiveAveragePooling3D as AdaptiveAveragePooling3D
from lamina.layers.pooling import AdaptiveMaxPooling1D as AdaptiveMaxPooling1D
from lamina.layers.pooling import AdaptiveMaxPooling2D as AdaptiveMaxPooling2D
from lamina.layers.pooling import AdaptiveMaxPooling3D as AdaptiveMaxPooling3D
from lamina.layers.pooling import AveragePooling1D as AveragePooling1D
from lamina.layers.pooling import AveragePooling2D as AveragePooling2D
from lamina.layers.pooling import AveragePooling3D as AveragePooling3D
from lamina.layers.pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
from lamina.layers.pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from lamina.layers.pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
from lamina.layers.pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
from lamina.layers.pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from lamina.layers.pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
from lamina.layers.pooling import MaxPooling1D as MaxPooling1D
from lamina.layers.pooling import MaxPooling2D as MaxPooling2D
from lamina.layers.pooling import MaxPooling3D as MaxPooling3D
from lamina.layers.preprocessing import Rescaling as Rescaling
from lamina.layers.recurrent import GRU as GRU
from lamina.layers.recurrent import LSTM as LSTM
from lamina.layers.recurrent import RNN as RNN
from lamina.layers.recurrent import Bidirectional as Bidirectional
from lamina.layers.recurrent import GRUCell as GRUCell
from lamina.layers.recurrent import LSTMCell as LSTMCell
from lamina.layers.recurrent import SimpleRNN as SimpleRNN
from lamina.layers.recurrent import SimpleRNNCell as SimpleRNNCell
from lamina.layers.recurrent import StackedRNNCells as StackedRNNCells
from lamina.layers.recurrent import TimeDistributed as TimeDistributed
from lamina.layers.regularization import (
    ActivityRegularization as ActivityRegularization,
)
from lamina.layers.regularization import AlphaDropout as AlphaDropout
from lamina.layers.regularization import Dropout as Dropout
from lamina.layers.regularization import GaussianDropout as GaussianDropout
from lamina.layers.regularization import GaussianNoise as GaussianNoise
from lamina.layers.regularization import SpatialDropout1D as SpatialDropout1D
from lamina.layers.regularization import SpatialDropout2D as SpatialDropout2D
from lamina.layers.regularization import SpatialDropout3D as SpatialDropout3D
from lamina.layers.reshaping import Cropping1D as Cropping1D
from lamina.layers.reshaping import Cropping2D as Cropping2D
from lamina.layers.reshaping import Cropping3D as Cropping3D
from lamina.layers.reshaping import Flatten as Flatten
from lamina.layers.reshaping import Permute as Permute
from lamina.layers.reshaping import RepeatVector as RepeatVector
from lamina.layers.reshaping import Reshape as Reshape
from lamina.layers.reshaping import UpSampling1D as UpSampling1D
from lamina.layers.reshaping import UpSampling2D as UpSampling2D
from lamina.layers.reshaping import UpSampling3D as UpSampling3D
from lamina.layers.reshaping import ZeroPadding1D as ZeroPadding1D
from lamina.layers.reshaping import ZeroPadding2D as ZeroPadding2D
from lamina.layers.reshaping import ZeroPadding3D as ZeroPadding3D

del _ops

AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
Convolution1D = Conv1D
Convolution1DTranspose = Conv1DTranspose
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
Convolution3D = Conv3D
Convolution3DTranspose = Conv3DTranspose
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D

_, _, deserialize = _resolver(
    "layer", lambda: {k: v for k, v in globals().items() if k[0].isupper()}, Layer
)


def serialize(layer):
    """Return the config of a layer, from which `deserialize` makes another.

    >>> import lamina
    >>> lamina.layers.serialize(lamina.layers.Dense(2))["class_name"]
    'Dense'
    """
    return _serialize(layer)
