"""How Sphinx makes the site: `sphinx-build -W -c docs . build/site`.

Pages are Markdown as GitHub shows it, and the reference is made from docstrings.
"""

import importlib.metadata
import re

project = "jaxdqn"
release = version = importlib.metadata.version("jaxdqn")
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
# Sources are the whole checkout, so that pages can link to the files beside this folder.
root_doc = "docs/index"
include_patterns = [
    *("README.md", "BUILD_NOTES.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("docs/*.md", "docs/reference/*.rst", "benchmarks/results/*/report.md"),
]
suppress_warnings = ["toc.not_included"]  # reports of benchmarks, to which a page links
myst_heading_anchors = 3  # as on GitHub
myst_fence_as_directive = ["mermaid"]

apidoc_modules = [
    {
        "path": "../jaxdqn",
        "destination": "docs/reference",
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_typehints = "none"  # docstrings say shapes and types
autodoc_member_order = "bysource"
default_role = "code"

html_theme = "furo"
html_title = "jaxdqn"
html_extra_path = ["site"]


def _as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: shapes such as [B, *F] mean what they say, commands are code."""
    told, in_code = [], False
    for line in lines:
        is_indented = what == "module" and line.startswith("  ")
        if is_indented and not in_code and not any(told[-1:]):
            told, in_code = [*told, "::", ""], True
        in_code = in_code and (is_indented or not line)
        told.append(line if in_code else re.sub(r"(?<=[\[, /])\*(?=\W?\w)|\|", r"\\\g<0>", line))
    lines[:] = told


def _is_left_out(app, what, name, obj, skip, options):
    """Fields of named tuples, whose own docstrings only number them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connects what is above."""
    app.connect("autodoc-skip-member", _is_left_out)
    app.connect("autodoc-process-docstring", _as_rst, priority=600)  # after napoleon
