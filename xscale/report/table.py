"""Scores as tables of text: which figures are shown, in which order and with how many digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xscale.metrics.measures import METRICS, Metric, Score, metric_of
from xscale.metrics.variants import VARIANTS, suffixes_of

# Fair comparisons first.
_FIRST = ("_covered_cc", "_covered", "_cc")
MISSING = "–"


def shown(metric: str, value: Score) -> str:
    """Format a score: PSNR with two digits, the others with four; a dash where there is none."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return "∞" if value == "inf" else value
    return f"{value:.{metric_of(metric).digits}f}"


def mean_rows(mean: Mapping[str, Score]) -> list[list[str]]:
    """Lay out means: a row per variant, fair comparisons first, a column per metric."""
    suffixes = [
        v.suffix for v in VARIANTS if v.suffix in suffixes_of() or "psnr" + v.suffix in mean
    ]
    suffixes = [*_FIRST, *(s for s in suffixes if s not in _FIRST)]
    titles = {variant.suffix: variant.title for variant in VARIANTS}
    columns = columns_of(mean)
    rows = [["", *(metric.title for metric in columns)]]
    rows += [[titles[s], *_figures(mean, s, columns)] for s in suffixes]
    return rows


def columns_of(scores: Mapping[str, Score]) -> list[Metric]:
    """Return the metrics of a table: those of every scores file, and those on request in this."""
    return [m for m in METRICS if not m.on_request or m.name in scores]


def _figures(scores: Mapping[str, Score], suffix: str, columns: Sequence[Metric]) -> list[str]:
    return [shown(metric.name, scores.get(metric.name + suffix)) for metric in columns]


def photo_rows(photos: Mapping[str, Mapping[str, Score]], suffix: str) -> list[list[str]]:
    """Lay out one variant: a row per photo, a column per metric."""
    columns = columns_of(next(iter(photos.values()), {}))
    rows = [["photo", *(metric.title for metric in columns)]]
    rows += [[name, *_figures(row, suffix, columns)] for name, row in photos.items()]
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
