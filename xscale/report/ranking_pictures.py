"""The benchmark page's pictures: test photos beside the renders of all methods, and errors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xscale.report.html import escaped
from xscale.report.pictures import embed, embed_at
from xscale.report.predictions import Predictions

PAGE_BYTES = 20_000_000
_THUMBNAIL = 96
"""Width of a photo in the list, in pixels."""
EDGES = (0, 2, 4, 8, 16, 32, 256)
"""Bins of the error histogram, in levels of 255."""
CROPS = (96, 384)
"""Sides of the squares that are shown by themselves, in pixels."""


def pictures_section(
    scene: str,
    names: Sequence[str],
    read_photo: Callable[[str], np.ndarray],
    methods: Mapping[str, Predictions],
) -> str:
    """Return a scene's photos beside the renders of all methods, as HTML.

    Args:
        scene: Name of the scene.
        names: Names of the test photos.
        read_photo: Gives a photo, uint8 [H, W, 3].
        methods: Pictures by method.

    Raises:
        InputError: A picture is damaged or does not fit its photo.
    """
    totals = {method: np.zeros(len(EDGES) - 1) for method in methods}
    share = PAGE_BYTES // max(1, len(names))
    parts = []
    for name in names:
        photo = read_photo(name)
        shown = {"photo": photo}
        for method, predictions in methods.items():
            if name in predictions.entries:
                render = predictions.read(name, photo)
                errors = np.abs(render.astype(np.int16) - photo).mean(axis=2)
                totals[method] += np.histogram(errors, EDGES)[0]
                shown[f"{method} (method)" if method == "photo" else method] = render
        crops = "".join(
            f"<h4>Largest errors, {side} × {side} pixels</h4>"
            f'<div class="crops">{_figures(cut, share // 4)}</div>'
            for side in CROPS
            if len(shown) > 1 and (cut := _crop(shown, side))
        )
        parts.append(
            f'<section class="compare" id="{anchor(name)}"><h3>{escaped(name)}</h3>'
            f'<div class="strip">{_figures(shown, share // 2)}</div>{crops}</section>'
        )
    return (
        f"<section><h2>{escaped(scene)}: pictures</h2>"
        '<p class="soft">Drag across the large picture to wipe between any two methods and the '
        "photo. Pictures on this page are JPEG and reduced where needed; figures were taken from "
        f"the files.</p>{_histogram(totals)}{''.join(parts)}</section>"
    )


def thumbnails(names: Sequence[str], read_photo: Callable[[str], np.ndarray]) -> dict[str, str]:
    """Return each photo as a small picture that leads to its section, as HTML by name."""
    found = {}
    for name in names:
        photo = read_photo(name)
        step = max(1, min(photo.shape[:2]) // (2 * _THUMBNAIL))
        height, width = photo.shape[:2]
        size = (_THUMBNAIL, max(1, round(_THUMBNAIL * height / width)))
        picture = embed_at(np.ascontiguousarray(photo[::step, ::step]), size)
        found[name] = (
            f'<a href="#{anchor(name)}"><img src="{picture.uri}" width="{size[0]}" '
            f'height="{size[1]}" alt=""></a>'
        )
    return found


def anchor(name: str) -> str:
    """Return the name under which a photo's section can be reached."""
    return "photo-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _figures(pictures: Mapping[str, np.ndarray], most_bytes: int) -> str:
    """Return pictures of one size with their captions."""
    return "".join(
        f'<figure><img src="{picture.uri}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escaped(label)}" decoding="async"><figcaption>{escaped(label)}'
        "</figcaption></figure>"
        for label, picture in zip(pictures, embed(list(pictures.values()), most_bytes), strict=True)
    )


def _crop(pictures: Mapping[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """Return the square where renders differ most from the photo; nothing of a smaller picture."""
    photo = pictures["photo"]
    if min(photo.shape[:2]) <= side:
        return {}
    renders = [p for label, p in pictures.items() if label != "photo"]
    step = side // 2
    places = [
        (top, left)
        for top in range(0, photo.shape[0] - side + 1, step)
        for left in range(0, photo.shape[1] - side + 1, step)
    ]
    errors = np.zeros(photo.shape[:2], np.int32)
    for render in renders:
        errors += np.abs(render.astype(np.int16) - photo).sum(axis=2, dtype=np.int32)
    top, left = max(places, key=lambda at: errors[at[0] :, at[1] :][:side, :side].sum())
    rows, columns = slice(top, top + side), slice(left, left + side)
    return {label: picture[rows, columns] for label, picture in pictures.items()}


def _histogram(totals: Mapping[str, np.ndarray]) -> str:
    """Return the share of pixels by error, a bar a method in every bin."""
    shares = {m: t / t.sum() for m, t in totals.items() if t.sum()}
    if not shares:
        return ""
    top = max(s.max() for s in shares.values())
    wide, high, left = 560, 220, 16
    step = (wide - 2 * left) / (len(EDGES) - 1)
    bar = 0.8 * step / len(shares)
    drawn, legend = [], []
    for place, (method, share) in enumerate(sorted(shares.items())):
        kind = f"part{place % 8}"
        legend.append(f'<li><i class="{kind}"></i>{escaped(method)}</li>')
        for i, value in enumerate(share):
            tall = value / top * (high - 50)
            x = left + (i + 0.1) * step + place * bar
            drawn.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{high - 28 - tall:.1f}" width="{bar:.1f}" '
                f'height="{tall:.1f}"><title>{escaped(method)}: {value:.1%}</title></rect>'
            )
    for i, low in enumerate(EDGES[:-1]):
        text = f"{low}–{EDGES[i + 1]}" if i < len(EDGES) - 2 else f"{low} up"
        drawn.append(
            f'<text class="x" x="{left + (i + 0.5) * step:.1f}" y="{high - 10}">{text}</text>'
        )
    return (
        "<h3>Errors of pixels</h3><p>Share of all pixels by the mean difference of their channels, "
        f'in levels of 255; the highest bar is {top:.0%}.</p><ul class="parts">{"".join(legend)}'
        f'</ul><svg class="chart bars" viewBox="0 0 {wide} {high}" role="img" '
        f'aria-label="Share of pixels by error">{"".join(drawn)}</svg>'
    )
