"""Programs made to write outside of a buffer, and readers made to crash."""

import dataclasses
import functools
import itertools
import json
import pathlib
import re
import subprocess
import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.interpreters import mlir
from jaxlib.mlir.dialects import stablehlo

import lamina
from lamina.export import reading, signature
from lamina.export.verifying import Refused, check
from lamina.saving import safetensors

_CALL = re.compile(
    r"stablehlo\.custom_call @(\w+_ffi)\(.*?\) (\{.*\}) : (\(.*?\)) -> "
    r"(.*?)(?: loc.*)?$",
    re.M,
)


def routines():
    """Return what JAX writes for linear algebra on a CPU: (target, attributes, types).

    Sizes are all different, so that none can be taken for another.
    """
    tall, square = jnp.ones((2, 5, 3)), jnp.eye(4)[None] + jnp.ones((3, 4, 4))

    def all_of(a, s):
        t = lax.linalg
        return (
            jnp.linalg.qr(a),
            t.lu(a),
            t.cholesky(s, symmetrize_input=False),
            t.triangular_solve(s, s[..., :2], left_side=True),
            t.triangular_solve(s, s[..., :2, :], left_side=False),
            t.svd(a),
            t.svd(a, full_matrices=False),
            t.svd(a, compute_uv=False),
            t.eigh(s, symmetrize_input=False),
            t.eig(s),
            t.eig(s + 0j),
            t.schur(s),
            t.schur(s + 0j),
            t.hessenberg(s),
            t.tridiagonal(s),
            t.tridiagonal_solve(s[..., 0], s[..., 1], s[..., 2], s[..., :2]),
        )

    program = jax.export.export(jax.jit(all_of), platforms=("cpu",))(tall, square)
    found = {}
    for target, attributes, takes, gives in _CALL.findall(program.mlir_module()):
        types = [re.findall(r"tensor<.*?>+(?=[,)]|$)", side) for side in (takes, gives)]
        attributes = re.sub(r", sdy.sharding_rule = .*?custom>", "", attributes)
        found[f"{target} {attributes}"] = (target, attributes, *types)
    return list(found.values())


def module(body, takes, gives, extra=""):
    """Return the text of a program with one function."""
    given = ", ".join(f"%x{i}: {t}" for i, t in enumerate(takes))
    return (
        f"module @m {{ func.func public @main({given}) -> ({', '.join(gives)}) "
        f"{{\n{body}\n}}\n{extra} }}"
    )


def call(target, attributes, takes, gives):
    many = f":{len(gives)}" if len(gives) > 1 else ""
    names = ", ".join(f"%x{i}" for i in range(len(takes)))
    results = [f"%r#{i}" for i in range(len(gives))] if many else ["%r"]
    body = (
        f"%r{many} = stablehlo.custom_call @{target}({names}) {attributes} : "
        f"({', '.join(takes)}) -> ({', '.join(gives)})\n"
        f"return {', '.join(results)} : {', '.join(gives)}"
    )
    return module(body, takes, gives)


context = functools.cache(mlir.make_ir_context)


def verdict(text):
    """Return what becomes of a program: "invalid" is what StableHLO itself refuses."""
    with context():
        try:
            program = mlir.ir.Module.parse(text)
        except mlir.ir.MLIRError:
            return "invalid"
        try:
            return "checked again" if check(program) else "allowed"
        except Refused:
            return "refused"


def laid_out(attributes, takes, gives):
    """Return attributes with the layouts of other types, and without aliases."""
    found = re.findall(r"dense<(.*?)> : tensor<\d+xindex>", attributes)
    matrices = iter([layout.startswith("[1, 2") for layout in found])

    def layout(kind):
        order = [*range(kind.count("x") - ("complex" in kind))][::-1]
        if next(matrices):
            order[:2] = order[:2][::-1]
        return f"dense<{order or ''}> : tensor<{len(order)}xindex>"

    for name, types in (("operand_layouts", takes), ("result_layouts", gives)):
        new = f"{name} = [{', '.join(map(layout, types))}]"
        attributes = re.sub(rf"{name} = \[dense.*?index\](?=[,}}])", new, attributes)
    return re.sub(r"output_operand_aliases = \[.*?\]>\], ", "", attributes)


def changed(target, attributes, takes, gives):
    """Yield what is no longer what JAX writes: one thing is changed in each."""
    types = [*takes, *gives]
    for at, kind in enumerate(types):
        sizes, dtype = re.findall(r"(\d+)x", kind), re.sub(r"^.*\dx|>$", "", kind)
        others = [["7", *sizes], sizes[1:], [*sizes, "7"]]
        for i, size in enumerate(sizes):
            # Fewer reflectors than columns are fewer factors of the same product.
            few = "orgqr" in target and (at, i) == (1, len(sizes) - 1)
            others += [
                [*sizes[:i], n, *sizes[i + 1 :]]
                for n in (f"{size}0", f"{int(size) + 1}", *["1"] * (not few))
            ]
        new = [f"tensor<{'x'.join([*other, dtype])}>" for other in others]
        new += [kind.replace(dtype, d) for d in ("f64", "i32", "i8", "f16")]
        for other in new:
            if other != kind:
                both = [*types[:at], other, *types[at + 1 :]]
                both = both[: len(takes)], both[len(takes) :]
                yield target, laid_out(attributes, *both), *both
    for name, value in re.findall(r"(\w+) = (\d+) : (?:ui8|i32)", attributes):
        for other in (83, 88, 255) if "low" not in attributes else (0, 2, 99):
            if str(other) != value and not (name == "mode" and "gesdd" in target):
                new = attributes.replace(f"{name} = {value} ", f"{name} = {other} ")
                yield target, new, takes, gives
    for more in (
        "has_side_effect = true",
        'backend_config = "x"',
        "api_version = 1 : i32",
        "mhlo.any = 1 : i32",
    ):
        yield target, f"{{{more}, {attributes[1:]}", takes, gives
    yield target, attributes.replace("[1, 2, 0]", "[2, 1, 0]"), takes, gives
    yield target.replace("lapack_", "lapack_s"), attributes, takes, gives


def test_each_call_must_be_the_one_that_jax_writes():
    known = routines()
    names = {re.sub("lapack_.", "", target) for target, *_ in known}
    assert {n[:-4] for n in names} >= {
        *("geqrf", "orgqr", "getrf", "potrf", "trsm", "gesdd", "syevd", "geev"),
        *("gees", "gehrd", "sytrd", "gtsv"),
    }
    for one in known:
        assert verdict(call(*one)) == "checked again", one
        found = [(verdict(call(*other)), other) for other in changed(*one)]
        through = [other for what, other in found if what == "checked again"]
        assert not through, through[0]
        assert sum(what == "refused" for what, _ in found) > 10


def test_aliases_and_shape_operands_are_checked():
    geqrf = next(one for one in routines() if "geqrf" in one[0])
    target, attributes, takes, gives = geqrf
    for old, new in (
        ("output_tuple_indices = [0]", "output_tuple_indices = [1]"),
        ("operand_index = 0", "operand_index = 7"),
    ):
        other = attributes.replace(old, new)
        assert verdict(call(target, other, takes, gives)) in ("refused", "invalid")
    attributes = re.sub(r"operand_layouts = .*?\], ", "", attributes)
    for indices in ("[0, 1]", "[1, 1]", "[1, 9]"):
        more = f"{{indices_of_shape_operands = dense<{indices}> : tensor<2xi64>, "
        shapes = ["tensor<3xi32>", "tensor<2xi32>"]
        text = call(target, more + attributes[1:], [*takes, *shapes], gives)
        assert verdict(text) in ("refused", "invalid")


SORT = """
%r = "stablehlo.sort"(%x0) ({{ ^bb0(%a: tensor<f32>, %b: tensor<f32>):
  {body} }}) {{dimension = 0 : i64, is_stable = {stable}}} : (tensor<99xf32>) ->
  tensor<99xf32>
return %r : tensor<99xf32>"""
LESS = """%c = stablehlo.compare LE, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
  stablehlo.return %c : tensor<i1>"""
DRAWS = """%z = stablehlo.constant dense<0.0> : tensor<f32>
  %s = stablehlo.constant dense<> : tensor<0xi64>
  %u = stablehlo.rng %z, %a, %s, distribution = UNIFORM : (tensor<f32>, tensor<f32>,
    tensor<0xi64>) -> tensor<f32>
  %c = stablehlo.compare LE, %u, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
  stablehlo.return %c : tensor<i1>"""


def sort(body, stable):
    row = ["tensor<99xf32>"]
    return module(SORT.format(body=body, stable=stable), row, row)


def nested(depth):
    """Return a program with conditions inside of one another."""
    text = "%r0 = stablehlo.abs %x0 : tensor<f32>"
    for i in range(depth):
        text = f"""%c{i} = stablehlo.constant dense<true> : tensor<i1>
          %r{i + 1} = "stablehlo.if"(%c{i}) ({{ {text}
          stablehlo.return %r{i} : tensor<f32> }}, {{
          stablehlo.return %x0 : tensor<f32> }}) : (tensor<i1>) -> tensor<f32>"""
    return f"{text}\nreturn %r{depth} : tensor<f32>"


def chain(number):
    """Return a program of functions that each call the next; with 0, without end."""
    one = "tensor<f32>"
    call = f"%r = func.call @f{{}}(%x0) : ({one}) -> {one}\nreturn %r : {one}"
    functions = [
        f"func.func private @f{i}(%x0: {one}) -> {one} {{ {call.format(i + 1)} }}"
        for i in range(number or 1)
    ]
    last = call.format(0) if number == 0 else f"return %x0 : {one}"
    functions += [
        f"func.func private @f{number or 1}(%x0: {one}) -> {one} {{ {last} }}"
    ]
    return module(call.format(0), [one], [one], "\n".join(functions))


def test_arrays_of_many_axes_are_refused():
    for axes, said in ((64, "allowed"), (65, "refused")):
        kind = f"tensor<{'1x' * axes}f32>"
        body = f"%r = stablehlo.abs %x0 : {kind}\nreturn %r : {kind}"
        assert verdict(module(body, [kind], [kind])) == said


def inside(operation):
    """Yield programs that have an operation from %x to %q in a loop and a function."""
    one = "tensor<f32>"
    loop = f"""
      %r = stablehlo.while(%x = %x0) : {one}
      cond {{ %t = stablehlo.constant dense<false> : tensor<i1>
             stablehlo.return %t : tensor<i1> }}
      do {{ {operation}
           stablehlo.return %q : {one} }}
      return %r : {one}"""
    yield module(loop, [one], [one])
    called = f"%r = func.call @f(%x0) : ({one}) -> {one}\nreturn %r : {one}"
    function = f"func.func private @f(%x: {one}) -> {one} {{ {operation}\n"
    yield module(called, [one], [one], f"{function}return %q : {one} }}")


def test_operations_that_are_refused_wherever_they_stand():
    for operation, what in (
        ("stablehlo.abs %x : tensor<f32>", "allowed"),
        ("stablehlo.abs %x {mhlo.any = 1 : i32} : tensor<f32>", "refused"),
        ("stablehlo.custom_call @TopK(%x) : (tensor<f32>) -> tensor<f32>", "refused"),
        ("stablehlo.custom_call @any(%x) : (tensor<f32>) -> tensor<f32>", "refused"),
        ("math.absf %x : tensor<f32>", "refused"),
    ):
        assert [verdict(text) for text in inside(f"%q = {operation}")] == [what] * 2
    assert verdict(sort(LESS, "true")) == "allowed"
    # Where all numbers are equal, this comparison runs out of both ends.
    assert verdict(sort(LESS, "false")) == "refused"
    assert verdict(sort(DRAWS, "true")) == "refused"
    huge = "%q = stablehlo.iota dim = 0 : tensor<4294967296x4294967296xf32>"
    huge += "\n%r = stablehlo.abs %x0 : tensor<f32>\nreturn %r : tensor<f32>"
    one = ["tensor<f32>"]
    assert verdict(module(huge, one, one)) == "refused"
    assert verdict(module(huge.replace("4294967296x", "9x"), one, one)) == "allowed"
    for number, what in ((30, "allowed"), (80, "refused"), (0, "refused")):
        assert verdict(chain(number)) == what
    assert verdict(module(nested(20), one, one)) == "allowed"
    assert verdict(module(nested(80), one, one)) == "refused"


@pytest.mark.parametrize(
    "note",
    ['mhlo.frontend_attributes = {xla.sdy.meshes = "x"}', "mhlo.is_dynamic = true"],
)
def test_notes_that_jax_does_not_write_are_refused(note):
    body, kinds = "return %x0 : tensor<3xf32>", ["tensor<3xf32>"]
    plain = module(body, kinds, kinds)
    assert verdict(plain) == "allowed"
    assert verdict(plain.replace("@m ", f"@m attributes {{{note}}} ")) == "refused"
    for kind in ("%x0: tensor<3xf32>", "(tensor<3xf32>"):
        noted = plain.replace(kind, f"{kind} {{{note}}}", 1)
        assert noted != plain
        assert verdict(noted) == "refused"


def test_notes_of_calls_are_those_of_jax():
    found = [one for one in routines() if "frontend_attributes" in one[1]]
    assert found
    for target, attributes, takes, gives in found:
        changed = attributes.replace("num_batch_dims", "xla.sdy.sharding")
        assert changed != attributes
        assert verdict(call(target, attributes, takes, gives)) == "checked again"
        assert verdict(call(target, changed, takes, gives)) == "refused"


def test_functions_are_there():
    kinds = ["tensor<3xf32>"]
    body = (
        "%r = func.call @g(%x0) : (tensor<3xf32>) -> tensor<3xf32>\n"
        "return %r : tensor<3xf32>"
    )
    whole = "func.func private @g(%a: tensor<3xf32>) -> tensor<3xf32>"
    whole += " {return %a : tensor<3xf32>}"
    assert verdict(module(body, kinds, kinds, whole)) == "allowed"
    none = "func.func private @g(tensor<3xf32>) -> tensor<3xf32>"
    assert verdict(module(body, kinds, kinds, none)) == "refused"
    assert verdict("module @m { func.func private @main(tensor<f32>) }") == "refused"
    plain = module("return %x0 : tensor<3xf32>", kinds, kinds)
    assert verdict(plain.replace("@main", "@other")) == "refused"


@pytest.mark.parametrize("field", ["{0,9}", "{0,\\0A999999999}", "{99}"])
def test_messages_of_assertions_have_plain_fields(field):
    text = """module @m {{ func.func public @main(%c: tensor<i1>, %n: tensor<i32>) {{
      stablehlo.custom_call @shape_assertion(%c, %n) {{error_message = "a {}",
        has_side_effect = true}} : (tensor<i1>, tensor<i32>) -> ()
      return }} }}"""
    assert verdict(text.format("{0}")) == "allowed"
    assert verdict(text.format(field)) == "refused"


def file_of(path, text, takes, gives):
    """Write a program as a file; open sizes are the letter `b`."""
    scope = jax.export.SymbolicScope()

    def spec(shape):
        dims = jax.export.symbolic_shape(", ".join(map(str, shape)), scope=scope)
        return jax.ShapeDtypeStruct(tuple(dims), "float32")

    def of_shapes(*arrays):
        return tuple(jnp.broadcast_to(arrays[0].ravel()[0], s.shape) for s in outputs)

    inputs, outputs = [spec(s) for s in takes], [spec(s) for s in gives]
    exported = jax.export.export(jax.jit(of_shapes), platforms=("cpu",))(*inputs)
    if text is not None:
        with mlir.make_ir_context():
            program = stablehlo.serialize_portable_artifact_str(
                str(mlir.ir.Module.parse(text)), stablehlo.get_current_version()
            )
        exported = dataclasses.replace(exported, mlir_module_serialized=program)
    return written(path, bytes(exported.serialize()), len(inputs), len(outputs))


def written(path, data, inputs=1, outputs=1, more=(), change=None):
    """Write a file with one program.

    Args:
        path: where to.
        data: the program.
        inputs: how many it takes.
        outputs: how many it gives.
        more: names of empty tensors to write besides.
        change: a function that changes what the file says of itself.
    """
    tensors = {"program/0": np.frombuffer(data, np.uint8)}
    tensors |= dict.fromkeys(more, np.zeros(0, "float32"))
    one = jax.ShapeDtypeStruct((), "float32")
    endpoint = {
        "name": "serve",
        "weights": [],
        "inputs": [f"x{i}" for i in range(inputs)],
        "outputs": [f"y{i}" for i in range(outputs)],
        "takes": signature.written([one] * inputs),
        "gives": signature.written((one,) * outputs),
    }
    about = {
        "version": 1,
        "lamina_version": "0",
        "jax_version": "0",
        "endpoints": [endpoint],
        "collections": {},
        "paths": {},
        "checksums": {n: zlib.crc32(v.tobytes()) for n, v in tensors.items()},
    }
    if change is not None:
        change(about)
    with path.open("wb") as file:
        safetensors.write(file, tensors, {"lamina.export": json.dumps(about)})
    return path


# Each file is opened and called in a process of its own, which may end with a signal.
OPENED = """
import sys, numpy as np, lamina
for path in sys.argv[1:]:
    try:
        program = lamina.export.load(path)
        print("loaded", end=" ")
        shapes = [(3, *shape[1:]) for _, shape, _ in program.inputs]
        program(*[np.ones(shape, "float32") for shape in shapes])
        print("ran", flush=True)
    except Exception as error:
        print(type(error).__name__, str(error)[:300].replace(chr(10), " "), flush=True)
"""


def said(*paths):
    """Return what opening and calling files says, a line for each."""
    source = pathlib.Path(lamina.__file__).parents[1]
    path = ":".join([str(source), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", OPENED, *map(str, paths)],
        env={"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# LAPACK's result for as many matrices as it is given would be `{size}` matrices.
OPEN = """module @m attributes {{jax.uses_shape_polymorphism = true}} {{
  func.func public @main(%x: tensor<?x4x4xf32>) -> (tensor<f32>) {{
  %b = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?x4x4xf32>) -> tensor<i32>
  %k = stablehlo.constant dense<{size}> : tensor<i32>
  %n = stablehlo.{how} %b, %k : tensor<i32>
  %s = stablehlo.reshape %n : (tensor<i32>) -> tensor<1xi32>
  %f = stablehlo.constant dense<4> : tensor<1xi32>
  %t = stablehlo.concatenate %s, %f, %f, dim = 0 :
    (tensor<1xi32>, tensor<1xi32>, tensor<1xi32>) -> tensor<3xi32>
  %r:2 = stablehlo.custom_call @lapack_spotrf_ffi(%x, %t, %s)
    {{indices_of_shape_operands = dense<[1, 2]> : tensor<2xi64>,
     mhlo.backend_config = {{uplo = 76 : ui8}},
     operand_layouts = [dense<[1, 2, 0]> : tensor<3xindex>,
       dense<0> : tensor<1xindex>, dense<0> : tensor<1xindex>],
     result_layouts = [dense<[1, 2, 0]> : tensor<3xindex>, dense<0> : tensor<1xindex>]}}
    : (tensor<?x4x4xf32>, tensor<3xi32>, tensor<1xi32>) ->
      (tensor<?x4x4xf32>, tensor<?xi32>)
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %y = stablehlo.reduce(%r#0 init: %z) applies stablehlo.add across dimensions =
    [0, 1, 2] : (tensor<?x4x4xf32>, tensor<f32>) -> tensor<f32>
  return %y : tensor<f32> }} }}"""


def test_programs_that_would_write_elsewhere_end_in_words(tmp_path):
    open_sizes = [("b", 4, 4)]
    names = iter(f"{i}" for i in itertools.count())

    def of(text, takes, gives=None):
        return file_of(tmp_path / next(names), text, takes, gives or takes)

    tall = "tensor<3x4x4xf32>"
    wrong = call(
        "lapack_spotrf_ffi",
        "{mhlo.backend_config = {uplo = 76 : ui8}}",
        [tall],
        ["tensor<3x1x1xf32>", "tensor<3xi32>"],
    ).replace(
        "return %r#0, %r#1 : tensor<3x1x1xf32>, tensor<3xi32>", f"return %x0 : {tall}"
    )
    wrong = wrong.replace(
        "-> (tensor<3x1x1xf32>, tensor<3xi32>) {\n", f"-> ({tall}) {{\n"
    )
    lines = said(
        of(OPEN.format(how="maximum", size=0), open_sizes, [()]),
        of(OPEN.format(how="divide", size=3), open_sizes, [()]),
        of(OPEN.format(how="multiply", size=1000), open_sizes, [()]),
        of(wrong, [(3, 4, 4)]),
        of(sort(LESS, "false"), [(99,)]),
        of(None, [("b", 4)]),
    )
    starts = ["loaded ran", *["loaded ValueError Not allowed: endpoint 'serve'"] * 2]
    starts += [*["ValueError Not allowed"] * 2, "loaded ran"]
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start), lines


def test_a_reader_that_crashes_or_takes_all_is_told_in_words(tmp_path, monkeypatch):
    good = file_of(tmp_path / "good", None, [("b", 3)], [("b", 3)])
    assert lamina.export.load(good)(np.ones((2, 3)))[0].shape == (2, 3)
    # What a damaged program may do to the process that reads it.
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        "import json, os, time\n"
        "from lamina.export import reading\n"
        "def checked(data):\n"
        "    if data == b'crash': os.abort()\n"
        "    if data == b'memory': bytearray(3 << 30)\n"
        "    if data == b'time': time.sleep(60)\n"
        "    if data == b'end': os._exit(0)\n"
        "    return real(data)\n"
        "def slow(inbox):\n"
        "    size = inbox.read(8)\n"
        "    if size[2] == 16: time.sleep(60)\n"
        "    return inbox.read(*reading.struct.unpack('<Q', size))\n"
        "reading._next = slow\n"
        "real, reading.checked = reading.checked, checked\n"
    )
    monkeypatch.setattr(reading, "SECONDS", 1.0)
    monkeypatch.setattr(sys, "path", [str(hooks), *sys.path])
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, filter(None, sys.path))))
    reading._forget()
    for data, words in (
        ("crash", "ended with SIGABRT"),
        ("memory", "MemoryError"),
        ("time", "more than 1.0 s"),
        ("end", "does not start"),
        # More than a pipe holds, which nobody reads: see `slow`.
        ("stop" + " " * (1 << 20), "more than 1.0 s"),
    ):
        with pytest.raises(ValueError, match=f"damaged.*{words}"):
            lamina.export.load(written(tmp_path / data[:4], data.encode()))
    # The next file gets a process that reads it.
    monkeypatch.setattr(reading, "SECONDS", 60.0)
    lamina.export.load(good)
    reading._forget()


def test_errors_quote_a_part_of_the_file(tmp_path):
    path = written(
        tmp_path / "a", b"x", change=lambda x: x.update(version="x" * 20_000)
    )
    with pytest.raises(ValueError, match="was written in version") as caught:
        lamina.export.load(path)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda x: x["endpoints"][0].update(name="n" * 2000),
            "name has 2000 characters",
        ),
        (lambda x: x["endpoints"][0].update(inputs=["n" * 2000]), "name has 2000"),
        (lambda x: x["endpoints"][0].update(outputs=[["y"]]), r"a name is \['y'\]"),
        (lambda x: x["collections"].update({"n" * 2000: []}), "name has 2000"),
        # Brackets in a text of JSON, which the reader of the header does not see.
        (lambda x: x.update(paths=[[]] * 600_000), "1200.* values and keys"),
        (lambda x: x.clear(), "KeyError|its header"),
    ],
)
def test_what_a_file_says_of_itself_is_bounded(tmp_path, change, reason, monkeypatch):
    monkeypatch.setattr(reading, "verdict", lambda data, patience: (True, ""))
    program = lamina.export.load(
        file_of(tmp_path / "good", None, [("b", 3)], [("b", 3)])
    )
    data = bytes(program.main.exported.serialize())
    path = written(tmp_path / "bad", data, change=change)
    if b"paths" in path.read_bytes():
        path.write_bytes(escaped(path.read_bytes()))
    with pytest.raises(ValueError, match=reason):
        lamina.export.load(path)


def escaped(data):
    """Return a file whose header says each bracket by its number."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.dumps(header["__metadata__"]["lamina.export"])
    for mark in "[{,:":
        about = about.replace(mark, f"\\u{ord(mark):04x}")
    del header["__metadata__"]
    text = f'{{"__metadata__": {{"lamina.export": {about}}}, {json.dumps(header)[1:]}'
    return len(text).to_bytes(8, "little") + text.encode() + data[8 + length :]


def test_tensors_that_nothing_takes_cost_little(tmp_path, monkeypatch):
    good = file_of(tmp_path / "good", None, [("b", 3)], [("b", 3)])
    data = bytes(lamina.export.load(good).main.exported.serialize())
    names = [f"weight/{i}" for i in range(200)]
    path = written(
        tmp_path / "many", data, more=names,
        change=lambda about: about["collections"].update(some=names[:3]),
    )  # fmt: skip
    opened, placed = [], []
    real = pathlib.Path.open, jax.device_put
    monkeypatch.setattr(
        pathlib.Path, "open", lambda p, *a: opened.append(p) or real[0](p, *a)
    )
    monkeypatch.setattr(jax, "device_put", lambda x: placed.append(x) or real[1](x))
    program = lamina.export.load(path)
    assert len(opened) < 5
    assert [len(arrays) for arrays in placed] == [3]
    assert [array.shape for array in program.some] == [(0,)] * 3


def test_the_programs_of_a_file_share_their_time(monkeypatch):
    monkeypatch.setattr(reading, "SECONDS", 1.0)
    patience = reading.Patience()
    for at_most in (1.0, 0.98, 0.96):
        with patience.spent(b"x") as seconds:
            assert seconds <= at_most
            time.sleep(0.02)
    with patience.spent(bytes(10**7)) as seconds:
        assert 1.0 < seconds < 8.0
    monkeypatch.setattr(patience, "_used", 100.0)
    with patience.spent() as seconds:
        assert seconds == 0


def test_reading_a_program_here_is_counted_too(tmp_path, monkeypatch):
    good = file_of(tmp_path / "good", None, [("b", 3)], [("b", 3)])
    took = []
    real = reading.Patience.spent

    def noted(patience, *data):
        took.append(data)
        return real(patience, *data)

    monkeypatch.setattr(reading.Patience, "spent", noted)
    lamina.export.load(good)
    assert [len(data) for data in took] == [1, 0]  # by the other process, and here


@pytest.mark.parametrize(
    "field, value, reason",
    [
        ("nr_devices", 2, "for 2 devices, not one"),
        ("platforms", ("\x1b[31m" * 999,), r"program for \('\\x1b.{100,200}\.$"),
        ("platforms", (), r"program for \(\)\."),
        ("uses_global_constants", False, "does not take its open sizes"),
    ],
)
def test_what_a_program_says_of_itself_fits_it(field, value, reason):
    """Or JAX refuses it when it is called, in words of its own."""
    (rows,) = jax.export.symbolic_shape("b")
    given = jax.ShapeDtypeStruct((rows, 3), "float32")
    exported = jax.export.export(jax.jit(lambda x: x + jnp.ones((3,))))(given)
    assert reading.checked(bytes(exported.serialize()))
    changed = dataclasses.replace(exported, **{field: value})
    with pytest.raises(Refused, match=reason):
        reading.checked(bytes(changed.serialize()))
