// Loads, stores and atomics.
#include "counts.h"
#include "lanes.h"

namespace device {

namespace {

using Targets = std::array<Target, kLanes>;

bool within(uint64_t address, const char* begin, size_t size) {
    const auto first = reinterpret_cast<uint64_t>(begin);
    return address >= first && address < first + size;
}

Target in_shared(Step& s, uint64_t offset) {
    std::vector<char>& bytes = s.warp.block->shared.bytes;
    return {Target::Kind::shared, bytes.data() + offset, offset};
}

Target in_local(Frame& frame, int lane, uint64_t offset) {
    const uint64_t size = frame.function->local;
    return {Target::Kind::local, frame.local.data() + lane * size + offset, offset};
}

constexpr size_t kMostParams = 8192;

// Where a general address points.
Target in_general(Step& s, uint64_t address) {
    const std::vector<char>& shared = s.warp.block->shared.bytes;
    auto* memory = reinterpret_cast<char*>(address);
    if (within(address, shared.data(), shared.size())) {
        if (s.in.space == Space::global) {
            report("access of shared memory as global memory", s.in);
        }
        return {Target::Kind::shared, memory, address - reinterpret_cast<uint64_t>(shared.data())};
    }
    for (const Frame* frame = &s.frame; frame != nullptr; frame = frame->caller) {
        if (within(address, frame->local.data(), frame->local.size())) {
            return {Target::Kind::local, memory, address};
        }
    }
    if (within(address, s.warp.block->params, kMostParams)) {
        return {Target::Kind::param, memory, address};
    }
    return {Target::Kind::global, memory, address};
}

Target target_of(Step& s, const Operand& o, int lane) {
    Frame& frame = s.frame;
    const Function& function = *frame.function;
    const auto param = [&](uint64_t offset) -> Target {
        const char* from = function.entry ? s.warp.block->params
                                          : frame.params.data() + lane * size_t(function.params);
        return {Target::Kind::param, const_cast<char*>(from) + offset, offset};
    };
    const auto at = static_cast<uint64_t>(o.offset);
    switch (o.base) {
        case Operand::Base::param:
            return param(at);
        case Operand::Base::slot:
            return {Target::Kind::param, &frame.slots[lane * size_t(function.slots) + at], at};
        case Operand::Base::result:
            return {Target::Kind::param, &frame.result[lane * size_t(function.result) + at], at};
        case Operand::Base::shared:
            return in_shared(s, at);
        case Operand::Base::local:
            return in_local(frame, lane, at);
        case Operand::Base::global:
            return in_general(s, o.address + at);
        default:
            break;
    }
    const uint64_t address = frame.registers[o.reg][lane] + at;
    switch (s.in.space) {
        case Space::shared:
            return in_shared(s, address);
        case Space::local:
            return in_local(frame, lane, address);
        case Space::param:
            return param(address);
        default:
            return in_general(s, address);
    }
}

// Finds the targets of the lanes and checks them; returns the lanes whose access may happen. Calls
// then(lane) for each of those before it looks at the next: stores of a warp into one word are one
// after the other, so that all but the first find there what they store, or something else.
template <class Value, class Then>
Mask checked(Step& s, const Operand& operand, int bytes, Way way, const Value& value,
             Targets& targets, const Then& then) {
    Mask good = 0;
    each_lane(s.run, [&](int lane) {
        Target& t = targets[lane];
        t = target_of(s, operand, lane);
        const Moment now = s.warp.moment(lane);
        bool fine = true;
        if (t.kind == Target::Kind::shared) {
            fine = s.warp.block->shared.check(t.address, bytes, now, way, value(lane), s.in);
        } else if (t.kind == Target::Kind::global) {
            fine = check_global(t.address, bytes, now, way, value(lane), s.in);
        }
        if (fine) {
            good |= 1u << lane;
            then(lane);
        }
    });
    return good;
}

void no_more(int) {}

const Operand& part(const Operand& operand, int k) {
    return operand.kind == Operand::Kind::vector ? operand.parts[k] : operand;
}

void load(Step& s) {
    const Instruction& in = s.in;
    const int each = size_of(in.type);
    Targets targets;
    const auto none = [](int) -> const void* { return nullptr; };
    const Mask good = checked(s, in.operands[1], each * in.vector,
                              in.marked ? Way::marked : Way::plain, none, targets, no_more);
    if (options().counts) {
        count_access(targets, good, each * in.vector, Move::load);
    }
    for (int k = 0; k < in.vector; ++k) {
        const Operand& to = part(in.operands[0], k);
        if (to.kind != Operand::Kind::reg) {
            continue;
        }
        uint64_t* into = s.frame.registers[to.reg].data();
        each_lane(good, [&](int lane) {
            uint64_t bits = 0;
            std::memcpy(&bits, targets[lane].memory + k * each, each);
            if (is_signed(in.type) && each < 4) {  // registers of 32 bits hold the number
                const int away = 64 - 8 * each;
                bits = static_cast<uint32_t>(static_cast<int64_t>(bits << away) >> away);
            }
            into[lane] = bits;
        });
    }
}

// The bytes of an instruction's operand in a lane.
struct Bytes {
    std::array<char, 16> of;
};

Bytes bytes_of(Step& s, const Operand& operand, int lane) {
    const int each = size_of(s.in.type);
    Bytes bytes{};
    for (int k = 0; k < s.in.vector; ++k) {
        std::memcpy(bytes.of.data() + k * each, &s.lanes_of(part(operand, k))[lane], each);
    }
    return bytes;
}

void store(Step& s) {
    const Instruction& in = s.in;
    const int bytes = size_of(in.type) * in.vector;
    std::array<Bytes, kLanes> values;
    each_lane(s.run, [&](int lane) { values[lane] = bytes_of(s, in.operands[1], lane); });
    Targets targets;
    const Mask good = checked(
        s, in.operands[0], bytes, in.marked ? Way::marked : Way::plain,
        [&](int lane) { return values[lane].of.data(); }, targets,
        [&](int lane) { std::memcpy(targets[lane].memory, values[lane].of.data(), bytes); });
    if (options().counts) {
        count_access(targets, good, bytes, Move::store);
    }
}

float half_float(uint16_t bits) {
    _Float16 half;
    std::memcpy(&half, &bits, sizeof half);
    return half;
}

uint16_t half_sum(uint16_t a, uint16_t b) {
    const auto sum = static_cast<_Float16>(half_float(a) + half_float(b));
    uint16_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    return bits;
}

// The value that an atomic leaves in memory that holds `old`.
uint64_t changed(const Instruction& in, uint64_t old, uint64_t value, uint64_t other) {
    const std::string& mode = in.mode;
    if (mode == "or" || mode == "and" || mode == "xor") {
        return mode == "or" ? old | value : mode == "and" ? old & value : old ^ value;
    }
    if (mode == "exch" || mode == "cas") {
        return mode == "exch" ? value : old == value ? other : old;
    }
    if (in.type == Type::f16) {
        return half_sum(static_cast<uint16_t>(old), static_cast<uint16_t>(value));
    }
    if (in.type == Type::f16x2) {
        return half_sum(static_cast<uint16_t>(old), static_cast<uint16_t>(value)) |
               static_cast<uint64_t>(
                   half_sum(static_cast<uint16_t>(old >> 16), static_cast<uint16_t>(value >> 16)))
                   << 16;
    }
    uint64_t made = 0;
    with_type(in.type, [&](auto kind) {
        using T = decltype(kind);
        const T a = get<T>(&old, 0), b = get<T>(&value, 0);
        if (mode == "add") {
            if constexpr (std::is_floating_point_v<T>) {
                put(&made, 0, static_cast<T>(a + b));
            } else {
                put(&made, 0, static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)));
            }
        } else {
            put(&made, 0, mode == "min" ? (b < a ? b : a) : (b > a ? b : a));
        }
    });
    return made;
}

// atom, and red, which gives nothing back. Lanes take turns in one order or the other.
void atomic(Step& s) {
    const Instruction& in = s.in;
    const bool gives = in.name == "atom";
    const Operand& value = in.operands[gives ? 2 : 1];
    const int each = size_of(in.type), bytes = each * in.vector;
    Targets targets;
    static const char some[16] = {};
    const Mask good = checked(
        s, in.operands[gives ? 1 : 0], bytes, Way::atomic, [&](int) { return some; }, targets,
        no_more);
    if (options().counts) {
        count_access(targets, good, bytes, Move::atomic);
    }
    const bool backwards = options().order == 1;
    for (int i = 0; i < kLanes; ++i) {
        const int lane = backwards ? kLanes - 1 - i : i;
        if ((good >> lane & 1) == 0) {
            continue;
        }
        if (in.vector > 1 && targets[lane].kind != Target::Kind::global) {
            report("atomic of a vector outside of global memory", in);
        }
        for (int k = 0; k < in.vector; ++k) {
            uint64_t old = 0;
            char* at = targets[lane].memory + k * each;
            std::memcpy(&old, at, each);
            const uint64_t given = s.lanes_of(part(value, k))[lane];
            const uint64_t other = in.mode == "cas" ? s.lanes_of(in.operands[3])[lane] : 0;
            const uint64_t made = changed(in, old, cut_to(in.type, given), cut_to(in.type, other));
            std::memcpy(at, &made, each);
            const Operand& to = part(in.operands[0], k);
            if (gives && to.kind == Operand::Kind::reg) {
                s.frame.registers[to.reg][lane] = old;
            }
        }
    }
}

void nothing(Step&) {}

}  // namespace

Executor access_executor(const Instruction& in) {
    static const std::map<std::string, Executor> known = {
        {"ld", load},    {"ldu", load},       {"st", store},      {"atom", atomic},
        {"red", atomic}, {"membar", nothing}, {"fence", nothing}, {"prefetch", nothing}};
    const auto found = known.find(in.name);
    return found == known.end() ? nullptr : found->second;
}

}  // namespace device
