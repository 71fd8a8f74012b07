// Runs the passes of kernels on a GPU, in order, on one stream (see launcher.h).
#pragma once

#include "block_cuda.cuh"
#include "team_cuda.cuh"

namespace xs {

template <class Body>
__global__ void groups_kernel(const __grid_constant__ Body body) {
    body(blockIdx.x, gridDim.x, static_cast<int>(threadIdx.x));
}

class CudaLauncher {
  public:
    explicit CudaLauncher(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

    template <class Body>
    void items(const char* name, int64_t n, const Body& body) const {
        parallel_for_cuda(name, n, stream_, body);
    }

    template <class Body>
    void groups(const char* name, int groups, int threads, const Body& body) const {
        groups_kernel<<<groups, threads, 0, stream_>>>(body);
        check_cuda(cudaGetLastError(), name);
    }

    template <class Body>
    void warps(const char* name, int64_t n, int64_t bytes, const Body& body) const {
        for_each_warp_cuda(name, n, bytes, stream_, body);
    }

    template <class Body>
    void teams(const char* name, int64_t n, int64_t common, int64_t own, const Body& body) const {
        for_each_team_cuda(name, n, common, own, stream_, body);
    }

    template <class Body>
    void blocks(const char* name, int64_t most, int64_t floats, void* scratch,
                const Body& body) const {
        for_each_block_cuda(name, most, floats, scratch, stream_, body);
    }

    int64_t block_limit(const char* name, int64_t most) const {
        return block_limit_cuda(name, most);
    }
    int64_t block_scratch(const char* name, int64_t most, int64_t floats) const {
        return block_scratch_cuda(name, most, floats);
    }

    void clear(const char* name, void* memory, int64_t bytes) const {
        check_cuda(cudaMemsetAsync(memory, 0, bytes, stream_), name);
    }

  private:
    cudaStream_t stream_;
};

}  // namespace xs
