"""Decodes PTX as nvcc writes it into the lines that the interpreter reads (interpreter/load.cpp).

One line an instruction: its name with all suffixes, the predicate's register (-1: none), whether
that is negated, the number of operands, the operands. Symbols become offsets, registers numbers.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

_SIZES = {"pred": 1, "f16x2": 4} | {
    f"{kind}{bits}": bits // 8 for kind in "busf" for bits in (8, 16, 32, 64)
}
_NUMBER = re.compile(r"-?(0x[0-9a-fA-F]+|\d+)U?$")
_SPECIAL = re.compile(r"%((tid|ctaid|ntid|nctaid)\.[xyz]|laneid|warpid)$")
_PARAM = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr[^%]*?\s)?(\S+?)(?:\[(\d+)\])?$"
)
_ARRAY = re.compile(r"\.(?:shared|local)\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d+)\]$")


@dataclass
class _Function:
    """Things that a body's operands refer to."""

    name: str
    entry: bool
    params: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset, size
    result: tuple[str, int] | None = None
    registers: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    local_size: int = 0
    slots: dict[str, tuple[int, int]] = field(default_factory=dict)
    slots_size: int = 0
    shared: dict[str, int] = field(default_factory=dict)
    shared_size: int = 0
    code: list[str] = field(default_factory=list)


def decode(text: str) -> str:
    """Return the interpreter's lines of one file of PTX."""
    return _Module(text).lines()


class _Module:
    def __init__(self, text: str) -> None:
        self._files = {
            number: name.rpartition("/")[2]
            for number, name in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]*)"', text, re.M)
        }
        text = re.sub(r"^\s*\.file\s.*$", "", text, flags=re.M)
        text = re.sub(r"^(\s*)\.loc\s+(\d+)\s+(\d+)\s.*$", r"\1.loc \2 \3;", text, flags=re.M)
        text = re.sub(r"^\s*\.section\s.*", "", text, flags=re.M | re.S)
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        self._text = re.sub(r"//[^\n]*", "", text)
        self._globals: dict[str, int] = {}
        self._dynamic: set[str] = set()
        self._lines: list[str] = []
        self._read_variables()
        self._read_functions()

    def lines(self) -> str:
        return "\n".join(self._lines) + "\n"

    def _read_variables(self) -> None:
        pattern = r"^\s*\.global\s+\.align\s+\d+\s+\.b8\s+(\w+)\[(\d+)\]\s*=\s*\{([^}]*)\};"
        for name, size, numbers in re.findall(pattern, self._text, re.M):
            data = [int(number) for number in numbers.split(",")]
            data += [0] * (int(size) - len(data))
            self._globals[name] = len(self._globals)
            self._lines.append(f"GLOBAL {name} {len(data)} {' '.join(map(str, data))}")
        pattern = r"^\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[\];"
        self._dynamic = set(re.findall(pattern, self._text, re.M))
        pattern = r"^(?:\.visible )?(\.shared\s+\.align\s+\d+\s+\.b8\s+[\w$]+\[\d+\]);"
        self._static = re.findall(pattern, self._text, re.M)

    def _read_functions(self) -> None:
        start = re.compile(r"^(?:\.visible\s+|\.weak\s+)?\.(entry|func)\b", re.M)
        at = 0
        while found := start.search(self._text, at):
            brace, end = self._text.find("{", found.end()), self._text.find(";", found.end())
            if end != -1 and end < brace:  # a declaration
                at = end + 1
                continue
            depth, at = 1, brace + 1
            while depth:
                depth += {"{": 1, "}": -1}.get(self._text[at], 0)
                at += 1
            head, body = self._text[found.end() : brace], self._text[brace + 1 : at - 1]
            function = _head(head, found[1] == "entry")
            for array in self._static:
                _add_shared(function, array)
            _Body(self._files, self._globals, self._dynamic, function).read(body)
            self._lines += _written(function)


def _head(head: str, entry: bool) -> _Function:
    head = re.sub(r"\.(maxntid|minnctapersm|reqntid|maxnreg)\s+[\d, ]+|\.noreturn", "", head)
    found = re.match(r"\s*(?:\(([^)]*)\)\s*)?(\w+)\s*(?:\((.*)\))?", head, re.S)
    function = _Function(found[2], entry)
    if found[1]:
        name, size, _ = _param(found[1])
        function.result = (name, size)
    offset = 0
    for text in _split(found[3] or ""):
        name, size, align = _param(text)
        offset = _round_up(offset, align)
        function.params[name] = (offset, size)
        offset += size
    return function


def _param(text: str) -> tuple[str, int, int]:
    """Return name, size and alignment of a declared parameter."""
    align, kind, name, count = _PARAM.match(text.strip()).groups()
    size = _SIZES[kind] * int(count or 1)
    return name, size, int(align or _SIZES[kind])


def _add_shared(function: _Function, text: str) -> None:
    align, name, size = _ARRAY.match(text).groups()
    function.shared[name] = _round_up(function.shared_size, int(align))
    function.shared_size = function.shared[name] + int(size)


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth, part = [], 0, ""
    for character in text:
        depth += {"{": 1, "[": 1, "(": 1, "}": -1, "]": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += character
    return [*parts, part.strip()] if part.strip() else parts


def _statements(body: str) -> list[str]:
    """Cut a body into statements; labels end with a colon, braces of scopes stand alone."""
    found, part, depth = [], "", 0
    for character in body:
        if character == "{" and not part.strip():
            found.append("{")
            part = ""
        elif character == "}" and depth == 0:
            found.append("}")
            part = ""
        elif character == ";":
            found.append(" ".join(part.split()))
            part = ""
        elif character == ":" and re.match(r"^\s*\$?[\w$]+$", part):
            found.append(part.strip() + ":")
            part = ""
        else:
            depth += {"{": 1, "}": -1}.get(character, 0)
            part += character
    return [statement for statement in found if statement]


class _Body:
    """Decodes the statements of one function."""

    def __init__(
        self,
        files: dict[str, str],
        variables: dict[str, int],
        dynamic: set[str],
        function: _Function,
    ) -> None:
        self._files, self._globals, self._dynamic = files, variables, dynamic
        self._function = function
        self._scopes: list[dict[str, str]] = [{}]
        self._labels: dict[str, int] = {}
        self._instructions: list[tuple[str, int, int, list[str], str]] = []
        self._place = "?"

    def read(self, body: str) -> None:
        for statement in _statements(body):
            self._statement(statement)
        last = ""
        for name, predicate, negated, operands, place in self._instructions:
            if place != last:
                self._function.code.append(f"AT {place}")
                last = place
            words = [
                f"l{self._labels[word[1:]]}" if word.startswith("l") else word for word in operands
            ]
            self._function.code.append(
                f"I {name} {predicate} {negated} {len(words)} {' '.join(words)}"
            )

    def _statement(self, text: str) -> None:
        function = self._function
        if text == "{":
            self._scopes.append({})
        elif text == "}":
            self._scopes.pop()
        elif text.endswith(":"):
            self._labels[text[:-1]] = len(self._instructions)
        elif text.startswith(".reg"):
            for name in re.match(r"\.reg \.\w+ (.*)$", text)[1].split(","):
                name = name.strip()
                if "<" not in name:
                    scope = len(self._scopes) > 1
                    unique = f"{name}@{len(self._instructions)}" if scope else name
                    self._scopes[-1][name] = unique
        elif text.startswith(".local"):
            align, name, size = _ARRAY.match(text).groups()
            function.local[name] = _round_up(function.local_size, max(int(align), 16))
            function.local_size = function.local[name] + int(size)
        elif text.startswith(".shared"):
            _add_shared(function, text)
        elif text.startswith(".param"):
            name, size, _ = _param(text)
            offset = _round_up(function.slots_size, 16)
            function.slots[name] = (offset, size)
            function.slots_size = offset + size
        elif text.startswith(".loc"):
            _, number, line = text.split()
            self._place = f"{self._files.get(number, number)}:{line}"
        elif not text.startswith(".pragma"):
            self._instruction(text)

    def _instruction(self, text: str) -> None:
        predicate, negated = -1, 0
        if found := re.match(r"@(!?)(%\w+) (.*)$", text):
            predicate, negated, text = self._register(found[2]), int(found[1] == "!"), found[3]
        name, _, rest = text.partition(" ")
        base = name.split(".")[0]
        if base == "bra":
            operands = ["l" + rest.strip()]
        elif base in ("ret", "exit"):
            operands = []
        elif base == "call":
            operands = self._call(rest)
        else:
            operands = self._operands(name, base, rest)
        self._instructions.append((name, predicate, negated, operands, self._place))

    def _call(self, rest: str) -> list[str]:
        result, name, given = re.match(r"(?:\((\w+)\), )?(\w+)(?:, \((.*)\))?$", rest).groups()
        slots = self._function.slots
        operands = [f"f{name}", "q{},{}".format(*slots[result]) if result else "n"]
        return operands + ["q{},{}".format(*slots[text]) for text in _split(given or "")]

    def _operands(self, name: str, base: str, rest: str) -> list[str]:
        kinds = [part for part in name.split(".")[1:] if part in _SIZES]
        last = kinds[-1] if kinds else "b64"
        found = []
        for i, text in enumerate(_split(rest)):
            kind = last
            if base in ("shl", "shr", "shf") and i >= 2:
                kind = "b32"
            elif base in ("setp", "selp"):
                kind = kinds[0] if kinds else "b64"
            elif base == "mad" and ".wide" in name and i == 3:
                kind = "b64"
            if "|" in text and text.startswith("%"):
                one, other = text.split("|")
                found += [self._operand(one, kind), self._operand(other, "pred")]
            else:
                found.append(self._operand(text, kind))
        return found

    def _register(self, name: str) -> int:
        for scope in reversed(self._scopes):
            if name in scope:
                name = scope[name]
                break
        return self._function.registers.setdefault(name, len(self._function.registers))

    def _operand(self, text: str, kind: str) -> str:
        text = text.strip()
        if text.startswith("{"):
            parts = [self._operand(part, kind) for part in _split(text[1:-1])]
            return f"v{len(parts)} {' '.join(parts)}"
        if text == "_":
            return "n"
        if found := re.match(r"^\[(.+?)\s*(?:\+\s*(-?\d+))?\]$", text):
            return "m" + self._address(found[1].strip(), int(found[2] or 0))
        if found := _SPECIAL.match(text):
            return "s" + found[1]
        if text.startswith("%") or any(text in scope for scope in self._scopes):
            return f"r{self._register(text)}"
        if text[:2] in ("0f", "0d", "0F", "0D"):
            return f"i{int(text[2:], 16)}"
        if _NUMBER.match(text):
            bits = 8 * max(_SIZES[kind], 8 if _SIZES[kind] == 1 else 1)
            return f"i{int(text.rstrip('U'), 0) & ((1 << bits) - 1)}"
        return "a" + self._address(text, 0)

    def _address(self, name: str, offset: int) -> str:
        """Return what an address counts from, and the offset."""
        function = self._function
        if name in function.params:
            return f"P,{function.params[name][0] + offset}"
        if function.result and name == function.result[0]:
            return f"V,{offset}"
        if name in function.slots:
            return f"Q,{function.slots[name][0] + offset}"
        if name in self._globals:
            return f"G{self._globals[name]},{offset}"
        if name in self._dynamic:
            return f"D,{offset}"
        if name in function.shared:
            return f"S,{function.shared[name] + offset}"
        if name in function.local:
            return f"L,{function.local[name] + offset}"
        return f"r{self._register(name)},{offset}"


def _written(f: _Function) -> list[str]:
    size = max((offset + size for offset, size in f.params.values()), default=0)
    result = f.result[1] if f.result else 0
    head = f"FUNC {f.name} {int(f.entry)} {len(f.registers)} {f.local_size} {size}"
    params = [f"PARAM {offset} {size}" for offset, size in f.params.values()]
    return [f"{head} {f.slots_size} {result} {f.shared_size}", *params, *f.code, "END"]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(decode(Path(sys.argv[1]).read_text()))
