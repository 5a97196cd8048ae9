"""LHAPDF's parton densities out of an archive, for a MadGraph that must not download any."""

import os
import re
from pathlib import Path

from generation.external.archives import unpack
from provenance.errors import UserError
from provenance.files import sha256

INDEX = re.compile(r"^SetIndex:\s*(\d+)\s*$", re.M)
VERSION = re.compile(r"^DataVersion:\s*(\d+)\s*$", re.M)


def lhapdf_environment(archive: Path | None, folder: Path) -> dict[str, str]:
    """Unpack a set; return the variables by which MadGraph and LHAPDF find it.

    Parameters
    ----------
    archive
        The set as LHAPDF's site has it, one folder; None to take what is installed.
    folder
        Where to unpack it.

    Raises
    ------
    UserError
        When the archive holds no set.
    """
    if archive is None:
        return dict(os.environ)
    target = folder.resolve() / "parton_densities"
    unpack(archive, target)
    found = [path for path in target.glob("*/*.info") if path.stem == path.parent.name]
    if len(found) != 1:
        raise UserError(f"{archive}: holds no set of parton densities, or more than one")
    text = found[0].read_text(encoding="utf-8")
    index, version = INDEX.search(text), VERSION.search(text)
    if index is None:
        raise UserError(f"{archive}: {found[0].name} gives no SetIndex")
    # MadGraph looks the set's number up here.
    line = f"{index[1]} {found[0].stem} {version[1] if version else 1}\n"
    (target / "pdfsets.index").write_text(line, encoding="utf-8")
    return os.environ | {"LHAPDF_DATA_PATH": str(target)}


def sets_used(process_directory: Path) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of description and central member of each set that MadGraph took."""
    return {
        folder.name: {
            file.name: sha256(file)
            for file in sorted(folder.iterdir())
            if file.suffix == ".info" or file.name.endswith("_0000.dat")
        }
        for folder in sorted((process_directory / "lib" / "PDFsets").glob("*/"))
    }
