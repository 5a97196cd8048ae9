"""`python -m validation`."""

from provenance.errors import run
from validation.cli import main

run(main)
