#!/usr/bin/env bash
# Twenty events from the programs to a Parquet file: `smoke_test.sh PROJECT`, in a scratch folder.
# PROJECT holds generation, ntuplizer, provenance and delphes_cards.
set -euo pipefail

project=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export PYTHONPATH=$project HOME=$scratch
# Numba compiles into a cache, which an image has no place for.
export NUMBA_CACHE_DIR=$scratch/numba

for program in mg5_aMC DelphesPythia8 root2pileup; do
    command -v "$program"
done
printf 'generate p p > e+ e-\noutput process\n' > commands.mg5
mg5_aMC commands.mg5 > mg5.log || true
if [ ! -f process/Cards/run_card.dat ]; then
    cat mg5.log
    echo "error: MadGraph wrote no process directory" >&2
    exit 1
fi
python -m generation.external pileup --events 100 --seed 1 \
    --scratch . --output minbias.pileup
python -m generation.external simulate --process qcd --batch 0 --events-per-batch 20 --seed 1 \
    --card "$project/delphes_cards/jetclass2_fatjet.tcl" --pileup minbias.pileup \
    --scratch . --output events.root
python -m ntuplizer jets events.root --qcd-labels --output jets.parquet
python -c 'import sys, pyarrow.parquet as pq; n = pq.read_table(sys.argv[1]).num_rows
print(f"{n} jets of 20 events"); sys.exit(n == 0)' jets.parquet
