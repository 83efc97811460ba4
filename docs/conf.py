"""Sphinx: pages in Markdown, the API from docstrings. ``make docs`` builds them; warnings fail."""

import re
import sys
from pathlib import Path

from jaxmed import __version__

sys.path.insert(0, str(Path(__file__).parent))  # the directives `shelves` and `gallery`

project = "jaxmed"
author = "The jaxmed developers"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "gallery",
    "shelves",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# `name` in a docstring is code.
default_role = "code"
autodoc_default_options = {"members": True, "imported-members": True, "member-order": "groupwise"}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False

html_theme = "furo"
html_show_copyright = False
html_title = "jaxmed"
html_static_path = ["static"]
html_css_files = ["tables.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _skip(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples: their class lists them, with what they mean."""
    return skip or (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")


def _escape(app, what, name, obj, options, lines):
    """Let docstrings write shapes as `(batch, *spatial)` and norms as |x|, in prose too."""
    formula = None  # the indentation of the directive whose body we are in
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and formula is not None and indent <= formula:
            formula = None
        if line.lstrip().startswith(".. "):
            formula = indent
        if formula is not None or ">>>" in line:
            continue
        pieces = re.split(r"(``.*?``|:\w+:`.*?`|`.*?`|\*\*.*?\*\*)", line)
        pieces[::2] = [re.sub(r"(?<![\\*])([*|])(?=[\w(])", r"\\\1", p) for p in pieces[::2]]
        lines[i] = "".join(pieces)


def setup(app):
    """Connect both."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _escape, priority=900)
