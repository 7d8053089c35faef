"""Makes Keras Lamina in the worker processes of a program that runs so."""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_here = Path(__file__).parent
# The user's own one is still to run.
_paths = [path for path in sys.path if Path(path).absolute() != _here]
_own = importlib.machinery.PathFinder.find_spec("sitecustomize", _paths)
if _own is not None and _own.loader is not None:
    _own.loader.exec_module(importlib.util.module_from_spec(_own))

if os.environ.get("LAMINA_AS_KERAS") == "1" and importlib.util.find_spec("lamina"):
    from lamina.compat.aliases import install  # not in every Python that is started

    install()
