"""Branches and leaves of event files that several products read."""

# Of the generator record, branch `Particle`.
RECORD_LEAVES = ("PID", "Status", "D1", "D2", "PT", "Eta", "Phi", "Mass")

# Branches of candidates by the name of the jet collection that is made from them.
CANDIDATE_BRANCHES = {"puppi": "ParticleFlowCandidate", "chs": "ParticleFlowCandidateCHS"}
CANDIDATE_LEAVES = (
    "PT", "Eta", "Phi", "Mass", "CtgTheta", "D0", "DZ", "ErrorD0", "ErrorDZ", "Charge", "PID",
)  # fmt: skip
