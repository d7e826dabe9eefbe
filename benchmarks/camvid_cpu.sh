#!/usr/bin/env bash
# A U-Net teaches one of a thirtieth of its parameters on CamVid, on a CPU: by labels, and by labels with softened maps,
# channel-wise distillation or links; 3 seeds, the rows of a seed side by side on one teacher pass. Killed or stopped, the
# same command goes on where it was.
#
#   DATA=../shared/data/camvid benchmarks/camvid_cpu.sh    # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/camvid docs/results/camvid
#
# It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as study_cpu.sh does. EPOCHS of every run (default: 40),
# SEEDS how many; EXTRA takes further key=value overrides of every run. DRY=1 tells runs and time.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/camvid}")
from_clone code-camvid images,page "camvid=$DATA"
mkdir -p camvid
words=("data.root=data/camvid" "training.epochs=${EPOCHS:-40}")
# shellcheck disable=SC2206 # the overrides are words
words+=(${EXTRA:-})
teacher=camvid/teachers/unet
[ -n "${DRY:-}" ] || [ -e "$teacher/result.json" ] ||
    "$PYTHON_READY" -m layerlink run camvid/teacher "${words[@]}" --out "$teacher" --resume
"$PYTHON_READY" -m layerlink sweep camvid/unet "${words[@]}" "teacher.weights=$teacher" "seeds=${SEEDS:-3}" \
    --out camvid/unet ${DRY:+--dry-run}
