"""Imports without the garbage collector.

Modules are hundreds of thousands of objects that stay, JAX' most of all; to walk
through them time and again is a tenth of the time that their import takes.
"""

import gc
import importlib
import sys


def imported(name):
    """Return the module of a name; what its import makes is not looked at for long."""
    if name in sys.modules or not gc.isenabled():
        return importlib.import_module(name)
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        if not gc.get_freeze_count():
            # Together: all that is there now counts as old, unseen.
            gc.freeze()
            gc.unfreeze()
