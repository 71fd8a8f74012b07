"""Films say what their colours mean, and show the frames' colours."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from xscale.cli.main import main
from xscale.io.photo.images import write_png
from xscale.render.camera_path import CameraPath, NamedCamera, write_camera_path
from xscale.render.video import write_video

ffmpeg = pytest.importorskip("imageio_ffmpeg")
_SIZE = (96, 64)


def _frames(folder):
    x, y = np.meshgrid(np.linspace(0, 1, _SIZE[0]), np.linspace(0, 1, _SIZE[1]))
    frames = []
    for k in range(4):
        waves = [np.sin(3 * x * (c + 1) + 2 * y + k + 2 * c) for c in range(3)]
        frames.append((128 + 100 * np.stack(waves, -1)).astype(np.uint8))
        write_png(folder / f"{k}.png", frames[-1])
    return frames, [folder / f"{k}.png" for k in range(4)]


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_film_is_tagged_and_has_the_frames_colours(tmp_path, kind):
    frames, pictures = _frames(tmp_path)
    film = tmp_path / f"a.{kind}"
    write_video(film, pictures, kind, 24.0)
    program = ffmpeg.get_ffmpeg_exe()
    said = subprocess.run([program, "-i", film], capture_output=True, text=True, check=False)
    (line,) = [line for line in said.stderr.splitlines() if "Video:" in line]
    # One word stands for matrix, primaries and transfer where all three are the same.
    assert "yuv420p(tv, bt709" in line
    decode = "scale=in_color_matrix=bt709:in_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"
    words = [program, "-v", "error", "-i", film, "-vf", decode]
    raw = [*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(raw, capture_output=True, check=True).stdout
    found = np.frombuffer(data, np.uint8).reshape(4, _SIZE[1], _SIZE[0], 3).astype(np.float64)
    assert np.abs((found - np.array(frames)).mean(axis=(0, 1, 2))).max() < 0.5


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_ffprobe_reads_every_tag(tmp_path, kind):
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("not installed: ffprobe")
    _, pictures = _frames(tmp_path)
    film = tmp_path / f"a.{kind}"
    write_video(film, pictures, kind, 24.0)
    said = subprocess.run(
        [ffprobe, "-v", "error", "-show_streams", "-of", "json", film],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (stream,) = json.loads(said.stdout)["streams"]
    for tag in ("color_space", "color_primaries", "color_transfer"):
        assert stream[tag] == "bt709", tag
    assert stream["color_range"] == "tv"
    assert stream["pix_fmt"] == "yuv420p"
    assert (stream["width"], stream["height"]) == _SIZE
    assert stream["r_frame_rate"] == "24/1"


# imageio-ffmpeg leaves closing its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_film_shows_no_frame_that_changed_on_the_disk(tiny_run, asymmetric, tmp_path, capsys):
    cameras = [NamedCamera(f"{k}", c) for k, c in enumerate(asymmetric.cameras.values())][:2]
    write_camera_path(tmp_path / "p.json", CameraPath(tuple(cameras), 10.0))
    out = tmp_path / "frames"
    line = ["render", str(tiny_run.path), "--cameras", str(tmp_path / "p.json"), "--size", "48x32",
            "--out", str(out)]  # fmt: skip
    assert main(line) == 0
    good = (out / "1.png").read_bytes()
    (out / "1.png").write_bytes(good[:-20] + b"\0" + good[-19:])
    # Another shard's frame cannot be rendered here; one's own is.
    assert main([*line, "--shard", "1/2", "--video", "mp4"]) == 10
    assert "frame 1 changed since it was rendered" in capsys.readouterr().err
    assert not (out / "video.mp4").exists()
    assert main([*line, "--video", "mp4"]) == 0
    assert (out / "1.png").read_bytes() == good
    assert (out / "video.mp4").exists()
