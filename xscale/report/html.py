"""Building blocks of pages: the document with its policy, escaping, tables, folded parts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

PICTURES = ("Render", "Photo", "Error")
"""Names of the three pictures of a photo on a run's page."""


def document(title: str, body: str, pictures: Sequence[str] = PICTURES) -> str:
    """Return a page that holds all it shows and asks nothing of a network.

    Args:
        title: The page's name; escaped here.
        body: HTML, everything from outside escaped.
        pictures: Names of the three pictures that each ``.photo`` section has.
    """
    here = resources.files("xscale.report")
    style = here.joinpath("page.css").read_text("utf-8")
    script = "".join(here.joinpath(name).read_text("utf-8") for name in ("wipe.js", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Only this script may run, whatever a file name or a setting contains.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}: xscale report</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body data-pictures="{escaped("|".join(pictures))}">\n'
        f"{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def breakable(name: str) -> str:
    """Return a metric's name, escaped, that may be broken after each underscore."""
    return escape(name).replace("_", "_<wbr>")


def escaped(value: object) -> str:
    """Escape for HTML text and attributes; file names may hold bytes that are not text."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"), quote=True)


def table(rows: Sequence[Sequence[str]], lead: int | None = None) -> str:
    """Return a table; the first row is its head, row ``lead`` is set off."""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in rows[0])
    body = "".join(
        f"<tr{' class=lead' if i == lead else ''}>"
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row)
        + "</tr>"
        for i, row in enumerate(rows[1:], 1)
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def folded(summary: str, value: Mapping[str, object] | None) -> str:
    """Return values as JSON under a summary that opens; nothing where there are none."""
    if not value:
        return ""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return f"<details><summary>{summary}</summary><pre>{escaped(text)}</pre></details>"


def plural(count: int, word: str) -> str:
    """Return ``1 photo``, ``2 photos``."""
    return f"{count} {word}{'' if count == 1 else 's'}"
