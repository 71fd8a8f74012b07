"""Films from finished frames, through ffmpeg as imageio-ffmpeg brings it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from xscale.errors import StorageError, UsageError
from xscale.io import storage
from xscale.io.photo.images import image_size, read_rgb
from xscale.render.sinks import module

_CODECS = {
    "mp4": ["-c:v", "libx264", "-crf", "16", "-preset", "medium", "-movflags", "+faststart"],
    "webm": ["-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-row-mt", "1"],
}
_EXACT = (
    "scale=out_color_matrix=bt709:out_range=tv:"
    "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
)
"""Without these flags the conversion rounds down, by about one of 255."""
_MARKS = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
"""ffmpeg 8 writes the tags that frames carry, whatever the encoder is told."""
_TAGS = [
    "-color_range",
    "tv",
    "-colorspace",
    "bt709",
    "-color_primaries",
    "bt709",
    "-color_trc",
    "bt709",
]


def write_video(
    path: Path,
    pictures: Sequence[Path],
    kind: str,
    fps: float,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Encode 8-bit PNG or JPEG pictures of one size; an existing film is replaced.

    Args:
        path: The film.
        pictures: In order.
        kind: mp4 (H.264) or webm (VP9).
        fps: Frames a second.
        on_frame: Called with the number of frames done.

    Raises:
        UsageError: The pictures' sizes differ, or there is none.
        SetupError: imageio-ffmpeg is not installed.
        StorageError: The encoder failed or the film cannot be written.
    """
    ffmpeg = module("imageio_ffmpeg", "a film")
    sizes = {image_size(picture) for picture in pictures}
    if len(sizes) != 1:
        found = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)) or "no picture"
        raise UsageError(f"a film needs pictures of one size, found {found}", where=path)
    (size,) = sizes
    # Encoders want even sizes: a black row or column is added where needed.
    width, height = size[0] + size[0] % 2, size[1] + size[1] % 2
    filters = f"pad={width}:{height},{_EXACT},{_MARKS}"
    with storage.atomic_path(path, overwrite=True) as temporary:
        writer = ffmpeg.write_frames(
            str(temporary),
            size,
            fps=fps,
            codec=_CODECS[kind][1],
            quality=None,
            macro_block_size=1,
            pix_fmt_out="yuv420p",
            output_params=[
                *_CODECS[kind][2:], "-vf", filters, *_TAGS, "-fflags", "+bitexact",
                "-flags:v", "+bitexact", "-map_metadata", "-1",
            ],
            ffmpeg_log_level="error",
        )  # fmt: skip
        try:
            writer.send(None)
            for done, picture in enumerate(pictures, 1):
                writer.send(read_rgb(picture)[0])
                if on_frame is not None:
                    on_frame(done)
        except OSError as error:
            raise StorageError(f"the encoder failed: {error}", where=path) from error
        finally:
            writer.close()
        _check(ffmpeg, temporary, path, len(pictures))


def _check(ffmpeg: ModuleType, written: Path, path: Path, frames: int) -> None:
    """Open a film again and count its frames: the encoder does not tell what went wrong.

    Raises:
        StorageError: They are not all there.
    """
    try:
        found, _ = ffmpeg.count_frames_and_secs(str(written))
    except (OSError, RuntimeError):
        found = 0
    if found != frames:
        raise StorageError(
            f"the encoder wrote {found} of {frames} frames",
            where=path,
            advice="the frames are kept: free some space and run the command again",
        )
