"""Writes the reference: pages of Markdown from the docstrings of all public names.

A name is what `__all__` of a public namespace offers. What has several names is
described under one of them, and every namespace lists all of its own.
"""

import collections
import inspect
import re
import types

from latex2mathml import converter

MOST = 60  # entries of one page; namespaces with more are divided by their files

SECTIONS = {
    "Args": "Arguments",
    "Call arguments": "Arguments of a call",
    **{name: name for name in ("Attributes", "Returns", "Yields", "Raises")},
}


def offered(module):
    """Return the public names in a module."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, v in vars(module).items() if not inspect.ismodule(v)]
    return [name for name in names if not name.startswith("_")]


def namespaces(module, path="lamina"):
    """Yield the path of each public namespace and its module."""
    yield path, module
    for name in offered(module):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            yield from namespaces(value, f"{path}.{name}")


def home(path, thing):
    """Return how well a path fits a thing: the least is where it is described."""
    module = inspect.unwrap(thing).__module__ if callable(thing) else ""
    namespace, _, name = path.rpartition(".")
    near = f"{module}.".startswith(f"{namespace}.") and namespace != "lamina"
    return (name != getattr(thing, "__name__", name), not near, path.count("."), path)


def escaped(text):
    """Return a text in which only backticks and addresses are markup."""
    parts = re.split(r"(`+[^`]*`+|https?://[^\s)]*[^\s).,;])", text)
    parts[::2] = [re.sub(r"([*_\[\]<>])", r"\\\1", part) for part in parts[::2]]
    return "".join(f"<{p}>" if p.startswith("http") else p for p in parts)


def items(lines):
    """Return the items `name: text` of a section as a list of Markdown."""
    found = []
    for line in lines:
        item = re.match(r"    ([\w*`., \[\]\"']+?): (.*)", line)
        if item and not line.startswith("     "):
            found.append(f"- `{item[1].strip('`')}`: {escaped(item[2])}")
        elif line.strip():
            found.append(f"    {escaped(line.strip())}")
    return found


def markdown(docstring):
    """Return a docstring as Markdown: sections as lists, formulas as MathML."""
    formulas = []

    def keep(found):
        formulas.append(converter.convert(found[1].replace("\n", " ")))
        return f"\x02{len(formulas) - 1}\x03"

    docstring = re.sub(r"\$([^$`]+)\$", keep, docstring)
    text = "\n".join(_markdown(docstring.splitlines()))
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return re.sub("\x02(\\d+)\x03", lambda found: formulas[int(found[1])], text)


def _markdown(lines):
    out = []
    while lines:
        line = lines.pop(0)
        title = line.strip().removesuffix(":")
        if title in SECTIONS and line == f"{title}:":
            body = []
            while lines and (not lines[0].strip() or lines[0].startswith("    ")):
                body.append(lines.pop(0))
            out += ["", f"**{SECTIONS[title]}**", "", *items(body), ""]
        elif line.lstrip().startswith(">>>"):
            body = [line]
            while lines and lines[0].strip():
                body.append(lines.pop(0))
            out += [
                "",
                "```pycon",
                *inspect.cleandoc("\n".join(body)).split("\n"),
                "```",
                "",
            ]
        elif line.startswith("    "):
            body = [line]
            while lines and (not lines[0].strip() or lines[0].startswith("    ")):
                body.append(lines.pop(0))
            out += ["", "```text", inspect.cleandoc("\n".join(body)), "```", ""]
        else:
            out.append(escaped(line))
    return out


def signature(thing, name):
    """Return how a thing is called, as Python, or nothing if it is no callable."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    shown = []
    for parameter in found.parameters.values():
        # Annotations would hide the names; a default that is no literal is its name.
        default = parameter.default
        parameter = parameter.replace(annotation=parameter.empty)
        if callable(default) and default is not parameter.empty:
            shown.append(f"{parameter.name}={default.__name__}")
        else:
            shown.append(re.sub(r"<.* at 0x\w+>", "...", str(parameter)))
    kinds = [p.kind for p in found.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    line = f"{name}({', '.join(shown)})"
    if len(line) > 80:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in shown) + ")"
    return f"```python\n{line}\n```"


def methods(thing):
    """Yield the public methods and properties that a class documents itself."""
    for name, value in vars(thing).items():
        value = getattr(value, "__func__", value)
        if callable(value):
            value = inspect.unwrap(value)
        known = inspect.isfunction(value) or isinstance(value, property)
        if known and value.__doc__ and not name.startswith("_"):
            yield name, value


def entry(path, thing, others):
    """Return the section of the reference about one name."""
    name = path.rpartition(".")[2]
    parts = [f"## {name} {{#{path}}}", signature(thing, path)]
    if others:
        parts.append("Also " + ", ".join(f"`{other}`" for other in others) + ".")
    parts.append(markdown(inspect.getdoc(thing) or ""))
    if inspect.isclass(thing) and thing.__module__.startswith("lamina"):
        for method, value in methods(thing):
            parts.append(f"### {name}.{method} {{#{path}.{method}}}")
            if not isinstance(value, property):
                parts.append(re.sub(r"\(self(, )?", "(", signature(value, method)))
            parts.append(markdown(inspect.getdoc(value) or ""))
    return "\n\n".join(part for part in parts if part)


def summary(thing):
    """Return the first sentence of a docstring."""
    if isinstance(thing, (str, int, float, dict)):
        return ""
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    return markdown(re.split(r"(?<=\.) ", text)[0]).replace("|", "\\|")


def table(head, rows):
    """Return rows of a first cell and a thing as a table of Markdown."""
    lines = [f"| {head} | |", "|---|---|"]
    return "\n".join(lines + [f"| {cell} | {summary(thing)} |" for cell, thing in rows])


def pages(package):
    """Return all pages by their names, as Markdown; the first one lists the others."""
    spaces = dict(namespaces(package))
    names = collections.defaultdict(list)  # the paths of each thing
    things = {}
    for path, module in spaces.items():
        for name in offered(module):
            value = getattr(module, name)
            if not isinstance(value, types.ModuleType):
                things[f"{path}.{name}"] = value
                key = id(value) if callable(value) else f"{path}.{name}"
                names[key].append(f"{path}.{name}")
    where, entries = {}, collections.defaultdict(list)
    for paths in names.values():
        first, *others = sorted(paths, key=lambda path: home(path, things[path]))
        where |= dict.fromkeys(paths, first)
        entries[first.rpartition(".")[0]].append((first, others))

    written, page_of = {}, {}
    for space, found in entries.items():
        groups = collections.defaultdict(list)
        for path, others in found:
            module = getattr(things[path], "__module__", space)
            inside = len(found) > MOST and f"{module}".startswith(f"{space}.")
            part = module.rpartition(".")[2] if inside else ""
            groups[part].append((path, others))
        for part, members in groups.items():
            page = f"api/{space}{'.' * bool(part)}{part}.md"
            title = f"{space}: {part}" if part else space
            written[page] = (title, members)
            page_of |= dict.fromkeys((path for path, _ in members), page)

    result = {}
    for space, module in spaces.items():
        page = f"api/{space}.md"
        text = [f"# {space}", markdown(inspect.getdoc(module) or "")]
        inner = [s for s in spaces if s.rpartition(".")[0] == space]
        if inner:
            rows = [(f"[`{path}`]({path}.md)", spaces[path]) for path in inner]
            text.append(table("namespace", rows))
        rows = []
        for name in offered(module):
            if (path := f"{space}.{name}") in things:
                page_of_it = page_of[where[path]].removeprefix("api/")
                rows.append((f"[`{name}`]({page_of_it}#{where[path]})", things[path]))
        if rows:
            text.append(table("name", rows))
        for path, others in written.pop(page, ("", []))[1]:
            text.append(entry(path, things[path], others))
        result[page] = "\n\n".join(part for part in text if part)
    for page, (title, members) in written.items():
        text = [f"# {title}", *(entry(path, things[path], o) for path, o in members)]
        result[page] = "\n\n".join(text)
    return result
