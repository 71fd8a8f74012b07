#!/usr/bin/env bash
# On a machine with a GPU, nvcc and PyTorch, without installing anything and without a network:
#   part 1  builds the module into the source tree, runs the self-test and every test marked cuda
#   part 2  runs the op tests under compute-sanitizer, where that is installed
#   part 3  times every op; leaves benchmarks/results/GPU-DATE.json
# No part takes more than 8 minutes; without a part, all run. Results are copied to $OUT where set.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr -cs 'A-Za-z0-9\n' '-')
results="benchmarks/results/${name%-}-$(date +%Y-%m-%d).json"
export PYTHONPATH=.

build() {
    cmake -S . -B build/gpu -G Ninja -DXSCALE_INPLACE=ON -DXSCALE_CUDA=ON \
        -DXSCALE_CUDA_ARCHITECTURES=native -DPython_EXECUTABLE="$(command -v "$python")" >/dev/null
    cmake --build build/gpu
}

part1() {
    "$python" -m xscale doctor
    "$python" -m pytest -q -m cuda tests
}

part2() {
    if ! command -v compute-sanitizer >/dev/null; then
        echo "compute-sanitizer is not installed: part 2 has nothing to do"
        return
    fi
    compute-sanitizer --error-exitcode 9 --launch-timeout 0 \
        "$python" -m pytest -q -m cuda tests/ops
}

part3() {
    "$python" -m xscale bench all --device cuda --json "$results" --overwrite
    if [ -n "${OUT:-}" ]; then
        cp "$results" "$OUT/"
    fi
}

build
for part in ${1:-1 2 3}; do
    "part$part"
done
