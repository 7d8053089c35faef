"""Opening what was exported: a program and its weights, without the model's code.

A file is a `.safetensors` file: weights, the programs as bytes, and a description in
its header. A program is what `jax.export` writes: StableHLO, which computes and can do
nothing else, if it holds nothing but what `verifying` lists. Whether it can be read at
all is found out in another process, see `reading`.
"""

import pathlib
import zlib
from typing import Any

import jax
from jax._src.interpreters.mlir import refine_polymorphic_shapes
from jax.extend.backend import backends

from lamina.core import bounds, structure
from lamina.core.budget import quoting
from lamina.core.naming import nearest, printable
from lamina.core.runtime import keep_few
from lamina.core.texts import parsed
from lamina.core.threads import check_fork
from lamina.core.tracebacks import boundary
from lamina.export import reading, signature
from lamina.export.verifying import Refused, check
from lamina.saving.safetensors import Tensors, bytes_of
from lamina.training.alone import until_end

KEY = "lamina.export"
VERSION = 1


class Endpoint:
    """One function of an exported file.

    Attributes:
        name: its name.
        inputs: `(name, shape, dtype)` of each input; open sizes are text.
        outputs: likewise, of each output.
        platforms: where it runs, such as `("cpu", "cuda", "tpu")`.
        exported: the `jax.export.Exported` behind it, which takes the weights first.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.lamina")
    >>> layer = lamina.layers.Dense(2, name="scores")
    >>> lamina.Sequential([lamina.Input((3,)), layer]).export(path)
    >>> lamina.export.load(path).endpoint("serve").outputs
    [('scores', ('batch', 2), 'float32')]
    """

    def __init__(
        self,
        name: str | None,
        exported: Any,
        weights: Any,
        about: Any,
        calls: bool = False,
    ):
        self.name = name
        self.exported = exported
        self.platforms = tuple(exported.platforms)
        self._weights = weights
        self._takes: Any = signature.read(about["takes"])
        self._gives = signature.read(about["gives"])
        count = len(weights)
        self.inputs = _listed(exported.in_avals[count:], about["inputs"])
        self.outputs = _listed(exported.out_avals, about["outputs"])
        for tree, listed in ((self._takes, self.inputs), (self._gives, self.outputs)):
            if sorted(structure.flatten(tree)) != list(range(len(listed))):
                raise ValueError("its structures do not fit its program")
        for weight, aval in zip(weights, exported.in_avals, strict=False):
            if (weight.shape, weight.dtype) != (aval.shape, aval.dtype):
                raise ValueError("its weights do not fit its program")
        self._run = jax.jit(exported.call)
        self._calls = calls  # whether it is checked for each set of shapes
        self._checked: set = set()

    @until_end()
    def __call__(self, *args):
        """Compute the outputs, in inference mode.

        Args:
            args: arrays in the structure that the model took, or one dict from
                input names to arrays.

        Raises:
            ValueError: another structure, or other shapes.
            TypeError: other dtypes.
        """
        check_fork()
        owner = f"Endpoint {self.name!r}"
        with quoting():
            leaves = [
                signature.fit(owner, name, x, shape, dtype)
                for x, (name, shape, dtype) in zip(
                    self._matched(owner, args), self.inputs, strict=True
                )
            ]
            if self._calls:
                self._check(leaves)
        results = self._run(*self._weights, *leaves)
        keep_few(self._run)
        return structure.map_leaves(lambda i: results[i], self._gives)

    def _check(self, leaves):
        """Check the program for inputs of these shapes, before it is compiled."""
        key = tuple((x.shape, x.dtype) for x in leaves)
        if key in self._checked:
            return
        specs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
        lowered = self._run.lower(*self._weights, *specs)
        module: Any = lowered.compiler_ir("stablehlo")
        gpu = bool(set(backends()) - {"cpu", "tpu"})
        try:
            if self.exported.uses_global_constants:
                module = refine_polymorphic_shapes(module)
            check(module, exact=True, gpu=gpu)
        except Refused as error:
            raise ValueError(
                f"Not allowed: endpoint {self.name!r} of the file {error}"
            ) from None
        self._checked.add(key)

    def _matched(self, owner, args):
        """Return the given arrays in the order of the inputs."""
        takes = self._takes[0] if len(args) == len(self._takes) == 1 else self._takes
        given = args[0] if len(args) == len(self._takes) == 1 else tuple(args)
        names = [name for name, _, _ in self.inputs]
        by_name = args[0] if len(args) == 1 else None
        if isinstance(by_name, dict) and set(by_name) == set(names):
            return [by_name[name] for name in names]
        if isinstance(takes, list) and isinstance(given, tuple):
            given = list(given)
        if not isinstance(takes, (list, tuple, dict)) and isinstance(given, list):
            given = jax.numpy.asarray(given)
        if not structure.same_shape(takes, given):
            shown = structure.map_leaves(lambda i: names[i], takes)
            raise ValueError(
                f"{owner} expected its input as {shown!r}, or as a dict with the keys "
                f"{names}. Received: {_shown(given)}"
            )
        found = zip(structure.flatten(takes), structure.flatten(given), strict=True)
        return [x for _, x in sorted(found, key=lambda pair: pair[0])]

    def __repr__(self):
        return printable(
            f"<Endpoint {self.name!r}: {_table(self.inputs, self.outputs)}>"
        )


def _listed(avals, names):
    def size(dim):
        return dim if isinstance(dim, int) else str(dim)

    return [
        (_named(name), tuple(size(d) for d in aval.shape), str(aval.dtype))
        for name, aval in zip(names, avals, strict=True)
    ]


def _named(name):
    """Return a name in a file.

    Raises:
        ValueError: it is none, or too long.
    """
    if not isinstance(name, str):
        raise ValueError(f"a name is {str(name)[:80]}")
    if len(name) > bounds.NAME:
        raise ValueError(
            f"a name has {len(name)} characters; {bounds.NAME} are allowed"
        )
    return name


def _shown(given):
    def shape(x):
        return f"array{tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__

    return structure.map_leaves(shape, given)


def _table(inputs, outputs):
    def one(tensors):
        return ", ".join(
            f"{name} {dtype}[{', '.join(map(str, shape))}]"
            for name, shape, dtype in tensors
        )

    return f"{one(inputs)} -> {one(outputs)}"


class Exported:
    """What `load` returns: the functions and the weights of an exported file.

    It can be called like the model. Its functions and collections of weights are
    attributes too, by their names.

    Attributes:
        endpoints: the functions, a dict from name to `Endpoint`.
        collections: lists of arrays, a dict by name.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.lamina")
    >>> lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)]).export(path)
    >>> [*lamina.export.load(path).endpoints]
    ['serve']
    """

    def __init__(self, endpoints: Any, collections: Any):
        self.endpoints = endpoints
        self.collections = collections

    def endpoint(self, name) -> Endpoint:
        """Return one function by its name.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.endpoints:
            raise ValueError(
                f"The file has no endpoint {name!r}. It has: "
                f"{sorted(self.endpoints)[:10]}.{nearest(str(name), self.endpoints)}"
            )
        return self.endpoints[name]

    @property
    def main(self) -> Endpoint:
        """The function that a call runs: `serve`, or else the first one."""
        return self.endpoints.get("serve") or next(iter(self.endpoints.values()))

    @property
    def inputs(self) -> list:
        """`(name, shape, dtype)` of each input of `main`."""
        return self.main.inputs

    @property
    def outputs(self) -> list:
        """`(name, shape, dtype)` of each output of `main`."""
        return self.main.outputs

    def __call__(self, *args):
        """Compute what the model would, in inference mode."""
        return self.main(*args)

    def __getattr__(self, name):
        for found in ("endpoints", "collections"):
            if name in self.__dict__.get(found, {}):
                return self.__dict__[found][name]
        raise AttributeError(
            f"The exported file has no endpoint and no collection {name!r}."
        )

    def __repr__(self):
        lines = [f"  {endpoint!r}" for endpoint in self.endpoints.values()]
        return "\n".join(["<Exported", *lines, ">"])


@boundary
def load(filepath) -> Exported:
    """Open a file that `Model.export` or `ExportArchive` wrote as StableHLO.

    The model's code is not needed, nor the library it was built with. No code from
    the file runs in Python. Its programs compute with their inputs and weights, in XLA,
    and are refused if they hold anything else; another process reads them first, since
    damaged ones can crash their reader.

    Args:
        filepath: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no such file, or asks for what is not allowed.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.lamina")
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> model.export(path)
    >>> program = lamina.export.load(path)
    >>> program(np.ones((5, 3))).shape
    (5, 2)
    """
    check_fork()
    patience = reading.Patience()

    def read(data):
        allowed, text = reading.verdict(data, patience)
        if not allowed:
            raise Refused(text)
        with patience.spent():
            return reading.checked(data)

    return opened(filepath, read)


def opened(filepath, read):
    """Open an exported file, see `load`.

    Args:
        filepath: the file.
        read: a function from a program to the `Exported` and whether it is checked for
            each set of shapes.
    """
    path = pathlib.Path(filepath)
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported file {str(path)!r}.")
    with quoting():
        about, tensors = _opened(path)
        try:
            return _assembled(about, tensors, read)
        except Refused as error:
            raise ValueError(f"Not allowed: {str(path)!r} {error}") from None
        except Exception as error:
            raise ValueError(
                f"{str(path)!r} is damaged, or written for another version of JAX: "
                f"{type(error).__name__}: {error}"
            ) from error


def own(filepath):
    """Open a file that this process wrote, without another process."""
    return opened(filepath, reading.checked)


def _opened(path):
    """Return the description and the tensors of a file."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        raise ValueError(
            f"{str(path)!r} is a zip file, such as a `.keras` file, and no exported "
            "one. Open a `.keras` file with `lamina.saving.load_model`."
        )
    try:
        tensors = Tensors(path)
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} is not a file of `Model.export(format='stablehlo')`, or it "
            f"is damaged: {error}"
        ) from error
    metadata = tensors.metadata if isinstance(tensors.metadata, dict) else {}
    if KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} is a `.safetensors` file of weights, without a program. "
            "Read it with `model.load_weights`."
        )
    try:
        about = parsed(metadata[KEY], "its description")
        version = about["version"]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is damaged: its header: {error}") from error
    if version != VERSION:
        raise ValueError(
            f"{str(path)!r} was written in version {version!r} of the format, and this "
            f"Lamina reads version {VERSION}."
        )
    return about, tensors


def _assembled(about, tensors, read_program):
    sums, read = about["checksums"], {}
    for name, value in tensors.all():
        if sums.get(name) != zlib.crc32(bytes_of(value)):
            raise ValueError(f"the checksum of {name!r} differs")
        read[name] = value
    entries, listed = about["endpoints"], about["collections"]
    # On the device once, however often it is taken, and not what nothing takes.
    taken = [name for e in entries for name in e["weights"]]
    taken = dict.fromkeys([*taken, *(n for names in listed.values() for n in names)])
    weights = dict(zip(taken, jax.device_put([read[n] for n in taken]), strict=True))
    endpoints = {}
    for number, entry in enumerate(entries):
        exported, calls = read_program(read[f"program/{number}"].tobytes())
        own = [weights[name] for name in entry["weights"]]
        name = _named(entry["name"])
        endpoints[name] = Endpoint(name, exported, own, entry, calls)
    if not endpoints:
        raise ValueError("it has no endpoint")
    collections = {
        _named(name): [weights[n] for n in members] for name, members in listed.items()
    }
    return Exported(endpoints, collections)
