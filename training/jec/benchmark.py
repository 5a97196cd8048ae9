"""How fast, and how well, CMS' own corrections from text files are applied to jets of CMS."""

import time
from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from provenance.errors import UserError
from provenance.files import write_json
from provenance.ledger import versions
from training.jec.text import chain_factor, read_chain

# The density ρ has another name in newer files.
RHO = ("Rho_fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll")
JET_COLUMNS = ("pt", "rawFactor", "eta", "area")
# GEN-jets below this, GeV, have jets that only their fluctuations brought into the file.
GENJET_PT_MIN = 30.0


def read_jets(path: Path, jet_type: str) -> dict[str, np.ndarray]:
    """Return jets of a NanoAOD or PFNano file before corrections, (n_jets,) each.

    Parameters
    ----------
    path
        The file.
    jet_type
        What its jets have to be: `AK4PFchs`, `AK4PFPuppi`.

    Returns
    -------
    dict
        `pt_raw`, `pt` (as the file corrects it; GeV), `eta`, `area`, `rho` (GeV), and of simulation
        `pt_gen`, 0 without a GEN-jet.

    Raises
    ------
    UserError
        When the file is missing, lacks what corrections need, or has jets of another kind.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with uproot.open(path) as file:
            tree = file["Events"]
            title = tree["nJet"].title
            rho = next((name for name in RHO if name in tree), RHO[-1])
            names = [f"Jet_{name}" for name in JET_COLUMNS]
            if "GenJet_pt" in tree and "Jet_genJetIdx" in tree:
                names += ["GenJet_pt", "Jet_genJetIdx"]
            events = tree.arrays([*names, rho])
    except Exception as error:  # uproot meets damage with whatever its parser stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not NanoAOD with jets and rho ({reason})") from None
    kind = "puppi" if "puppi" in title.lower() else "chs"
    if not jet_type.lower().endswith(kind):
        raise UserError(f"{path}: its jets ({title}) are not {jet_type}")
    jets = {name: ak.to_numpy(ak.flatten(events[f"Jet_{name}"])) for name in JET_COLUMNS}
    jets = {name: values.astype(np.float64) for name, values in jets.items()}
    density = ak.flatten(ak.broadcast_arrays(events[rho], events["Jet_pt"])[0])
    columns = {
        "pt_raw": jets["pt"] * (1 - jets["rawFactor"]),
        "pt": jets["pt"],
        "eta": jets["eta"],
        "area": jets["area"],
        "rho": ak.to_numpy(density).astype(np.float64),
    }
    if "GenJet_pt" in events.fields:
        index = events["Jet_genJetIdx"]
        known = (index >= 0) & (index < ak.num(events["GenJet_pt"]))
        partner = events["GenJet_pt"][ak.mask(index, known)]
        columns["pt_gen"] = ak.to_numpy(ak.flatten(ak.fill_none(partner, 0.0))).astype(np.float64)
    return columns


def benchmark_texts(
    inputs: Sequence[Path],
    texts: Sequence[Path],
    jet_type: str,
    output: Path,
    jets: int = 1_000_000,
    passes: int = 5,
) -> dict:
    """Correct jets by text files and write what it takes and gives.

    Reading is timed apart. The jets are repeated to a number whose correction takes long enough to
    be timed; a first pass over them is not counted.

    Parameters
    ----------
    inputs
        NanoAOD or PFNano files with jets of this kind.
    texts
        Correction files.
    jet_type
        `AK4PFchs`, `AK4PFPuppi`, ...
    output
        JSON.
    jets
        How many jets are corrected in a pass.
    passes
        How many are timed.

    Raises
    ------
    UserError
        When a file cannot be used, or there is no jet.
    """
    chain = read_chain(texts, jet_type)
    begun = time.perf_counter()
    read = [read_jets(path, jet_type) for path in inputs]
    reading = time.perf_counter() - begun
    common = set.intersection(*(set(columns) for columns in read))
    columns = {name: np.concatenate([own[name] for own in read]) for name in common}
    number = len(columns["pt_raw"])
    if not number:
        raise UserError(f"{inputs[0]}: holds no jet")
    names = ("pt_raw", "eta", "rho", "area")
    factor = chain_factor(chain, *(columns[name] for name in names))
    repeated = [np.resize(columns[name], max(jets, number)) for name in names]
    chain_factor(chain, *repeated)
    seconds = []
    for _ in range(passes):
        begun = time.perf_counter()
        chain_factor(chain, *repeated)
        seconds.append(time.perf_counter() - begun)
    corrected = columns["pt_raw"] * factor
    content = {
        "inputs": [path.name for path in inputs],
        "texts": [correction.name for correction in chain],
        "jet_type": jet_type,
        "jets": number,
        "reading_seconds": reading,
        "jets_per_pass": len(repeated[0]),
        "seconds": seconds,
        "jets_per_second": len(repeated[0]) / min(seconds),
        "median_factor": float(np.median(factor)),
        "median_over_file": float(np.median(corrected / columns["pt"])),
        "versions": versions(),
    }
    if "pt_gen" in columns:
        matched = columns["pt_gen"] > GENJET_PT_MIN
        content["response"] = {
            name: _quartiles(pt[matched] / columns["pt_gen"][matched])
            for name, pt in (("raw", columns["pt_raw"]), ("corrected", corrected))
        }
    write_json(output, content)
    return content


def _quartiles(response: np.ndarray) -> dict[str, float | int | None]:
    if len(response) == 0:
        return {"jets": 0, "median": None, "resolution": None}
    lower, median, upper = np.quantile(response, (0.25, 0.5, 0.75))
    resolution = float((upper - lower) / median)
    return {"jets": len(response), "median": float(median), "resolution": resolution}
