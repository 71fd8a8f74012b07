"""The benchmark page shows the methods' pictures beside the photos."""

import json

import numpy as np

from xscale.cli.main import main
from xscale.giganvs.score import score
from xscale.io.photo.images import write_png
from xscale.report.ranking_pictures import EDGES, _averaged, _count, _crop, _Totals


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
    assert text.count('<section class="compare">') == len(test)
    assert text.count("data:image/jpeg;base64,") == 3 * len(test)
    assert "<i>soft" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert main(["giganvs", "table", *files, "--pictures", *pictures]) == 2
    assert main([*argv[:-1], "nonsense", "--scene", str(prepared.path)]) == 2


def test_errors_are_counted_in_their_bins_and_scales_average_noise_away(rng):
    photo = np.full((64, 64, 3), 100, np.uint8)
    render = photo.copy()
    render[:, :32] += 5
    render[:16] = 200
    totals = _Totals()
    _count(totals, render, photo)
    share = dict(zip(EDGES[:-1], totals.errors / 64**2, strict=True))
    assert share == {0: 0.375, 2: 0, 4: 0.375, 8: 0, 16: 0, 32: 0.25}
    noisy = (100 + rng.integers(-20, 21, photo.shape)).astype(np.uint8)
    totals = _Totals()
    _count(totals, noisy, photo)
    means = [totals.decibels[side][0] for side in (1, 2, 4, 8)]
    np.testing.assert_allclose(np.diff(means), 6.02, atol=0.8)
    assert _averaged(photo[:63], 8).shape == (7, 8, 3)


def test_crops_lie_where_renders_are_worst():
    photo = np.full((200, 300, 3), 100, np.uint8)
    render = photo.copy()
    render[100:130, 200:230] = 220
    cut = _crop({"photo": photo, "mine": render}, 96)
    assert cut["mine"].shape == (96, 96, 3)
    assert (cut["mine"] == 220).sum() == 30 * 30 * 3
    assert (cut["photo"] == 100).all()
    assert _crop({"photo": photo, "mine": render}, 384) == {}
