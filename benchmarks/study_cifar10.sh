#!/usr/bin/env bash
# The study's main comparison on CIFAR-10 at 32x32: the teacher, then VGG-7 on labels only, with soft targets,
# with soft targets and links 2-5. Resumes where it was stopped; prints the table last.
#
#   DATA=../shared/data/cifar10 OUT=runs/study SEEDS="0 1 2" benchmarks/study_cifar10.sh
#
# The scale is 20,000 training images and 12 epochs (the study: 50,000 and 25), the learning rate divided by 10
# every 5 epochs; all 10,000 test images. EXTRA takes further key=value overrides for all rows.
set -euo pipefail
LAYERLINK=${LAYERLINK:-layerlink}
DATA=${DATA:-../shared/data/cifar10}
OUT=${OUT:-runs/study}
SEEDS=${SEEDS:-0 1 2}
SCALE="data.root=$DATA data.train_images=20000 data.validation=5000 training.epochs=12 training.step_epochs=5 ${EXTRA:-}"

# shellcheck disable=SC2086 # the overrides are words
$LAYERLINK run study/vgg16 $SCALE --out "$OUT/vgg16-0" --resume
for seed in $SEEDS; do
    for row in hard soft links; do
        teacher=$([ "$row" = hard ] || echo "teacher.weights=$OUT/vgg16-0")
        $LAYERLINK run "study/vgg7-$row" $SCALE seed="$seed" $teacher --out "$OUT/vgg7-$row-$seed" --resume
    done
done
"${PYTHON:-python3}" "$(dirname "$0")/study_table.py" "$OUT"
