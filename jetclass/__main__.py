"""`python -m jetclass`, and the program `jetclass`."""

import os


def main() -> None:
    """Run one command."""
    # As `python -m training` does: read when PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from jetclass.cli import main as command_line
    from provenance.errors import run

    run(command_line)


if __name__ == "__main__":
    main()
