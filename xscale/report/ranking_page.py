"""The benchmark's page: table, every photo's scores, the differences' intervals, the protocol."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from xscale.io.storage import write_text
from xscale.metrics.measures import metric_of
from xscale.report.html import breakable, escaped, folded, plural
from xscale.report.ranking import Ranking, table
from xscale.report.scale_page import resources_section, scales_section

_SHOWN = ("psnr", "psnr_covered_cc", "ssim_covered_cc", "lpips_vgg_covered_cc",
          "lpips_alex_covered_cc")  # fmt: skip

_LEAST_GROUPS = 2


def write_page(
    path: str | Path,
    files: Sequence[Mapping[str, Any]],
    rankings: Sequence[Ranking],
    *,
    pictures: str = "",
    thumbnails: Mapping[str, Mapping[str, str]] | None = None,
    quoted: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a page that holds all it shows and asks nothing of a network.

    Args:
        path: The file.
        files: Scores files, read.
        rankings: Of these files.
        pictures: Sections with pictures, see ``xscale.report.ranking_pictures``.
        thumbnails: Small pictures of photos as HTML, by scene and name.
        quoted: Figures that others published, as HTML.
        overwrite: Whether the file may exist.

    Raises:
        OutputExistsError: It exists.
        StorageError: It cannot be written.
    """
    path = Path(path)
    write_text(path, page(files, rankings, pictures, thumbnails, quoted), overwrite=overwrite)
    return path


def page(
    files: Sequence[Mapping[str, Any]],
    rankings: Sequence[Ranking],
    pictures: str = "",
    thumbnails: Mapping[str, Mapping[str, str]] | None = None,
    quoted: str = "",
) -> str:
    """Return the page as HTML."""
    here = resources.files("xscale.report")
    style = here.joinpath("page.css").read_text("utf-8")
    style += here.joinpath("ranking.css").read_text("utf-8")
    script = "".join(here.joinpath(name).read_text("utf-8") for name in ("wipe.js", "ranking.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    scenes = [
        _scene(ranking, files, (thumbnails or {}).get(ranking.scene, {})) for ranking in rankings
    ]
    quoted = quoted and f"<section><h2>Quoted figures</h2>{quoted}</section>"
    body = (
        "<main><h1>Benchmark</h1>"
        f"<p>{plural(len(rankings), 'scene')}, "
        f"{plural(len({f['method'] for f in files}), 'method')}. Every figure can be made again "
        "from the pictures; the hashes at the end say which they were.</p>"
        f"{table(rankings, 'html')}{''.join(scenes)}{pictures}{quoted}{_protocol(files)}</main>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>xscale benchmark</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _scene(
    ranking: Ranking, files: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, str]
) -> str:
    own = [file for file in files if file["scene"] == ranking.scene]
    return (
        f"<section><h2>{escaped(ranking.scene)}</h2>{_intervals(ranking)}{scales_section(own)}"
        f"{resources_section(own)}{_photos(own, thumbnails)}</section>"
    )


def _intervals(ranking: Ranking) -> str:
    """Return the differences between methods, drawn as bars around zero."""
    rows = []
    for metric in ranking.metrics:
        pairs = {
            (one, other): interval
            for (name, one, other), interval in ranking.intervals.items()
            if name == metric and ranking.methods.index(one) < ranking.methods.index(other)
        }
        for (one, other), i in pairs.items():
            digits = metric_of(metric).digits
            sure = "beyond chance" if i.excludes_zero else "within chance"
            span = f"{i.low:+.{digits}f} to {i.high:+.{digits}f}"
            if i.groups < _LEAST_GROUPS:
                span, sure = "–", "one group of views: chance is not known"
            rows.append(
                f"<tr><th scope=row>{breakable(metric)}</th><td>{escaped(one)} − {escaped(other)}"
                f"</td><td>{i.mean:+.{digits}f}</td><td>{span}</td><td>{sure}</td></tr>"
            )
    if not rows:
        return ""
    return (
        "<h3>Differences</h3><p>Mean of the paired differences with its 95 % interval over groups "
        'of neighbouring views.</p><div class="scroll"><table class="pairs"><thead><tr>'
        "<th>metric</th>"
        "<th>methods</th><th>difference</th><th>interval</th><th></th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table></div>"
    )


def _photos(files: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, str]) -> str:
    """Return the table of all photos; its heads sort it."""
    metrics = [m for m in _SHOWN if any(m in file["mean"] for file in files)]
    heads = "".join(f'<th><button type="button">{breakable(m)}</button></th>' for m in metrics)
    rows = []
    for file in files:
        for name, row in file["photos"].items():
            cells = "".join(_number(row.get(metric), metric) for metric in metrics)
            rows.append(
                f"<tr><td>{thumbnails.get(name, '')}{escaped(name)}</td>"
                f"<td>{escaped(file['method'])}</td>"
                f"<td>{escaped(file['groups'].get(name, ''))}</td>{cells}</tr>"
            )
    return (
        '<h3>Photos</h3><div class="scroll"><table class="sortable"><thead><tr>'
        '<th><button type="button">photo</button></th><th><button type="button">method</button>'
        f'</th><th><button type="button">group</button></th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _number(value: object, metric: str) -> str:
    if not isinstance(value, int | float):
        return f"<td>{escaped(value if value is not None else 'missing')}</td>"
    return f"<td>{value:.{2 if metric.startswith('psnr') else 4}f}</td>"


def _protocol(files: Sequence[Mapping[str, Any]]) -> str:
    rules = [
        folded(
            escaped(f"{file['scene']}: {file['method']}"),
            {"protocol": file["protocol"], "sha256": file.get("sha256", {})},
        )
        for file in files
    ]
    return (
        "<section><h2>Protocol</h2><ul>"
        "<li>Pictures are compared with the test photos of a split, at their own size; nothing is "
        "resized and nothing is left out: a missing picture makes the mean missing.</li>"
        "<li><b>_covered</b>: only pixels that the mesh covers, by masks that are the same for all "
        f"methods{_backs(files)}. <b>_cc</b>: after an affine colour fit, since a test photo's "
        "exposure is never looked at. <b>_ccq</b>: after a quadratic fit, as multinerf and gsplat "
        "(quadratic) report it.</li>"
        "<li><b>lpips_vgg_unit</b>: VGG with inputs in [0, 1], the convention of splatting codes; "
        "<b>lpips_vgg</b> and <b>lpips_alex</b>: the lpips package's inputs in [-1, 1].</li>"
        f"<li>Fitted to the test photos before rendering: {_exposures(files)}. Fitting there gains "
        "1 to 2 dB.</li>"
        "<li>Two files are comparable where their protocol's hash is equal.</li></ul>"
        f"{''.join(rules)}</section>"
    )


def _backs(files: Sequence[Mapping[str, Any]]) -> str:
    """Return what the masks say of faces seen from behind, where all files agree about it."""
    words = {
        "uncovered": "; pixels that show a face from behind, through a hole, are not covered",
        "covered": "; pixels that show a face from behind, through a hole, count as covered",
    }
    rules = {file["protocol"].get("back_faces") for file in files}
    return words.get(rules.pop(), "") if len(rules) == 1 else ""


def _exposures(files: Sequence[Mapping[str, Any]]) -> str:
    """Return what is known of each method's exposures."""
    known = {file["method"]: file["protocol"].get("test_exposure", "unknown") for file in files}
    words = {"fitted": "yes", "not fitted": "no"}
    return ", ".join(f"{escaped(m)} {words.get(x, 'not known')}" for m, x in known.items())
