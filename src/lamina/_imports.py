"""Imports without the garbage collector, and the error for a name that is missing.

Modules are hundreds of thousands of objects that stay, JAX' most of all; to walk
through them time and again is a tenth of the time that their import takes.
"""

import gc
import importlib
import sys

# Public names of Keras that are left out: why, and what to use instead.
_LEFT_OUT = {
    "lamina.src": "what lies below it is private. Use the public names",
    "lamina.distribution": (
        "JAX itself says how arrays lie on several devices. Give a `Variable` a "
        "`jax.sharding.Sharding` as its `layout`; batches follow it, and XLA parts the "
        "work"
    ),
    "lamina.callbacks.OrbaxCheckpoint": (
        "checkpoints of training are files of Lamina's own. Use "
        "`fit(resume=folder)` or `BackupAndRestore`, which go on where a run "
        "stopped, and `ModelCheckpoint` for models and weights"
    ),
}


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


def missing(module, name):
    """Return the error for a name that a module does not have.

    Args:
        module: the module's name.
        name: the attribute's name.
    """
    reason = _LEFT_OUT.get(f"{module}.{name}")
    if reason is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    return AttributeError(f"`{module}.{name}` is left out: {reason}.")
