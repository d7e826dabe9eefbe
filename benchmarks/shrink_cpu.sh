#!/usr/bin/env bash
# What a student's start is worth, on a CPU: the same student from scratch, with copied and with fitted start, with links
# and softened outputs besides, after equal time; VGG-16 -> VGG-7 and ResNet-56 -> a third of its parameters; 10,000 images
# of CIFAR-10, 3 seeds, 6 epochs of the dearest row and as many as fit into its time of the others. Killed or stopped, the
# same command goes on where it was.
#
#   DATA=../shared/data/cifar10 MODELS=../shared/models benchmarks/shrink_cpu.sh    # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/shrink docs/results/shrink
#
# VGG16 is the folder of a trained VGG-16 with batch normalisation, by default the one that benchmarks/study_cpu.sh trains.
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as study_cpu.sh does. EXTRA takes further key=value
# overrides of every run, SEEDS how many, EPOCHS of the dearest row, PARTS which parts (default: "vgg resnet"). DRY=1
# shrinks, and tells runs and time.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/cifar10}")
MODELS=$(realpath "${MODELS:-$(dirname "$0")/../../shared/models}")
VGG16=${VGG16:-study/strong/teacher}
from_clone code-shrink images,page,shrink "cifar10=$DATA"
mkdir -p shrink students

part() { # its name and folder, the starts, the recipe, budget and overrides
    case " ${PARTS:-vgg resnet} " in *" $1 "*) ;; *) return 0 ;; esac
    local name=$1 starts=$2 recipe=$3 folders=() start
    shift 3
    # A student is made once: what was trained from it stays the same.
    [ -e "students/$name-fit/rows.yaml" ] || {
        for start in $starts; do
            # shellcheck disable=SC2086 # the overrides are words
            "$PYTHON_READY" -m layerlink shrink "$recipe" data.root=data/cifar10 data.train_images=10000 data.validation=5000 \
                "$@" ${EXTRA:-} --start "$start" --out "students/$name-$start"
            folders+=("students/$name-$start")
        done
        "$PYTHON_READY" code-shrink/benchmarks/shrink_rows.py "${folders[@]}" --epochs "${EPOCHS:-6}"
    }
    "$PYTHON_READY" -m layerlink sweep "students/$name-fit/rows.yaml" "seeds=${SEEDS:-3}" ${COHORT:+cohort=$COHORT} \
        --out "shrink/$name" ${DRY:+--dry-run}
}

part vgg "fit copy" study/vgg7-soft --collapse teacher.weights="$VGG16" 'teacher.arguments={batch_norm: true}' training.step_epochs=4
part resnet fit cifar/resnet56-resnet20 --params 0.33 teacher.weights="$MODELS/cifar10_resnet56.safetensors"
