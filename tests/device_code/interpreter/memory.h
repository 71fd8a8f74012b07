// Checks of every access: bounds, alignment, memory that nobody wrote, races.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "program.h"

namespace device {

struct Options {
    int order = 3;  // of blocks and warps: 0 forwards, 1 backwards, 2 shuffled, 3 in turns
    bool races = true, bounds = true, counts = false;
    int processors = 3;        // of the device
    int most_shared = 232448;  // bytes a block
    int resident = 2;          // blocks a processor
    uint64_t random = 88172645463325252ull;
};
Options& options();
uint32_t random_number();

// Findings by their text, with how often they came up.
std::map<std::string, uint64_t>& reports();
void report(const std::string& what);
// The same, with the kernel that runs and the instruction.
void report(const std::string& what, const Instruction& in);
std::string& running_kernel();

// Memory that kernels may touch: until forgotten, and for good.
void allow(uint64_t begin, uint64_t bytes);
void allow_always(uint64_t begin, uint64_t bytes);
void forget_allowed();
bool allowed(uint64_t begin, int bytes);

// A thread at a moment: barriers of the block and synchronisations of the warp that it has passed.
struct Moment {
    uint32_t block, thread, barriers, syncs;
};

// Marked: volatile or relaxed, for races that the code means. Those of stores are harmless where
// all store the same.
enum class Way : uint8_t { plain, marked, atomic };

// The last accesses of a word, or of a byte. In the place of a thread: nobody; several threads of a
// block, or of all; or, from kWarp on, several lanes of a warp.
struct Last {
    static constexpr uint32_t kNobody = 0xffffffffu, kMany = 0xfffffffeu, kWarp = 0x10000u;
    Moment writer{kNobody, kNobody, 0, 0}, reader{kNobody, kNobody, 0, 0};
    Way write_way = Way::plain, read_way = Way::plain;
};

// One access of a thread, for the search for races.
struct Access {
    Moment now;
    Way way;
    bool store;
    bool same;  // what is stored is what the memory holds
    const Instruction& in;
    const char* where;
};

// Last accesses of memory by address, made as it is touched. Accesses of less than a word are kept
// byte by byte: threads side by side may each have one.
class Touched {
  public:
    void access(uint64_t address, int bytes, const Access& access);
    void clear();

  private:
    static constexpr int kPage = 1024;  // words
    struct Page {
        std::vector<Last> words, bytes;
    };
    Page& page_of(uint64_t word);

    std::map<uint64_t, Page> pages_;
    uint64_t number_ = ~0ull;
    Page* page_ = nullptr;
};

// Accesses of global memory by the kernel that runs.
Touched& touched_global();

// Checks an access of `bytes` at a global address; false: it is out of bounds and must not happen.
// `value`: bytes of a store, null for a load.
bool check_global(uint64_t address, int bytes, const Moment& now, Way way, const void* value,
                  const Instruction& in);

// Shared memory of a block.
struct Shared {
    std::vector<char> bytes;
    std::vector<uint8_t> written;
    Touched touched;

    explicit Shared(size_t size);
    // As check_global; `offset` counts from the beginning.
    bool check(uint64_t offset, int size, const Moment& now, Way way, const void* value,
               const Instruction& in);
};

}  // namespace device
