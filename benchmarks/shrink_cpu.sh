#!/usr/bin/env bash
# What a student's start is worth, on a CPU: the same student from scratch, with copied and with fitted start, with links
# and softened outputs besides, after equal time, 3 seeds. VGG-16 -> VGG-7 and ResNet-56 -> a third of its parameters on
# 10,000 images of CIFAR-10, 6 epochs of the dearest row and as many as fit into its time of the others; MiniLM-L6 -> half
# of its FLOPs on SST-2, 3 epochs. Killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/cifar10 MODELS=../shared/models benchmarks/shrink_cpu.sh    # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/shrink docs/results/shrink
#
# VGG16 is the folder of a trained VGG-16 with batch normalisation, by default the one that benchmarks/study_cpu.sh trains;
# MINILM_TEACHER that of MiniLM-L6 on SST-2, by default the one that benchmarks/text_cpu.sh trains. TEXTS is the folder of
# SST-2, MINILM one with MiniLM-L6 in the layout of the Hugging Face hub.
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as study_cpu.sh does. EXTRA takes further key=value
# overrides of every run, SEEDS how many, EPOCHS of the dearest row, PARTS which parts (default: "vgg resnet"; the third is
# minilm). DRY=1 shrinks, and tells runs and time.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
PARTS=${PARTS:-vgg resnet}
shared=$(dirname "$0")/../../shared
DATA=$(realpath -m "${DATA:-$shared/data/cifar10}")
MODELS=$(realpath -m "${MODELS:-$shared/models}")
TEXTS=$(realpath -m "${TEXTS:-$shared/data/sst2}")
VGG16=${VGG16:-study/strong/teacher}
MINILM_TEACHER=${MINILM_TEACHER:-text/teacher}
extras=images,page,shrink places=("cifar10=$DATA")
case " $PARTS " in *" minilm "*)
    extras+=,text places+=("sst2=$TEXTS" "minilm=$(realpath "${MINILM:?is to be the folder of MiniLM-L6}")")
    ;;
esac
from_clone code-shrink "$extras" "${places[@]}"
mkdir -p shrink students

part() { # its name, the starts, options of the rows, and what is shrunk: teacher or recipe, budget and overrides
    case " $PARTS " in *" $1 "*) ;; *) return 0 ;; esac
    local name=$1 starts=$2 rows=$3 folders=() start
    shift 3
    # A student is made once: what was trained from it stays the same.
    [ -e "students/$name-fit/rows.yaml" ] || {
        for start in $starts; do
            # shellcheck disable=SC2086 # the overrides are words
            "$PYTHON_READY" -m layerlink shrink "$@" ${EXTRA:-} --start "$start" --out "students/$name-$start"
            folders+=("students/$name-$start")
        done
        # shellcheck disable=SC2086 # the options are words
        "$PYTHON_READY" code-shrink/benchmarks/shrink_rows.py "${folders[@]}" $rows ${EPOCHS:+--epochs "$EPOCHS"}
    }
    "$PYTHON_READY" -m layerlink sweep "students/$name-fit/rows.yaml" "seeds=${SEEDS:-3}" ${COHORT:+cohort=$COHORT} \
        --out "shrink/$name" ${DRY:+--dry-run}
}

pictures="data.root=data/cifar10 data.train_images=10000 data.validation=5000"
# shellcheck disable=SC2086 # the overrides are words
part vgg "fit copy" "--epochs 6" study/vgg7-soft --collapse $pictures teacher.weights="$VGG16" \
    'teacher.arguments={batch_norm: true}' training.step_epochs=4
# shellcheck disable=SC2086 # the same
part resnet fit "--epochs 6" cifar/resnet56-resnet20 --params 0.33 $pictures \
    teacher.weights="$MODELS/cifar10_resnet56.safetensors"
part minilm fit "--epochs 3 --scratch-lr 0.0005" "$MINILM_TEACHER" --flops 0.5 data.root=data/sst2 teacher.model=hf:data/minilm \
    soft.temperature=2 soft.weight=1
