"""Jet energy corrections of CMS from their text files (levels L1FastJet and L2Relative).

A file has a header in braces,

    {1 JetEta 3 Rho JetPt JetA formula Correction L1FastJet}

with the number and names of the variables that are binned, those of the formula (its x, y, z, t),
the formula and the level; then one row per bin: its edges, the number of values that follow, the
range of each variable of the formula, and the parameters. A variable beyond its range is taken at
the end of it, and a jet beyond all bins has the factor 1, as coffea has it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from provenance.errors import UserError
from training.jec.formula import VARIABLES, Formula, compile_formula

LEVELS = ("L1FastJet", "L2Relative")
BINNED = "JetEta"
QUANTITIES = ("JetPt", "JetEta", "Rho", "JetA")


@dataclass(frozen=True)
class TextCorrection:
    """One level of corrections.

    Attributes
    ----------
    name
        The file, for messages.
    level
        One of `LEVELS`.
    edges
        float64 (n_bins + 1,): edges in η, rising.
    variables
        What the formula's x, y, z, t are: names of `QUANTITIES`.
    ranges
        float64 (n_bins, n_variables, 2): lowest and highest value of each variable.
    parameters
        float64 (n_bins, n_parameters).
    formula
        Gives the correction factor.
    """

    name: str
    level: str
    edges: np.ndarray
    variables: tuple[str, ...]
    ranges: np.ndarray
    parameters: np.ndarray
    formula: Formula

    def factor(self, quantities: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the factor of each jet, float64 (n_jets,).

        Parameters
        ----------
        quantities
            Name → (n_jets,): `JetEta` and `variables`; JetPt (GeV) is corrected by the levels
            before this one. Rho is in GeV, JetA in radians squared.
        """
        eta = np.asarray(quantities[BINNED], np.float64)
        n_bins = len(self.parameters)
        row = np.clip(np.searchsorted(self.edges, eta, side="right") - 1, 0, n_bins - 1)
        values = [
            np.clip(np.asarray(quantities[name], np.float64), *self.ranges[row, place].T)
            for place, name in enumerate(self.variables)
        ]
        inside = (eta >= self.edges[0]) & (eta <= self.edges[-1])
        return np.where(inside, self.formula(values, list(self.parameters[row].T)), 1.0)


def read_text(path: str | Path) -> TextCorrection:
    """Read a correction file.

    Raises
    ------
    UserError
        When the file is missing, not a correction file, of another level, or damaged.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: no such correction file, or not a text file") from None
    lines = [line.strip() for line in lines]
    lines = [line for line in lines if line and not line.startswith("#")]
    header = re.fullmatch(r"\{(.*)\}", lines[0]) if lines else None
    if header is None:
        raise UserError(f"{path}: not a correction file: its first line is no header in braces")
    variables, text, level = _read_header(path, header[1].split())
    rows = [_read_row(path, line, len(variables)) for line in lines[1:]]
    n_parameters = {len(row) - 2 - 2 * len(variables) for row in rows}
    if not rows or len(n_parameters) > 1:
        raise UserError(f"{path}: rows of different lengths, or none, after the header")
    try:
        formula = compile_formula(text, len(variables), n_parameters.pop())
    except ValueError as error:
        raise UserError(f"{path}: the formula has {error}") from None
    table = np.array(rows)
    table = table[np.argsort(table[:, 0], kind="stable")]
    if not np.array_equal(table[1:, 0], table[:-1, 1]) or not np.all(table[:, 0] < table[:, 1]):
        raise UserError(f"{path}: the bins of {BINNED} have gaps or overlap")
    values = 2 + 2 * len(variables)
    return TextCorrection(
        path.name,
        level,
        np.append(table[:, 0], table[-1, 1]),
        variables,
        table[:, 2:values].reshape(len(table), len(variables), 2),
        table[:, values:],
        formula,
    )


def _read_header(path: Path, words: list[str]) -> tuple[tuple[str, ...], str, str]:
    """Return the formula's variables, the formula and the level."""
    try:
        n_binned = int(words[0])
        binned = words[1 : 1 + n_binned]
        n_variables = int(words[1 + n_binned])
        variables = tuple(words[2 + n_binned : 2 + n_binned + n_variables])
        *formula, kind, level = words[2 + n_binned + n_variables :]
    except (ValueError, IndexError):
        raise UserError(f"{path}: a header that cannot be read: {' '.join(words)[:80]}") from None
    if level not in LEVELS:
        raise UserError(
            f"{path}: corrections of level {level}; {' and '.join(LEVELS)} are understood"
        )
    if kind != "Correction":
        raise UserError(f"{path}: holds a {kind}; a Correction is needed")
    unknown = [name for name in variables if name not in QUANTITIES]
    if binned != [BINNED] or unknown or not 0 < len(variables) <= len(VARIABLES):
        raise UserError(
            f"{path}: binned in {', '.join(binned)} with variables {', '.join(variables)}; bins in "
            f"{BINNED} and variables of {', '.join(QUANTITIES)} are understood"
        )
    return variables, " ".join(formula), level


def _read_row(path: Path, line: str, n_variables: int) -> list[float]:
    """Return edges, ranges and parameters of a bin."""
    words = line.split()
    try:
        numbers = [float(word) for word in words]
        count = int(words[2])
    except (ValueError, IndexError):
        numbers, count = [], 0
    if len(numbers) != count + 3 or count < 2 * n_variables or not np.isfinite(numbers).all():
        raise UserError(f"{path}: a row that is damaged: {line[:60]}")
    return numbers[:2] + numbers[3:]


def read_chain(paths: Sequence[str | Path], jet_type: str) -> list[TextCorrection]:
    """Read the files of one kind of jets, in the order in which they are applied.

    Parameters
    ----------
    paths
        Files whose names end in the kind of jet, as CMS names them: `…_L1FastJet_AK4PFchs.txt`.
    jet_type
        `AK4PFchs`, `AK4PFPuppi`, `AK8PFPuppi`, ...

    Raises
    ------
    UserError
        When a file cannot be read, is for other jets, or repeats a level.
    """
    for path in paths:
        own = Path(path).name.split(".")[0].rpartition("_")[2]
        if own != jet_type:
            raise UserError(f"{path}: corrections for {own or 'unnamed'} jets, not for {jet_type}")
    chain = sorted((read_text(path) for path in paths), key=lambda c: LEVELS.index(c.level))
    levels = [correction.level for correction in chain]
    if len(set(levels)) < len(levels):
        raise UserError(f"the level {max(levels, key=levels.count)} is given twice")
    return chain


def chain_factor(
    chain: Sequence[TextCorrection],
    pt_raw: np.ndarray,
    eta: np.ndarray,
    rho: np.ndarray,
    area: np.ndarray,
) -> np.ndarray:
    """Return the factor of all levels together, float64 (n_jets,).

    Parameters
    ----------
    chain
        From `read_chain`; each level sees the pT that those before it have corrected.
    pt_raw, eta, rho, area
        (n_jets,): uncorrected pT (GeV), η, energy density (GeV) and area of the jets.
    """
    total = np.ones(len(pt_raw))
    pt_raw = np.asarray(pt_raw, np.float64)
    for correction in chain:
        quantities = {"JetPt": pt_raw * total, "JetEta": eta, "Rho": rho, "JetA": area}
        total = total * correction.factor(quantities)
    return total
