"""The `lamina` command: `inspect`, `summary`, `plot`, `convert` and `check`."""

import importlib
import sys
from pathlib import Path

from lamina._version import __version__

_REFUSALS = (
    ImportError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
)
_EXPORTED = (".onnx", ".stablehlo")
_COMMANDS = ("inspect", "summary", "plot", "convert", "check")


def main(arguments=None) -> int:
    """Run the command and return its exit code.

    Returns:
        0, or 1 where something is refused, or 2 where the system says so: a file that
        cannot be read or written.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and _is_program(*words):
        from lamina.compat import run

        return run(words)
    given = _parser().parse_args(words)
    try:
        return given.run(given)
    except _REFUSALS as error:
        from lamina.core.naming import printable

        lines = [printable(line) for line in str(error).splitlines()]
        if "Could not locate" in str(error):
            lines.append(
                "On the command line: `--import MODULE`, the module that does so."
            )
        print(f"lamina {given.command}: " + "\n".join(lines), file=sys.stderr)
        return 2 if isinstance(error, OSError) else 1


def _is_program(first, *rest):
    """Tell whether arguments are a program to run, not a command."""
    if first.startswith("-") or first in _COMMANDS:
        return first == "-" or (first in ("-c", "-m") and bool(rest))
    return first.endswith(".py") or Path(first).exists()


def _parser():
    import argparse  # programs for Keras need none

    parser = argparse.ArgumentParser(
        prog="lamina",
        description="Look into files of models, convert them, and check programs.",
        epilog="python -m lamina SCRIPT.py ..., and -m MODULE, -c TEXT or - in its "
        "place, run a program that was written for Keras, with Lamina as Keras.",
    )
    parser.add_argument("--version", action="version", version=f"lamina {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, text, more):
        name = run.__name__.removeprefix("_")
        made = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}"
        )
        made.set_defaults(run=run)
        return made

    one = command(
        _inspect,
        "tell what a file holds",
        "Layers, shapes, sizes, versions, and whatever is suspicious. Nothing in the "
        "file is built or run.",
    )
    one.add_argument("file", nargs="+", help="a saved model, or saved weights")

    one = command(
        _summary, "print the table of a model", "As `model.summary()` prints it."
    )
    _takes_model(one)
    one.add_argument("--nested", action="store_true", help="open the models inside")

    one = command(
        _plot, "draw a model", "A picture of its layers, as `plot_model` draws it."
    )
    _takes_model(one)
    one.add_argument(
        "-o",
        "--output",
        metavar="PICTURE",
        help=".svg, .png or .pdf; without it, an .svg beside the file",
    )
    one.add_argument("--nested", action="store_true", help="open the models inside")

    one = command(
        _convert,
        "write a model in another format",
        "The ending of OUT says which: .keras or .h5 for the model, .weights.h5 or "
        ".safetensors for its weights alone, .onnx or .stablehlo for a program that "
        "runs without Lamina. A file that is there is not replaced without --force.",
    )
    _takes_model(one)
    one.add_argument("out", metavar="OUT", help="the file to write")
    one.add_argument("--force", action="store_true", help="replace OUT")

    one = command(
        _check,
        "list what a program for Keras uses that is missing here, or differs",
        "The program is read, not run. The exit status is 1 where a name is missing.",
    )
    one.add_argument(
        "program", help="a script, a folder of modules, or an installed package"
    )
    return parser


def _takes_model(command):
    command.add_argument("file", metavar="FILE", help="a saved model")
    command.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="your own module, which registers layers and functions of the model",
    )


def _load(given):
    import lamina
    from lamina.saving import formats

    if given.file.endswith(_EXPORTED):
        raise ValueError(
            f"{given.file} is a program that was exported, of which no model can be "
            f"made again. Give it as a saved model, {formats.endings('load')}."
        )

    if given.modules:
        sys.path.insert(0, "")  # the user's modules stand in their folder
    for module in given.modules:
        importlib.import_module(module)
    return lamina.saving.load_model(given.file)


def _inspect(given):
    from lamina.saving.inspection import draw, inspect

    reports = []
    for name in given.file:
        reports.append(inspect(name))
        draw(reports[-1])
    return int(any(report.refused for report in reports))


def _summary(given):
    _load(given).summary(expand_nested=given.nested)
    return 0


def _plot(given):
    from lamina.utils import plot_model

    model = _load(given)
    output = given.output or str(Path(given.file).with_suffix(".svg"))
    plot_model(
        model,
        output,
        show_shapes=True,
        show_layer_names=True,
        expand_nested=given.nested,
    )
    print(output)
    return 0


def _convert(given):
    from lamina.saving import formats

    out = given.out
    if Path(out).exists() and not given.force:
        raise ValueError(f"{out} exists. Give --force to replace it.")
    how: dict = {"overwrite": given.force}
    if formats.of(out, "write"):
        save = "save_weights"
    elif formats.of(out, "save"):
        save = "save"
    elif out.endswith(_EXPORTED):
        save, how = "export", {"format": Path(out).suffix[1:]}
    else:
        programs = " or ".join(f"`{ending}`" for ending in _EXPORTED)
        raise ValueError(
            f"OUT must end in {formats.endings('save')} for a model, in "
            f"{formats.endings('write', split=False)} for its weights, or in "
            f"{programs} for a program. Received: {out}"
        )
    getattr(_load(given), save)(out, **how)
    print(out)
    return 0


def _check(given):
    from lamina.compat.check import check

    found = check(given.program)
    print(*found, sep="\n", end="\n" if found else "")
    missing = sum(one.missing for one in found)
    print(f"{missing} missing, {len(found) - missing} that differ.")
    return int(missing > 0)


if __name__ == "__main__":
    if code := main():  # `python -i` goes on where it is 0
        sys.exit(code)
