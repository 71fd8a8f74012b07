// A decoded program: functions of instructions whose operands are registers, constants and places
// in memory. tests/device_code/ptx.py writes the lines that load_program reads.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace device {

constexpr int kLanes = 32;
using Mask = uint32_t;
using Lanes = std::array<uint64_t, kLanes>;  // a register: its bits in every lane

enum class Type : uint8_t {
    none,
    pred,
    u8,
    s8,
    b8,
    u16,
    s16,
    b16,
    f16,
    u32,
    s32,
    b32,
    f32,
    f16x2,
    u64,
    s64,
    b64,
    f64
};

int size_of(Type type);
bool is_signed(Type type);
bool is_float(Type type);

enum class Space : uint8_t { generic, global, shared, local, param };
enum class Round : uint8_t {
    none,
    near,
    zero,
    down,
    up,
    near_whole,
    zero_whole,
    down_whole,
    up_whole
};
enum class Compare : uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };

struct Function;

struct Operand {
    enum class Kind : uint8_t {
        none,
        reg,
        constant,
        special,
        memory,
        vector,
        target,
        function,
        slot
    };
    // The base that a memory operand's offset counts from.
    enum class Base : uint8_t { reg, param, result, slot, global, shared, local };
    Kind kind = Kind::none;
    Base base = Base::reg;
    int32_t reg = -1;      // register, or number of a special register
    int64_t offset = 0;    // from the base; of a target: the instruction
    uint64_t address = 0;  // of a global variable
    int32_t size = 0;      // of a slot
    std::shared_ptr<Lanes> constant;
    std::vector<Operand> parts;
    std::string name;
};

struct Instruction {
    std::string name;  // the operation: "add", "ld", "bar.warp"
    std::string text;  // with all its suffixes, for reports
    void (*run)(struct Step& step) = nullptr;
    Type type = Type::none, from = Type::none;
    Space space = Space::generic;
    Round round = Round::none;
    Compare compare = Compare::eq;
    int vector = 1;
    std::string mode;  // of atom, red, shfl, vote: "add", "down", "ballot"
    bool high = false, wide = false, carry = false, saturate = false, approximate = false;
    bool finite = false;  // satfinite: what is too large becomes the largest number
    bool marked = false;  // volatile or relaxed: a race that the code means
    bool barrier = false, branch = false;
    bool collective = false;  // all lanes of its mask come together
    int32_t predicate = -1;
    bool negated = false;
    std::vector<Operand> operands;
    Function* callee = nullptr;
    int32_t place = 0;      // index into the program's source places
    uint64_t executed = 0;  // by warps
};

struct Parameter {
    int32_t offset, size;
};

struct Function {
    std::string name;
    bool entry = false;
    int32_t registers = 0, local = 0, params = 0, slots = 0, result = 0, shared = 0;
    std::vector<Parameter> parameters;
    std::vector<Instruction> code;
};

// All that was loaded: functions by name, and where the source's lines are.
struct Program {
    std::map<std::string, std::unique_ptr<Function>> functions;
    std::vector<std::string> places;
};

Program& program();
void load_program(const std::string& path);

// Looks up what executes an instruction; null: the interpreter does not know it.
void (*executor_of(const Instruction& instruction))(struct Step& step);

enum Special : int32_t {
    kTidX,
    kCtaidX,
    kNtidX,
    kNctaidX,
    kLaneId,
    kWarpId,
    kZero,
    kOne,
    kSpecials
};

}  // namespace device
