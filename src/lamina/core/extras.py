"""Packages that only some functions need, and the sentence where one is missing."""

import importlib
import random


def extra(module: str, user: str, install: str, note: str = ""):
    """Import a module of a package that Lamina does not depend on.

    Args:
        module: the module's full name.
        user: what needs it, for the message.
        install: what pip is given: "lamina[plot]", or the package's own name.
        note: a sentence for those who would rather do without.

    Returns:
        the module.

    Raises:
        ImportError: it cannot be imported; the message says how to install it, and
            what the import said if the package is there and broken.

    >>> extra("no_such_module", "`fly`", "lamina[wings]")
    Traceback (most recent call last):
    ImportError: `fly` needs the package `no_such_module`, which is not installed: pip
    install "lamina[wings]"
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        package = package.replace("PIL", "Pillow")
        state = "which is not installed" if absent else f"which fails with {error}"
        named = f'"{install}"' if "[" in install else install  # brackets for a shell
        text = f"{user} needs the package `{package}`, {state}: pip install {named}"
        raise ImportError(f"{text}. {note}" if note else text) from None


def load_rich() -> None:
    """Import rich, and leave Python's `random` as it was.

    Its module of styles draws a number as it is imported, and `random` gives the
    layers that come after it their seeds: a summary would change their weights.
    """
    state = random.getstate()
    importlib.import_module("rich.style")
    random.setstate(state)
