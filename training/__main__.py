"""`python -m training <command>`."""

from provenance.errors import run
from training.cli import main

run(main)
