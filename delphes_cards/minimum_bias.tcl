# No detector: the stable particles of minimum-bias events, from which `root2pileup` makes the
# pile-up file of Delphes.

set ExecutionPath {TreeWriter}

module TreeWriter TreeWriter {
  add Branch Delphes/stableParticles Particle GenParticle
}
