#!/usr/bin/env bash
# On a machine with a GPU, nvcc and PyTorch, without installing anything and without a network:
#   part 1  builds the module into the source tree, runs the self-test and every test marked cuda
#           (one checkpoint's pictures on the GPU and on the CPU among them)
#   part 2  runs the op tests under compute-sanitizer, where that is installed
#   part 3  ceilings, and the bars of encode, inference and Adam (benchmarks/gpu_bars.py)
#   part 4  the bars of the rasterizer, of frames, of training steps and of photo decoding
#   part 5  trains fountain at full resolution for 5 minutes and scores it (XSCALE_SCENES/fountain)
# Figures go to benchmarks/results/GPU-DATE.json and into the table of benchmarks/RESULTS.md; both
# are copied to $OUT where that is set. No part takes more than 8 minutes; without one, all run.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
most=470  # seconds of a part, the build before the first one counted
begun=0

if ! name=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || [ -z "$name" ]; then
    echo "gpu-check: no NVIDIA GPU is here (nvidia-smi shows none): nothing was measured" >&2
    exit 13
fi
if ! command -v nvcc >/dev/null; then
    echo "gpu-check: nvcc is not on PATH: install a CUDA toolkit, or put its bin folder on PATH" >&2
    exit 13
fi
name=$(tr -cs 'A-Za-z0-9\n' '-' <<<"$name")
results="benchmarks/results/${name%-}-$(date +%Y-%m-%d).json"
scenes=${XSCALE_SCENES:-../shared/scenes}
export PYTHONPATH=. PYTHONUNBUFFERED=1

left() {
    echo $((most - SECONDS + begun))
}

build() {
    cmake -S . -B build/gpu -G Ninja -DXSCALE_INPLACE=ON -DXSCALE_CUDA=ON \
        -DXSCALE_CUDA_ARCHITECTURES=native -DPython_EXECUTABLE="$(command -v "$python")" >/dev/null
    cmake --build build/gpu
}

part1() {
    "$python" -m xscale doctor
    timeout "$(left)" "$python" -m pytest -q -m cuda tests
}

part2() {
    if ! command -v compute-sanitizer >/dev/null; then
        echo "compute-sanitizer is not installed: part 2 has nothing to do"
        return
    fi
    timeout "$(left)" compute-sanitizer --error-exitcode 9 --launch-timeout 0 \
        "$python" -m pytest -q -m cuda tests/ops
}

bars() {
    local failed=0
    # The program itself begins nothing that would not end in time; what it has is on the disk.
    timeout "$(left)" "$python" -m benchmarks.gpu_bars --part "$1" --json "$results" \
        --seconds $(($(left) - 70)) || failed=$?
    keep
    return "$failed"
}

part3() { bars 3; }
part4() { bars 4; }

part5() {
    if [ ! -d "$scenes/fountain" ]; then
        echo "part 5 needs the scene fountain: set XSCALE_SCENES to the folder that holds it"
        return
    fi
    rm -rf build/gpu-fountain
    timeout "$(left)" "$python" -m xscale train "$scenes/fountain" --out build/gpu-fountain \
        --device cuda --minutes 5
    timeout 120 "$python" -m xscale score build/gpu-fountain
    keep build/gpu-fountain/metrics.jsonl
}

# Writes the table, and hands what was measured to whoever asked for it.
keep() {
    if [ -f "$results" ]; then
        "$python" -m benchmarks.tables "$results"
        set -- "$results" benchmarks/RESULTS.md "$@"
    fi
    if [ -n "${OUT:-}" ] && [ $# -gt 0 ]; then
        cp "$@" "$OUT/"
    fi
}

build
failed=0
for part in ${1:-1 2 3 4 5}; do
    "part$part" || { failed=1; echo "gpu-check: part $part failed" >&2; }
    begun=$SECONDS
done
exit "$failed"
