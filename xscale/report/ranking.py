"""The benchmark's table: methods beside each other, with chance beside the figures."""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from xscale.errors import InputError, UsageError
from xscale.io.hashing import checked_by_own_hash
from xscale.io.own_files import read_own_json
from xscale.metrics.measures import metric_of
from xscale.report.html import breakable
from xscale.report.statistics import Interval, paired_interval

Format = Literal["markdown", "csv", "latex", "html"]
METRICS = ("psnr", "ssim", "lpips_vgg", "lpips_alex", "psnr_covered_cc", "ssim_covered_cc",
           "lpips_vgg_covered_cc", "lpips_alex_covered_cc", "lpips_vgg_unit", "dists_covered_cc",
           "flip_covered_cc")  # fmt: skip
"""Columns of the table, where the files have them."""
_MOST_SCORE = 1e6


@dataclass(frozen=True)
class Cell:
    """One figure of the table."""

    mean: float | None
    spread: float | None
    """Standard deviation over seeds; None for a single run."""
    word: str
    """Reason why there is no mean: ``missing``, ``inf`` or ``not scored``."""
    best: bool
    """Whether it is the best and its difference to every other method excludes zero."""


@dataclass(frozen=True)
class Ranking:
    """Figures by method and metric, and why a best one is marked or not."""

    scene: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]
    intervals: dict[tuple[str, str, str], Interval]
    """By metric, first and second method: first minus second."""
    missing: dict[str, int]
    """Test photos without a picture, by method."""


def read_scores(path: str | Path) -> dict[str, Any]:
    """Read a benchmark's scores file.

    Raises:
        InputError: It does not exist or is not one.
        IntegrityError: It is damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(
            "is a folder", where=path, advice="name scores files: DIR/*/*/*/benchmark.json of a run"
        )
    try:
        scores = _read(path)
    except FileNotFoundError:
        raise InputError(
            "does not exist", where=path, advice="xscale giganvs score makes one"
        ) from None
    fits = all(isinstance(scores.get(key), kind) for key, kind in (
        ("method", str), ("scene", str), ("protocol", dict), ("photos", dict), ("groups", dict),
        ("mean", dict),
    )) and _holds_rows(scores)  # fmt: skip
    if not fits or not isinstance(scores["protocol"].get("hash"), str):
        raise InputError(
            "is not a scores file of the benchmark", where=path,
            advice="give files that xscale giganvs score wrote",
        )  # fmt: skip
    if (used := resources_file(path)).is_file():
        scores["resources"] = _read(used)
    return scores


def _read(path: Path) -> dict[str, Any]:
    return checked_by_own_hash(read_own_json(path), path, "score the pictures again")


def _holds_rows(scores: Mapping[str, Any]) -> bool:
    """Whether means, photos, groups and missing photos are of the kinds that tables need."""
    rows = [scores["mean"], *scores["photos"].values()]
    return (
        all(isinstance(row, dict) and all(map(_is_score, row.values())) for row in rows)
        and all(isinstance(group, int | str) for group in scores["groups"].values())
        and isinstance(scores.get("missing", []), list)
    )


def _is_score(value: object) -> bool:
    """Whether a number of a row can be averaged; texts and lists stand beside the numbers."""
    return not isinstance(value, int | float) or abs(value) < _MOST_SCORE


def resources_file(path: str | Path) -> Path:
    """Return the file beside a scores file that says which time and memory its pictures took."""
    return Path(path).with_suffix(".resources.json")


def rank(files: Sequence[Mapping[str, Any]], *, force: bool = False) -> list[Ranking]:
    """Return a ranking a scene; several files of one method are its seeds.

    Args:
        files: Scores files, read.
        force: Whether files of different protocols may stand beside each other.

    Raises:
        UsageError: Protocols differ.
    """
    scenes: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for file in files:
        scenes[file["scene"]].append(file)
    return [_rank(scene, scenes[scene], force) for scene in sorted(scenes)]


def _rank(scene: str, files: Sequence[Mapping[str, Any]], force: bool) -> Ranking:
    _refuse_same(scene, files, force)
    protocols = {file["protocol"]["hash"] for file in files}
    if len(protocols) > 1 and not force:
        raise UsageError(
            f"the scores of {scene} follow {len(protocols)} protocols ({_different(files)})",
            advice="score all methods on the same split, sizes and masks, or give --force",
        )
    methods: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for file in files:
        methods[file["method"]].append(file)
    names = tuple(methods)
    metrics = tuple(m for m in METRICS if any(m in file["mean"] for file in files))
    cells: dict[tuple[str, str], Cell] = {}
    intervals: dict[tuple[str, str, str], Interval] = {}
    for metric in metrics:
        photos = {method: _photos(methods[method], metric) for method in names}
        for one in names:
            for other in names:
                if one != other and (found := _compared(photos[one], photos[other], files[0])):
                    intervals[metric, one, other] = found
        for method in names:
            means = [file["mean"].get(metric) for file in methods[method]]
            numbers = [m for m in means if isinstance(m, int | float)]
            whole = numbers and len(numbers) == len(means)
            lost = any(file.get("missing") for file in methods[method])
            word = "missing" if lost else "inf" if "inf" in means else "not scored"
            cells[method, metric] = Cell(
                statistics.fmean(numbers) if whole else None,
                statistics.stdev(numbers) if whole and len(numbers) > 1 else None,
                word,
                len(names) > 1 and all(
                    _beats(metric, intervals.get((metric, method, other)))
                    for other in names if other != method
                ),
            )  # fmt: skip
    missing = {m: max(len(f.get("missing", [])) for f in methods[m]) for m in names}
    return Ranking(scene, names, metrics, cells, intervals, missing)


def _refuse_same(scene: str, files: Sequence[Mapping[str, Any]], force: bool) -> None:
    """Refuse the same pictures as two seeds of a method: their spread would be none."""
    seen: list[tuple[str, object]] = []
    for file in files:
        key = (file["method"], file.get("sha256"))
        if key in seen and key[1] and not force:
            raise UsageError(
                f"two scores of {file['method']} on {scene} are of the same pictures",
                advice="give each file once, or --force",
            )
        seen.append(key)


def _photos(files: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Return a method's score of each photo, the mean of its seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for file in files:
        for name, row in file["photos"].items():
            if isinstance(row.get(metric), int | float):
                found[name].append(row[metric])
    return {name: statistics.fmean(v) for name, v in found.items() if len(v) == len(files)}


def _compared(
    one: Mapping[str, float], other: Mapping[str, float], file: Mapping[str, Any]
) -> Interval | None:
    """Return the interval of two methods' difference; None where one lacks a photo's score."""
    names = [name for name in file["photos"] if name in one and name in other]
    if not names or len(names) < max(len(one), len(other)):
        return None
    differences = [one[name] - other[name] for name in names]
    return paired_interval(differences, [file["groups"].get(name, name) for name in names])


def _beats(metric: str, interval: Interval | None) -> bool:
    if interval is None:
        return False
    return interval.high < 0 if metric_of(metric).lower_is_better else interval.low > 0


def _different(files: Sequence[Mapping[str, Any]]) -> str:
    rules = [file["protocol"].get("rules", {}) for file in files]
    keys = {key for rule in rules for key in rule}
    odd = sorted(k for k in keys if len({repr(rule.get(k)) for rule in rules}) > 1)
    return "different: " + ", ".join(odd) if odd else "different rules"


def table(rankings: Sequence[Ranking], kind: Format = "markdown") -> str:
    """Return rankings as a table.

    Args:
        rankings: See ``rank``.
        kind: ``markdown``, ``csv``, ``latex`` or ``html``.
    """
    return {"markdown": _markdown, "csv": _csv, "latex": _latex, "html": _html}[kind](rankings)


def _shown(cell: Cell, metric: str) -> str:
    if cell.mean is None:
        return cell.word
    digits = metric_of(metric).digits
    spread = "" if cell.spread is None else f" ± {cell.spread:.{digits}f}"
    return f"{cell.mean:.{digits}f}{spread}"


def _markdown(rankings: Sequence[Ranking]) -> str:
    lines = []
    for ranking in rankings:
        lines += [f"| {_cell(ranking.scene)} | {' | '.join(ranking.metrics)} |"]
        lines += ["| --- |" + " ---: |" * len(ranking.metrics)]
        for method in ranking.methods:
            row = []
            for metric in ranking.metrics:
                cell = ranking.cells[method, metric]
                text = _shown(cell, metric)
                row.append(f"**{text}**" if cell.best else text)
            lines.append(f"| {_cell(method)} | {' | '.join(row)} |")
        lines.append("")
    return "\n".join([*lines, NOTE, ""])


NOTE = (
    "± is the standard deviation over seeds. The best figure is bold only where the 95 % interval "
    "of its paired difference to every other method, over groups of neighbouring views, excludes "
    "zero."
)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(rankings: Sequence[Ranking]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["scene", "method", "metric", "mean", "spread", "best"])
    for ranking in rankings:
        for (method, metric), cell in ranking.cells.items():
            writer.writerow([ranking.scene, method, metric, cell.mean, cell.spread, cell.best])
    return out.getvalue()


def _latex(rankings: Sequence[Ranking]) -> str:
    lines = []
    for ranking in rankings:
        columns = " & ".join(tex(m) for m in ranking.metrics)
        lines += [f"\\begin{{tabular}}{{l{'r' * len(ranking.metrics)}}}", "\\toprule"]
        lines += [f"{tex(ranking.scene)} & {columns} \\\\", "\\midrule"]
        for method in ranking.methods:
            row = []
            for metric in ranking.metrics:
                cell = ranking.cells[method, metric]
                text = _shown(cell, metric).replace("±", "$\\pm$")
                row.append(f"\\textbf{{{text}}}" if cell.best else text)
            lines.append(f"{tex(method)} & {' & '.join(row)} \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines)


_SPECIAL = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}


def tex(text: str) -> str:
    """Return text with what LaTeX would read as a command escaped."""
    return "".join(_SPECIAL.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _html(rankings: Sequence[Ranking]) -> str:
    parts = []
    for ranking in rankings:
        head = "".join(f'<th scope="col">{breakable(m)}</th>' for m in ranking.metrics)
        rows = []
        for method in ranking.methods:
            cells = []
            for metric in ranking.metrics:
                cell = ranking.cells[method, metric]
                text = escape(_shown(cell, metric))
                cells.append(f"<td>{f'<b>{text}</b>' if cell.best else text}</td>")
            rows.append(f'<tr><th scope="row">{escape(method)}</th>{"".join(cells)}</tr>')
        parts.append(
            f'<div class="scroll"><table><thead><tr><th scope="col">{escape(ranking.scene)}</th>'
            f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
    return "\n".join([*parts, f"<p>{escape(NOTE)}</p>"])
