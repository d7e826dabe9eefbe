#!/usr/bin/env bash
# A pair of the usual CIFAR-100 comparison on one GPU: the teacher, then all methods on one teacher pass, 240 epochs each, and
# the report with the published figures beside ours. Started again, it goes on where it was stopped.
#
#   PAIR=vgg13-vgg8 DATA=../shared/data/cifar100 OUT=runs/vgg13-vgg8 SECONDS_MAX=570 benchmarks/cifar100_gpu.sh
#   benchmarks/cifar100_gpu.sh --dry-run      # the same on a CPU in minutes: thin networks, 128 images, 2 epochs
#
# PAIR: vgg13-vgg8 or resnet32x4-resnet8x4. TEACHER: weights of a teacher that is trained already. SECONDS_MAX: ask the
# training to stop after so long, at the next step, with everything saved (exit code 3: call again); for machines that are
# lent by the slice. EXTRA takes further key=value overrides, such as seeds=3 or precision=bfloat16.
#
# Where the data comes in pieces (benchmarks/pieces.py), in calls of their own: PIECES=runs/pieces/cifar100. Until all are there
# nothing is trained (exit code 3: send the next); then they are put together in DATA, by default runs/data/cifar100.
set -euo pipefail
cd "$(dirname "$0")/.."
LAYERLINK=${LAYERLINK:-layerlink}
PAIR=${PAIR:-vgg13-vgg8}
if [ -n "${PIECES:-}" ]; then
    DATA=${DATA:-runs/data/cifar100}
    "${PYTHON:-python3}" benchmarks/pieces.py join "$PIECES" "$DATA" || exit
fi
DATA=${DATA:-../shared/data/cifar100}
set -- "${1:-}"
size=()
if [ "$1" = --dry-run ]; then
    OUT=${OUT:-runs/dry-run/$PAIR}
    DEVICE=cpu
    size=(data.train_images=128 data.validation=64 training.epochs=2 student.arguments.width=0.1
        train_teacher.set.training.epochs=2 train_teacher.set.student.arguments.width=0.1)
elif [ -n "$1" ]; then
    echo "$0: '$1' is no option of this script: --dry-run, or none" >&2
    exit 2
fi
OUT=${OUT:-runs/$PAIR}
limit=()
if [ -n "${SECONDS_MAX:-}" ]; then
    limit=(timeout --foreground --signal=INT "$SECONDS_MAX")
fi

if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,memory.total,memory.used --format=csv
fi
start=$(date +%s) code=0
# shellcheck disable=SC2086 # the overrides are words
"${limit[@]}" $LAYERLINK sweep "cifar100/$PAIR" data.root="$DATA" device="${DEVICE:-cuda}" "${size[@]}" \
    ${TEACHER:+teacher.weights="$TEACHER"} ${EXTRA:-} --out "$OUT" || code=$?
echo "$(($(date +%s) - start)) s in this call"
if [ "$code" = 124 ]; then
    echo "stopped after $SECONDS_MAX s; the same command goes on"
    exit 3
fi
$LAYERLINK report "$OUT" --no-measure
exit "$code"
