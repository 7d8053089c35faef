"""The `lamina` command: `lamina inspect FILE`."""

import argparse
import sys


def main(arguments=None) -> int:
    """Run the command and return its exit code: 1 for a file that is refused."""
    parser = argparse.ArgumentParser(
        prog="lamina", description="Keras' public API on JAX."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    looks = commands.add_parser(
        "inspect",
        help="tell what a file holds",
        description="Tell what a file holds: layers, shapes, sizes, versions, and "
        "whatever is suspicious. Nothing in it is built or run.",
    )
    looks.add_argument(
        "file",
        nargs="+",
        help=".keras, .weights.h5, .weights.json, .safetensors, .h5 or .hdf5",
    )
    given = parser.parse_args(arguments)

    from lamina.saving.inspection import draw, inspect

    code = 0
    for name in given.file:
        try:
            report = inspect(name)
        except OSError as error:
            print(f"lamina inspect: {error}", file=sys.stderr)
            return 2
        draw(report)
        code = max(code, 1 if report.refused else 0)
    return code


if __name__ == "__main__":
    sys.exit(main())
