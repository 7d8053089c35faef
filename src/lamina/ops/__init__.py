"""The public operations: on arrays, on Variables and on symbolic tensors.

The functions of the namespaces `numpy`, `nn`, `linalg` and `image` stand here too.
"""

from lamina.ops import core as core
from lamina.ops import image as image
from lamina.ops import linalg as linalg
from lamina.ops import math as math
from lamina.ops import nn as nn
from lamina.ops import numpy as numpy
from lamina.ops import operators as operators
from lamina.ops.core import *  # noqa: F403
from lamina.ops.einops import *  # noqa: F403
from lamina.ops.image import *  # noqa: F403
from lamina.ops.linalg import *  # noqa: F403
from lamina.ops.math import *  # noqa: F403
from lamina.ops.nn import *  # noqa: F403
from lamina.ops.numpy import *  # noqa: F403
