#!/usr/bin/env bash
# The study at full size of data on a CPU, at 32x32: all 45,000 training images, 25 epochs. Some 14 hours of two cores in
# three parts; killed or stopped, the same command goes on where it was, and on another machine with what is kept in KEPT
# (docs/results/study): finished rows, and teachers, rounded so that they are small enough for a repository (study_teacher.py).
#
#   DATA=../shared/data/cifar10 benchmarks/study_cpu.sh             # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/study docs/results/study   # what is finished; commit it
#
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), so that work on the code does not reach it; the clone
# and its commit stay the same for every later call. Pause: pkill -STOP -f "layerlink (run|sweep) study/"; go on: -CONT.
# EXTRA takes further key=value overrides (cohort=4: a seed in two halves), PARTS which parts
# (default: "strong own tables"). A seed is paired on one kind of processor: finish it where it was begun.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
here=$(realpath "$(dirname "$0")")
DATA=$(realpath "${DATA:-$here/../../shared/data/cifar10}")
KEPT=$(realpath "${KEPT:-$here/../docs/results/study}")
from_clone code images "cifar10=$DATA"
common=(data.root=data/cifar10 data.validation=5000)
of_teacher=() # the words of EXTRA that a sweep shares with its teacher
for word in ${EXTRA:-}; do
    case $word in data.* | device=* | precision=*) of_teacher+=("$word") ;; esac
done
mkdir -p study

part() { # its name and folder, the sweep, its teacher's recipe or "", further overrides
    case " ${PARTS:-strong own tables} " in *" $1 "*) ;; *) return 0 ;; esac
    [ -e "study/$1" ] || [ ! -e "$KEPT/$1" ] || "$PYTHON_READY" "$here/study_keep.py" --back "$KEPT/$1" "study/$1"
    if [ -n "$3" ]; then
        [ -e "study/$1/teacher/result.json" ] ||
            "$PYTHON_READY" -m layerlink run "$3" "${common[@]}" "${of_teacher[@]}" --resume --out "study/$1/teacher"
        "$PYTHON_READY" "$here/study_teacher.py" "study/$1/teacher"
    fi
    # shellcheck disable=SC2086 # the overrides are words
    "$PYTHON_READY" -m layerlink sweep "$2" "${common[@]}" "${@:4}" ${EXTRA:-} --out "study/$1"
}

part strong study/strong-teacher study/vgg16-bn cohort=8 # its teacher first, then a cohort a seed
part own study/own-teacher study/vgg16 cohort=4
part tables study/tables "" teacher.weights=study/strong/teacher 'teacher.arguments={batch_norm: true}' \
    seeds=2 training.epochs=12 training.step_epochs=5
