"""Run the command line."""

from generation.external.cli import main
from provenance.errors import run

run(main)
