"""The benchmark page shows the methods' pictures beside the photos."""

import json
import re

import numpy as np

from xscale.cli.main import main
from xscale.giganvs.score import score
from xscale.io.photo.images import write_png
from xscale.report.predictions import find_predictions
from xscale.report.ranking_pictures import _crop, pictures_section


def methods_of(prepared, folder, rng):
    arguments, files = [], []
    for name, noise in (("sharp", 3), ("<i>soft</i>", 20)):
        pred = folder / f"m{noise}"
        for photo in prepared.split("every7").test:
            values = prepared.photo(photo).astype(np.float64)
            values = np.clip(values + rng.normal(0, noise, values.shape), 0, 255)
            write_png(pred / f"{photo.rsplit('.', 1)[0]}.png", values.astype(np.uint8))
        files.append(folder / f"{noise}.json")
        files[-1].write_text(json.dumps(score(pred, prepared, method=name)))
        arguments.append(f"{name}={pred}")
    return list(map(str, files)), arguments


def test_a_page_shows_every_picture_of_every_method(prepared, tmp_path, rng):
    files, pictures = methods_of(prepared, tmp_path, rng)
    out = tmp_path / "page.html"
    argv = ["giganvs", "table", *files, "--page", str(out), "--pictures", *pictures]
    assert main(argv) == 2
    assert not out.exists()
    assert main([*argv, "--scene", str(prepared.path)]) == 0
    text = out.read_text()
    test = prepared.split("every7").test
    assert text.count("<figure>") == 3 * len(test)
    assert text.count('<section class="compare" id=') == len(test)
    # Two methods in the list, each with its thumbnail that leads to the photo's section.
    assert text.count("data:image/jpeg;base64,") == 3 * len(test) + 2 * len(test)
    assert set(re.findall(r'href="#(photo-\w+)"', text)) == set(
        re.findall(r'class="compare" id="(photo-\w+)"', text)
    )
    assert "<i>soft" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert main(["giganvs", "table", *files, "--pictures", *pictures]) == 2
    assert main([*argv[:-1], "nonsense", "--scene", str(prepared.path)]) == 2


def test_crops_lie_where_renders_are_worst():
    photo = np.full((200, 300, 3), 100, np.uint8)
    render = photo.copy()
    render[100:130, 200:230] = 220
    cut = _crop({"photo": photo, "mine": render}, 96)
    assert cut["mine"].shape == (96, 96, 3)
    assert (cut["mine"] == 220).sum() == 30 * 30 * 3
    assert (cut["photo"] == 100).all()
    assert _crop({"photo": photo, "mine": render}, 384) == {}


def test_errors_are_counted_in_their_bins(tmp_path):
    photo = np.full((64, 64, 3), 100, np.uint8)
    render = photo.copy()
    render[:, :32] += 5
    render[:16] = 200
    write_png(tmp_path / "a.png", render)
    found = find_predictions(tmp_path, ["a.jpg"], ["a.jpg"])
    text = pictures_section("office", ["a.jpg"], lambda name: photo, {"mine": found})
    shares = re.findall(r"<title>mine: ([0-9.]+) %</title>", text)
    assert list(map(float, shares)) == [37.5, 0, 37.5, 0, 0, 25]
