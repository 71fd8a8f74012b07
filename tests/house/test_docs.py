"""Links lead somewhere, environment variables exist, and pages name real files."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, files, name_of

PAGES = [*(ROOT / n for n in ("README.md", "CHANGELOG.md", "viewer/README.md")),
         *files(".md", under="docs")]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose)
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_sources_exist(page):
    named = re.findall(r"`((?:csrc|xscale|tests|docs)/[\w/.]+\.\w+)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_variable_of_the_documents_is_read_somewhere():
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in [*files(".py", ".cpp"), ROOT / "Makefile"]
        if path.name != "test_docs.py"
    )
    named = {v for p in PAGES for v in re.findall(r"\bXSCALE_[A-Z_]+\b", p.read_text("utf-8"))}
    build = {"XSCALE_OPS", "XSCALE_SIMD_OPS", "XSCALE_CUDA_OPS"}
    assert [v for v in sorted(named - build) if v not in code] == []


def test_index_leads_to_every_page():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in files(".md", under="docs")]
    assert [p for p in pages if p != "index.md" and f"({p})" not in index] == []


def test_every_test_that_the_faults_name_is_there():
    page = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in files(".py", under="tests"))
    named = sorted(set(re.findall(r"`(test_\w+)`", page)))
    assert len(named) > 50
    assert [name for name in named if f"def {name}(" not in code] == []
