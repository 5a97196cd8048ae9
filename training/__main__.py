"""`python -m training <command>`."""

import os

# Threads that wait for each other sleep: by default they spin, which on a shared machine takes the
# core from the very thread they wait for. Read when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from provenance.errors import run
from training.cli import main

run(main)
