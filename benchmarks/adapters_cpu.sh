#!/usr/bin/env bash
# A pretrained ResNet-56 teaches VGG-7 and ResNet-20, through adapters where shapes differ: 10,000 images, 10 epochs, three
# seeds, one cohort a seed. Killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/cifar10 TEACHER=../shared/models/cifar10_resnet56.safetensors benchmarks/adapters_cpu.sh
#   benchmarks/study_keep.py ~/layerlink-runs/adapters docs/results/adapters   # what is finished
set -euo pipefail
DATA=${DATA:-../shared/data/cifar10}
TEACHER=${TEACHER:-../shared/models/cifar10_resnet56.safetensors}
OUT=${OUT:-$HOME/layerlink-runs/adapters}
for student in vgg7 resnet20; do
    "${PYTHON:-python3}" -m layerlink sweep "cifar/resnet56-$student" data.root="$DATA" teacher.weights="$TEACHER" \
        data.train_images=10000 cohort=4 --out "$OUT/$student"
done
