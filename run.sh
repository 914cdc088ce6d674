#!/usr/bin/env bash
# Sets up .venv on first use, then does one thing in it:
#   bash run.sh quickstart        train a Reg-VQ tokenizer on procedural scenes (one backend)
#   bash run.sh tests [ARGS]      lint, then the test suite on tensorflow, jax and torch in turn
#   bash run.sh docs              the documentation site, into site/
# KERAS_BACKEND picks the quickstart's backend (default tensorflow); ARGS go to pytest. What no backend
# computes is tested on one of them, taking turns by the day (tests/conftest.py); --all: on all three.
# BACKENDS="jax torch" leaves the others out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
task=${1:-}
shift || true

setup() {  # setup EXTRA: once per extra and per change of the pinned versions
    local stamp=".venv/installed-$1"
    if [ ! -e "$stamp" ] || [ constraints.txt -nt "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        echo "Installing keras_regvq[$1] into .venv ..."
        [ -x .venv/bin/python ] || python3 -m venv .venv
        # Most of what comes along is never imported: Python compiles the rest when it is.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
            --constraint constraints.txt --editable ".[$1]"
        touch "$stamp"
    fi
}

# Some images (Docker's) forbid Python to keep what it compiles: each process would compile the 4,700
# modules of an import anew, for eight seconds.
unset PYTHONDONTWRITEBYTECODE
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# JAX compiles for minutes and keeps the result.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.cache/jax}
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0

case "$task" in
quickstart)
    export KERAS_BACKEND=${KERAS_BACKEND:-tensorflow}
    setup "$KERAS_BACKEND"
    .venv/bin/python recipes/quickstart.py "$@"
    ;;
tests)
    setup test
    # A peer of one test, without torchvision, which that test needs not and many environments lack.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps \
        --constraint constraints.txt torch-fidelity
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    # The tests compile many small functions and run each a few times: compiling fast counts.
    quickly="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    export XLA_FLAGS=${XLA_FLAGS:-$quickly --xla_llvm_disable_expensive_passes=true}
    failed=0
    # Workers of one thread each: PyTorch slows down when threads of two processes compete. Three on
    # two cores, since tests of processes also wait for them.
    export OMP_NUM_THREADS=1
    TEST_DAY=$((10#$(date +%j)))
    export TEST_DAY
    number=0
    read -ra backends <<< "${BACKENDS:-tensorflow jax torch}"
    for backend in "${backends[@]}"; do
        number=$((number + 1))
        echo "== $backend ($number of ${#backends[@]})"
        KERAS_BACKEND=$backend .venv/bin/python -m pytest -q -n 3 --dist loadfile \
            --no-loadscope-reorder "$@" || failed=1
    done
    exit $failed
    ;;
docs)
    setup docs
    .venv/bin/python docs/build.py "$@"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
