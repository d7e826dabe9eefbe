#!/usr/bin/env bash
# The study at full size of data on a CPU, at 32x32: all 45,000 training images, 25 epochs. Some 14 hours of two cores in
# three parts; killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/cifar10 benchmarks/study_cpu.sh             # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/study docs/results/study   # what is finished, small enough for a repository
#
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), so that work on the code does not reach it; the clone
# and its commit stay the same for every later call. Pause: pkill -STOP -f "layerlink sweep study/"; go on: pkill -CONT -f ...
# EXTRA takes further key=value overrides, PARTS which parts (default: "strong own tables").
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/cifar10}")
from_clone code images "cifar10=$DATA"

part() { # its name and folder, the sweep, further overrides
    case " ${PARTS:-strong own tables} " in *" $1 "*) ;; *) return 0 ;; esac
    # shellcheck disable=SC2086 # the overrides are words
    "$PYTHON_READY" -m layerlink sweep "$2" data.root=data/cifar10 data.validation=5000 ${EXTRA:-} "${@:3}" --out "study/$1"
}

part strong study/strong-teacher cohort=8 # its teacher first, then a cohort a seed
part own study/own-teacher cohort=4
part tables study/tables teacher.weights=study/strong/teacher 'teacher.arguments={batch_norm: true}' \
    seeds=2 training.epochs=12 training.step_epochs=5
