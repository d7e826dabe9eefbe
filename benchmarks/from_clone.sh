# Sourced by the scripts of long experiments: from a clone of COMMIT (HEAD) in RUNS (~/layerlink-runs), so that work on the
# code does not reach them; the clone, its commit and its environment stay the same for every later call.
# shellcheck shell=bash

# Its name and the extras that it needs; what it reads as FOLDER=PLACE becomes data/FOLDER. Then one is in RUNS, $code is
# the clone, $PYTHON_READY the interpreter: an environment in the clone, or one's own that has what is needed.
from_clone() {
    local here extras=$2 link
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    RUNS=${RUNS:-$HOME/layerlink-runs}
    code=$1
    mkdir -p "$RUNS/data"
    cd "$RUNS"
    [ -d "$code" ] || {
        git clone --quiet "$here" "$code.part"
        git -C "$code.part" checkout --quiet --detach "${COMMIT:-$(git -C "$here" rev-parse HEAD)}"
        mv "$code.part" "$code"
    }
    if [ -z "${PYTHON_READY:-}" ]; then
        [ -e "$code/.venv/ready" ] || {
            "${PYTHON:-python3}" -m venv "$code/.venv"
            (cd "$code" && .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[$extras]")
            touch "$code/.venv/ready"
        }
        PYTHON_READY=$code/.venv/bin/python
    fi
    export PYTHONPATH="$RUNS/$code/src"
    for link in "${@:3}"; do
        ln -sfn "${link#*=}" "data/${link%%=*}"
    done
    echo "commit $(git -C "$code" rev-parse --short HEAD)"
}
