// shade_relu's chunk of rays, compiled once for each instruction set.
#include "shade/head.h"
#include "shade/matmul.h"
#include "shade/relu.h"

namespace xs {
namespace XS_ISA {

namespace {

struct Scratch {
    HeadScratch* head;
    float* features;  // [rays, padded]; used when the rows need padding
    float* second;    // [rays, hidden + 16]: first layer's activations, then harmonics
    float* third;     // [rays, hidden]: second layer's activations
    float* grad_third;
    float* grad_second;
    float* grad_features;  // [rays, padded]; used when the rows need padding
};

Scratch lay_out(const ShadeReluNet& net, float* scratch) {
    Scratch s{};
    s.head = reinterpret_cast<HeadScratch*>(scratch);
    s.features = scratch + sizeof(HeadScratch) / sizeof(float);
    s.second = s.features + kShadeRays * net.padded() + kShadeGap;
    s.third = s.second + kShadeRays * net.second() + kShadeGap;
    s.grad_third = s.third + kShadeRays * net.hidden + kShadeGap;
    s.grad_second = s.grad_third + kShadeRays * net.hidden + kShadeGap;
    s.grad_features = s.grad_second + kShadeRays * net.hidden + kShadeGap;
    return s;
}

void forward(const ShadeReluNet& net, const ShadeChunk& chunk, const Scratch& s) {
    const int n = chunk.rays;
    const int hidden = net.hidden;
    const int second = net.second();
    const float* w = net.packed;
    for (int r = 0; r < n; ++r) {
        const float* d = chunk.direction + 3 * r;
        spherical_harmonics<float>(d[0], d[1], d[2], net.sh_degree, s.second + r * second + hidden);
    }
    product<false, Start::bias, Finish::relu>({chunk.features, net.width, w + net.w1_transposed(),
                                               hidden, s.second, second, n, hidden, net.width,
                                               w + net.b1(), nullptr, 0});
    product<false, Start::bias, Finish::relu>(
        {s.second, second, w + net.w2_transposed(), hidden, s.third, hidden, n, hidden,
         hidden + net.sh_degree * net.sh_degree, w + net.b2(), nullptr, 0});
    three_outputs(s.third, hidden, n, hidden, w + net.w3(), w + net.b3(), s.head->raw[0],
                  kShadeLaneRays);
    head_forward<Head::affine>(chunk, *s.head);
}

}  // namespace

void shade_relu_chunk_forward(const ShadeReluNet& net, const ShadeChunk& chunk, float* scratch) {
    forward(net, chunk, lay_out(net, scratch));
}

void shade_relu_chunk_gradient(const ShadeReluNet& net, const ShadeChunk& chunk, float* scratch,
                               float* gradient) {
    const Scratch s = lay_out(net, scratch);
    const int n = chunk.rays;
    const int hidden = net.hidden;
    const int second = net.second();
    const int width = net.width;
    const int padded = net.padded();
    const float* w = net.packed;
    forward(net, chunk, s);
    head_backward<Head::affine>(chunk, *s.head);
    const float* grad_raw = s.head->grad_raw[0];

    // Third layer.
    product<true, Start::add>({grad_raw, 4, s.third, hidden, gradient + net.w3(), hidden, 3, hidden,
                               n, nullptr, nullptr, 0});
    for (int r = 0; r < n; ++r) {
        for (int c = 0; c < 3; ++c) {
            gradient[net.b3() + c] += grad_raw[4 * r + c];
        }
    }
    product<false, Start::zero, Finish::masked>({grad_raw, 4, w + net.w3(), hidden, s.grad_third,
                                                 hidden, n, hidden, 3, nullptr, s.third, hidden});
    // Second layer; its harmonics need no gradient.
    product<true, Start::add>({s.grad_third, hidden, s.second, second, gradient + net.w2(), second,
                               hidden, second, n, nullptr, nullptr, 0});
    add_column_sums(s.grad_third, hidden, n, hidden, gradient + net.b2());
    product<false, Start::zero, Finish::masked>({s.grad_third, hidden, w + net.w2(), second,
                                                 s.grad_second, hidden, n, hidden, hidden, nullptr,
                                                 s.second, second});
    // First layer. Vectors along features may not run over the end of a row.
    const float* features = chunk.features;
    float* grad_features = chunk.grad_features;
    if (padded != width) {
        pad_rows(chunk.features, width, s.features, padded, n);
        features = s.features;
        grad_features = s.grad_features;
    }
    product<true, Start::add>({s.grad_second, hidden, features, padded, gradient + net.w1(), padded,
                               hidden, padded, n, nullptr, nullptr, 0});
    add_column_sums(s.grad_second, hidden, n, hidden, gradient + net.b1());
    product<false, Start::zero>({s.grad_second, hidden, w + net.w1(), padded, grad_features, padded,
                                 n, padded, hidden, nullptr, nullptr, 0});
    if (padded != width) {
        unpad_rows(grad_features, padded, chunk.grad_features, width, n);
    }
}

}  // namespace XS_ISA
}  // namespace xs
