#!/usr/bin/env bash
# On a machine with a GPU and PyTorch, without installing anything: builds the module into the
# source tree, runs the GPU tests and the bench, and leaves benchmarks/results/gpu-NAME.json
# (and a copy in $OUT where that is set).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr -c 'A-Za-z0-9\n' '-')
cmake -S . -B build/gpu -G Ninja -DXSCALE_INPLACE=ON -DXSCALE_CUDA=ON \
    -DXSCALE_CUDA_ARCHITECTURES=native -DPython_EXECUTABLE="$(command -v "$python")" >/dev/null
cmake --build build/gpu
export PYTHONPATH=.
"$python" -m xscale doctor
"$python" -m pytest -q -m gpu tests
results="benchmarks/results/gpu-$name.json"
"$python" -m xscale bench all --device cuda --json "$results" --overwrite
if [ -n "${OUT:-}" ]; then
    cp "$results" "$OUT/"
fi
