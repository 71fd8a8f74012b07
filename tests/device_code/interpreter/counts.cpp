// Counts (counts.h).
#include "counts.h"

#include <algorithm>
#include <set>
#include <sstream>

namespace device {

std::map<std::string, Counts>& all_counts() {
    static std::map<std::string, Counts> all;
    return all;
}

Counts& counts() {
    return all_counts()[running_kernel()];
}

void count_instruction(const Instruction& in, Mask run) {
    Counts& c = counts();
    ++c.instructions;
    ++c.by_name[in.name];
    c.lanes += __builtin_popcount(run);
    c.float64 += in.type == Type::f64 && in.name != "ld" && in.name != "st" && in.name != "mov";
    ++const_cast<Instruction&>(in).executed;
}

// Waves of an access of shared memory: in a part of the warp, the most words that one of the 32
// banks has to give.
static void count_banks(const std::array<Target, kLanes>& targets, Mask run, int bytes) {
    Counts& c = counts();
    ++c.shared;
    const int parts = bytes >= 16 ? 4 : bytes >= 8 ? 2 : 1, lanes = kLanes / parts;
    for (int part = 0; part < parts; ++part) {
        std::array<std::set<uint64_t>, 32> words;
        size_t most = 0;
        each_lane(run, [&](int lane) {
            if (lane / lanes == part) {
                const uint64_t at = targets[lane].address;
                for (uint64_t word = at / 4; word <= (at + bytes - 1) / 4; ++word) {
                    words[word % 32].insert(word);
                    most = std::max(most, words[word % 32].size());
                }
            }
        });
        c.shared_waves += most;
        c.shared_least += most > 0;
    }
}

void count_access(const std::array<Target, kLanes>& targets, Mask run, int bytes, Move move) {
    if (run == 0) {
        return;
    }
    Counts& c = counts();
    const auto kind = targets[__builtin_ctz(run)].kind;
    if (kind == Target::Kind::shared) {
        return count_banks(targets, run, bytes);
    }
    if (kind != Target::Kind::global) {
        c.local += kind == Target::Kind::local;
        return;
    }
    std::set<uint64_t> sectors, lines;
    each_lane(run, [&](int lane) {
        const uint64_t at = targets[lane].address;
        for (uint64_t sector = at / 32; sector <= (at + bytes - 1) / 32; ++sector) {
            sectors.insert(sector);
            lines.insert(sector / 4);
        }
    });
    const bool load = move == Move::load, store = move == Move::store;
    ++(load ? c.loads : store ? c.stores : c.atomics);
    (load ? c.load_sectors : store ? c.store_sectors : c.atomic_sectors) += sectors.size();
    if (move != Move::atomic) {
        (load ? c.load_lines : c.store_lines) += lines.size();
    }
}

std::string counts_text() {
    std::ostringstream out;
    out << "{\"kernels\": {";
    const char* between = "";
    for (const auto& [name, c] : all_counts()) {
        out << between << '"' << name << "\": {\"launches\": " << c.launches
            << ", \"threads\": " << c.threads << ", \"instructions\": " << c.instructions
            << ", \"lanes\": " << c.lanes << ", \"float64\": " << c.float64
            << ", \"loads\": " << c.loads << ", \"load_sectors\": " << c.load_sectors
            << ", \"load_lines\": " << c.load_lines << ", \"stores\": " << c.stores
            << ", \"store_sectors\": " << c.store_sectors << ", \"store_lines\": " << c.store_lines
            << ", \"atomics\": " << c.atomics << ", \"atomic_sectors\": " << c.atomic_sectors
            << ", \"shared\": " << c.shared << ", \"shared_waves\": " << c.shared_waves
            << ", \"shared_least\": " << c.shared_least << ", \"local\": " << c.local
            << ", \"by_name\": {";
        const char* comma = "";
        for (const auto& [instruction, times] : c.by_name) {
            out << comma << '"' << instruction << "\": " << times;
            comma = ", ";
        }
        out << "}}";
        between = ", ";
    }
    std::map<std::string, uint64_t> places;
    for (const auto& [name, function] : program().functions) {
        for (const Instruction& in : function->code) {
            if (in.executed > 0) {
                places[program().places[in.place]] += in.executed;
            }
        }
    }
    out << "}, \"places\": {";
    between = "";
    for (const auto& [place, times] : places) {
        out << between << '"' << place << "\": " << times;
        between = ", ";
    }
    out << "}}";
    return out.str();
}

}  // namespace device
