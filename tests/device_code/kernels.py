"""Kernels written by hand in PTX, for the tests of the interpreter."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from tests.device_code.device import Interpreter
from tests.device_code.ptx import decode

_HEAD = """
.version 8.0
.target sm_90
.address_size 64
{variables}
.visible .entry {name}({parameters})
{{
    {shared}
    .reg .pred %p<9>;
    .reg .b16 %h<9>;
    .reg .b32 %r<40>;
    .reg .f32 %f<40>;
    .reg .b64 %d<40>;
    .reg .f64 %e<9>;
    mov.u32 %r0, %tid.x;
    {loads}
    {body}
    ret;
}}
"""
_numbers = itertools.count()


def run(
    interpreter: Interpreter,
    folder: Path,
    body: str,
    *tensors: torch.Tensor,
    threads: int = 32,
    blocks: int = 1,
    shared: int = 0,
    variables: str = "",
) -> list[str]:
    """Run a kernel's body and return the reports.

    Register %r0 is the thread; %d0, %d1, ... are the addresses of the tensors; ``memory`` is an
    array of ``shared`` bytes.
    """
    name = f"kernel{next(_numbers)}"
    text = _HEAD.format(
        name=name,
        variables=variables,
        body=body,
        shared=f".shared .align 16 .b8 memory[{shared}];" if shared else "",
        parameters=", ".join(f".param .u64 a{i}" for i in range(len(tensors))),
        loads="\n".join(f"ld.param.u64 %d{i}, [a{i}];" for i in range(len(tensors))),
    )
    program = folder / f"{name}.txt"
    program.write_text(decode(text))
    interpreter.load(program)
    status = interpreter.launch(name, *tensors, blocks=blocks, threads=threads)
    assert status == 0
    return interpreter.reports()


def applied(
    interpreter: Interpreter, folder: Path, instruction: str, kind: str, *numbers: torch.Tensor
) -> torch.Tensor:
    """Return what one instruction gives for 32 threads.

    Args:
        interpreter: Runs it.
        folder: For the program.
        instruction: With ``$0`` for the result and ``$1``, ``$2``, ... for the operands.
        kind: Types of result and operands, "f32" or "u64,s32": registers and memory have them.
        numbers: The operands, 32 numbers each.
    """
    kinds = kind.split(",")
    kinds += [kinds[-1]] * (1 + len(numbers) - len(kinds))
    lines, text, result = [], instruction, ""
    out = torch.zeros(32, dtype=_TYPES[kinds[0]])
    for i, (tensor, of) in enumerate(zip((out, *numbers), kinds, strict=True)):
        register = _register(of, i + 1)
        result = result or register
        text = text.replace(f"${i}", register)
        lines.append(f"mul.wide.u32 %d30, %r0, {tensor.element_size()};")
        lines.append(f"add.u64 %d{20 + i}, %d{i}, %d30;")
        if i:
            lines.append(f"ld.global.{of} {register}, [%d{20 + i}];")
    lines += [text, f"st.global.{kinds[0]} [%d20], {result};"]
    assert run(interpreter, folder, "\n".join(lines), out, *numbers) == []
    return out


_TYPES = {
    "f32": torch.float32,
    "f64": torch.float64,
    "s32": torch.int32,
    "u32": torch.int32,
    "b32": torch.int32,
    "s64": torch.int64,
    "u64": torch.int64,
    "b64": torch.int64,
    "b16": torch.int16,
    "u16": torch.int16,
    "s16": torch.int16,
}


def _register(kind: str, number: int) -> str:
    if kind in ("f32", "f64"):
        return f"%{'f' if kind == 'f32' else 'e'}{number}"
    return {"16": "%h", "32": "%r", "64": "%d1"}[kind[1:]] + str(number)
