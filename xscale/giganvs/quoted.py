"""Figures that others published, in a table of their own: they never rank beside measured ones."""

from __future__ import annotations

import csv
import io
from html import escape

from xscale.giganvs.data import read
from xscale.report.ranking import Format, tex

_HEAD = ("method", "PSNR", "SSIM", "LPIPS", "convention", "source")
_DIGITS = {"psnr": 2, "ssim": 3, "lpips": 3}


def quoted_table(kind: Format = "markdown") -> str:
    """Return the quoted figures as a table.

    Args:
        kind: ``markdown``, ``csv``, ``latex`` or ``html``.
    """
    found = read("quoted")
    rows = [
        [
            row["method"],
            *("-" if row[m] is None else f"{row[m]:.{digits}f}" for m, digits in _DIGITS.items()),
            row["lpips_convention"],
            row["source"],
        ]
        for row in found["rows"]
    ]
    remark = f"Quoted, {found['remark']}:"
    return {"markdown": _markdown, "csv": _csv, "latex": _latex, "html": _html}[kind](remark, rows)


def _markdown(remark: str, rows: list[list[str]]) -> str:
    lines = [remark, "", f"| {' | '.join(_HEAD)} |", "| --- | ---: | ---: | ---: | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _csv(remark: str, rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_HEAD, *rows])
    return out.getvalue()


def _latex(remark: str, rows: list[list[str]]) -> str:
    lines = [f"% {remark}", "\\begin{tabular}{lrrrll}", "\\toprule"]
    for i, row in enumerate([_HEAD, *rows]):
        lines.append(" & ".join(map(tex, row)) + " \\\\" + (" \\midrule" if i == 0 else ""))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _html(remark: str, rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in _HEAD)
    body = "".join(f"<tr>{''.join(f'<td>{escape(x)}</td>' for x in row)}</tr>" for row in rows)
    return (
        f"<p>{escape(remark)}</p>"
        f'<div class="scroll"><table class="quoted"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
