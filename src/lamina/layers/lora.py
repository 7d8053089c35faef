"""Layers whose kernel can be replaced: `enable_lora` and `quantize`."""

import contextlib
import functools
from typing import Any

import numpy as np

from lamina import initializers, quantizers
from lamina.core.checks import positive_int
from lamina.core.context import having
from lamina.core.placement import fetched
from lamina.core.policy import get_policy
from lamina.kernels.adapted import AdaptedWeight, Layout
from lamina.layers.encodings import ENCODINGS
from lamina.layers.layer import Layer
from lamina.quantizers.configs import QuantizationConfig, resolve


def replaceable(name):
    """Return an attribute for a Variable, or for what stands in its place."""

    def get(layer):
        held = layer.__dict__
        found = held.get(f"_{name}_replaced")
        found = held.get(f"_{name}") if found is None else found
        if found is None:
            raise AttributeError(f"You must build the layer before accessing `{name}`.")
        return found

    def put(layer, variable):
        setattr(layer, f"_{name}", variable)

    return property(get, put, doc=f"The Variable `{name}`, or what stands for it.")


def calibrated_by(mode):
    """Return an attribute: whether integers fitted by a mode stand for the kernel."""

    def get(layer):
        return layer.quantization_mode == mode and layer._is_calibrated

    def put(layer, value):
        if value and layer.quantization_mode == mode:
            layer._calibrated()

    return property(get, put, doc=f"Whether {mode.upper()} has fitted the kernel.")


class Adaptable(Layer):
    """A layer with a kernel that LoRA or integers can replace."""

    _main = "kernel"
    _kind = "kernel"
    _quantized = ("kernel",)
    _also = ("bias",)
    # The modes that it can be quantized to, and those that round inputs by default.
    _modes = tuple(ENCODINGS)
    _rounds_inputs = ("int8",)
    _zero_name: str | None = None
    _is_quantized = False
    # Whether calls read the weights as they are kept in integers. A class says it for
    # itself and not for its subclasses, which may read them in ways of their own.
    _quantizes = False
    lora_rank: Any
    lora_alpha: Any
    lora_enabled = False
    _encodings: dict[str, Any]

    # ---- LoRA ----------------------------------------------------------------

    def _take_variants(self, lora_rank, lora_alpha, quantization_config):
        """Keep the constructor's arguments about the kernel."""
        if lora_rank is not None:
            lora_rank = positive_int(type(self).__name__, "lora_rank", lora_rank)
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank
        self.quantization_config = quantization_config
        self._encodings = {}

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
            NotImplementedError: the layer is quantized to a mode without LoRA.

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
        self._check_lora(self.quantization_mode)
        kernel = getattr(self, main)
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
        getattr(self, f"_{main}").trainable = False
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

    def _check_lora(self, mode):
        if mode in self._modes and not ENCODINGS[mode].adds_lora:
            raise NotImplementedError(
                f"lora is not currently supported with {mode.upper()} quantization. "
                f"Layer {self.name!r} can have one of the two, or mode='int8' or "
                "'int4'."
            )

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
        """Replace the kernel by integers of few bits, or round products to float8.

        Integers are not trained from then on; gradients pass as if the inputs were
        not rounded. `"gptq"` and `"awq"` need data: `Model.quantize` fits a model's
        layers to it, and until then the layer computes with its floats.

        Args:
            mode: `"int8"`, `"int4"`, `"float8"`, `"gptq"` or `"awq"`.
            type_check: whether to refuse subclasses, which may read their kernel in
                ways of their own.
            config: a config of `lamina.quantizers` in place of the mode's usual one.

        Raises:
            ValueError: the layer is not built or quantized already, there is no
                such mode, or it needs a config.
            NotImplementedError: a subclass, or a mode that the layer does not have.

        >>> import lamina
        >>> layer = lamina.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> layer.quantize("int8")
        >>> [(w.name, w.dtype) for w in layer.weights]
        [('bias', 'float32'), ('kernel', 'int8'), ('kernel_scale', 'float32')]
        """
        config = resolve(mode, config, self._policy)
        mode = config.mode
        if type_check and not vars(type(self)).get("_quantizes"):
            raise NotImplementedError(
                f"Layer {type(self).__name__} does not have a `quantize()` method of "
                "its own. Pass `type_check=False` to use that of its base class."
            )
        if not self.built:
            raise ValueError(
                "Cannot quantize a layer that isn't yet built. Layer "
                f"{self.name!r} (of type {type(self).__name__!r}) is not built yet."
            )
        if self._is_quantized:
            raise ValueError(
                f"Layer {self.name!r} is already quantized with dtype_policy="
                f"{self.dtype_policy.name!r}. Received: mode={mode}"
            )
        self._check_known(mode)
        if self.lora_enabled:
            self._check_lora(mode)
        policy = self._policy
        if self.quantization_mode is None:
            name = f"{config.dtype_policy_string()}_from_{self._policy.name}"
            policy = get_policy(name)
        made = []
        for name in self._quantized_weights():
            kernel = getattr(self, f"_{name}")
            encoding = self._encoding(name, kernel.shape, config, policy)
            values = encoding.encode(kernel.raw_value, config.weight_quantizer)
            made.append((encoding, values))
        self.quantization_config = config
        self._dtype_policy = policy
        with self._opened():
            for encoding, values in made:
                if not encoding.keeps_floats:
                    self._untrack_variable(getattr(self, f"_{encoding.name}"))
                    setattr(self, f"_{encoding.name}", None)
                self._add_parts(encoding)
                for variable, value in zip(encoding.variables, values, strict=False):
                    variable.assign(value)
        self._is_quantized = True
        self._replace()

    def _encoding(self, name, shape, config, policy):
        """Return how a mode keeps one weight."""
        mode = policy.quantization_mode
        self._check_known(mode)
        if config is not None and config.mode != mode:
            raise ValueError(
                f"Layer {self.name!r} has the dtype policy {policy.name!r} and a "
                f"`quantization_config` of mode {config.mode!r}. Let them agree."
            )
        numbers = policy if config is None or mode == "float8" else config
        layout = self._layout(name, tuple(shape))
        return ENCODINGS[mode](layout, name, numbers, self._zero_name)

    def _add_parts(self, encoding):
        """Make the Variables of an encoding, but for what the layer has already."""
        for part in encoding.parts:
            held = f"_{part.attribute}" if part.attribute == encoding.name else None
            if self.__dict__.get(held or part.attribute) is None:
                where = {"name": part.name, **part.more}
                first = part.initializer
                made = super().add_weight(part.shape, first, part.dtype, **where)
                setattr(self, held or part.attribute, made)
        names = [n.format(encoding.name) for n in encoding.attributes]
        encoding.variables = self._variables_at(names)
        self._encodings = {**self._encodings, encoding.name: encoding}

    def _variables_at(self, names):
        """Return those of the Variables by the names of attributes that there are."""
        held = [self.__dict__.get(f"_{n}", self.__dict__.get(n)) for n in names]
        return [v for v in held if v is not None]

    def add_weight(self, shape=None, *args, name=None, **kwargs):
        """Make a Variable that the layer owns; those of its encoding if quantized."""
        make = super().add_weight
        if self.quantization_mode is None or name not in self._quantized_weights():
            return make(shape, *args, name=name, **kwargs)
        config, policy = self.quantization_config, self._policy
        encoding = self._encoding(name, shape or (), config, policy)
        self._add_parts(encoding)
        if encoding.keeps_floats and not encoding.calibrated:
            encoding.variables.insert(0, make(shape, *args, name=name, **kwargs))
        return encoding.variables[0]

    def _quantized_weights(self):
        return self._quantized

    def _layout(self, name, shape):
        """Return how integers of a weight are kept: a scale for each output."""
        return Layout(shape, (0,), (1,), shape[1:])

    @property
    def inputs_quantizer(self):
        """What turns inputs into integers; None where they stay as they are."""
        rounds = self._is_quantized and self.quantization_mode in self._rounds_inputs
        return QuantizationConfig.activation_quantizer_or_default(
            self.quantization_config, quantizers.AbsMaxQuantizer() if rounds else None
        )

    def quantized_build(self, input_shape, mode, config=None):
        """Build the layer as if quantized, to be loaded with values.

        Raises:
            NotImplementedError: the layer does not have such a mode.
        """
        self._check_known(mode)
        self.quantization_config = config
        prefix = mode if config is None else config.dtype_policy_string()
        self._dtype_policy = get_policy(f"{prefix}_from_{self._policy.name}")
        self.build(input_shape)

    def quantized_call(self, *args, **kwargs):
        """Compute the outputs of a quantized layer.

        Raises:
            NotImplementedError: the layer's policy has no mode that is known.
        """
        self._check_known(self.quantization_mode)
        return self.call(*args, **kwargs)

    def _check_known(self, mode):
        if mode not in self._modes:
            raise NotImplementedError(
                f"Invalid quantization mode. Expected one of {self._modes} for layer "
                f"{self.name!r} ({type(self).__name__}). "
                f"Received: quantization_mode={mode}"
            )

    is_gptq_calibrated = calibrated_by("gptq")
    is_awq_calibrated = calibrated_by("awq")

    @property
    def _int4_block_size(self):
        """As Keras calls the number of inputs that share a scale."""
        return getattr(self._encodings.get(self._main), "block", None)

    @property
    def _is_calibrated(self):
        encoding = self._encodings.get(self._main)
        kernel = getattr(self, f"_{self._main}")
        return encoding is not None and encoding.variables[0] is kernel

    def _calibrated(self, values=()):
        """Let the fitted integers stand for the kernel, and give up the floats."""
        encoding, kernel = self._encodings[self._main], f"_{self._main}"
        for variable, value in zip(encoding.variables, values, strict=False):
            variable.assign(value)
        if not self._is_calibrated:
            self._untrack_variable(getattr(self, kernel))
            setattr(self, kernel, encoding.variables[0])
        self._replace()

    # ---- both ----------------------------------------------------------------

    def _finish_build(self):
        if self._encodings:
            self._is_quantized = True
            self._replace()
        if self.lora_rank is not None:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _replace(self):
        """Put what computes with the present weights in place of the Variables."""
        for name in {self._main: None, **self._encodings}:
            variable = getattr(self, f"_{name}")
            lora = self._lora() if name == self._main else None
            encoding = self._encodings.get(name)
            if encoding is not None and encoding.variables[0] is not variable:
                encoding = None  # not calibrated yet
            new = AdaptedWeight(variable, encoding, self.inputs_quantizer, lora)
            plain = encoding is None and lora is None
            setattr(self, f"_{name}_replaced", None if plain else new)

    @property
    def variable_serialization_spec(self) -> dict:
        """The names of the weights by quantization mode, in the order of files."""
        weights = self._quantized_weights() or (self._main,)
        modes = self._modes if self._quantized else ()
        return {mode: [*names] for mode, names in _order(weights, self._also, modes)}

    def _saved_variables(self):
        spec, mode = self.variable_serialization_spec, self.quantization_mode
        held = self._variables_at(spec.get(mode, spec[None]))
        aside = [*held, *(self._lora() or ())[:2]]
        if mode is not None and not self._is_calibrated:
            aside.append(getattr(self, f"_{self._main}", None))
        known = {*map(id, aside)}
        return [*held, *(v for v in self._own_variables() if id(v) not in known)]

    def save_own_variables(self, store):
        encoding = self._encodings.get(self._main)
        if encoding is not None and encoding.calibrated and not self._is_calibrated:
            raise ValueError(
                f"Layer {self.name!r} was quantized to {encoding.mode!r}, but its "
                "integers were not fitted to data yet, so there is nothing to save. "
                f"Call `model.quantize({encoding.mode!r}, config=...)` on the model."
            )
        super().save_own_variables(store)
        if not self.lora_enabled:
            return
        saved = self._saved_variables()
        kernel = getattr(self, self._main)
        if encoding is None:
            store["0"] = fetched(kernel.value)
            return
        quantizer = QuantizationConfig.weight_quantizer_or_default(
            self.quantization_config, None
        )
        values = encoding.encode(kernel.value, quantizer)
        for variable, value in zip(encoding.variables, values, strict=False):
            place = next(i for i, v in enumerate(saved) if v is variable)
            store[str(place)] = np.asarray(value)

    def load_own_variables(self, store):
        encoding: Any = self._encodings.get(self._main)
        fits = getattr(encoding, "calibrated", False)
        if fits and len(store.keys()) == len(self._saved_variables()) - 1:
            raise ValueError(
                f"Layer {self.name!r} expected {encoding.variables[2].path!r} among "
                "its values. Keras 3.15 leaves zero points out when it saves a layer "
                f"quantized to {encoding.mode!r}: such a file cannot be read. "
                "Load the model of floats and quantize it with Lamina."
            )
        super().load_own_variables(store)
        if fits:
            self._calibrated()  # what a file holds was fitted
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


@functools.cache
def _order(weights, also, modes):
    """Return `(mode, names of weights)` in the order of files, None for floats."""
    found: list = [(None, (weights[0], *also, *weights[1:]))]
    for mode in modes:
        names = [n.format(w) for w in weights for n in ENCODINGS[mode].attributes]
        names = [*dict.fromkeys(names)]
        # A bias comes after a kernel of its name, else before everything.
        at = int(names[0] == weights[0])
        found.append((mode, (*names[:at], *also, *names[at:])))
    return found
