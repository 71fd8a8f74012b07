// Checks of memory accesses (memory.h).
#include "memory.h"

#include <cstdio>
#include <cstring>

namespace device {

Options& options() {
    static Options chosen;
    return chosen;
}

uint32_t random_number() {
    uint64_t& state = options().random;
    state ^= state << 7;
    state ^= state >> 9;
    return static_cast<uint32_t>(state >> 11);
}

std::map<std::string, uint64_t>& reports() {
    static std::map<std::string, uint64_t> found;
    return found;
}

std::string& running_kernel() {
    static std::string name;
    return name;
}

void report(const std::string& what) {
    ++reports()[what + " (" + running_kernel() + ")"];
}

void report(const std::string& what, const Instruction& in) {
    report(what + ": " + in.text + " at " + program().places[in.place]);
}

namespace {

using Ranges = std::map<uint64_t, uint64_t>;  // begin to end

Ranges& ranges(bool always) {
    static Ranges kept, passing;
    return always ? kept : passing;
}

void add(Ranges& to, uint64_t begin, uint64_t bytes) {
    uint64_t& end = to[begin];
    end = end > begin + bytes ? end : begin + bytes;
}

// Tensors may lie within others: the one that begins last need not end last.
bool holds(const Ranges& in, uint64_t begin, uint64_t end) {
    auto next = in.upper_bound(begin);
    while (next != in.begin()) {
        --next;
        if (end <= next->second) {
            return true;
        }
    }
    return false;
}

}  // namespace

void allow(uint64_t begin, uint64_t bytes) {
    add(ranges(false), begin, bytes);
}

void allow_always(uint64_t begin, uint64_t bytes) {
    add(ranges(true), begin, bytes);
}

void forget_allowed() {
    ranges(false).clear();
}

bool allowed(uint64_t begin, int bytes) {
    return holds(ranges(false), begin, begin + bytes) || holds(ranges(true), begin, begin + bytes);
}

static uint32_t warp_of(uint32_t thread) {
    return thread >= Last::kWarp ? thread - Last::kWarp : thread / kLanes;
}

// Whether what was done then is before what is done now.
static bool ordered(const Moment& then, const Moment& now) {
    if (then.thread == Last::kNobody) {
        return true;
    }
    if (then.block != now.block) {
        return false;
    }
    if (then.thread == now.thread || then.barriers != now.barriers) {
        return true;
    }
    return then.thread != Last::kMany && warp_of(then.thread) == warp_of(now.thread) &&
           then.syncs != now.syncs;
}

static void find_races(const Last& last, const Access& a) {
    const auto race = [&](const char* order) {
        report(std::string(a.where) + " race, " + order, a.in);
    };
    if (!ordered(last.writer, a.now)) {
        const bool atomics = a.way == Way::atomic && last.write_way == Way::atomic;
        const bool alike = a.way == Way::marked && last.write_way == Way::marked && a.same;
        const bool looked = a.way == Way::marked && last.write_way != Way::plain;
        if (a.store ? !atomics && !alike : !looked) {
            race(a.store ? "write after write" : "read after write");
        }
    }
    if (a.store && !ordered(last.reader, a.now) &&
        (a.way == Way::plain || last.read_way != Way::marked)) {
        race("write after read");
    }
}

static void remember(Last& last, const Access& a) {
    if (a.store) {
        last.writer = a.now;
        last.write_way = a.way;
        return;
    }
    const bool alone = ordered(last.reader, a.now);
    last.read_way = !alone && last.read_way == Way::plain ? Way::plain : a.way;
    Moment reader = a.now;
    if (!alone && last.reader.block != a.now.block) {
        reader.block = reader.thread = Last::kMany;
    } else if (!alone) {
        const bool warp = last.reader.thread != Last::kMany &&
                          warp_of(last.reader.thread) == warp_of(a.now.thread);
        reader.thread = warp ? Last::kWarp + warp_of(a.now.thread) : Last::kMany;
    }
    last.reader = reader;
}

Touched::Page& Touched::page_of(uint64_t word) {
    const uint64_t number = word / kPage;
    if (number != number_) {
        page_ = &pages_[number];
        page_->words.resize(kPage);
        number_ = number;
    }
    return *page_;
}

void Touched::access(uint64_t address, int bytes, const Access& access) {
    if (bytes >= 4) {
        for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
            Page& page = page_of(word);
            Last& last = page.words[word % kPage];
            find_races(last, access);
            for (uint64_t i = 0; i < 4 && !page.bytes.empty(); ++i) {
                find_races(page.bytes[word % kPage * 4 + i], access);
            }
            remember(last, access);
        }
        return;
    }
    for (uint64_t at = address; at < address + bytes; ++at) {
        Page& page = page_of(at / 4);
        page.bytes.resize(4 * kPage);
        find_races(page.words[at / 4 % kPage], access);
        find_races(page.bytes[at % (4 * kPage)], access);
        remember(page.bytes[at % (4 * kPage)], access);
    }
}

void Touched::clear() {
    pages_.clear();
    number_ = ~0ull;
}

Touched& touched_global() {
    static Touched touched;
    return touched;
}

bool check_global(uint64_t address, int bytes, const Moment& now, Way way, const void* value,
                  const Instruction& in) {
    if (address % bytes != 0) {
        report("misaligned access of " + std::to_string(bytes) + " bytes", in);
    }
    if (options().bounds && !allowed(address, bytes)) {
        report("access out of bounds", in);
        return false;
    }
    if (options().races) {
        const bool same =
            value != nullptr && std::memcmp(reinterpret_cast<void*>(address), value, bytes) == 0;
        touched_global().access(address, bytes, {now, way, value != nullptr, same, in, "global"});
    }
    return true;
}

Shared::Shared(size_t size) : bytes(size, '\xff'), written(size) {}

bool Shared::check(uint64_t offset, int size, const Moment& now, Way way, const void* value,
                   const Instruction& in) {
    if (offset % size != 0) {
        report("misaligned access of " + std::to_string(size) + " bytes of shared memory", in);
    }
    if (offset + size > bytes.size()) {
        report("access out of the bounds of shared memory", in);
        return false;
    }
    for (uint64_t at = offset; at < offset + size; ++at) {
        if (value != nullptr) {
            written[at] = 1;
        } else if (written[at] == 0) {
            report("read of shared memory that nobody wrote", in);
            break;
        }
    }
    if (options().races) {
        const bool same = value != nullptr && std::memcmp(&bytes[offset], value, size) == 0;
        touched.access(offset, size, {now, way, value != nullptr, same, in, "shared"});
    }
    return true;
}

}  // namespace device
