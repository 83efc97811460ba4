"""The directive ``.. shelves:: jaxmed.stats``: a subpackage's public names, a section a family."""

import ast
import importlib
import inspect

from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles


def families(package):
    """Public names by shelf: title, the first line of its docstring, names as documented.

    What is on no shelf (what all share) comes last.
    """
    module = importlib.import_module(package)
    homes = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inside, _, rest = node.module.partition(f"{package}.")
            shelf = "" if inside else rest.split(".")[0]
            for alias in node.names:
                homes[alias.asname or alias.name] = shelf
    names = {}
    for name in module.__all__:
        if not callable(getattr(module, name)):
            continue  # a module has a page of its own, a constant its place in a docstring
        shelf = homes.get(name, "")
        names.setdefault("" if shelf.startswith("_") else shelf, []).append(name)
    for shelf in sorted(names, key=lambda s: (s == "", s)):
        if shelf:
            line = inspect.getdoc(importlib.import_module(f"{package}.{shelf}")).split("\n")[0]
            yield shelf.replace("_", " ").capitalize(), line, names[shelf]
        else:
            yield "General", "What all of these share.", names[shelf]


class Shelves(Directive):
    """The module's docstring, and a section for each of its shelves."""

    required_arguments = 1

    def run(self):
        """Write it as reStructuredText, and parse that."""
        package = self.arguments[0]
        module = importlib.import_module(package)
        lines = [f".. automodule:: {package}", "   :no-members:", ""]
        for title, line, names in families(package):
            lines += [title, "-" * len(title), "", line, ""]
            for name in sorted(names, key=lambda n: (inspect.isfunction(getattr(module, n)), n)):
                kind = "class" if inspect.isclass(getattr(module, name)) else "function"
                lines += [f".. auto{kind}:: {package}.{name}", ""]
        node = self.state.document.copy()
        node.children = []
        nested_parse_with_titles(self.state, StringList(lines, source=package), node)
        return node.children


def setup(app):
    """Offer the directive."""
    app.add_directive("shelves", Shelves)
    return {"parallel_read_safe": True}
