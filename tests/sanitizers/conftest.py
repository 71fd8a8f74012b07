"""The builds with sanitizers: made once, skipped where a compiler is missing."""

from __future__ import annotations

import pytest

from tests.sanitizers import build


def _built(found: build.Sanitized | str) -> build.Sanitized:
    if isinstance(found, str):
        pytest.skip(found)
    assert found.module.is_file()
    return found


@pytest.fixture(scope="session")
def address() -> build.Sanitized:
    """AddressSanitizer and UndefinedBehaviorSanitizer."""
    return _built(build.address())


@pytest.fixture(scope="session")
def thread() -> build.Sanitized:
    """ThreadSanitizer, which knows OpenMP."""
    return _built(build.thread())
