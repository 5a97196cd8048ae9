"""`python -m generation`."""

from generation.cli import main
from provenance.errors import run

run(main)
