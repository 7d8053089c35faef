"""The old place of dtype policies, see `lamina.dtype_policies`."""

from lamina.core.policy import DTypePolicy as DTypePolicy
from lamina.core.policy import dtype_policy, set_dtype_policy
from lamina.optimizers import LossScaleOptimizer as LossScaleOptimizer

Policy = DTypePolicy
global_policy = dtype_policy
set_global_policy = set_dtype_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
