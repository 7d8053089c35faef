"""What `import *` takes of the modules of `keras.src`, of the names that are here."""

from lamina import ops
from lamina.compat import names
from lamina.compat.shims.operations import operation_names
from lamina.core.naming import snake_case


def names_of(path) -> list[str]:
    """Return the names of a module of `keras.src`.

    They are those of the public module of the same path, if there is one. Of a file
    they are what it is named after: `layers.core.dense` has `Dense`, and
    `metrics.accuracy_metrics` and `losses.losses` what `metrics` and `losses` have. A
    file of operations also has a class for each.
    """
    own = path.removeprefix("src.")
    home, leaf = own.partition(".")[0], own.rpartition(".")[2]
    more = names.table("stars")
    found = {*more.get(path, ())}
    if home in ("backend", "ops"):
        found.update(more.get(leaf, ()))
    if path != "src.backend":  # which has those of one engine alone
        found.update(names.modules_in(path, False))
    if home == "ops":
        classes = operation_names(f"keras.{path}.")
        functions = map(snake_case, classes)
        found |= {*classes, *(name for name in functions if hasattr(ops, name))}
    private = names.private_words()
    found |= {word for of, word in private if of == leaf}
    if (namespace := _namespace(own, home, leaf)) is not None:
        return sorted(found.union(_public(namespace)))
    flat = leaf.replace("_", "")
    alike = {flat, flat.removesuffix("layer"), f"{flat}cell"}
    known = {*_public(home), *(word for _, word in private)}
    return sorted(found.union(word for word in known if word.lower() in alike))


def _namespace(own, home, leaf):
    """Return the public module all of whose names a module has."""
    group = leaf.rpartition("_")[2]
    inner = f"ops.{leaf}" if home == "backend" else own
    of_home = home if group in (home, "api", "lib") else ""
    for one in (own, inner, leaf, of_home):
        if one and one != "src" and names.is_module(one, False):
            return one
    return None


def _public(path):
    words = names.names_in(False, path)[0] if names.public(path) is not None else ()
    return [x for x in words if not names.is_module(f"{path}.{x}", False)]
