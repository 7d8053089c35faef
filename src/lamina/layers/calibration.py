"""Fitting quantized layers to data: what `Model.quantize` does for GPTQ and AWQ."""

import numpy as np

from lamina.core.context import having
from lamina.core.owner import layers_in
from lamina.kernels.adapted import AdaptedWeight, spelled
from lamina.layers.lora import Adaptable
from lamina.quantizers import fitting

_METHODS = {"gptq": fitting.GPTQ, "awq": fitting.AWQ}


class _Watched(AdaptedWeight):
    """Stands for a kernel of floats and shows the inputs that it is multiplied by."""

    def __init__(self, variable, method):
        super().__init__(variable)
        self.method = method

    def product(self, equation, x):
        left, letters, right = spelled(equation, x.ndim)
        summed = [c for c in letters if c not in right]
        order = [i for i, c in enumerate(left) if c not in summed]
        x_last = np.asarray(x).transpose(*order, *(left.index(c) for c in summed))
        self.method.observe(x_last.reshape(-1, self.method.features))
        return super().product(equation, x)


class Calibration:
    """The blocks of a model that are fitted to data one after the other.

    Args:
        config: a `GPTQConfig` or an `AWQConfig`.
        structure: a dict with "pre_block_layers" and "sequential_blocks".

    Raises:
        ValueError: there is no structure, it has no blocks, or there are no data.
    """

    def __init__(self, config, structure):
        self.config = config
        self.blocks = (structure or {}).get("sequential_blocks", [])
        if not self.blocks:
            raise ValueError(
                f"For mode={config.mode!r}, a valid quantization structure must be "
                "provided, either as `quantization_layer_structure` of the config or "
                "by overriding `model.get_quantization_layer_structure(mode)`: a "
                "dictionary with the keys 'pre_block_layers' and 'sequential_blocks', "
                "of which the second holds at least one. (No sequential blocks found.) "
                f"Received: {structure!r}"
            )
        self.first = structure.get("pre_block_layers", [])
        self.samples = [s[None] for s in fitting.windows(config)]

    def layers(self):
        """Return the layers inside of the blocks."""
        return [x for block in self.blocks for x in layers_in(block)]

    def run(self):
        """Fit all layers that were quantized; a block gets what the last one gives."""
        # Layer by layer, not as compiled calls: inputs are looked at.
        with having(losses=[], arguments={"training": False}):
            samples = self.samples
            for layer in self.first:
                samples = [layer(x) for x in samples]
            for block in self.blocks:
                waiting = [x for x in layers_in(block) if self._waits(x)]
                _fit(block, waiting, samples, self.config)
                if block is not self.blocks[-1]:
                    samples = [_first(block(x)) for x in samples]

    def _waits(self, layer):
        quantized = isinstance(layer, Adaptable) and layer._is_quantized
        same = quantized and layer.quantization_mode == self.config.mode
        return same and not layer._is_calibrated


def _first(outputs):
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def _fit(block, layers, samples, config):
    watched = []
    for layer in layers:
        features = layer._encodings["kernel"].flat[-1]
        method = _METHODS[config.mode](features, config)
        watched.append(_Watched(layer._kernel, method))
        layer._kernel_replaced = watched[-1]
    try:
        for x in samples:
            block(x)
    finally:
        for layer in layers:
            layer._replace()
    for layer, one in zip(layers, watched, strict=True):
        encoding = layer._encodings["kernel"]
        kernel = encoding.layout.matrix(np.asarray(layer._kernel.raw_value))
        layer._calibrated(encoding.fitted(*one.method.fit(kernel)))
