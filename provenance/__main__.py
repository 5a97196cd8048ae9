"""`python -m provenance`."""

from provenance.cli import main
from provenance.errors import run

run(main)
