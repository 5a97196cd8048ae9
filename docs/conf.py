"""The documentation as a site: `make docs` writes it to docs/_build/html."""

project = "jetclass-pipeline"
author = "The jetclass-pipeline founders"
copyright = "the jetclass-pipeline founders, GPL-3.0-or-later"

extensions = ["myst_parser"]
exclude_patterns = ["_build", "files"]
highlight_language = "text"
html_theme = "furo"
html_title = project

# Headings are link targets, as `columns.md#the-product-jets`.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
# A page that is in no list of pages, or a link that leads nowhere, ends the build (`-W`).
nitpicky = True
