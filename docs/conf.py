"""How the documentation is built: pictures and the reference are made, notebooks are run."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import architecture_map  # noqa: E402 - the modules next door
import pictures  # noqa: E402 - the same

import balancers  # noqa: E402 - it stands beside them

import reference  # noqa: E402 - the same

GENERATED = HERE / "generated"
shutil.rmtree(GENERATED, ignore_errors=True)
pictures.draw_all(GENERATED)
reference.write(GENERATED)
architecture_map.draw(GENERATED / "architecture.svg")
shutil.copytree(HERE.parent / "notebooks", GENERATED / "notebooks")

project = "balancers"
author = "The balancers developers"
project_copyright = "2026, the balancers developers"
release = balancers.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.doctest"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
doctest_test_doctest_blocks = ""  # those of docstrings are run by pytest
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "balancers"
html_show_sourcelink = False
