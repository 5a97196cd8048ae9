"""What candidates are made of: jets of their constituents, towers of the particles in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates, consecutive_runs, merge


@dataclass(frozen=True)
class Parts:
    """What candidates are made of.

    Attributes
    ----------
    candidates
        The parts, in the order of the events.
    owner
        (n_parts,) row of the candidate that each of them belongs to.
    """

    candidates: Candidates
    owner: NDArray[np.int64]


def parts_of(candidates: Candidates) -> Parts:
    """Return the constituents of jets and the particles in towers; other candidates have none."""
    root = candidates.origin
    sources = root.parents or (root,)
    index = root.index if root.parents else np.arange(len(root))
    found, owners = [candidates.at(np.zeros(0, np.int64))], [np.zeros(0, np.int64)]
    start = 0
    for source in sources:
        here = np.flatnonzero((index >= start) & (index < start + len(source)))
        if source.parts is not None and len(here):
            members, owner = source.parts
            order = np.argsort(owner, kind="stable")
            first, after = np.searchsorted(
                owner[order], [index[here] - start, index[here] - start + 1]
            )
            found.append(members.at(order[consecutive_runs(first, after - first)]))
            owners.append(np.repeat(here, after - first))
        start += len(source)
    if len(found) == 2:
        return Parts(found[1], owners[1])
    together = merge(found)
    return Parts(together, np.concatenate(owners)[together.index])


def contents(candidates: Candidates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the identities of candidates and of everything that they are made of.

    Delphes compares these in `Candidate::Overlaps`: a jet contains its constituents, a tower all
    particles that have left energy in it, and a track is its particle.

    Returns
    -------
    identity, owner
        (n,) int64: a number for each particle, tower, ... that its clones share, and the row of
        the candidate that contains it.
    """
    identities, owners = [candidates.identity], [np.arange(len(candidates))]
    parts = parts_of(candidates)
    if len(parts.owner):
        identity, owner = contents(parts.candidates)
        identities.append(identity)
        owners.append(parts.owner[owner])
    return np.concatenate(identities), np.concatenate(owners)
