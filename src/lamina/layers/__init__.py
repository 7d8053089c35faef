"""All layers, one file per family."""

from lamina._imports import offer as _offer
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize
from lamina.core.input_spec import InputSpec as InputSpec
from lamina.core.tracebacks import boundary as _boundary
from lamina.layers.activation import ELU as ELU
from lamina.layers.activation import Activation as Activation
from lamina.layers.activation import LeakyReLU as LeakyReLU
from lamina.layers.activation import PReLU as PReLU
from lamina.layers.activation import ReLU as ReLU
from lamina.layers.activation import Softmax as Softmax
from lamina.layers.attention import AdditiveAttention as AdditiveAttention
from lamina.layers.attention import Attention as Attention
from lamina.layers.attention import GroupQueryAttention as GroupQueryAttention
from lamina.layers.attention import MultiHeadAttention as MultiHeadAttention
from lamina.layers.basic import Dense as Dense
from lamina.layers.basic import Identity as Identity
from lamina.layers.basic import Input as Input
from lamina.layers.basic import InputLayer as InputLayer
from lamina.layers.basic import Masking as Masking
from lamina.layers.basic import Wrapper as Wrapper
from lamina.layers.convolution import Conv1D as Conv1D
from lamina.layers.convolution import Conv1DTranspose as Conv1DTranspose
from lamina.layers.convolution import Conv2D as Conv2D
from lamina.layers.convolution import Conv2DTranspose as Conv2DTranspose
from lamina.layers.convolution import Conv3D as Conv3D
from lamina.layers.convolution import Conv3DTranspose as Conv3DTranspose
from lamina.layers.convolution import Convolution1D as Convolution1D
from lamina.layers.convolution import Convolution1DTranspose as Convolution1DTranspose
from lamina.layers.convolution import Convolution2D as Convolution2D
from lamina.layers.convolution import Convolution2DTranspose as Convolution2DTranspose
from lamina.layers.convolution import Convolution3D as Convolution3D
from lamina.layers.convolution import Convolution3DTranspose as Convolution3DTranspose
from lamina.layers.convolution import DepthwiseConv1D as DepthwiseConv1D
from lamina.layers.convolution import DepthwiseConv2D as DepthwiseConv2D
from lamina.layers.convolution import SeparableConv1D as SeparableConv1D
from lamina.layers.convolution import SeparableConv2D as SeparableConv2D
from lamina.layers.convolution import SeparableConvolution1D as SeparableConvolution1D
from lamina.layers.convolution import SeparableConvolution2D as SeparableConvolution2D
from lamina.layers.einsum import EinsumDense as EinsumDense
from lamina.layers.embedding import Embedding as Embedding
from lamina.layers.embedding import ReversibleEmbedding as ReversibleEmbedding
from lamina.layers.jax_layer import FlaxLayer as FlaxLayer
from lamina.layers.jax_layer import JaxLayer as JaxLayer
from lamina.layers.lambdas import Lambda as Lambda
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
from lamina.layers.pooling import AvgPool1D as AvgPool1D
from lamina.layers.pooling import AvgPool2D as AvgPool2D
from lamina.layers.pooling import AvgPool3D as AvgPool3D
from lamina.layers.pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
from lamina.layers.pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from lamina.layers.pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
from lamina.layers.pooling import GlobalAvgPool1D as GlobalAvgPool1D
from lamina.layers.pooling import GlobalAvgPool2D as GlobalAvgPool2D
from lamina.layers.pooling import GlobalAvgPool3D as GlobalAvgPool3D
from lamina.layers.pooling import GlobalMaxPool1D as GlobalMaxPool1D
from lamina.layers.pooling import GlobalMaxPool2D as GlobalMaxPool2D
from lamina.layers.pooling import GlobalMaxPool3D as GlobalMaxPool3D
from lamina.layers.pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
from lamina.layers.pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from lamina.layers.pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
from lamina.layers.pooling import MaxPool1D as MaxPool1D
from lamina.layers.pooling import MaxPool2D as MaxPool2D
from lamina.layers.pooling import MaxPool3D as MaxPool3D
from lamina.layers.pooling import MaxPooling1D as MaxPooling1D
from lamina.layers.pooling import MaxPooling2D as MaxPooling2D
from lamina.layers.pooling import MaxPooling3D as MaxPooling3D
from lamina.layers.preprocessing.color import RandomBrightness as RandomBrightness
from lamina.layers.preprocessing.color import (
    RandomColorDegeneration as RandomColorDegeneration,
)
from lamina.layers.preprocessing.color import RandomColorJitter as RandomColorJitter
from lamina.layers.preprocessing.color import RandomContrast as RandomContrast
from lamina.layers.preprocessing.color import RandomGrayscale as RandomGrayscale
from lamina.layers.preprocessing.color import RandomHue as RandomHue
from lamina.layers.preprocessing.color import RandomInvert as RandomInvert
from lamina.layers.preprocessing.color import RandomPosterization as RandomPosterization
from lamina.layers.preprocessing.color import RandomSaturation as RandomSaturation
from lamina.layers.preprocessing.color import Solarization as Solarization
from lamina.layers.preprocessing.encoding import CategoryEncoding as CategoryEncoding
from lamina.layers.preprocessing.encoding import Discretization as Discretization
from lamina.layers.preprocessing.filters import AutoContrast as AutoContrast
from lamina.layers.preprocessing.filters import (
    ContrastLimitedAdaptiveHistogramEqualization as ContrastLimitedAdaptiveHistogramEqualization,  # noqa: E501
)
from lamina.layers.preprocessing.filters import Equalization as Equalization
from lamina.layers.preprocessing.filters import RandomErasing as RandomErasing
from lamina.layers.preprocessing.filters import RandomGaussianBlur as RandomGaussianBlur
from lamina.layers.preprocessing.filters import RandomSharpness as RandomSharpness
from lamina.layers.preprocessing.geometry import RandomFlip as RandomFlip
from lamina.layers.preprocessing.geometry import RandomRotation as RandomRotation
from lamina.layers.preprocessing.geometry import RandomShear as RandomShear
from lamina.layers.preprocessing.geometry import RandomTranslation as RandomTranslation
from lamina.layers.preprocessing.geometry import RandomZoom as RandomZoom
from lamina.layers.preprocessing.hashing import HashedCrossing as HashedCrossing
from lamina.layers.preprocessing.hashing import Hashing as Hashing
from lamina.layers.preprocessing.integer_lookup import IntegerLookup as IntegerLookup
from lamina.layers.preprocessing.mixing import AugMix as AugMix
from lamina.layers.preprocessing.mixing import CutMix as CutMix
from lamina.layers.preprocessing.mixing import MixUp as MixUp
from lamina.layers.preprocessing.mixing import Pipeline as Pipeline
from lamina.layers.preprocessing.mixing import RandAugment as RandAugment
from lamina.layers.preprocessing.scaling import Normalization as Normalization
from lamina.layers.preprocessing.scaling import Rescaling as Rescaling
from lamina.layers.preprocessing.sizing import CenterCrop as CenterCrop
from lamina.layers.preprocessing.sizing import (
    MaxNumBoundingBoxes as MaxNumBoundingBoxes,
)
from lamina.layers.preprocessing.sizing import RandomCrop as RandomCrop
from lamina.layers.preprocessing.sizing import Resizing as Resizing
from lamina.layers.preprocessing.spectrogram import MelSpectrogram as MelSpectrogram
from lamina.layers.preprocessing.spectrogram import STFTSpectrogram as STFTSpectrogram
from lamina.layers.preprocessing.text import StringLookup as StringLookup
from lamina.layers.preprocessing.text import TextVectorization as TextVectorization
from lamina.layers.preprocessing.warping import (
    RandomElasticTransform as RandomElasticTransform,
)
from lamina.layers.preprocessing.warping import RandomPerspective as RandomPerspective
from lamina.layers.recurrent.cells import GRUCell as GRUCell
from lamina.layers.recurrent.cells import LSTMCell as LSTMCell
from lamina.layers.recurrent.cells import SimpleRNNCell as SimpleRNNCell
from lamina.layers.recurrent.cells import StackedRNNCells as StackedRNNCells
from lamina.layers.recurrent.convolutional import ConvLSTM1D as ConvLSTM1D
from lamina.layers.recurrent.convolutional import ConvLSTM2D as ConvLSTM2D
from lamina.layers.recurrent.convolutional import ConvLSTM3D as ConvLSTM3D
from lamina.layers.recurrent.gated import GRU as GRU
from lamina.layers.recurrent.gated import LSTM as LSTM
from lamina.layers.recurrent.gated import SimpleRNN as SimpleRNN
from lamina.layers.recurrent.rnn import RNN as RNN
from lamina.layers.recurrent.wrappers import Bidirectional as Bidirectional
from lamina.layers.recurrent.wrappers import TimeDistributed as TimeDistributed
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
from lamina.layers.saved_model import TFSMLayer as TFSMLayer
from lamina.layers.spectral import SpectralNormalization as SpectralNormalization
from lamina.layers.torch_module import TorchModuleWrapper as TorchModuleWrapper

_EXAMPLE = {"class_name": "Dense", "config": {"units": 3}}
deserialize = _resolver(
    "layer",
    lambda: {k: v for k, v in globals().items() if k[0].isupper()},
    Layer,
    _EXAMPLE,
)[1]


@_boundary
def serialize(layer):
    """Return the config of a layer, from which `deserialize` makes another.

    >>> import lamina
    >>> lamina.layers.serialize(lamina.layers.Dense(2))["class_name"]
    'Dense'
    """
    return _serialize(layer)


_offer(globals())
