"""The public operations: on arrays, on Variables and on symbolic tensors.

The functions of the namespaces `numpy`, `nn`, `linalg` and `image` stand here too.
"""

from lamina._imports import offer as _offer
from lamina.ops import image as image
from lamina.ops import linalg as linalg
from lamina.ops import nn as nn
from lamina.ops import numpy as numpy
from lamina.ops import operators as _operators  # noqa: F401
from lamina.ops.core import *
from lamina.ops.einops import *
from lamina.ops.image import *
from lamina.ops.linalg import *
from lamina.ops.math import *
from lamina.ops.nn import *
from lamina.ops.numpy import *

_offer(globals(), modules=("image", "linalg", "nn", "numpy"))
