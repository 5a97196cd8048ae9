"""The command line: parses and calls one function."""

import argparse
import sys
from pathlib import Path

from provenance.errors import UserError
from provenance.ledger import check_ledger, ledger_path


def main(arguments: list[str] | None = None) -> None:
    """Run `python -m provenance`."""
    parser = argparse.ArgumentParser(
        prog="python -m provenance",
        description="Compare files with the ledgers beside them. Commands of this project do so "
        "whenever they read one; other programs that take such a file cannot.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="e.g. network.onnx")
    for path in parser.parse_args(arguments).files:
        if path.is_file() and not ledger_path(path).is_file():
            raise UserError(f"{ledger_path(path)}: no such file, so {path.name} cannot be checked")
        check_ledger(path)
        sys.stdout.write(f"{path}: as its ledger says\n")
