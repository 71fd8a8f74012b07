"""Every command that README and docs show exists, with its options."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from tests.house.tree import ROOT, files, name_of
from xscale.cli import main

PAGES = [ROOT / "README.md", *files(".md", under="docs")]
# Commands of later versions are not in this one's documents; those in the making stand here.
IN_THE_MAKING: set[str] = {"score", "demo"} - set(main.COMMANDS)


def _shown() -> list[tuple[str, str]]:
    """(page, command) for every xscale command in a code block or in backticks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`(xscale [^`\n]+)`", text)
        found += [(name_of(page), line.split("#")[0].strip()) for line in lines]
    return [(page, line) for page, line in found if line.startswith("xscale ")]


def _options(*command: str) -> str:
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main.main([*command, "--help"]) == 0
    return out.getvalue()


@pytest.mark.parametrize(("page", "line"), _shown())
def test_command_exists_with_its_options(page, line):
    words = shlex.split(line)[1:]
    if words[0].startswith("--") or words[0] in IN_THE_MAKING or words[0] == "COMMAND":
        return
    assert words[0] in main.COMMANDS
    inner = words[1:2] if words[0] == "giganvs" and len(words) > 2 else []
    help_text = _options(words[0], *inner)
    for word in words[1:]:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word)}\b", help_text), f"{page}: {line}"


def test_make_lists_every_target_that_the_documents_name():
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"make ([a-z-]+)", listed.stdout))
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M))
    assert named <= targets
    acts = {"install", "demo", "test", "test-long", "bench", "lint", "wheel", "gpu-check", "docs"}
    assert acts | {"fuzz", "soak"} <= targets
