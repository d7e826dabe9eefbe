#!/usr/bin/env bash
# The study at its own size on one GPU: 224x224, all of CIFAR-10, 25 epochs; the VGG-16 teacher, then its 16 rows and
# labels alone on one teacher pass. Started again, it goes on where it was stopped. Prints the table last.
#
#   DATA=../shared/data/cifar10 OUT=runs/study-224 SECONDS_MAX=570 benchmarks/study_gpu.sh
#   benchmarks/study_gpu.sh --dry-run      # the same on a CPU in minutes: thin networks, 32x32, 128 images, 2 epochs
#
# SWEEP=study/strong-teacher (or study/own-teacher, study/tables) EXTRA=data.validation=5000: what study_cpu.sh runs at 32x32.
#
# SECONDS_MAX: ask the training to stop after so long, at the next step, with everything saved (exit code 3: call again);
# for machines that are lent by the slice. EXTRA takes further key=value overrides, such as seeds=3.
#
# Where the data comes in pieces (benchmarks/pieces.py), in calls of their own: PIECES=runs/pieces/cifar10. Until all are there
# nothing is trained (exit code 3: send the next); then they are put together in DATA, by default runs/data/cifar10.
set -euo pipefail
cd "$(dirname "$0")/.."
LAYERLINK=${LAYERLINK:-layerlink}
SWEEP=${SWEEP:-study/tables-224}
if [ -n "${PIECES:-}" ]; then
    DATA=${DATA:-runs/data/cifar10}
    "${PYTHON:-python3}" benchmarks/pieces.py join "$PIECES" "$DATA" || exit
fi
DATA=${DATA:-../shared/data/cifar10}
size=()
if [ "${1:-}" = --dry-run ]; then
    OUT=${OUT:-runs/dry-run/${SWEEP//\//-}}
    DEVICE=cpu
    size=(data.image_size=32 data.train_images=128 data.validation=64 training.epochs=2 student.arguments.width=0.1
        train_teacher.set.training.epochs=2 train_teacher.set.student.arguments.width=0.1)
elif [ -n "${1:-}" ]; then
    echo "$0: '$1' is no option of this script: --dry-run, or none" >&2
    exit 2
fi
OUT=${OUT:-runs/${SWEEP//\//-}}
limit=()
if [ -n "${SECONDS_MAX:-}" ]; then
    limit=(timeout --foreground --signal=INT "$SECONDS_MAX")
fi

if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,memory.total,memory.used --format=csv
fi
start=$(date +%s) code=0
# shellcheck disable=SC2086 # the overrides are words
"${limit[@]}" $LAYERLINK sweep "$SWEEP" data.root="$DATA" device="${DEVICE:-cuda}" "${size[@]}" ${EXTRA:-} \
    --out "$OUT" || code=$?
echo "$(($(date +%s) - start)) s in this call"
if [ "$code" = 124 ]; then
    echo "stopped after $SECONDS_MAX s; the same command goes on"
    exit 3
fi
$LAYERLINK report "$OUT" --no-measure
exit "$code"
