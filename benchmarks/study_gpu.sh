#!/usr/bin/env bash
# The study at its own size on one GPU: 224x224, all of CIFAR-10, 25 epochs; the VGG-16 teacher, then its 16 rows and
# labels alone on one teacher pass. Started again, it goes on where it was stopped. Prints the table last.
#
#   DATA=../shared/data/cifar10 OUT=runs/study-224 SECONDS_MAX=570 benchmarks/study_gpu.sh
#
# SECONDS_MAX: ask the training to stop after so long, at the next step, with everything saved (exit code 1);
# for machines that are lent by the slice. EXTRA takes further key=value overrides, such as seeds=3.
set -euo pipefail
cd "$(dirname "$0")/.."
LAYERLINK=${LAYERLINK:-layerlink}
DATA=${DATA:-../shared/data/cifar10}
OUT=${OUT:-runs/study-224}
limit=()
if [ -n "${SECONDS_MAX:-}" ]; then
    limit=(timeout --foreground --signal=INT "$SECONDS_MAX")
fi

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,memory.total,memory.used --format=csv
start=$(date +%s)
# shellcheck disable=SC2086 # the overrides are words
"${limit[@]}" $LAYERLINK sweep study/tables-224 data.root="$DATA" device="${DEVICE:-cuda}" ${EXTRA:-} --out "$OUT"
echo "$(($(date +%s) - start)) s in this call"
$LAYERLINK report "$OUT" --no-measure
