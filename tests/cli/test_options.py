"""Options: help in groups, nearest names, one line for what is missing, ranges for all numbers."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys

import pytest

from xscale.cli import main
from xscale.cli._console import parse
from xscale.cli._mistakes import check_names, with_new_names
from xscale.cli._options import GROUPS, METAVARS, RANGES, options_of
from xscale.config import list_settings
from xscale.errors import UsageError
from xscale.training.settings import PRESETS, Settings

KINDS = {
    name: module.Options
    for name, (path, _) in main.COMMANDS.items()
    if hasattr(module := importlib.import_module(path), "Options")
}
OPTIONS = [(name, option) for name, kind in KINDS.items() for option in options_of(kind, name)]
NUMERIC = [(name, option) for name, option in OPTIONS if option.limits is not None]


def _words(name):
    """A command line that is right but for what is added."""
    given = {"SCENE": "s", "RUN": "r", "KIND": "zoom" if name == "path" else "mesh"}
    placed = [given.get(o.label, "x") for o in options_of(KINDS[name], name) if not o.flags]
    needed = ["--out", "o"] if name in ("train", "path", "export", "convert") else []
    return [name, *placed, *needed, *(["--to", "colmap"] if name == "convert" else [])]


@pytest.mark.parametrize(("name", "option"), NUMERIC, ids=lambda v: getattr(v, "name", v))
def test_numbers_outside_their_range_are_refused_before_anything_is_opened(
    name, option, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    limits = option.limits
    tried = [] if option.whole else ["nan", "inf", "-inf"]
    tried += [f"{limits.low - 1:g}"] if limits.low > -math.inf else []
    tried += ["0"] if limits.low == 0 and limits.above else []
    tried += [f"{limits.high + 1:.0f}"] if limits.high < math.inf else []
    count = len(option.metavar.split()) if option.metavar in ("X Y Z", "U V") else 1
    for value in tried:
        assert main.main([*_words(name), option.label, *[value] * count]) == 2, value
        line = capsys.readouterr().err
        assert re.fullmatch(rf"xscale: error: {option.label} must be .*, got .*\n", line), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda v: getattr(v, "name", v))
def test_every_option_has_a_meaning_a_metavar_and_numbers_a_range(name, option):
    assert option.meaning
    assert "None" not in option.metavar
    if option.numeric:
        assert option.limits is not None, f"give {option.name} a range in xscale/cli/_options.py"


def test_the_tables_name_no_option_that_does_not_exist():
    known = {option.name for _, option in OPTIONS} | {f"{n}.{o.name}" for n, o in OPTIONS}
    later = {"threads", "data_root", "workers"}
    assert set(RANGES) - known <= later
    assert {key for key in METAVARS if "." in key} <= known
    assert {key for key in GROUPS if "." in key} <= known


@pytest.mark.parametrize("name", sorted(KINDS))
def test_help_is_plain_text_in_groups_with_every_option(name, capsys):
    assert main.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert not re.search(r"[╭│{]|None\b|\bSTR\b", text)
    flat = " ".join(text.split())
    for option in options_of(KINDS[name], name):
        assert option.label in text or option.metavar.split("|")[0] in text
        assert " ".join(option.meaning.split()) in flat


def test_help_of_train_shows_groups_and_presets(capsys):
    main.main(["train", "--help"])
    text = capsys.readouterr().out
    groups = [text.index(f"\n{g}:") for g in ("input", "training", "output", "performance")]
    assert groups == sorted(groups)
    assert "|".join(PRESETS) in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "s", "--out", "o", "--stepz", "3"],
         "xscale train has no option --stepz; did you mean --steps?"),
        (["train"], "SCENE and --out RUN are missing; see xscale train --help"),
        (["train", "s"], "--out RUN is missing; see xscale train --help"),
        (["train", "s", "--out"], "--out needs a value: RUN; see xscale train --help"),
        (["train", "s", "t", "--out", "o"],
         "there is no place for 't'; see xscale train --help"),
        (["train", "s", "--out", "o", "--steps", "many"],
         "--steps takes a whole number, got 'many'; see xscale train --help"),
        (["train", "s", "--out", "o", "--minutes=soon"],
         "--minutes takes a number, got 'soon'; see xscale train --help"),
        (["train", "s", "--out", "o", "--background", "red"],
         "--background takes auto, learned, white, got 'red'; see xscale train --help"),
        (["train", "s", "--out", "o", "--preset", "best"], "no preset 'best'; there are "
         + ", ".join(PRESETS)),
        (["train", "s", "--out", "o", "--device", "gpu"],
         "no device 'gpu'; there are auto, cpu, cuda, cuda:0, ..., webgpu, webgpu:0, ..."),
        (["train", "s", "--out", "o", "--set", "optim.batchs=3"],
         "optim.batchs is not a setting; did you mean optim.batch?"),
        (["path"], "RUN, KIND and --out FILE are missing; see xscale path --help"),
        (["path", "r", "walk", "--out", "o"],
         "KIND takes orbit, spiral, interpolate, flythrough, zoom, got 'walk'; "
         "see xscale path --help"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_that_helps(words, line, capsys):
    assert main.main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"xscale: error: {line}\n")


def test_an_output_that_exists_is_refused_before_the_scene_is_opened(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").write_text("")
    assert main.main(["train", str(tmp_path / "no-scene"), "--out", str(tmp_path / "run")]) == 4
    assert "already exists; choose another folder, or --resume" in capsys.readouterr().err


def test_wrong_settings_are_refused_without_torch(tmp_path):
    code = (
        "import sys\nfrom xscale.cli.main import main\n"
        f"assert main(['train', 'x', '--out', {str(tmp_path / 'o')!r}, '--set', 'a=1']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


EARLIER = {
    "inspect": "alpha cameras colmap-model color convert-cmyk drop-outliers images json mesh "
    "mesh-repair no-outside on-bad-photo out overwrite pixel-origin pose-convention quick report "
    "strict transform unit",
    "convert": "alpha cameras colmap-model color convert-cmyk drop-outliers images mesh "
    "mesh-repair no-outside on-bad-photo out overwrite photos pixel-origin pose-convention text to "
    "transform",
    "train": "allow-leak alpha background cameras colmap-model color convert-cmyk deterministic "
    "device downscale drop-outliers encoding images mesh mesh-repair minutes no-outside "
    "on-bad-photo out photos-at-render pixel-origin pose-convention preset rasterizer requarantine "
    "resume seed set steps tensorboard test-every test-list transform",
    "render": "address background baseline cameras check data device encoding engine format fov "
    "fps join out outputs overwrite photos-at-render projection rasterizer samples shard "
    "side-by-side size split verify video views workers",
    "score": "lpips-weights mesh photos-at-render scene",
    "path": "closed closest degrees fps frames height keys out overwrite pixel plot radius size "
    "strict target turns views",
    "export": "colour data degree out overwrite page points texel udim",
    "demo": "lpips-weights minutes out set size steps",
    "doctor": "json",
    "bench": "device json overwrite",
}
"""Options that commands had before they were put in groups."""


@pytest.mark.parametrize("name", sorted(EARLIER))
def test_no_option_of_an_earlier_command_line_is_lost(name):
    words = with_new_names([f"--{option}" for option in EARLIER[name].split()])
    check_names(options_of(KINDS[name], name), words, name)


def test_old_names_of_options_still_work():
    kind = KINDS["train"]
    assert parse(kind, ["s", "--out", "o", "--requarantine"], "train").use_repaired
    assert parse(kind, ["s", "--out", "o", "--photos-at-render"], "train").source_photos
    assert parse(KINDS["render"], ["r", "--photos_at_render"], "render").source_photos
    assert parse(KINDS["score"], ["r", "--photos-at-render"], "score").source_photos
    assert parse(kind, ["s", "--out", "o", "--test_every", "3"], "train").test_every == 3


def test_report_of_inspect_takes_a_file():
    inspect = importlib.import_module("xscale.cli.inspect")
    for words in (["s", "--report", "a.html"], ["--report=a.html", "s"],
                  ["s", "--report", "--out", "a.html"]):  # fmt: skip
        options = parse(KINDS["inspect"], inspect._with_report_file(words), "inspect")
        assert (options.report, str(options.out), str(options.scene)) == (True, "a.html", "s")
    options = parse(KINDS["inspect"], inspect._with_report_file(["--report", "s"]), "inspect")
    assert (options.report, options.out, str(options.scene)) == (True, None, "s")


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_settings_lists_all_with_type_default_and_meaning(preset, capsys):
    assert main.main(["train", "--settings", "--preset", preset]) == 0
    text = capsys.readouterr().out
    for setting in list_settings(PRESETS[preset]):
        assert f"{setting.key}  {setting.kind}  (default: " in text
        assert setting.meaning
        assert setting.meaning.split()[0] in text
    assert len(list_settings(Settings())) == text.count("(default: ")


def test_settings_shows_what_set_changes_and_refuses_what_it_cannot(capsys):
    assert main.main(["train", "s", "--settings", "--set", "optim.batch=7", "--seed", "1"]) == 0
    assert "optim.batch  int  (default: 7)" in capsys.readouterr().out
    assert main.main(["train", "--settings", "--preset", "best"]) == 2


def test_python_refuses_the_same_numbers(tmp_path):
    from xscale.training.request import Request

    for wrong in ({"steps": 0}, {"steps": -1}, {"minutes": 0}, {"minutes": math.nan},
                  {"downscale": 0}, {"downscale": math.nan}, {"seed": -1},
                  {"device": "gpu"}):  # fmt: skip
        with pytest.raises(UsageError):
            Request(out=tmp_path / "run", **wrong).check()
    Request(out=tmp_path / "run", steps=1, seed=2**32 - 1).check()
