#!/usr/bin/env bash
# On a machine with a GPU, nvcc and PyTorch, without installing anything and without a network, what
# tells most first:
#   part 1  builds the module into the source tree; every op against its reference, each in a process
#           of its own; then every other test marked cuda (one checkpoint's pictures on the GPU and
#           on the CPU among them), those that fail once more alone
#   part 2  the bars of training steps, frames, the rasterizer and photo decoding (gpu_bars.py)
#   part 3  the bars of encode, inference and Adam, then ceilings
#   part 4  every op under compute-sanitizer, where that is installed
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

ops() {
    "$python" -c 'from xscale import ops; print(*ops.OPS)'
}

# Runs tests with a limit of seconds; says which failed.
tests() {
    local limit=$1 name=$2
    shift 2
    timeout "$limit" "$python" -m pytest -q -p no:cacheprovider "$@" && return
    echo "gpu-check: $name failed" >&2
    return 1
}

self_test=tests/ops/test_cuda.py::test_every_op_keeps_its_tolerance_on_the_device

part1() {
    local failed=0 alone
    "$python" -m xscale doctor || failed=1
    for op in $(ops); do
        tests $(($(left) < 90 ? $(left) : 90)) "$op" "$self_test[$op]" || failed=1
    done
    local others=(-m cuda tests --deselect "$self_test")
    mkdir -p build/gpu
    rm -f build/gpu/failed
    if ! timeout "$(left)" "$python" -m pytest -q -rf "${others[@]}" | tee build/gpu/failed; then
        failed=1
        # An error that loses the context fails every test after it: alone, a test tells of itself.
        for alone in $(sed -n 's/^FAILED \([^ ]*\).*/\1/p' build/gpu/failed); do
            [ "$(left)" -gt 20 ] && tests $(($(left) < 90 ? $(left) : 90)) "$alone" "$alone" || true
        done
    fi
    return "$failed"
}

part2() { bars 4; }
part3() { bars 3; }

part4() {
    if ! command -v compute-sanitizer >/dev/null; then
        echo "compute-sanitizer is not installed: part 4 has nothing to do"
        return
    fi
    local failed=0 names count
    names=($(ops))
    count=${#names[@]}
    for op in "${names[@]}"; do
        # What is left is shared by the ops that are left.
        timeout $(($(left) / count)) compute-sanitizer --error-exitcode 9 --launch-timeout 0 \
            "$python" -m pytest -q -p no:cacheprovider "$self_test[$op]" || {
            failed=1
            echo "gpu-check: $op under compute-sanitizer: failed, or no time was left" >&2
        }
        count=$((count > 1 ? count - 1 : 1))
    done
    return "$failed"
}

bars() {
    local failed=0
    # The program itself begins nothing that would not end in time; what it has is on the disk.
    timeout "$(left)" "$python" -m benchmarks.gpu_bars --part "$1" --json "$results" \
        --seconds $(($(left) - 70)) || failed=$?
    keep
    return "$failed"
}

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
