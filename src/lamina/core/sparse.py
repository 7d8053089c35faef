"""Sparse and ragged tensors of other packages: recognised, to be refused."""

_PACKAGES = ("scipy.sparse", "jax.experimental.sparse", "cupyx.scipy.sparse")
_NAMES = ("IndexedSlices", "RaggedTensor", "SparseTensor")


def refuse_sparse(x) -> None:
    """Raise if `x` is a sparse or ragged tensor, and tell how to make it dense.

    >>> import jax.numpy as jnp, lamina
    >>> from jax.experimental import sparse
    >>> lamina.ops.add(sparse.BCOO.fromdense(jnp.eye(2)), 1)
    Traceback (most recent call last):
    ValueError: Sparse and ragged tensors are not supported. Received: BCOO(...)...

    Raises:
        ValueError: it is one.
    """
    kind = type(x)
    known = kind.__module__.startswith(_PACKAGES) or kind.__name__ in _NAMES
    # A sparse tensor of torch has the type of a dense one.
    if known or getattr(x, "is_sparse", False) is True:
        raise ValueError(
            f"Sparse and ragged tensors are not supported. Received: {x!r} (of type "
            f"{kind.__name__}). Make it dense, for instance with `.todense()`, "
            "`.toarray()` or `tf.sparse.to_dense`, or pad its rows to one length with "
            "`lamina.utils.pad_sequences` and mask what is missing."
        )
