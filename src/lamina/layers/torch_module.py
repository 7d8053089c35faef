"""`TorchModuleWrapper`: a PyTorch module as a layer, computed on the host."""

import base64
import copy
import functools
import io
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

from lamina.core import structure
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.context import context, having
from lamina.core.random import SeedGenerator
from lamina.core.symbolic import infer, plain_shape
from lamina.core.variable import Variable, from_host
from lamina.layers.building import spec_of
from lamina.layers.foreign import (
    as_expected,
    engine_for,
    foresee,
    is_traced,
    parted,
    refuse_in_safe_mode,
    result_of,
)
from lamina.layers.layer import Layer

# PyTorch has one random generator, and a module has one mode: one call at a time.
_one_at_a_time = threading.RLock()


class TorchModuleWrapper(Layer):
    """A `torch.nn.Module` as a layer.

    Parameters and buffers of the module are Variables of the layer, under the module's
    names for them; buffers and parameters without `requires_grad` are not trained.
    Calls run in PyTorch on the host, also from compiled code, and gradients are those
    of PyTorch, which runs the module once more for them. `module.train()` holds unless
    `training=False`; random numbers come from the layer's own seeds. In half precision
    the module runs under `torch.autocast`.

    Integers of 32 bits reach the module as `torch.int64`. Buffers change in training
    alone. Derivatives of gradients are left out, and so is what a module keeps outside
    of its parameters and buffers.

    Args:
        module: the module; a lazy one must have been called once.
        name: the layer's name.
        output_shape: the shape of the outputs, with the batch; found out when None, by
            running the module on tensors without data.
        kwargs: other arguments of `Layer`.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: `module` is not a module, is scripted, or is lazy and was not called
            yet.

    >>> import lamina, numpy as np, torch  # doctest: +SKIP
    >>> module = torch.nn.Linear(4, 3)  # doctest: +SKIP
    >>> layer = lamina.layers.TorchModuleWrapper(module)  # doctest: +SKIP
    >>> layer(np.ones((2, 4))).shape  # doctest: +SKIP
    (2, 3)
    """

    _runs_given_code = True
    _other_engine = "PyTorch"
    _not_walked = ("module",)
    _saved_never = ("module", "output_shape")

    def __init__(
        self, module: Any, name: str | None = None, output_shape: Any = None, **kwargs
    ):
        super().__init__(name=name, **kwargs)
        torch: Any = engine_for("TorchModuleWrapper", "torch")
        if not isinstance(module, torch.nn.Module):
            raise ValueError(
                "`TorchModuleWrapper` expected `module` to be a `torch.nn.Module`. "
                f"Received: module={module!r} (of type {type(module).__name__})"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                "`TorchModuleWrapper` cannot give weights to a scripted module: wrap "
                "the module that it was made from. Received: a "
                f"`{type(module).__name__}`"
            )
        lazy = torch.nn.modules.lazy.LazyModuleMixin
        if isinstance(module, lazy) and module.has_uninitialized_params():
            raise ValueError(
                "LazyModules are not supported unless they are already initialized: "
                "call the module once before you wrap it. "
                f"Received uninitialized LazyModule: module={module}"
            )
        self._module = module.to("cpu")
        self.output_shape = output_shape
        self._path = "/".join((*context.scopes, self.name))
        self._by_name: dict[str, Variable] = {}
        self._names = {}  # by every name of a tensor, its first
        first = {}
        for key, tensor in _tensors_of(module).items():
            self._names[key] = first.setdefault(id(tensor), key)
            if self._names[key] == key:
                self._by_name[key] = self._variable_of(key, tensor)
        self._buffers = [k for k, _ in module.named_buffers() if k in self._by_name]
        self.seed_generator = SeedGenerator()
        self.built = True

    def _variable_of(self, name, tensor):
        value = _to_numpy(tensor)
        with having(scopes=(*context.scopes, self.name)):
            return self.add_weight(
                shape=value.shape,
                initializer=lambda shape, dtype: from_host(value.astype(dtype)),
                dtype=jax.dtypes.canonicalize_dtype(value.dtype).name,
                trainable=tensor.requires_grad,
                autocast=False,
                name=name,
            )

    @property
    def module(self):
        """The module, with the values of the layer's Variables in it.

        It shows them; assign Variables, or `set_weights`, to change them.
        """
        tensors = _tensors_of(self._module)
        for name, variable in self._by_name.items():
            value = variable.raw_value
            if isinstance(value, Tracer):
                break
            tensors[name].data.copy_(_to_torch(np.asarray(value)))
        return self._module

    def parameters(self, recurse=True):
        """Return the parameters of the module, with the values of the Variables."""
        return self.module.parameters(recurse=recurse)

    def call(self, *args, training=None, **kwargs):
        inputs, rebuild = parted((args, kwargs))
        run = _Run(self, rebuild, training is not False)
        values = {name: variable.raw_value for name, variable in self._by_name.items()}
        key = self.seed_generator.next()
        if is_traced((*values.values(), *inputs, key)):
            foresee(run, inputs)
            result: Any = _called(run, values, inputs, key)
        else:
            result = run.forward(values, inputs, key)
        outputs, buffers = jax.tree.map(jnp.asarray, result)
        if run.training:
            for name, value in buffers.items():
                self._by_name[name].assign(value)
        return run.pack(outputs)

    def compute_output_shape(self, input_shape):
        if self.output_shape is not None:
            return self.output_shape
        drawn = self.compute_output_spec(spec_of(input_shape, self.input_dtype))
        return structure.map_leaves(plain_shape, drawn)

    def compute_output_spec(self, *args, **kwargs):
        if self.output_shape is not None:
            return spec_of(self.output_shape, self.compute_dtype)
        return infer(self.call, *args, **kwargs)

    def _saved_names(self):
        names = list(self._module.state_dict())
        for name in names:
            if name not in self._names:
                raise ValueError(
                    f"The module of layer {self.name!r} saves {name!r}, which is "
                    "neither a parameter nor a buffer: only those go into a file."
                )
        return names

    def _saved_variables(self):
        return [self._by_name[self._names[name]] for name in self._saved_names()]

    def get_config(self):
        config = super().get_config()
        if context.configs.references is not None and context.configs.references.things:
            config["module"] = serialize_keras_object(self.module)
        else:
            import torch  # pyright: ignore[reportMissingImports]

            file = io.BytesIO()
            torch.save(self.module, file)
            config["module"] = base64.b64encode(file.getvalue()).decode("ascii")
        config["output_shape"] = self.output_shape
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """Make the layer from its config, which holds the module as a pickle.

        Raises:
            ValueError: `safe_mode` is not False.
        """
        if "module" in config:
            refuse_in_safe_mode(
                "A `TorchModuleWrapper` keeps its `torch.nn.Module` as a pickle, which "
                "is read by `torch.load()` and runs code of the file's author.",
                safe_mode,
            )
            config = {**config, "module": _module_from(config["module"])}
        return super().from_config(config)


class _Run:
    """One call of a layer's module: all that is known of it but the arrays.

    Args:
        layer: the layer.
        rebuild: makes the module's arguments of the arrays among them.
        training: whether the module runs as in training.
    """

    expected: Any = None

    def __init__(self, layer, rebuild, training):
        self.layer, self.rebuild, self.training = layer, rebuild, training
        self.module = layer._module
        half = layer.autocast and layer.compute_dtype in ("bfloat16", "float16")
        self.half = layer.compute_dtype if half else None
        self.pack: Any = None

    def _run(self, weights, inputs, seed):
        """Return the tensors that the module gives, and note how they were nested."""
        import torch  # pyright: ignore[reportMissingImports]

        half = torch.autocast(
            "cpu", getattr(torch, self.half or "bfloat16"), self.half is not None
        )
        with _one_at_a_time, half, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module.train(self.training)
            args, kwargs = self.rebuild(inputs)
            result = torch.func.functional_call(self.module, weights, args, kwargs)
        outputs, self.pack = parted(result, lambda x: isinstance(x, torch.Tensor))
        return outputs

    def foresee(self, shapes, dtypes):
        """Find out what the module gives for inputs of these shapes and dtypes."""
        import torch  # pyright: ignore[reportMissingImports]

        own, names = _tensors_of(self.module), self.layer._by_name
        dtypes = [_to_torch(np.zeros((), d)).dtype for d in dtypes]

        def run(device):
            with torch.no_grad(), torch.device(device):
                weights = {k: torch.zeros_like(own[k], device=device) for k in names}
                inputs = [
                    torch.zeros(shape, dtype=dtype)
                    for shape, dtype in zip(shapes, dtypes, strict=True)
                ]
                return self._run(weights, inputs, 0)

        try:
            outputs = run("meta")
        except Exception:  # not every module can run without data
            outputs = run("cpu")
            if not all(x.numel() for x in outputs):  # XLA would leave the call out
                raise ValueError(
                    f"The module of layer {self.layer.name!r} gives an empty array "
                    "for zeros, so its shapes depend on values. In a compiled model "
                    "they may not."
                ) from None
        self.expected = (
            [result_of(self.layer, x.shape, _numpy_dtype(x.dtype)) for x in outputs],
            {k: _spec_of(names[k].raw_value) for k in self.layer._buffers},
        )

    def _weights(self, values):
        own = _tensors_of(self.module)
        return {k: _to_torch(np.asarray(x)).to(own[k].dtype) for k, x in values.items()}

    def forward(self, values, inputs, key):
        """Return the module's outputs and its buffers afterwards, as NumPy arrays."""
        import torch  # pyright: ignore[reportMissingImports]

        with torch.no_grad():
            weights = self._weights(values)
            outputs = self._run(weights, list(map(_to_torch, inputs)), _seed(key))
        buffers = {k: _to_numpy(weights[k]) for k in self.layer._buffers}
        return self._fitted([_to_numpy(x) for x in outputs], buffers)

    def _fitted(self, outputs, buffers):
        variables, layer = self.layer._by_name, self.layer
        if self.expected is None:
            wanted = [result_of(layer, x.shape, x.dtype) for x in outputs]
        else:
            wanted = self.expected[0]
        return (
            [as_expected(x, w, layer) for x, w in zip(outputs, wanted, strict=True)],
            {k: x.astype(variables[k].dtype) for k, x in buffers.items()},
        )

    def backward(self, wanted, values, inputs, key, gradients):
        """Return the gradients of what is wanted, as NumPy arrays.

        Args:
            wanted: the names of weights and the places of inputs.
            values: the weights.
            inputs: the arrays among the arguments.
            key: the seed of the call.
            gradients: those of the outputs, by place; the others are 0.
        """
        import torch  # pyright: ignore[reportMissingImports]

        names, places = wanted
        with torch.enable_grad():
            weights = self._weights(values)
            given = list(map(_to_torch, inputs))
            sources = [weights[k] for k in names] + [given[i] for i in places]
            for source in sources:
                source.requires_grad_()
            for i in places:
                given[i] = given[i].clone()  # the module may change it in place
            outputs = self._run(weights, given, _seed(key))
            reached = {i: outputs[i] for i in gradients if outputs[i].requires_grad}
            found = [None] * len(sources)
            if reached:
                # JAX's gradients of complex numbers are the conjugates of PyTorch's.
                found = torch.autograd.grad(
                    list(reached.values()),
                    sources,
                    [
                        _to_torch(gradients[i]).to(x.dtype).conj()
                        for i, x in reached.items()
                    ],
                    allow_unused=True,
                )
        found = [
            _to_numpy((torch.zeros_like(s) if g is None else g).conj())
            for g, s in zip(found, sources, strict=True)
        ]
        given = [*(values[k] for k in names), *(inputs[i] for i in places)]
        found = [g.astype(x.dtype) for g, x in zip(found, given, strict=True)]
        return found[: len(names)], found[len(names) :]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _called(run, values, inputs, key):
    return jax.pure_callback(
        run.forward, run.expected, values, inputs, key, vmap_method="sequential"
    )


def _called_forward(run, values, inputs, key):
    def trained(x):  # told by the structure, which stays known in compiled code
        inexact = jnp.issubdtype(x.value.dtype, jnp.inexact)
        return () if x.perturbed and inexact else None

    wanted = {k: trained(x) for k, x in values.items()}, list(map(trained, inputs))
    values, inputs, key = jax.tree.map(lambda x: x.value, (values, inputs, key))
    return _called(run, values, inputs, key), (wanted, values, inputs, key)


def _called_backward(run, kept, gradients):
    (weights, arrays), values, inputs, key = kept
    names = [k for k, x in weights.items() if x is not None]
    places = [i for i, x in enumerate(arrays) if x is not None]
    gradients = {
        i: x
        for i, x in enumerate(gradients[0])
        if not isinstance(x, SymbolicZero) and x.dtype != jax.dtypes.float0
    }
    of_weights, of_inputs = jax.pure_callback(
        functools.partial(run.backward, (names, places)),
        ([_spec_of(values[k]) for k in names], [_spec_of(inputs[i]) for i in places]),
        values,
        inputs,
        key,
        gradients,
        vmap_method="sequential",
    )
    found = dict(zip(names, of_weights, strict=True))
    at = dict(zip(places, of_inputs, strict=True))
    return (
        {k: found.get(k) for k in values},
        [at.get(i) for i in range(len(inputs))],
        None,
    )


_called.defvjp(_called_forward, _called_backward, symbolic_zeros=True)


def _tensors_of(module) -> dict:
    """Return all parameters and buffers of a module, by each of their names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _module_from(config):
    """Return the module that a config holds; a pickle is read as what it is."""
    if not isinstance(config, str):
        return copy.deepcopy(deserialize_keras_object(config))
    torch: Any = engine_for("TorchModuleWrapper", "torch")
    try:
        file = io.BytesIO(base64.b64decode(config, validate=True))
    except ValueError as error:
        raise ValueError(
            "The config of a `TorchModuleWrapper` must hold its module in base 64. "
            f"Received: module={config[:60]!r}"
        ) from error
    return torch.load(file, weights_only=False)


def _spec_of(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _seed(key) -> int:
    return int(np.random.SeedSequence(np.asarray(key).tolist()).generate_state(1)[0])


def _to_torch(array):
    """Return a tensor with a copy of an array."""
    import torch  # pyright: ignore[reportMissingImports]

    array = np.array(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype in (np.int32, np.uint32):
        array = array.astype(np.int64)
    return torch.from_numpy(array)


def _to_numpy(tensor):
    """Return the values of a tensor as a NumPy array."""
    import torch  # pyright: ignore[reportMissingImports]

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(jnp.bfloat16)
    return tensor.numpy()


def _numpy_dtype(dtype):
    """Return the NumPy dtype of the values of tensors."""
    import torch  # pyright: ignore[reportMissingImports]

    return _to_numpy(torch.zeros((), dtype=dtype)).dtype
