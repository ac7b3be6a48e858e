#!/usr/bin/env bash
# simulated.sh SMPIRUN RANKS LIBRARY EPOCHS: whole training runs of an MLP and a CNN on as many ranks of one thread as SimGrid
# simulates in one process, each with one of the shards; the bits must be those of one rank. Nothing is said of time here:
# what is computed takes none.
set -euo pipefail
smpirun=$1 ranks=$2 program=$3 epochs=$4
hosts=$(mktemp)
trap 'rm -f "$hosts"' EXIT
for ((i = 0; i < ranks; ++i)); do echo "host-$i"; done >"$hosts"
# Ranks share the process and its globals: the engine has none that are written.
"$smpirun" -no-privatize -np "$ranks" -platform "$(dirname "$0")/cluster_platform.xml" -hostfile "$hosts" \
  --cfg=smpi/simulate-computation:no --cfg=contexts/stack-size:2048 --log=root.thresh:warning \
  "$program" models=mlp,cnn threads=1 shards="$ranks" batch=$((ranks + 9)) samples=$((2 * ranks + 31)) \
  epochs="$epochs"
