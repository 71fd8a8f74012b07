// Warps and blocks as they run: lanes with a place in a function each, and the block's memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory.h"

namespace device {

// A call of a function by some lanes of a warp.
struct Frame {
    const Function* function;
    std::vector<Lanes> registers;
    std::vector<char> local, slots, params, result;  // lane after lane
    std::array<uint8_t, kLanes> carry{};
    Frame* caller;
    int32_t call;  // the instruction that called
    int32_t depth;

    Frame(const Function& f, Frame* from, int32_t at);
};

struct Block;

struct Warp {
    Block* block = nullptr;
    uint32_t index = 0;
    Mask alive = ~0u, at_barrier = 0, at_collective = 0;
    uint32_t syncs = 0;
    std::array<int32_t, kLanes> at{};  // next instruction
    std::array<Frame*, kLanes> frame{};
    std::array<Lanes, kSpecials> special{};
    std::vector<std::unique_ptr<Frame>> frames;

    Warp(Block& of, const Function& kernel, uint32_t number);
    Moment moment(int lane) const;
    void drop_frames();
};

struct Block {
    uint32_t index, count, threads;
    Shared shared;
    const char* params;
    uint32_t barriers = 0;
    std::vector<std::unique_ptr<Warp>> warps;

    Block(const Function& kernel, uint32_t number, uint32_t of, uint32_t size, size_t bytes,
          const char* arguments);
};

// One instruction for the lanes `run` of a frame; `next` is where those of `all` go on. Executors
// set it to kScattered where they have moved lanes themselves.
struct Step {
    static constexpr int32_t kScattered = -1;
    Warp& warp;
    Frame& frame;
    const Instruction& in;
    int32_t at;
    Mask all, run;
    int32_t next;

    const uint64_t* source(size_t operand) const { return lanes_of(in.operands[operand]); }
    const uint64_t* lanes_of(const Operand& operand) const {
        switch (operand.kind) {
            case Operand::Kind::reg:
                return frame.registers[operand.reg].data();
            case Operand::Kind::constant:
                return operand.constant->data();
            case Operand::Kind::special:
                return warp.special[operand.reg].data();
            default:
                return nullptr;
        }
    }
    uint64_t* target(size_t operand) const {
        return frame.registers[in.operands[operand].reg].data();
    }
};

// Runs body(lane) for the lanes of a mask.
template <class Body>
inline void each_lane(Mask lanes, const Body& body) {
    for (; lanes != 0; lanes &= lanes - 1) {
        body(__builtin_ctz(lanes));
    }
}

// Runs all blocks of a kernel. Returns a status of the CUDA runtime.
int launch(const Function& kernel, uint32_t blocks, uint32_t threads, size_t shared,
           const char* arguments);

// Executors by kind (null: not of this kind).
using Executor = void (*)(Step&);
Executor arithmetic_executor(const Instruction& in);
Executor bits_executor(const Instruction& in);
Executor convert_executor(const Instruction& in);
Executor access_executor(const Instruction& in);
Executor control_executor(const Instruction& in);

}  // namespace device
