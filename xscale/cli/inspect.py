"""``xscale inspect``: what a scene folder holds, and whether its parts belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from xscale.cli._console import parse, print_json, print_table, progress_bar, result, warn
from xscale.cli._scene import SceneArguments

if TYPE_CHECKING:
    from xscale.inspection.examine import Inspection

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Options(SceneArguments):
    """Print what a scene folder holds and check that photos, cameras and mesh fit together.

    Nothing is written without --report. The exit code is 0, with remarks too, or 3 if the scene
    cannot be used.
    """

    unit: Literal["m", "cm", "mm"] | None = None
    """Length of a scene unit, if it is known; sizes on the surface are then in mm."""
    report: bool = False
    """Write a page with views of the scene, footprints, and the photos, worst first. The default
    file is inspect-NAME.html in the current folder."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the page, as in --report FILE."""
    overwrite: bool = False
    """Replace an existing page."""
    quick: bool = False
    """Skip the short trial training that measures the speed of this machine."""
    strict: bool = False
    """Count remarks as errors (exit code 3)."""
    json: bool = False
    """Print one JSON document instead of tables."""


def run(argv: list[str]) -> int:
    """Open the scene, look at it through its cameras, print."""
    options = parse(Options, _with_report_file(argv), "inspect")
    from xscale.errors import ListError, SceneError
    from xscale.inspection.examine import examine

    scene = options.open()
    with progress_bar() as bar:
        task = bar.add_task("looking at the scene", total=None)
        found = examine(
            scene,
            measure=not options.quick,
            on_stage=lambda line: bar.update(task, description=line),
            on_photo=lambda done, count: bar.update(task, completed=done, total=count),
        )
    if options.json:
        print_json(found.facts)
    else:
        _print(found, options.unit)
    leaks = [line for line in found.facts["warnings"] if line.startswith("W-PHOTO-LEAK: ")]
    for warning in found.facts["warnings"]:
        if warning not in leaks:
            warn(warning)
    if options.report or options.out is not None:
        _write_page(found, options)
    plan = found.facts["plan"]
    if not plan["possible"]:
        raise SceneError(
            plan["because"], where=options.scene, advice="xscale train refuses it as well"
        )
    if leaks:
        raise ListError(
            leaks[0].partition(": ")[2],
            where=options.scene,
            advice="xscale train refuses it as well; with --allow-leak it does not",
        )
    return 3 if options.strict and found.facts["warnings"] else 0


def _with_report_file(argv: list[str]) -> list[str]:
    """Write ``--report FILE.html`` and ``--report=FILE`` as ``--report --out FILE``."""
    found: list[str] = []
    for word in argv:
        option, equals, path = word.partition("=")
        if option == "--report" and equals:
            found += ["--report", "--out", path]
        elif found[-1:] == ["--report"] and word.lower().endswith((".html", ".htm")):
            found += ["--out", word]
        else:
            found.append(word)
    return found


def _write_page(found: Inspection, options: Options) -> None:
    from xscale.inspection.page import write_page

    name = options.scene.resolve().name
    path = options.out or Path(f"inspect-{name}.html")
    write_page(path, found, title=name, unit=options.unit, overwrite=options.overwrite)
    if not options.json:
        result(path)


def _print(found: Inspection, unit: str | None) -> None:
    from xscale.inspection.words import measures, plan_lines

    facts = found.facts
    for label, text in {**measures(facts, unit), **plan_lines(facts["plan"])}.items():
        result(f"{label:<10} {text}")
    suspicious = facts["suspicious"]
    worst = found.worst_first()[:_SHOWN]
    rows = {row.name: row for row in found.rows}
    shown = [rows[look.photo.name] for look in worst]
    print_table(
        "Photos, the most doubtful first (distances in pixels of the photo)",
        ("photo", "coverage", "neighbours off", "sparse points off", "edges off"),
        [(r.name, r.coverage, r.neighbours, r.reprojection, r.edges) for r in shown],
    )
    if suspicious:
        result(f"{len(suspicious)} suspicious, the worst first:")
        for entry in suspicious[:_SHOWN]:
            result(f"  {entry['photo'] or 'scene'}: {entry['what']}; {entry['advice']}")
    elif facts["warnings"]:
        result("See remarks.")
    if not any(entry["photo"] is None for entry in suspicious):
        result(facts["verdict"]["line"])
