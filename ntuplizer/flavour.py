"""The flavour of a jet, as Delphes' JetFlavorAssociation defines it."""

import numba
import numpy as np

from ntuplizer.batch import Collection

# The cards' DeltaR, PartonPTMin (GeV) and PartonEtaMax.
PARTON_REACH = 0.5
PARTON_PT_MIN = 1.0
PARTON_ETA_MAX = 2.5
GLUON = 21


def jet_flavours(
    record: Collection, event: np.ndarray, eta: np.ndarray, phi: np.ndarray, reach: float
) -> np.ndarray:
    """Return the flavour of each jet, int32 (n_jets,).

    It is the highest |PDG| of the quarks within `reach`, 21 when there are gluons only and 0
    without a parton. Partons are the quarks up to b and gluons of the generator record that are
    not final, with pT > `PARTON_PT_MIN` and |η| ≤ `PARTON_ETA_MAX`.

    Parameters
    ----------
    record
        The branch `Particle` with PID, Status, PT, Eta and Phi.
    event, eta, phi
        (n_jets,): the event of each jet and its direction.
    reach
        Largest ΔR.
    """
    pdg = np.abs(record["PID"])
    parton = ((pdg == GLUON) | ((pdg >= 1) & (pdg <= 5))) & (record["Status"] != 1)
    parton &= (record["PT"] > PARTON_PT_MIN) & (np.abs(record["Eta"]) <= PARTON_ETA_MAX)
    index = np.flatnonzero(parton)
    offsets = np.searchsorted(index, record.offsets)
    rank = np.where(pdg[index] == GLUON, 0, pdg[index])
    return _heaviest(
        offsets, rank, record["Eta"][index], record["Phi"][index], event, eta, phi, reach
    )


@numba.njit(cache=True)
def _heaviest(offsets, rank, parton_eta, parton_phi, event, eta, phi, reach):
    flavours = np.zeros(len(event), np.int32)
    for jet in range(len(event)):
        heaviest = -1
        for i in range(offsets[event[jet]], offsets[event[jet] + 1]):
            delta_phi = (parton_phi[i] - phi[jet] + np.pi) % (2 * np.pi) - np.pi
            if rank[i] > heaviest and np.hypot(parton_eta[i] - eta[jet], delta_phi) <= reach:
                heaviest = rank[i]
        if heaviest >= 0:
            flavours[jet] = GLUON if heaviest == 0 else heaviest
    return flavours
