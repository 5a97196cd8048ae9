"""Run the command line."""

from provenance.errors import run
from workflow.cli import main

run(main)
