"""The tables of RESULTS.md, written from the files in results/.

    python -m benchmarks.tables         # the ops' table, from results/cpu.json
    python -m benchmarks.tables FILE    # the GPU's, from what benchmarks.gpu_bars wrote

The scenes' table is written by benchmarks.scenes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
_BUSY = 0.25  # cores
_GPU_COLUMNS = {"ours": 3, "peer": 3, "ratio": 1, "share_of_ceiling": 2}
METRICS = ("psnr_covered_cc", "ssim_covered_cc", "lpips_alex_covered_cc", "lpips_vgg_covered_cc")


def scenes(found: dict, baselines: dict) -> list[str]:
    """Return the lines of the scenes' table.

    Args:
        found: For each scene its ``mean`` scores, those ``with_photos`` where the run was
            scored so, ``command``, ``rays`` and ``commit``.
        baselines: For each scene the other methods' scores, by family and method.
    """
    heads = ["scene", "method", *(m.removesuffix("_covered_cc") for m in METRICS)]
    rows = []
    for name, others in baselines.items():
        if name not in found:
            continue
        methods = {"**xscale `default`**": found[name]["mean"]}
        if "with_photos" in found[name]:
            methods["**xscale, source photos**"] = found[name]["with_photos"]
        for family, label in (("scenes", ""), ("image_based", "image-based ")):
            for method, scores in others[family].items():
                if not method.endswith("no_compensation"):
                    methods[label + method.replace("_", " ")] = scores
        for method, scores in methods.items():
            rows.append([name, method, *(number(scores.get(m), 4) for m in METRICS)])
    notes = [
        f"- {name}: `{s['command']}`, {s['rays'] / 1e6:.0f} M rays, commit {s['commit']}"
        for name, s in found.items()
    ]
    return [*table(heads, rows, text_columns=2), "", *notes]


def ops(bench: dict) -> list[str]:
    """Return the lines of the ops' table from what ``xscale bench all --json`` wrote."""
    heads = ["name", "shape", "threads", "peer", "ours ms", "peer ms", "ratio", "share of ceiling"]
    rows = [
        [
            r["name"] + (" (busy)" if r.get("others", 0.0) > _BUSY else ""),
            r["shape"],
            str(r["threads"]),
            r["peer_name"],
            number(r["ours"], 2),
            number(r["peer"], 2),
            number(r["ratio"], 1),
            number(r["share_of_ceiling"], 2),
        ]
        for r in bench["rows"]
    ]
    machine = bench["machine"]
    about = (
        f"{machine['cpu']}, {machine['cores']:g} cores, {machine['isa']}, load "
        f"{max(r['load'] for r in bench['rows']):.1f}, commit {bench['commit']}. Medians. "
        f"Rows marked busy ran while other processes used more than {_BUSY:g} cores: there only "
        "ratios say something, and those roughly."
    )
    return [*table(heads, rows, text_columns=4), "", about]


def gpu(found: dict) -> list[str]:
    """Return the lines of a GPU's table from what ``benchmarks.gpu_bars`` wrote."""
    heads = [
        "name", "shape", "peer", "others", "bar", "met", "ours ms", "peer ms", "ratio",
        "share of ceiling",
    ]  # fmt: skip
    rows = []
    for r in found["rows"]:
        if "failure" in r:
            rows.append([r["name"], f"FAILED: {r['failure']}".replace("|", "/"), *["-"] * 8])
        elif "rate" in r:
            if "megabytes" not in r:
                rate = f"{r['rate']:,.0f} {r['unit']}"
                rows.append([r["name"], r["shape"], "ceiling", *["-"] * 3, rate, *["-"] * 3])
        else:
            named = ", ".join(
                f"{name} {value:.3f} ms" for name, value in r.get("peers_ms", {}).items()
            )
            figures = [number(r[key], digits) for key, digits in _GPU_COLUMNS.items()]
            met = {True: "yes", False: "no"}.get(r.get("met"), "-")
            words = [r["name"], r["shape"], r["peer_name"], named or "-", r.get("bar", "-"), met]
            rows.append([*words, *figures])
    machine = found["machine"]
    gpu_name = (machine["gpu"] or {}).get("name", "no GPU")
    command = "make gpu-check PART=3 and PART=4"
    about = f"{gpu_name}, commit {found['commit']}, `{command}`. Medians."
    lines = [*table(heads, rows, text_columns=6), "", about]
    return (
        [*lines, "", *_ceilings(found["rows"])]
        if any("megabytes" in r for r in found["rows"])
        else lines
    )


def _ceilings(found: Sequence[dict]) -> list[str]:
    """Return the lines of the table of rows visited, millions a second, by the table's size."""
    sizes = sorted({r["megabytes"] for r in found if "megabytes" in r})
    rates: dict[str, dict[int, float]] = {}
    for r in found:
        if "megabytes" in r:
            rates.setdefault(r["name"], {})[r["megabytes"]] = r["rate"]
    heads = ["rows visited, M/s", *(f"{size} MB" for size in sizes)]
    rows = [
        [name, *(f"{of[size]:,.0f}" if size in of else "-" for size in sizes)]
        for name, of in rates.items()
    ]
    return table(heads, rows, text_columns=1)


def write(name: str, lines: Sequence[str]) -> None:
    """Replace what stands between a table's markers in RESULTS.md."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = HERE / "RESULTS.md"
    before, rest = page.read_text().split(start)
    page.write_text("\n".join([before + start, *lines, end]) + rest.split(end)[1])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """Return a Markdown table's lines; the first columns are text, the others numbers."""
    marks = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return ["| " + " | ".join(cells) + " |" for cells in (heads, marks, *rows)]


def number(value: float | None, digits: int) -> str:
    """Return a figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write("gpu", gpu(json.loads(Path(sys.argv[1]).read_text())))
    else:
        write("ops", ops(json.loads((HERE / "results" / "cpu.json").read_text())))
