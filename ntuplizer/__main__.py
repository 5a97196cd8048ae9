"""`python -m ntuplizer`."""

from ntuplizer.cli import main
from provenance.errors import run

run(main)
