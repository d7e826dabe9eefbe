#!/usr/bin/env bash
# Every loss for images, screened, and the ten best confirmed: ResNet-56 -> ResNet-8 on CIFAR-10, 10,000 images, 6 epochs.
# Some four hours of two cores; killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/cifar10 TEACHER=../shared/models/cifar10_resnet56.safetensors benchmarks/losses_cpu.sh
#   benchmarks/study_keep.py ~/layerlink-runs/losses docs/results/losses   # what is finished, small enough for a repository
#
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as study_cpu.sh does. PARTS takes which parts (default:
# "screen search confirm"), EXTRA further key=value overrides of every run. Pause: pkill -STOP -f "layerlink s.* .*losses".
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/cifar10}")
TEACHER=$(realpath "${TEACHER:-$(dirname "$0")/../../shared/models/cifar10_resnet56.safetensors}")
PYTHON_READY=${PYTHON_READY:-${LAYERLINK:-}} # an interpreter that has what it needs
from_clone code-losses images,search "cifar10=$DATA"
python=$PYTHON_READY

train() { # the verb, its file, its folder
    # shellcheck disable=SC2086 # the overrides are words
    "$python" -m layerlink "$1" "$2" data.root=data/cifar10 "teacher.weights=$TEACHER" ${EXTRA:-} --out "losses/$3"
}

asked() { case " ${PARTS:-screen search confirm} " in *" $1 "*) ;; *) return 1 ;; esac; }

if asked screen; then
    train sweep cifar/losses losses
    train sweep cifar/losses-two-views losses-two-views
fi
if asked search; then
    "$python" $code/benchmarks/losses_confirm.py searches losses losses/search
    for file in losses/search/*.yaml; do
        train search "$file" "search/$(basename "$file" .yaml)"
    done
fi
if asked confirm; then
    "$python" $code/benchmarks/losses_confirm.py sweep losses losses/search
    mv losses/search/confirm.yaml losses/confirm.yaml
    train sweep losses/confirm.yaml confirmed
fi
