#!/usr/bin/env bash
# What proposed links are worth, on a CPU: proposed against hand-picked, five random draws of as many, the last one alone,
# softened outputs alone and labels alone; VGG-16 -> VGG-7, ResNet-56 -> ResNet-20, ResNet-56 -> VGG-7; 10,000 images of
# CIFAR-10, 6 epochs, 3 seeds, the same budget for all. Killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/cifar10 MODELS=../shared/models benchmarks/propose_cpu.sh    # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/propose docs/results/propose
#
# VGG16 is the folder of a trained VGG-16 with batch normalisation, by default the one that benchmarks/study_cpu.sh trains.
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as study_cpu.sh does. EXTRA takes further key=value
# overrides of every run, SEEDS how many, PARTS which parts (default: "vgg resnet20 vgg7"). DRY=1 proposes, and tells runs and time.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/cifar10}")
MODELS=$(realpath "${MODELS:-$(dirname "$0")/../../shared/models}")
VGG16=${VGG16:-study/strong/teacher}
from_clone code-propose images,page "cifar10=$DATA"
mkdir -p propose proposals

part() { # its name and folder, the recipe, overrides of it up to --, the hand-picked links
    case " ${PARTS:-vgg resnet20 vgg7} " in *" $1 "*) ;; *) return 0 ;; esac
    local name=$1 recipe=$2 fields=()
    shift 2
    while [ "$1" != -- ]; do
        fields+=("$1")
        shift
    done
    shift
    # A proposal is made once: what was trained by it stays the same.
    # shellcheck disable=SC2086 # the overrides are words
    [ -e "proposals/$name/rows.yaml" ] || {
        "$PYTHON_READY" -m layerlink propose "$recipe" data.root=data/cifar10 data.train_images=10000 data.validation=5000 \
            training.epochs=6 "${fields[@]}" ${EXTRA:-} --out "proposals/$name"
        "$PYTHON_READY" code-propose/benchmarks/propose_rows.py "proposals/$name" "$@"
    }
    "$PYTHON_READY" -m layerlink sweep "proposals/$name/rows.yaml" "seeds=${SEEDS:-3}" ${COHORT:+cohort=$COHORT} \
        --out "propose/$name" ${DRY:+--dry-run}
}

part vgg study/vgg7-soft teacher.weights="$VGG16" 'teacher.arguments={batch_norm: true}' training.step_epochs=4 -- \
    'group2 : mse, scale=teacher' 'group3 : mse, scale=teacher' 'group4 : mse, scale=teacher' 'group5 : mse, scale=teacher'
part resnet20 cifar/resnet56-resnet20 teacher.weights="$MODELS/cifar10_resnet56.safetensors" -- \
    'layer1 : mse, scale=teacher' 'layer2 : mse, scale=teacher' 'layer3 : mse, scale=teacher'
part vgg7 cifar/resnet56-vgg7 teacher.weights="$MODELS/cifar10_resnet56.safetensors" -- \
    'layer1 -> group1 : mse, scale=teacher, adapter=auto' 'layer2 -> group2 : mse, scale=teacher, adapter=auto' \
    'layer3 -> group3 : mse, scale=teacher, adapter=auto'
