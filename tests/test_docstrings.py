"""Docstrings as the API pages show them: each parameter once, nothing torn, nobody left out."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

ROOT = Path(__file__).parent.parent
PAGES = "".join(page.read_text() for page in sorted((ROOT / "docs" / "api").glob("*.md")))
MODULES = dict(re.findall(r"automodule:: (\S+)\n((?:   :.*\n)*)", PAGES))
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
LISTS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")
"""Sections of names or types, each with a text below it."""
PROSE = {"paragraph", "bullet_list", "doctest_block"}
"""What the parser may find in a docstring."""
SETTINGS = get_default_settings(Parser)
SETTINGS.report_level = 5  # what is wrong is in the document; nothing is printed
TYPES = {inspect.getdoc(each) for each in vars(builtins).values() if inspect.isclass(each)}
"""What an attribute without a docstring is shown with: its type's."""


def shown(module: str) -> Iterator[Any]:
    """The classes and functions that a module's section of the API pages shows."""
    home, listed = importlib.import_module(module), re.search(r":members: (.+)", MODULES[module])
    own = [name for name, thing in vars(home).items() if getattr(thing, "__module__", "") == module]
    names = listed[1].split(", ") if listed else getattr(home, "__all__", own)
    for name in names:
        thing = getattr(home, name)
        documented = inspect.isclass(thing) or inspect.isfunction(thing)
        if documented and thing.__module__.startswith("minidl") and not name.startswith("_"):
            yield thing


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(kind).items():
        if not name.startswith("_") and (
            inspect.isfunction(thing) or isinstance(thing, classmethod | staticmethod | property)
        ):
            yield f"{kind.__qualname__}.{name}", getattr(kind, name)


PUBLIC = {
    (module, name): thing
    for module in MODULES
    for each in shown(module)
    for name, thing in (
        (each.__qualname__, each),
        *(methods(each) if inspect.isclass(each) else ()),
    )
}


def entries(docstring: str, title: str = "Parameters") -> list[str]:
    """The lines that name something in a section of a docstring."""
    parts = SECTION.split(inspect.cleandoc(docstring))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [line for line in sections.get(title, "").splitlines() if line and line[0] != " "]


def texts(docstring: str) -> Iterator[str]:
    """What stands before the sections, in each of them, and below each name."""
    before, *parts = SECTION.split(inspect.cleandoc(docstring))
    yield before
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        bodies = re.split(r"^\S.*\n?", part, flags=re.MULTILINE) if title in LISTS else [part]
        yield from (textwrap.dedent(body) for body in bodies if body.strip())


@cache
def mistaken(text: str) -> str:
    """What the API pages make of a text that they do not show as it was written, or nothing.

    ``P.`` alone, for example, is taken for the first number of a list, and is not shown.
    """
    document = new_document("", SETTINGS)
    Parser().parse(text, document)
    return ", ".join(sorted({node.tagname for node in document} - PROSE))


def faults(thing: Any) -> Iterator[str]:
    """What is wrong with the docstring of a class, function, method or property."""
    if not inspect.getdoc(thing):
        yield "no docstring"
    if inspect.getdoc(thing) in TYPES:
        yield "no docstring but that of its type"
    if hasattr(thing, "_fields"):
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        if len([*inline(tree)]) < len(thing._fields):
            yield "a field without a docstring of its own"
    docstring = thing.__doc__ or ""
    for text in texts(docstring):
        if found := mistaken(text):
            yield f"not read as a paragraph but as {found}: {text.strip()[:60]}"
    listed = entries(docstring)
    names = [entry.split(" : ")[0].lstrip("*") for entry in listed]
    yield from (f"several names in one entry: {name}" for name in names if "," in name)
    yield from (f"documented twice: {name}" for name in {*names} if names.count(name) > 1)
    yield from (
        f"several names in one entry: {name}"
        for title in ("Attributes", "Raises", "Returns")
        for name in entries(docstring, title)
        if title != "Returns" or " : " in name  # else it is a type
        if "," in name.split(" : ")[0]
    )
    if isinstance(thing, property) or not names:
        return
    parameters = dict(inspect.signature(thing).parameters)
    yield from (f"no parameter: {name}" for name in names if name not in parameters)
    for name, parameter in parameters.items():
        if name not in names and name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
            yield f"not documented: {name}"
    if inspect.isclass(thing):  # Sphinx shows an attribute's type beside a parameter of its name
        types = vars(thing).get("__annotations__", {})
        for entry, name in zip(listed, names, strict=True):
            if (
                name in types
                and " : " not in entry
                and (str(parameters[name].annotation) != str(types[name]))
            ):
                yield f"the type of the attribute is not that of the parameter: {name}"


@pytest.mark.parametrize("module", sorted({module for module, _ in PUBLIC}))
def test_what_is_public_is_documented_name_by_name(module: str) -> None:
    found = [
        f"{name}: {fault}"
        for (home, name), thing in PUBLIC.items()
        if home == module
        for fault in faults(thing)
    ]
    assert not found, "\n".join(found)


def inline(tree: ast.AST) -> Iterator[str]:
    """The docstrings of attributes and properties."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for before, after in pairwise(body) if isinstance(body, list) else ():
            match before, after:
                case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                    yield text
        if isinstance(node, ast.FunctionDef) and "property" in map(
            ast.unparse, node.decorator_list
        ):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize(
    "folder", sorted({module.split(".")[1] for module in MODULES if "." in module})
)
def test_no_docstring_is_torn_at_a_colon(folder: str) -> None:
    """Napoleon takes what an attribute's docstring has before a colon for its type."""
    home = ROOT / "minidl" / folder
    paths = home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]
    for path in paths:
        for text in inline(ast.parse(path.read_text())):
            first = re.sub(r"``.*?``|`.*?`|:\w+:`.*?`", "", text.split("\n")[0])
            assert not re.search(r":.*\S", first), f"{path.name}: {first}"
            assert mistaken(inspect.cleandoc(text)) in ("", "definition_list"), first
