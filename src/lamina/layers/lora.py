"""Layers whose kernel can be replaced: `enable_lora` and `quantize`."""

import contextlib
from typing import Any

import numpy as np

from lamina import initializers, quantizers
from lamina.core.checks import positive_int
from lamina.core.context import having
from lamina.core.policy import QUANTIZATION_MODES, QuantizedDTypePolicy
from lamina.kernels.replaced import Replaced, Scales
from lamina.layers.layer import Layer


def replaceable(name):
    """Return an attribute for a Variable, or for what stands in its place."""

    def get(layer):
        held = layer.__dict__
        found = held.get(f"_{name}_replaced", held.get(f"_{name}"))
        if found is None:
            raise AttributeError(f"You must build the layer before accessing `{name}`.")
        return found

    def put(layer, variable):
        setattr(layer, f"_{name}", variable)

    return property(get, put, doc=f"The Variable `{name}`, or what stands for it.")


class Adaptable(Layer):
    """A layer with a kernel that LoRA or integers can replace."""

    _main = "kernel"
    _kind = "kernel"
    _quantized = ("kernel",)
    _also = ("bias",)
    lora_rank: Any
    lora_alpha: Any

    # ---- LoRA ----------------------------------------------------------------

    def _take_variants(self, lora_rank, lora_alpha, quantization_config):
        """Keep the constructor's arguments about the kernel."""
        if lora_rank is not None:
            lora_rank = positive_int(type(self).__name__, "lora_rank", lora_rank)
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank
        self.lora_enabled = False
        self.quantization_config = quantization_config

    def enable_lora(
        self,
        rank,
        lora_alpha=None,
        a_initializer="he_uniform",
        b_initializer="zeros",
    ):
        r"""Freeze the kernel and train a small change of it, $W + (c / r) A B$.

        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.

        Args:
            rank: r, the number of columns of A and rows of B.
            lora_alpha: c; r when None.
            a_initializer: the first values of A.
            b_initializer: the first values of B.

        Raises:
            ValueError: the layer is not built, has LoRA already, or its kernel has
                a constraint.

        >>> import lamina
        >>> layer = lamina.layers.Dense(100)
        >>> layer.build((None, 50))
        >>> layer.enable_lora(rank=4)
        >>> [w.name for w in layer.trainable_weights]
        ['bias', 'lora_kernel_a', 'lora_kernel_b']
        """
        main = self._main
        if getattr(self, f"{main}_constraint") is not None:
            raise ValueError(
                f"Lora is incompatible with {self._kind} constraints. Make the layer "
                f"{self.name!r} without `{main}_constraint`."
            )
        if not self.built:
            raise ValueError(
                "Cannot enable lora on a layer that isn't yet built. Call "
                f"`build(input_shape)` of layer {self.name!r} before, or give its "
                "constructor `lora_rank`."
            )
        if self.lora_enabled:
            raise ValueError(
                f"lora is already enabled in layer {self.name!r}. This can only be "
                "done once per layer."
            )
        rank = positive_int("enable_lora", "rank", rank)
        kernel = getattr(self, f"_{main}")
        self._a_initializer = initializers.get(a_initializer)
        hook = getattr(self, f"{main}_regularizer")
        with self._opened():
            for letter, shape, initializer in (
                ("a", (*kernel.shape[:-1], rank), self._a_initializer),
                ("b", (rank, kernel.shape[-1]), b_initializer),
            ):
                name = f"lora_{main}_{letter}"
                # In full precision: the changes are small beside the kernel.
                variable = self.add_weight(
                    name=name,
                    shape=shape,
                    initializer=initializer,
                    dtype="float32",
                    regularizer=hook,
                )
                setattr(self, name, variable)
        kernel.trainable = False
        self.lora_enabled = True
        self.lora_rank = rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else rank
        self._replace()

    @Layer.trainable.setter
    def trainable(self, value):
        """Set whether its weights are trained; what LoRA froze stays frozen."""
        Layer.trainable.fset(self, value)  # pyright: ignore
        if self.lora_enabled:
            getattr(self, f"_{self._main}").trainable = False

    def _lora(self) -> Any:
        if not self.lora_enabled:
            return None
        a, b = (getattr(self, f"lora_{self._main}_{letter}") for letter in "ab")
        return a, b, self.lora_alpha / self.lora_rank

    @contextlib.contextmanager
    def _opened(self):
        """Let a built layer have more weights, with paths as if `build` made them."""
        closed, self._closed = self._closed, False
        try:
            with having(scopes=tuple((self._path or self.name).split("/"))):
                yield
        finally:
            self._closed = closed

    # ---- quantization --------------------------------------------------------

    def quantize(self, mode=None, type_check=True, config=None):
        """Replace the kernel by integers of 8 bits with a scale for each output.

        The kernel is not trained from then on. Inputs are rounded to 8 bits as well
        and the product is one of integers; gradients pass as if nothing was rounded.

        Args:
            mode: `"int8"`.
            type_check: whether to refuse subclasses, which may read their kernel in
                ways of their own.
            config: an `Int8QuantizationConfig` with quantizers in place of the usual
                ones.

        Raises:
            ValueError: the layer is not built or quantized already, or there is no
                such mode.
            NotImplementedError: a subclass, or a mode of Keras that is left out.

        >>> import lamina
        >>> layer = lamina.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> layer.quantize("int8")
        >>> [(w.name, w.dtype) for w in layer.weights]
        [('bias', 'float32'), ('kernel', 'int8'), ('kernel_scale', 'float32')]
        """
        mode, config = quantizers.resolve(mode, config)
        if type_check and not type(self).__module__.startswith("lamina."):
            raise NotImplementedError(
                f"Layer {type(self).__name__} does not have a `quantize()` method of "
                "its own. Pass `type_check=False` to use that of its base class."
            )
        if not self.built:
            raise ValueError(
                "Cannot quantize a layer that isn't yet built. Layer "
                f"{self.name!r} (of type {type(self).__name__!r}) is not built yet."
            )
        if self.quantization_mode is not None:
            raise ValueError(
                f"Layer {self.name!r} is already quantized with dtype_policy="
                f"{self.dtype_policy.name!r}. Received: mode={mode}"
            )
        quantizers.refuse_other_modes(mode)
        policy = QuantizedDTypePolicy(mode, self._policy.name)
        values = {}
        for name in self._quantized_weights():
            kernel = getattr(self, f"_{name}")
            scales = self._scales(name, tuple(kernel.shape))
            integers, scale = _integers(config, scales, kernel.raw_value)
            values[name] = integers, scales.keep(scale)
        self.quantization_config = config
        self._dtype_policy = policy
        with self._opened():
            for name, (integers, scale) in values.items():
                old = getattr(self, f"_{name}")
                self._variables = [v for v in self._variables if v is not old]
                setattr(self, f"_{name}", self.add_weight(integers.shape, name=name))
                getattr(self, f"_{name}").assign(integers)
                getattr(self, f"{name}_scale").assign(scale)
        self._replace()

    def add_weight(self, shape=None, *args, name=None, **kwargs):
        """Make a Variable that the layer owns; integers and a scale if quantized."""
        if self.quantization_mode is None or name not in self._quantized_weights():
            return super().add_weight(shape, *args, name=name, **kwargs)
        quantizers.refuse_other_modes(self.quantization_mode)
        integers = super().add_weight(
            shape, initializer="zeros", dtype="int8", trainable=False, name=name
        )
        scale = super().add_weight(
            self._scales(name, tuple(integers.shape)).kept,
            initializer="ones",
            trainable=False,
            name=f"{name}_scale",
        )
        setattr(self, f"{name}_scale", scale)
        return integers

    def _quantized_weights(self):
        return self._quantized

    def _scales(self, name, shape):
        """Return how the scales of a weight are kept: one for each of its outputs."""
        return Scales(shape, (0,), (1,), shape[1:])

    @property
    def inputs_quantizer(self):
        """What turns inputs into integers; None where they stay as they are."""
        config = self.quantization_config
        if self.quantization_mode is None or config is None:
            return quantizers.AbsMaxQuantizer() if self.quantization_mode else None
        return config.activation_quantizer

    def quantized_build(self, input_shape, mode, config=None):
        """Build the layer with integers for a kernel, to be loaded with values.

        Raises:
            NotImplementedError: there is no such mode, or it is left out.
        """
        _check_known(mode)
        quantizers.refuse_other_modes(mode)
        self.quantization_config = config
        self._dtype_policy = QuantizedDTypePolicy(mode, self._policy.name)
        self.build(input_shape)

    def quantized_call(self, *args, **kwargs):
        """Compute the outputs of a quantized layer.

        Raises:
            NotImplementedError: the layer's policy has no mode that is known.
        """
        _check_known(self.quantization_mode)
        return self.call(*args, **kwargs)

    # ---- both ----------------------------------------------------------------

    def _finish_build(self):
        if self.quantization_mode is not None and self._quantized:
            self._replace()
        if self.lora_rank is not None:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _replace(self):
        """Put what computes with the present weights in place of the Variables."""
        integers = self._quantized_weights() if self.quantization_mode else ()
        for name in {self._main: None, **dict.fromkeys(integers)}:
            variable = getattr(self, f"_{name}")
            lora = self._lora() if name == self._main else None
            if name in integers:
                scales = self._scales(name, tuple(variable.shape))
                scale = getattr(self, f"{name}_scale")
                new = Replaced(variable, scale, scales, self.inputs_quantizer, lora)
            else:
                new = Replaced(variable, lora=lora)
            setattr(self, f"_{name}_replaced", new)

    @property
    def variable_serialization_spec(self) -> dict:
        """The names of the weights by quantization mode, in the order of files."""
        integers = []
        for name in self._quantized_weights():
            integers += [name, f"{name}_scale"]
        plain = [*(self._quantized_weights() or (self._main,)), *self._also]
        if not integers:
            return {None: plain}
        # Where there is a bias, files have it before the scale.
        main, *scales = integers
        return {None: plain, "int8": [main, *self._also, *scales]}

    def _saved_variables(self):
        spec = self.variable_serialization_spec
        names = spec.get(self.quantization_mode, spec[None])
        held = [self.__dict__.get(f"_{n}", self.__dict__.get(n)) for n in names]
        lora = self._lora() or ()
        others = [
            v
            for v in self._own_variables()
            if not any(v is x for x in (*held, *lora[:2]))
        ]
        return [*(v for v in held if v is not None), *others]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if not self.lora_enabled:
            return
        saved = self._saved_variables()
        kernel = getattr(self, self._main)
        if self.quantization_mode is None:
            store["0"] = np.asarray(kernel.value)
            return
        config, scales = self.quantization_config, kernel.scales
        integers, scale = _integers(config, scales, kernel.value)
        place = next(i for i, v in enumerate(saved) if v is kernel.scale)
        store["0"] = np.asarray(integers)
        store[str(place)] = np.asarray(scales.keep(scale))

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if not self.lora_enabled:
            return
        a, b, _ = self._lora()
        b.assign(np.zeros(b.shape))
        # Both zero would never be trained.
        if not np.any(a.raw_value):
            a.assign(self._a_initializer(a.shape, dtype=a.dtype))

    def get_config(self):
        config = super().get_config()
        if self.lora_rank is None:
            del config["lora_rank"], config["lora_alpha"]
        return config


def _integers(config, scales, floats):
    """Return the integers for a kernel, and their scale with the kernel's axes."""
    quantizer = config and config.weight_quantizer
    if quantizer is None:
        quantizer = quantizers.AbsMaxQuantizer(axis=scales.shared)
    return quantizer(np.asarray(floats), to_numpy=True)


def _check_known(mode):
    if mode not in QUANTIZATION_MODES:
        raise NotImplementedError(
            f"Invalid quantization mode. Expected one of {QUANTIZATION_MODES}. "
            f"Received: quantization_mode={mode}"
        )
