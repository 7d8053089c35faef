"""Writes the blocks of Python of README and the docs as files, for a type checker.

usage: python .ci/blocks.py FOLDER
"""

import sys
from pathlib import Path

from bare_promises import GIVEN, blocks

ROOT = Path(__file__).resolve().parent.parent


def main(folder):
    """Write one file for each block, after what its page takes as given."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for name, code in blocks([ROOT / "README.md", ROOT / "docs"]):
        page, _, line = name.partition(":")
        file = folder / f"{Path(page).stem.lower()}_line_{line}.py"
        file.write_text(f"{GIVEN}\n{code}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
