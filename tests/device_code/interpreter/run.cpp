// Runs blocks: warps in turns, in each the lanes that are least far, so that paths meet again.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "counts.h"
#include "warp.h"

namespace device {

// Registers and memory that nobody wrote hold this.
constexpr uint64_t kUnwritten = 0xfff4dead7fc0beefull;

Frame::Frame(const Function& f, Frame* from, int32_t at)
    : function(&f),
      registers(f.registers),
      local(static_cast<size_t>(f.local) * kLanes + 1, '\xff'),
      slots(static_cast<size_t>(f.slots) * kLanes + 64),
      params(static_cast<size_t>(f.params) * kLanes + 64),
      result(static_cast<size_t>(f.result) * kLanes + 64),
      caller(from),
      call(at),
      depth(from == nullptr ? 0 : from->depth + 1) {
    for (Lanes& lanes : registers) {
        lanes.fill(kUnwritten);
    }
}

Warp::Warp(Block& of, const Function& kernel, uint32_t number) : block(&of), index(number) {
    frames.push_back(std::make_unique<Frame>(kernel, nullptr, 0));
    frame.fill(frames.back().get());
    for (int lane = 0; lane < kLanes; ++lane) {
        special[kTidX][lane] = number * kLanes + lane;
        special[kLaneId][lane] = lane;
    }
    special[kCtaidX].fill(of.index);
    special[kNtidX].fill(of.threads);
    special[kNctaidX].fill(of.count);
    special[kWarpId].fill(number);
    special[kOne].fill(1);
    if (number * kLanes + kLanes > of.threads) {  // a last warp that is not full
        alive = (1u << (of.threads - number * kLanes)) - 1;
    }
}

Moment Warp::moment(int lane) const {
    return {block->index, index * kLanes + lane, block->barriers, syncs};
}

void Warp::drop_frames() {
    for (size_t i = frames.size(); i > 1; --i) {
        bool used = false;
        for (Frame* f : frame) {
            for (; f != nullptr; f = f->caller) {
                used |= f == frames[i - 1].get();
            }
        }
        if (!used) {
            frames.erase(frames.begin() + static_cast<int64_t>(i) - 1);
        }
    }
}

Block::Block(const Function& kernel, uint32_t number, uint32_t of, uint32_t size, size_t bytes,
             const char* arguments)
    : index(number), count(of), threads(size), shared(bytes), params(arguments) {
    for (uint32_t i = 0; i * kLanes < size; ++i) {
        warps.push_back(std::make_unique<Warp>(*this, kernel, i));
    }
}

namespace {

std::string hexadecimal(Mask lanes) {
    char text[16];
    std::snprintf(text, sizeof text, "%08x", lanes);
    return text;
}

// Lanes that stand at one instruction of one frame, and how far they may go before others join.
struct Group {
    Frame* frame = nullptr;
    int32_t at = 0, limit = 0;
    Mask lanes = 0;
};

Group choose(const Warp& w, Mask ready) {
    int best = -1;
    each_lane(ready, [&](int lane) {
        if (best < 0 || w.frame[lane]->depth > w.frame[best]->depth ||
            (w.frame[lane] == w.frame[best] && w.at[lane] < w.at[best])) {
            best = lane;
        }
    });
    Group g{w.frame[best], w.at[best], INT32_MAX, 0};
    each_lane(ready, [&](int lane) {
        if (w.frame[lane] == g.frame && w.at[lane] == g.at) {
            g.lanes |= 1u << lane;
        } else if (w.frame[lane] == g.frame) {
            g.limit = std::min(g.limit, w.at[lane]);
        }
    });
    // Those that wait at a collective go on with whoever comes there.
    each_lane(w.at_collective & w.alive,
              [&](int lane) { g.limit = std::min(g.limit, w.at[lane]); });
    return g;
}

// Lanes of a group come to a barrier of the block.
void arrive(Warp& w, const Group& g, const Instruction& in) {
    if (g.lanes != w.alive) {
        report("barrier that a warp reaches in parts, lanes " + hexadecimal(g.lanes) + " of " +
                   hexadecimal(w.alive),
               in);
    }
    w.at_barrier |= g.lanes;
    each_lane(g.lanes, [&](int lane) { w.at[lane] = g.at + 1; });
}

// Lanes of a group come to a collective; false: they wait there for others of its mask.
bool gather(Warp& w, Group& g, const Instruction& in) {
    const Operand& last = in.operands.back();
    Mask wanted = ~0u;
    if (in.name != "mma") {
        const uint64_t* mask = last.kind == Operand::Kind::constant
                                   ? last.constant->data()
                                   : g.frame->registers[last.reg].data();
        wanted = static_cast<Mask>(mask[__builtin_ctz(g.lanes)]);
    }
    if ((wanted & w.alive) != wanted) {
        report("collective whose mask names lanes that have ended", in);
        wanted &= w.alive;
    }
    Mask here = 0;
    each_lane(w.alive, [&](int lane) {
        here |= w.frame[lane] == g.frame && w.at[lane] == g.at ? 1u << lane : 0u;
    });
    if ((here & wanted) != wanted) {
        if (in.name == "mma") {
            report("aligned collective that a warp reaches in parts", in);
        }
        w.at_collective |= g.lanes;
        return false;
    }
    w.at_collective &= ~here;
    g.lanes = here;
    return true;
}

Mask predicated(const Group& g, const Instruction& in) {
    if (in.predicate < 0) {
        return g.lanes;
    }
    Mask run = 0;
    const Lanes& predicate = g.frame->registers[in.predicate];
    each_lane(g.lanes, [&](int lane) {
        run |= ((predicate[lane] & 1) != 0) != in.negated ? 1u << lane : 0u;
    });
    return run;
}

// Runs a group until it splits, waits, or comes to where others are.
void advance(Warp& w, Group g) {
    for (;;) {
        const Instruction& in = g.frame->function->code[g.at];
        if (in.barrier) {
            if (options().counts) {
                count_instruction(in, g.lanes);
            }
            const Mask skip = g.lanes & ~predicated(g, in);
            each_lane(skip, [&](int lane) { w.at[lane] = g.at + 1; });
            g.lanes &= ~skip;
            return g.lanes == 0 ? void() : arrive(w, g, in);
        }
        if (in.collective) {
            each_lane(g.lanes, [&](int lane) { w.at[lane] = g.at; });
            if (!gather(w, g, in)) {
                return;
            }
        }
        Step step{w, *g.frame, in, g.at, g.lanes, predicated(g, in), g.at + 1};
        if (options().counts) {
            count_instruction(in, step.run);
        }
        if (step.run != 0 || in.branch) {
            in.run(step);
        }
        if (step.next == Step::kScattered) {
            return;
        }
        g.at = step.next;
        if (g.at >= g.limit || in.collective) {
            each_lane(g.lanes, [&](int lane) { w.at[lane] = g.at; });
            return;
        }
    }
}

// Runs a warp until all of its lanes have ended or stand at the block's barrier.
void run_warp(Warp& w) {
    for (;;) {
        const Mask ready = w.alive & ~w.at_barrier & ~w.at_collective;
        if (ready != 0) {
            advance(w, choose(w, ready));
        } else if ((w.at_collective & w.alive) != 0) {
            report("collective that lanes " + hexadecimal(w.at_collective) + " of " +
                   hexadecimal(w.alive) + " reach and others never do");
            each_lane(w.at_collective, [&](int lane) { ++w.at[lane]; });
            w.at_collective = 0;
        } else {
            return;
        }
    }
}

// Numbers below `count` in the order that a launch takes.
std::vector<uint32_t> ordered(uint32_t count, int order) {
    std::vector<uint32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), 0u);
    if (order == 1) {
        std::reverse(numbers.begin(), numbers.end());
    }
    for (uint32_t k = count; order == 2 && k > 1; --k) {
        std::swap(numbers[k - 1], numbers[random_number() % k]);
    }
    return numbers;
}

void run_block(Block& b, int order) {
    for (;;) {
        for (const uint32_t i : ordered(static_cast<uint32_t>(b.warps.size()), order)) {
            run_warp(*b.warps[i]);
        }
        bool left = false, waiting = false, ended = false;
        for (auto& w : b.warps) {
            left |= w->alive != 0;
            waiting |= w->at_barrier != 0;
            ended |= w->alive == 0;
            w->at_barrier = 0;
            w->drop_frames();
        }
        if (!left) {
            return;
        }
        if (ended && waiting) {
            report("barrier that ended warps do not reach");
        }
        ++b.barriers;
    }
}

}  // namespace

int launch(const Function& kernel, uint32_t blocks, uint32_t threads, size_t shared,
           const char* arguments) {
    const size_t bytes = (kernel.shared + 15) / 16 * 16 + shared;
    if (blocks == 0 || threads == 0 || threads > 1024 ||
        bytes > static_cast<size_t>(options().most_shared)) {
        return 9;  // cudaErrorInvalidConfiguration
    }
    static uint32_t launches = 0;
    const int order = options().order == 3 ? static_cast<int>(launches++ % 3) : options().order;
    running_kernel() = kernel.name;
    if (options().counts) {
        ++counts().launches;
        counts().threads += static_cast<uint64_t>(blocks) * threads;
    }
    touched_global().clear();
    for (const uint32_t i : ordered(blocks, order)) {
        Block block(kernel, i, blocks, threads, bytes, arguments);
        run_block(block, order);
    }
    return 0;
}

}  // namespace device
