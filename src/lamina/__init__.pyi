from lamina import activations as activations
from lamina import applications as applications
from lamina import backend as backend
from lamina import callbacks as callbacks
from lamina import config as config
from lamina import constraints as constraints
from lamina import data as data
from lamina import datasets as datasets
from lamina import distillation as distillation
from lamina import distribution as distribution
from lamina import dtype_policies as dtype_policies
from lamina import export as export
from lamina import initializers as initializers
from lamina import layers as layers
from lamina import legacy as legacy
from lamina import losses as losses
from lamina import metrics as metrics
from lamina import mixed_precision as mixed_precision
from lamina import models as models
from lamina import ops as ops
from lamina import optimizers as optimizers
from lamina import preprocessing as preprocessing
from lamina import quantizers as quantizers
from lamina import random as random
from lamina import regularizers as regularizers
from lamina import saving as saving
from lamina import testing as testing
from lamina import tree as tree
from lamina import utils as utils
from lamina import visualization as visualization
from lamina import wrappers as wrappers
from lamina.compat.aliases import install as install
from lamina.core.context import name_scope as name_scope
from lamina.core.operation import Operation as Operation
from lamina.core.policy import DTypePolicy as DTypePolicy
from lamina.core.policy import FloatDTypePolicy as FloatDTypePolicy
from lamina.core.remat import RematScope as RematScope
from lamina.core.remat import remat as remat
from lamina.core.scopes import StatelessScope as StatelessScope
from lamina.core.scopes import SymbolicScope as SymbolicScope
from lamina.core.scopes import device as device
from lamina.core.variable import Variable as Variable
from lamina.core.variable import pure as pure
from lamina.core.variable import value_and_grad as value_and_grad
from lamina.initializers import Initializer as Initializer
from lamina.layers import Input as Input
from lamina.layers import InputSpec as InputSpec
from lamina.layers import Layer as Layer
from lamina.losses import Loss as Loss
from lamina.metrics import Metric as Metric
from lamina.models import Function as Function
from lamina.models import Model as Model
from lamina.models import Sequential as Sequential
from lamina.ops.operators import SymbolicTensor
from lamina.optimizers import Optimizer as Optimizer
from lamina.quantizers import Quantizer as Quantizer
from lamina.regularizers import Regularizer as Regularizer

KerasTensor = SymbolicTensor
__version__: str

def version() -> str: ...
