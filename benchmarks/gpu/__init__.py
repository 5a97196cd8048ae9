"""What a GPU makes of the networks, in one call of a few minutes: a table and a JSON file.

Rows are the peaks of the device, equality of a GPU's outputs with a CPU's, training steps and
inference of every network of `NETWORKS` as it stands and compiled, in 16 and 32 bits, weaver-core's
Particle Transformer beside them where it is installed, the loader from Parquet, and training end to
end from Parquet. Jets are synthetic, with the multiplicities of JetClass-II.

A process per network and precision prepares its rows beside the others, which is mostly compiling;
then one after the other measures. A row that fails says why and the others go on; `gpu.json` has
each as soon as it is measured.

Run as `python -m benchmarks.gpu [--output DIR] [--rows WORDS ...] [--seconds N] [--resume]`;
`--device cpu --quick` is a trial of the script.
"""
