"""Jets of a public set, as long as they can be."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ntuplizer.imports import Source
from ntuplizer.quality import ENERGY_LIMIT
from provenance.errors import UserError, first_line
from provenance.ledger import check_ledger

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets


def sound_jets(source: Source, path: Path, label: str | None) -> "Iterator[ImportedJets]":
    """Read a file of a set.

    Parameters
    ----------
    source
        The set.
    path
        The file; sets come without ledger, which is said.
    label
        The class of all jets, where the file does not say.

    Raises
    ------
    UserError
        When the file is damaged or has another layout, or a jet has momenta that are no numbers or
        too large, or a label that does not exist.
    """
    check_ledger(path)
    pieces, before = iter(source.read(path, label)), 0
    while True:
        # Libraries of formats meet damage with whatever they stumble over.
        try:
            jets = next(pieces, None)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{path}: truncated or damaged ({first_line(error)})") from None
        if jets is None:
            return
        wrong = ~(np.abs(jets.momenta) <= ENERGY_LIMIT).all(axis=1)
        owner = np.repeat(np.arange(len(jets.counts)), jets.counts)
        bad = np.zeros(len(jets.counts), bool)
        bad[owner[wrong]] = True
        bad |= (jets.label < 0) | (jets.label >= len(source.labels))
        for values in jets.jet.values():
            bad |= ~np.isfinite(values)
        if bad.any():
            raise UserError(
                f"{path}: jet {before + int(bad.argmax())} has a number or a label that cannot be"
            )
        before += len(jets.counts)
        yield jets
