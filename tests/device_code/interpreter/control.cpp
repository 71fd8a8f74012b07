// Branches, calls, and what the lanes of a warp do together.
#include "counts.h"
#include "lanes.h"

namespace device {

namespace {

void branch(Step& s) {
    const auto to = static_cast<int32_t>(s.in.operands[0].offset);
    if (s.run == s.all) {
        s.next = to;
        return;
    }
    each_lane(s.all, [&](int lane) { s.warp.at[lane] = (s.run >> lane & 1) != 0 ? to : s.at + 1; });
    s.next = Step::kScattered;
}

void call(Step& s) {
    const Function& callee = *s.in.callee;
    auto frame = std::make_unique<Frame>(callee, &s.frame, s.at);
    each_lane(s.all, [&](int lane) {
        if ((s.run >> lane & 1) == 0) {
            s.warp.at[lane] = s.at + 1;
            return;
        }
        for (size_t k = 2; k < s.in.operands.size(); ++k) {
            const Parameter& p = callee.parameters[k - 2];
            std::memcpy(
                &frame->params[lane * size_t(callee.params) + p.offset],
                &s.frame.slots[lane * size_t(s.frame.function->slots) + s.in.operands[k].offset],
                p.size);
        }
        s.warp.frame[lane] = frame.get();
        s.warp.at[lane] = 0;
    });
    s.warp.frames.push_back(std::move(frame));
    s.next = Step::kScattered;
}

void leave(Step& s) {
    Frame* to = s.frame.caller;
    each_lane(s.all & ~s.run, [&](int lane) { s.warp.at[lane] = s.at + 1; });
    s.next = Step::kScattered;
    if (to == nullptr) {
        s.warp.alive &= ~s.run;
        return;
    }
    const Operand& result = to->function->code[s.frame.call].operands[1];
    each_lane(s.run, [&](int lane) {
        if (result.kind == Operand::Kind::slot) {
            std::memcpy(&to->slots[lane * size_t(to->function->slots) + result.offset],
                        &s.frame.result[lane * size_t(s.frame.function->result)],
                        s.frame.function->result);
        }
        s.warp.frame[lane] = to;
        s.warp.at[lane] = s.frame.call + 1;
    });
}

// shfl.sync d|p, a, b, c, mask, as in the PTX manual.
void shuffle(Step& s) {
    const Instruction& in = s.in;
    const bool says = in.operands.size() == 6;  // d, p, a, b, c, mask
    const size_t first = says ? 2 : 1;
    const uint64_t *b = s.source(first + 1), *c = s.source(first + 2);
    Lanes given;
    std::memcpy(given.data(), s.source(first), sizeof given);
    uint64_t* to = s.target(0);
    each_lane(s.run, [&](int lane) {
        const auto by = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31);
        const auto segment = static_cast<int>(c[lane] >> 8 & 31);
        const int least = lane & segment, most = least | (clamp & ~segment);
        int from = 0;
        bool good = false;
        if (in.mode == "up") {
            from = lane - by;
            good = from >= most;
        } else if (in.mode == "down") {
            from = lane + by;
            good = from <= most;
        } else if (in.mode == "bfly") {
            from = lane ^ by;
            good = from <= most;
        } else {
            from = least | (by & ~segment);
            good = from <= most;
        }
        from = good ? from : lane;
        if ((s.run >> from & 1) == 0) {
            report("shuffle from a lane that does not take part", in);
        }
        to[lane] = given[from];
        if (says && in.operands[1].kind == Operand::Kind::reg) {
            s.target(1)[lane] = good ? 1 : 0;
        }
    });
}

void vote(Step& s) {
    const uint64_t* predicate = s.source(1);
    uint64_t* to = s.target(0);
    Mask ballot = 0;
    each_lane(s.run, [&](int lane) { ballot |= static_cast<Mask>(predicate[lane] & 1) << lane; });
    const std::string& mode = s.in.mode;
    const uint64_t found = mode == "ballot" ? ballot
                           : mode == "any"  ? ballot != 0
                           : mode == "uni"  ? ballot == 0 || ballot == s.run
                                            : ballot == s.run;
    each_lane(s.run, [&](int lane) { to[lane] = found; });
}

double half_of(uint64_t pair, int which) {
    const auto bits = static_cast<uint16_t>(pair >> 16 * which);
    _Float16 half;
    std::memcpy(&half, &bits, sizeof half);
    return half;
}

// mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 with the fragments of the PTX manual
// ("Matrix Fragments for mma.m16n8k16 with floating point type"); sums are rounded once.
void multiply_matrices(Step& s) {
    double a[16][16], b[16][8];
    const auto& operands = s.in.operands;
    for (int lane = 0; lane < kLanes; ++lane) {
        const int group = lane / 4, in_group = lane % 4;
        for (int i = 0; i < 8; ++i) {
            const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
            const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
            a[row][column] = half_of(s.lanes_of(operands[1].parts[i / 2])[lane], i & 1);
        }
        for (int i = 0; i < 4; ++i) {
            const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
            b[row][group] = half_of(s.lanes_of(operands[2].parts[i / 2])[lane], i & 1);
        }
    }
    std::array<std::array<float, 4>, kLanes> sums;
    for (int lane = 0; lane < kLanes; ++lane) {
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
            double sum = get<float>(s.lanes_of(operands[3].parts[i]), lane);
            for (int k = 0; k < 16; ++k) {
                sum += a[row][k] * b[k][column];
            }
            sums[lane][i] = static_cast<float>(sum);
        }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
        for (int i = 0; i < 4; ++i) {
            put(s.frame.registers[operands[0].parts[i].reg].data(), lane, sums[lane][i]);
        }
    }
}

void synchronise_warp(Step& s) {
    ++s.warp.syncs;
}

void nothing(Step&) {}

}  // namespace

Executor control_executor(const Instruction& in) {
    static const std::map<std::string, Executor> known = {{"bra", branch},
                                                          {"call", call},
                                                          {"ret", leave},
                                                          {"exit", leave},
                                                          {"shfl", shuffle},
                                                          {"vote", vote},
                                                          {"bar.warp", synchronise_warp},
                                                          {"bar", nothing},
                                                          {"mma", multiply_matrices}};
    const auto found = known.find(in.name);
    if (in.name == "mma" && in.text != "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32") {
        return nullptr;
    }
    return found == known.end() ? nullptr : found->second;
}

Executor executor_of(const Instruction& in) {
    for (const auto find : {arithmetic_executor, bits_executor, convert_executor, access_executor,
                            control_executor}) {
        if (const Executor found = find(in)) {
            return found;
        }
    }
    return nullptr;
}

}  // namespace device
