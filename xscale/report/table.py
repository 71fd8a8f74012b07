"""Scores as tables of text: which figures are shown, in which order and with how many digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xscale.metrics.variants import BASES, MASKED, SUFFIXES, Score

TITLES = {
    "psnr": "PSNR\u00a0↑",
    "ssim": "SSIM\u00a0↑",
    "lpips_vgg": "LPIPS VGG\u00a0↓",
    "lpips_alex": "LPIPS Alex\u00a0↓",
}
VARIANTS = {
    "_covered_cc": "covered pixels, colour-fitted",
    "_covered": "covered pixels",
    "_cc": "whole frame, colour-fitted",
    "": "whole frame as rendered",
    "_uncovered_cc": "uncovered pixels, colour-fitted",
    "_uncovered": "uncovered pixels",
    "_white": "uncovered pixels white",
    MASKED: "covered and not masked",
}
MISSING = "–"


def shown(metric: str, value: Score) -> str:
    """Format a score: PSNR with two digits, the others with four; a dash where there is none."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return "∞" if value == "inf" else value
    return f"{value:.2f}" if metric.startswith("psnr") else f"{value:.4f}"


def mean_rows(mean: Mapping[str, Score]) -> list[list[str]]:
    """Lay out means: a row per variant, fair comparisons first, a column per metric."""
    suffixes = [s for s in VARIANTS if s in SUFFIXES or "psnr" + s in mean]
    rows = [["", *TITLES.values()]]
    rows += [[VARIANTS[s], *(shown(base, mean.get(base + s)) for base in BASES)] for s in suffixes]
    return rows


def photo_rows(photos: Mapping[str, Mapping[str, Score]], suffix: str) -> list[list[str]]:
    """Lay out one variant: a row per photo, a column per metric."""
    rows = [["photo", *TITLES.values()]]
    rows += [
        [name, *(shown(base, row.get(base + suffix)) for base in BASES)]
        for name, row in photos.items()
    ]
    return rows


def score_table(
    scores: Mapping[str, Mapping], *, markdown: bool = False, photos: bool = False
) -> str:
    """Return the scores as a text table.

    Args:
        scores: What :func:`xscale.report.score.score_renders` returned.
        markdown: A Markdown table instead of plain aligned text.
        photos: A row per photo (colour-fitted, covered pixels) below the means.

    Returns:
        Lines without a final line end.
    """
    layout = _markdown if markdown else _plain
    parts = [layout(mean_rows(scores["mean"]))]
    if photos:
        parts.append(layout(photo_rows(scores["photos"], "_covered_cc")))
    # Terminals and Markdown have no use for the spaces that keep arrows on the page in place.
    return "\n\n".join(parts).replace("\u00a0", " ")


def _plain(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [
        "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row) + " |"
        for row in rows
    ]
    return "\n".join([head, "|" + " --- |" + " ---: |" * (len(rows[0]) - 1), *body])
