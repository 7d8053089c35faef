"""`keras.src.backend.torch`: arrays as tensors of PyTorch's, and back.

Packages compare what their layers give with what PyTorch computes.
"""

from typing import Any

import numpy as np

import lamina
from lamina.compat.shims.private import LazyModule

torch: Any = LazyModule("torch")


def to_torch_dtype(dtype):
    """Return PyTorch's dtype of a name."""
    return getattr(torch, lamina.backend.standardize_dtype(dtype))


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """Return a tensor of PyTorch's."""
    del sparse, ragged
    x = np.asarray(x)
    dtype = to_torch_dtype(dtype or x.dtype)
    return torch.tensor(
        x.astype("float32") if x.dtype == "bfloat16" else x, dtype=dtype
    )


def convert_to_numpy(x):
    """Return a tensor of PyTorch's, or anything else, as an array."""
    if not torch.is_tensor(x):
        return lamina.ops.convert_to_numpy(x)
    x = x.detach().cpu()
    if x.dtype == torch.bfloat16:  # which PyTorch does not give to NumPy
        return np.asarray(x.float()).astype(lamina.ops.zeros(0, "bfloat16").dtype)
    return np.array(x)
