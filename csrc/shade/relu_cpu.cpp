// shade_relu on the CPU: chunks of rays over threads.
#include <cstring>

#include "isa.h"
#include "launcher.h"
#include "shade/pieces.h"
#include "shade/relu.h"
#include "shade/relu_block.h"

namespace xs {

// The head's arrays, then the chunk's activations and their gradients.
int64_t ShadeReluNet::scratch_size() const {
    constexpr int64_t kHeadFloats = 64 * kShadeLaneRays;
    return kHeadFloats + 6 * kShadeGap +
           static_cast<int64_t>(kShadeRays) * (2 * padded() + second() + 3 * hidden);
}

static void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                      int64_t rows, int64_t columns) {
    for (int64_t row = 0; row < rows; ++row) {
        std::memcpy(to + row * to_stride, from + row * from_stride, columns * sizeof(float));
    }
}

static void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t column = 0; column < columns; ++column) {
            to[column * rows + row] = from[row * columns + column];
        }
    }
}

void shade_relu_pack(const ShadeReluNet& net, const float* weights, float* packed) {
    const int64_t hidden = net.hidden;
    const int64_t second = hidden + net.sh_degree * net.sh_degree;
    std::memset(packed, 0, net.packed_size() * sizeof(float));
    const float* next = weights;
    copy_rows(next, net.width, packed + net.w1(), net.padded(), hidden, net.width);
    next += hidden * net.width;
    std::memcpy(packed + net.b1(), next, hidden * sizeof(float));
    next += hidden;
    copy_rows(next, second, packed + net.w2(), net.second(), hidden, second);
    next += hidden * second;
    std::memcpy(packed + net.b2(), next, hidden * sizeof(float));
    next += hidden;
    std::memcpy(packed + net.w3(), next, 3 * hidden * sizeof(float));
    next += 3 * hidden;
    std::memcpy(packed + net.b3(), next, 3 * sizeof(float));
    transpose(packed + net.w1(), hidden, net.padded(), packed + net.w1_transposed());
    transpose(packed + net.w2(), hidden, net.second(), packed + net.w2_transposed());
}

void shade_relu_add_gradient(const ShadeReluNet& net, const float* padded, float* flat) {
    const int64_t hidden = net.hidden;
    const int64_t second = hidden + net.sh_degree * net.sh_degree;
    const auto add = [&](int64_t offset, int64_t stride, int64_t rows, int64_t columns) {
        for (int64_t row = 0; row < rows; ++row) {
            for (int64_t column = 0; column < columns; ++column) {
                *flat++ += padded[offset + row * stride + column];
            }
        }
    };
    add(net.w1(), net.padded(), hidden, net.width);
    add(net.b1(), hidden, 1, hidden);
    add(net.w2(), net.second(), hidden, second);
    add(net.b2(), hidden, 1, hidden);
    add(net.w3(), hidden, 3, hidden);
    add(net.b3(), 3, 1, 3);
}

static ShadeReluNet packed_net(const ShadeArgs& a) {
    static thread_local ShadeBuffer packed;
    ShadeReluNet net{a.width, a.hidden, a.sh_degree, nullptr};
    float* buffer = packed.get(net.packed_size());
    shade_relu_pack(net, a.weights, buffer);
    net.packed = buffer;
    return net;
}

void shade_relu_cpu(const ShadeArgs& a) {
    const ShadeReluNet net = packed_net(a);
    const auto run = XS_PICK(shade_relu_chunk_forward);
    shade_forward(a, a.width, net.scratch_size(),
                  [&](const ShadeChunk& chunk, float* scratch) { run(net, chunk, scratch); });
}

void shade_relu_gradient_cpu(const ShadeArgs& a) {
    const ShadeReluNet net = packed_net(a);
    const auto run = XS_PICK(shade_relu_chunk_gradient);
    shade_gradient(
        a, a.width, 12, net.scratch_size(), net.gradient_size(),
        [&](const ShadeChunk& chunk, float* scratch, float* gradient) {
            run(net, chunk, scratch, gradient);
        },
        [&](const float* gradient) { shade_relu_add_gradient(net, gradient, a.grad_weights); });
}

int64_t shade_relu_scratch(const ShadeArgs& a) {
    return shade_relu_pass_scratch<true>(HostLauncher(), a);
}

void shade_relu_emulated(const ShadeArgs& a) {
    shade_relu_pass<false>(HostLauncher(), a);
}

void shade_relu_gradient_emulated(const ShadeArgs& a) {
    shade_relu_pass<true>(HostLauncher(), a);
}

}  // namespace xs
