"""Sphinx's settings for the pages. tools/site stages the sources and calls Sphinx with these."""

import re
from typing import Any

import deeplab_lite

project = "DeepLab, one idea at a time"
author = "the DeepLab course authors"
copyright = f"2026 {author}"
version = release = deeplab_lite.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "tools.site.glossary"]
nb_execution_mode = "off"  # pages show what is stored
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a notebook's cell may go from ## to ####

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
default_role = "code"  # what stands in single backticks in a docstring

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["icons.css", "site.css"]
html_js_files = ["glossary.js", "site.js", ("widgets.js", {"defer": "defer"})]
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_permalinks_icon = "#"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_sidebars = {"index": []}
html_theme_options = {
    "navbar_persistent": [],  # one search field, in the sidebar
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "logo": {"text": project},
    "search_bar_text": "Search the course",
}
mathjax_path = "mathjax/tex-chtml.js"  # tools/site copies it


def prose(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are prose: only single backticks mean something, and * or | is what it is."""
    text = re.sub(r"(`[^`]+`)|([*|\\]|_\b)", lambda m: m[1] or f"\\{m[2]}", "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", prose)
    app.config.html_static_path.append(str(app.srcdir / "_static"))  # what tools/site has made
