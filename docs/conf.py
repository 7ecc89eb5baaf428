"""How Sphinx builds the documentation: ``make docs``. Nothing is fetched from the network."""

from __future__ import annotations

import os
import sys
import time

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

import minidl

logger = logging.getLogger(__name__)

project = "minidl"
author = "the minidl authors"
copyright = "2026, the minidl authors"
version = release = minidl.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",  # formulas are readable without a network, too
]
exclude_patterns = ["_build", "jupyter_execute"]

# Every code cell runs in every build; one that fails, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ["MINIDL_PROGRESS"] = "0"  # a page is no place for a line an epoch
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
# A signature shows what a caller may leave out, not the values' whole text.
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "minidl"
html_static_path = ["static"]
html_css_files = ["figures.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
CHAPTERS = (
    "all_reduce",
    "benchmarking",
    "collectives",
    "compression",
    "overlap",
    "parameter_servers",
    "stale_gradients",
    "stragglers",
    "training",
)
PAGES = ("index", "install", *CHAPTERS, "coverage", "architecture")
html_sidebars: dict[str, list[str]] = {page: [] for page in (*PAGES, "experiments/*")}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Say on the terminal which page is read: each runs its code, and all take minutes."""
    began = time.perf_counter()

    def say(app: Sphinx, docname: str, source: list[str]) -> None:
        seconds, pages = time.perf_counter() - began, sorted(app.env.found_docs)
        number = f"{pages.index(docname) + 1} of {len(pages)}"
        print(f"{seconds:5.0f} s  page {number:>8}  {docname}", file=sys.stderr, flush=True)

    # It only copies files at the end, but does not say that pages may be read in parallel.
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True

    app.connect("source-read", say)
    app.connect("doctree-resolved", require_alternative_texts)


def require_alternative_texts(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn of every figure that nobody has described, which fails ``make docs``."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            logger.warning("a figure has no alternative text", location=image)
