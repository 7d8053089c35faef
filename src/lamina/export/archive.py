"""`ExportArchive`: several functions of some layers, and their weights, in one file."""

import json
import zlib
from typing import Any

import jax
import numpy as np
from jax import export

from lamina._version import __version__
from lamina.core import structure
from lamina.core.files import replacing, writable
from lamina.core.tracebacks import boundary
from lamina.core.variable import Variable
from lamina.export import formats, signature
from lamina.export.loading import KEY, VERSION, own
from lamina.saving import safetensors

PLATFORMS = ("cpu", "cuda", "tpu")


class ExportArchive:
    """Collects functions and weights, and writes them as one file of programs.

    `lamina.export.load` opens it, without the code of the layers. Every `None` in an
    input signature stays open in the program.

    Args:
        format: `"stablehlo"`.

    Raises:
        ValueError: another format.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "two.lamina")
    >>> dense = lamina.layers.Dense(2)
    >>> _ = dense(np.ones((1, 3)))
    >>> archive = lamina.export.ExportArchive()
    >>> archive.track(dense)
    >>> spec = lamina.InputSpec(shape=(None, 3), dtype="float32")
    >>> _ = archive.add_endpoint("serve", dense, [spec])
    >>> _ = archive.add_endpoint("twice", lambda x: 2 * dense(x), [spec])
    >>> archive.write_out(path, verbose=False)
    >>> lamina.export.load(path).twice(np.ones((4, 3))).shape
    (4, 2)
    """

    @boundary
    def __init__(self, format: str = "stablehlo", **kwargs):
        formats.check("ExportArchive", format, {"stablehlo": None})
        signature.check_arguments("ExportArchive", kwargs)
        self._variables: dict[int, Variable] = {}
        self._tracked: list[Any] = []
        self._endpoints: list[dict] = []
        self._collections: dict[str, list] = {}

    @property
    def variables(self) -> list:
        """The Variables whose values go into the file."""
        return list(self._variables.values())

    @property
    def trainable_variables(self) -> list:
        """Those of them that are trained."""
        return [v for v in self.variables if v.trainable]

    @property
    def non_trainable_variables(self) -> list:
        """The others."""
        return [v for v in self.variables if not v.trainable]

    def track(self, resource):
        """Have the file hold the weights of a layer or model as they are when written.

        Weights that nobody tracks become constants of the program, as they are when
        the endpoint is added.

        Args:
            resource: a layer or model that is built.

        Raises:
            ValueError: it is neither, or not built.
        """
        if not hasattr(resource, "variables") or not callable(resource):
            raise ValueError(
                "`track` expected a layer or a model. Received: "
                f"{resource!r} (of type {type(resource).__name__})"
            )
        if not resource.built:
            raise ValueError(
                f"`track` expected {resource.name!r} to be built: its weights are not "
                "known yet. Call it on data first."
            )
        self._tracked.append(resource)
        self._add(resource.variables)

    def _add(self, variables):
        self._variables |= {id(v): v for v in variables}

    def add_endpoint(self, name, fn, input_signature=None, **kwargs):
        """Add a function; it is traced at once, in inference mode.

        Args:
            name: its name in the file.
            fn: a function of arrays, a layer or a model. It may read the weights of
                what was tracked; what it changes of them is dropped.
            input_signature: a list with a structure of `InputSpec` (or of anything
                with `shape` and `dtype`) for each argument. A model knows its own.
            kwargs: `platforms`, a tuple of `"cpu"`, `"cuda"`, `"rocm"`, `"tpu"`;
                by default all but `"rocm"` that the function can be lowered for.

        Returns:
            `fn`.

        Raises:
            ValueError: a name that is taken, or no signature.
        """
        layer: Any = fn if hasattr(fn, "call") else getattr(fn, "__self__", None)
        if hasattr(layer, "variables") and getattr(layer, "built", False):
            self._add(layer.variables)
        self._check_name(name)
        model = layer if hasattr(layer, "fit") else None
        if input_signature is None and model is not None:
            input_signature = signature.signature_of(model)
        if input_signature is None:
            raise ValueError(
                "`add_endpoint` expected `input_signature`, a list with one "
                "`lamina.InputSpec(shape=..., dtype=...)` for each argument of `fn`. "
                "Received: input_signature=None"
            )
        specs = signature.checked("add_endpoint", input_signature)
        self._endpoints.append(self._made(name, fn, specs, model, kwargs))
        return fn

    def track_and_add_endpoint(self, name, resource, input_signature, **kwargs):
        """Track a layer or model and add it as an endpoint; return it.

        Args:
            name: the endpoint's name.
            resource: the layer or model.
            input_signature: as for `add_endpoint`.
            kwargs: as for `add_endpoint`.
        """
        self.track(resource)
        return self.add_endpoint(name, resource, input_signature, **kwargs)

    def add_variable_collection(self, name, variables):
        """Keep values of Variables under a name, to be read after loading.

        Args:
            name: an attribute of what `load` returns.
            variables: Variables, as a list, tuple or set.

        Raises:
            ValueError: something else is given, or the name is taken.
        """
        self._check_name(name)
        if not isinstance(variables, (list, tuple, set)) or not all(
            isinstance(v, Variable) for v in variables
        ):
            raise ValueError(
                "`add_variable_collection` expected `variables` to be a list, tuple or "
                f"set of Variables. Received: variables={variables!r}"
            )
        self._add(variables)
        self._collections[name] = [id(v) for v in variables]

    def _check_name(self, name):
        taken = [e["name"] for e in self._endpoints] + list(self._collections)
        if not isinstance(name, str) or not name:
            raise ValueError(f"A name must be text. Received: name={name!r}")
        if name in taken:
            raise ValueError(f"The name {name!r} is taken. These are: {taken}")

    def _made(self, name, fn, specs, model, kwargs):
        platforms = kwargs.pop("platforms", None)
        for known in ("is_static", "jax2tf_kwargs"):  # Keras' own, for TensorFlow
            kwargs.pop(known, None)
        signature.check_arguments("add_endpoint", kwargs, "platforms")
        variables = self.variables
        gives: list[Any] = []

        def program(*arrays):
            values, leaves = arrays[: len(variables)], arrays[len(variables) :]
            args = structure.pack_like(specs, leaves)
            outputs = signature.called(fn, args, variables, values)
            gives[:] = [outputs]
            return tuple(structure.flatten(outputs))

        def trace(specs):
            given = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
            given += structure.flatten(specs)
            return _lowered(jax.jit(program), given, platforms)

        traced = signature.traced("export", specs, trace)
        return {
            "name": name,
            "program": _serialized(name, traced),
            "weights": [id(v) for v in variables],
            "inputs": signature.input_names(specs, model),
            "outputs": signature.output_names(gives[0], model),
            "takes": signature.written(specs),
            "gives": signature.written(gives[0]),
        }

    def write_out(self, filepath, options=None, verbose=True):
        """Write the file, whole or not at all, and prove that it can be loaded.

        Args:
            filepath: where to; a file of this name is replaced.
            options: kept for compatibility; must be None.
            verbose: whether the endpoints are printed.

        Raises:
            ValueError: there is no endpoint.
        """
        if not self._endpoints:
            raise ValueError(
                "There is nothing to write: add a function with `add_endpoint` first."
            )
        if options is not None:
            raise ValueError(
                f"`write_out` expected `options` to be None. Received: {options!r}"
            )
        path = writable(filepath)
        names = {i: f"weight/{n}" for n, i in enumerate(self._variables)}
        tensors = {names[id(v)]: np.asarray(v.raw_value) for v in self.variables}
        listed = []
        for number, endpoint in enumerate(self._endpoints):
            program = np.frombuffer(endpoint["program"], np.uint8)
            tensors[f"program/{number}"] = program
            entry = {k: v for k, v in endpoint.items() if k != "program"}
            listed.append(entry | {"weights": [names[i] for i in entry["weights"]]})
        about = {
            "version": VERSION,
            "lamina_version": __version__,
            "jax_version": jax.__version__,
            "endpoints": listed,
            "collections": {
                name: [names[i] for i in members]
                for name, members in self._collections.items()
            },
            "paths": {names[i]: v.path for i, v in self._variables.items()},
            "checksums": {
                n: zlib.crc32(safetensors.bytes_of(v)) for n, v in tensors.items()
            },
        }
        with replacing(path, own) as file:
            safetensors.write(file, tensors, {KEY: json.dumps(about)})
        if verbose:
            print(f"Saved at {str(path)!r}: {own(path)!r}")


def _lowered(jitted, given, platforms):
    if platforms is not None:
        return export.export(jitted, platforms=tuple(platforms))(*given)
    try:
        return export.export(jitted, platforms=PLATFORMS)(*given)
    except NotImplementedError:
        # Something in it exists on this machine's platform alone.
        return export.export(jitted)(*given)


def _serialized(name, exported):
    try:
        return bytes(exported.serialize())
    except (NotImplementedError, ValueError) as error:
        raise ValueError(
            f"Endpoint {name!r} cannot be exported: a layer in it calls back into "
            "Python, as layers that hash or look up words do. Export the part after "
            f"it, and run it before. JAX says: {str(error).splitlines()[0]}"
        ) from error
