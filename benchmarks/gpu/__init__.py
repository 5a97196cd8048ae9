"""What a GPU makes of the networks, in one call of a few minutes: a table and a JSON file.

Rows, each on its own: one that fails says why and the others go on, on a GPU in a new process; none
takes longer than its share of the time, and `gpu.json` has each as soon as it is measured. They are
the peaks of the device, equality of a GPU's outputs with a CPU's, training steps and
inference of every network of `NETWORKS` as it stands and compiled, in 16 and 32 bits, weaver-core's
Particle Transformer beside them where it is installed, the loader from Parquet, and training end to
end from Parquet. Jets are synthetic, with the multiplicities of JetClass-II.

Run as `python -m benchmarks.gpu [--output DIR] [--rows WORDS ...] [--seconds N] [--resume]`;
`--device cpu --quick` is a trial of the script.
"""
