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
here=$(cd "$(dirname "$0")/.." && pwd)
DATA=$(realpath "${DATA:-$here/../shared/data/camvid}")
RUNS=${RUNS:-$HOME/layerlink-runs}
mkdir -p "$RUNS/data" "$RUNS/camvid"
cd "$RUNS"
[ -d code-camvid ] || {
    git clone --quiet "$here" code-camvid.part
    git -C code-camvid.part checkout --quiet --detach "${COMMIT:-$(git -C "$here" rev-parse HEAD)}"
    mv code-camvid.part code-camvid
}
if [ -z "${PYTHON_READY:-}" ]; then # a Python that has what layerlink needs, in place of an environment of its own
    [ -e code-camvid/.venv/ready ] || {
        "${PYTHON:-python3}" -m venv code-camvid/.venv
        (cd code-camvid && .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[images,page]')
        touch code-camvid/.venv/ready
    }
    PYTHON_READY=code-camvid/.venv/bin/python
fi
export PYTHONPATH="$RUNS/code-camvid/src"
ln -sfn "$DATA" data/camvid
echo "commit $(git -C code-camvid rev-parse --short HEAD)"
words=("data.root=data/camvid" "training.epochs=${EPOCHS:-40}")
# shellcheck disable=SC2206 # the overrides are words
words+=(${EXTRA:-})
teacher=camvid/teachers/unet
[ -n "${DRY:-}" ] || [ -e "$teacher/result.json" ] ||
    "$PYTHON_READY" -m layerlink run camvid/teacher "${words[@]}" --out "$teacher" --resume
"$PYTHON_READY" -m layerlink sweep camvid/unet "${words[@]}" "teacher.weights=$teacher" "seeds=${SEEDS:-3}" \
    --out camvid/unet ${DRY:+--dry-run}
