"""Layers that run over time: cells, what drives them, and two wrappers."""

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
