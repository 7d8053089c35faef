"""All layers, one file per family."""

from lamina import ops as _ops  # installs the operators of symbolic tensors
from lamina.layers.core import Dense, Input, InputLayer
from lamina.layers.input_spec import InputSpec
from lamina.layers.layer import Layer

del _ops
