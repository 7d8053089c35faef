"""Writes the programs of README and the docs as files, for a type checker.

usage: python .ci/blocks.py FOLDER
"""

import sys
from pathlib import Path

from bare_promises import GIVEN, programs

ROOT = Path(__file__).resolve().parent.parent


def main(folder):
    """Write one file for each program, after what its page takes as given."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for name, blocks in programs([ROOT / "README.md", ROOT / "docs"]):
        page, _, line = name.partition(":")
        file = folder / f"{Path(page).stem}{line and '_line_'}{line}.py".lower()
        # Each block in the line that it has on its page, below what is given.
        code = ""
        for line, block in blocks:
            code += "\n" * (line - 1 - code.count("\n")) + block
        file.write_text(f"{GIVEN}{code}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
