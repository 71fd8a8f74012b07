// Reads decoded programs.
#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "memory.h"
#include "program.h"

namespace device {

int size_of(Type type) {
    switch (type) {
        case Type::pred:
        case Type::u8:
        case Type::s8:
        case Type::b8:
            return 1;
        case Type::u16:
        case Type::s16:
        case Type::b16:
        case Type::f16:
            return 2;
        case Type::u32:
        case Type::s32:
        case Type::b32:
        case Type::f32:
        case Type::f16x2:
            return 4;
        default:
            return 8;
    }
}

bool is_signed(Type type) {
    return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64;
}

bool is_float(Type type) {
    return type == Type::f16 || type == Type::f32 || type == Type::f64;
}

Program& program() {
    static Program loaded;
    return loaded;
}

namespace {

const std::map<std::string, Type> kTypes = {
    {"pred", Type::pred},  {"u8", Type::u8},   {"s8", Type::s8},   {"b8", Type::b8},
    {"u16", Type::u16},    {"s16", Type::s16}, {"b16", Type::b16}, {"f16", Type::f16},
    {"u32", Type::u32},    {"s32", Type::s32}, {"b32", Type::b32}, {"f32", Type::f32},
    {"u64", Type::u64},    {"s64", Type::s64}, {"b64", Type::b64}, {"f64", Type::f64},
    {"f16x2", Type::f16x2}};
const std::map<std::string, Round> kRounds = {
    {"rn", Round::near},        {"rz", Round::zero},        {"rm", Round::down},
    {"rp", Round::up},          {"rni", Round::near_whole}, {"rzi", Round::zero_whole},
    {"rmi", Round::down_whole}, {"rpi", Round::up_whole}};
const std::map<std::string, Compare> kCompares = {
    {"eq", Compare::eq},   {"ne", Compare::ne},   {"lt", Compare::lt},   {"le", Compare::le},
    {"lo", Compare::lt},   {"ls", Compare::le},   {"hi", Compare::gt},   {"hs", Compare::ge},
    {"gt", Compare::gt},   {"ge", Compare::ge},   {"equ", Compare::equ}, {"neu", Compare::neu},
    {"ltu", Compare::ltu}, {"leu", Compare::leu}, {"gtu", Compare::gtu}, {"geu", Compare::geu},
    {"num", Compare::num}, {"nan", Compare::nan}};
const std::map<std::string, Space> kSpaces = {{"global", Space::global},
                                              {"shared", Space::shared},
                                              {"local", Space::local},
                                              {"param", Space::param},
                                              {"const", Space::global}};

std::vector<std::string> cut(const std::string& text, char at) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, at);) {
        parts.push_back(part);
    }
    return parts;
}

std::shared_ptr<Lanes> everywhere(uint64_t value) {
    auto lanes = std::make_shared<Lanes>();
    lanes->fill(value);
    return lanes;
}

int special_number(const std::string& name) {
    static const std::map<std::string, int> known = {{"tid.x", kTidX},    {"ctaid.x", kCtaidX},
                                                     {"ntid.x", kNtidX},  {"nctaid.x", kNctaidX},
                                                     {"laneid", kLaneId}, {"warpid", kWarpId}};
    const auto found = known.find(name);
    if (found != known.end()) {
        return found->second;
    }
    return name.rfind("ntid", 0) == 0 || name.rfind("nctaid", 0) == 0 ? kOne : kZero;
}

// Where the dynamic part of shared memory begins, behind `fixed` bytes.
int64_t dynamic_shared(int32_t fixed) {
    return (fixed + 15) / 16 * 16;
}

class Reader {
  public:
    explicit Reader(const std::string& path) : stream_(path) {
        if (!stream_) {
            throw std::runtime_error("device code: " + path + " cannot be read");
        }
    }

    void read() {
        for (std::string line; std::getline(stream_, line);) {
            std::istringstream words(line);
            std::string kind;
            words >> kind;
            if (kind == "GLOBAL") {
                variable(words);
            } else if (kind == "FUNC") {
                function(words);
            } else if (kind == "PARAM") {
                Parameter parameter{};
                words >> parameter.offset >> parameter.size;
                function_->parameters.push_back(parameter);
            } else if (kind == "AT") {
                std::string place;
                words >> place;
                place_ = static_cast<int32_t>(program().places.size());
                program().places.push_back(place);
            } else if (kind == "I") {
                instruction(words);
            } else if (kind == "END") {
                Instruction end;
                end.name = end.text = "ret";
                end.run = executor_of(end);
                end.place = place_;
                function_->code.push_back(end);
                link();
            }
        }
        for (Instruction* call : calls_) {
            const auto callee = mine_.find(call->operands[0].name);
            if (callee == mine_.end()) {
                throw std::runtime_error("device code: no function " + call->operands[0].name);
            }
            call->callee = callee->second;
        }
    }

  private:
    void variable(std::istringstream& words) {
        std::string name;
        int64_t size = 0;
        words >> name >> size;
        static std::vector<std::unique_ptr<std::vector<char>>> kept;
        kept.push_back(std::make_unique<std::vector<char>>(size + 16));
        std::vector<char>& bytes = *kept.back();
        for (int64_t i = 0; i < size; ++i) {
            int byte = 0;
            words >> byte;
            bytes[i] = static_cast<char>(byte);
        }
        variables_.push_back(reinterpret_cast<uint64_t>(bytes.data()));
        allow_always(variables_.back(), size);
    }

    void function(std::istringstream& words) {
        auto made = std::make_unique<Function>();
        Function& f = *made;
        words >> f.name >> f.entry >> f.registers >> f.local >> f.params >> f.slots >> f.result >>
            f.shared;
        f.local = (f.local + 15) / 16 * 16;
        function_ = &f;
        mine_[f.name] = &f;
        program().functions[f.name] = std::move(made);
    }

    // Remembers the calls of the function that ends here: its instructions stay where they are.
    void link() {
        for (Instruction& i : function_->code) {
            if (i.name == "call") {
                calls_.push_back(&i);
            }
        }
    }

    Operand operand(std::istringstream& words) {
        std::string word;
        words >> word;
        Operand o;
        const std::string rest = word.substr(1);
        switch (word[0]) {
            case 'n':
                break;
            case 'r':
                o.kind = Operand::Kind::reg;
                o.reg = std::stoi(rest);
                break;
            case 'i':
                o.kind = Operand::Kind::constant;
                o.constant = everywhere(std::stoull(rest));
                break;
            case 's':
                o.kind = Operand::Kind::special;
                o.reg = special_number(rest);
                break;
            case 'l':
                o.kind = Operand::Kind::target;
                o.offset = std::stoll(rest);
                break;
            case 'f':
                o.kind = Operand::Kind::function;
                o.name = rest;
                break;
            case 'q': {
                o.kind = Operand::Kind::slot;
                const auto numbers = cut(rest, ',');
                o.offset = std::stoll(numbers[0]);
                o.size = std::stoi(numbers[1]);
                break;
            }
            case 'v': {
                o.kind = Operand::Kind::vector;
                for (int i = std::stoi(rest); i > 0; --i) {
                    o.parts.push_back(operand(words));
                }
                break;
            }
            default:
                place(o, rest);
                if (word[0] == 'a') {  // the address itself, a number that is known now
                    o.kind = Operand::Kind::constant;
                    o.constant = everywhere(o.address + o.offset);
                }
        }
        return o;
    }

    void place(Operand& o, const std::string& text) {
        const auto parts = cut(text, ',');
        o.kind = Operand::Kind::memory;
        o.offset = std::stoll(parts[1]);
        switch (parts[0][0]) {
            case 'r':
                o.reg = std::stoi(parts[0].substr(1));
                break;
            case 'P':
                o.base = Operand::Base::param;
                break;
            case 'V':
                o.base = Operand::Base::result;
                break;
            case 'Q':
                o.base = Operand::Base::slot;
                break;
            case 'G':
                o.base = Operand::Base::global;
                o.address = variables_[std::stoi(parts[0].substr(1))];
                break;
            case 'D':
                o.base = Operand::Base::shared;
                o.offset += dynamic_shared(function_->shared);
                break;
            case 'S':
                o.base = Operand::Base::shared;
                break;
            default:
                o.base = Operand::Base::local;
        }
    }

    void instruction(std::istringstream& words) {
        Instruction i;
        int count = 0;
        words >> i.text >> i.predicate >> i.negated >> count;
        i.place = place_;
        for (int k = 0; k < count; ++k) {
            i.operands.push_back(operand(words));
        }
        suffixes(i);
        i.run = executor_of(i);
        if (i.run == nullptr) {
            throw std::runtime_error("device code: the interpreter does not know " + i.text);
        }
        function_->code.push_back(std::move(i));
    }

    static void suffixes(Instruction& i) {
        const auto parts = cut(i.text, '.');
        i.name = parts[0];
        const bool modes = i.name == "atom" || i.name == "red" || i.name == "shfl" ||
                           i.name == "vote" || i.name == "shf";
        std::vector<Type> types;
        for (size_t k = 1; k < parts.size(); ++k) {
            const std::string& part = parts[k];
            const auto type = kTypes.find(part);
            const auto round = kRounds.find(part);
            const auto space = kSpaces.find(part);
            const auto compare = kCompares.find(part);
            if (type != kTypes.end()) {
                types.push_back(type->second);
            } else if (round != kRounds.end()) {
                i.round = round->second;
            } else if (space != kSpaces.end()) {
                i.space = space->second;
            } else if (part == "v2" || part == "v4") {
                i.vector = part[1] - '0';
            } else if (i.name == "setp" && compare != kCompares.end()) {
                i.compare = compare->second;
            } else if (modes && part != "sync" && part != "gpu" && part != "noftz" &&
                       part != "relaxed" && part != "uni" && i.mode.empty()) {
                i.mode = part;
            }
            i.high |= part == "hi" || (i.name == "cvta" && part == "to");
            i.wide |= part == "wide";
            i.carry |= part == "cc";
            i.saturate |= part == "sat";
            i.finite |= part == "satfinite";
            i.approximate |= part == "approx";
            i.marked |= part == "volatile" || part == "relaxed";
        }
        i.type = types.empty() ? Type::b32 : types[0];
        i.from = types.size() > 1 ? types[1] : Type::none;
        if (i.name == "bar" && parts.size() > 1 && parts[1] == "warp") {
            i.name = "bar.warp";
        } else if (i.name == "barrier") {
            i.name = "bar";
        }
        i.barrier = i.name == "bar";
        i.branch = i.name == "bra";
        i.collective =
            i.name == "shfl" || i.name == "vote" || i.name == "mma" || i.name == "bar.warp";
    }

    std::ifstream stream_;
    Function* function_ = nullptr;
    int32_t place_ = 0;
    std::vector<uint64_t> variables_;
    std::vector<Instruction*> calls_;
    std::map<std::string, Function*> mine_;
};

}  // namespace

void load_program(const std::string& path) {
    if (program().places.empty()) {
        program().places.push_back("?");
    }
    Reader reader(path);
    reader.read();
}

}  // namespace device
