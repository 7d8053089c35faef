"""Layers of Keras around other engines: their names, and what to use instead."""

from lamina.layers.layer import Layer

__all__ = ["TFSMLayer", "TorchModuleWrapper"]


class TFSMLayer(Layer):
    """Left out: it runs a TensorFlow SavedModel, and Lamina has one engine, JAX.

    Args:
        filepath: the folder of the SavedModel.
        call_endpoint: the name of the function to call.
        call_training_endpoint: that of the function to call in training.
        trainable: whether to train its weights.
        name: the layer's name.
        dtype: the dtype policy.

    Raises:
        NotImplementedError: always.
    """

    def __init__(
        self,
        filepath,
        call_endpoint="serve",
        call_training_endpoint=None,
        trainable=True,
        name=None,
        dtype=None,
    ):
        raise NotImplementedError(
            "`TFSMLayer` is left out, because Lamina has no TensorFlow. Load the model "
            "from a `.keras` file with `lamina.saving.load_model`, or wrap a function "
            "of JAX in `lamina.layers.JaxLayer`."
        )


class TorchModuleWrapper(Layer):
    """Left out: it runs a PyTorch module, and Lamina has one engine, JAX.

    Args:
        module: the module.
        name: the layer's name.
        output_shape: the shape of its outputs.
        kwargs: other arguments of `Layer`.

    Raises:
        NotImplementedError: always.
    """

    def __init__(self, module, name=None, output_shape=None, **kwargs):
        raise NotImplementedError(
            "`TorchModuleWrapper` is left out, because Lamina has no PyTorch. Write "
            "the module as a `lamina.layers.Layer`, or wrap a function of JAX in "
            "`lamina.layers.JaxLayer`."
        )

    @property
    def parameters(self):
        """What PyTorch calls the weights."""
        return self.weights
