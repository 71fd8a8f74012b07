"""Every score of one test photo, in every variant of the protocol.

Variants are suffixes of the metrics' names; docs/scoring.md defines them. To add one, add a row to
``VARIANTS`` and its pictures to ``_variants``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from xscale.errors import ShapeError
from xscale.metrics.colour_transform import (
    apply_colour_transform,
    fit_colour_transform,
    quadratic_fitted,
)
from xscale.metrics.lpips import unit_range
from xscale.metrics.measures import Models, Pair, Score, metrics_wanted


class Variant(NamedTuple):
    """Which pixels of which pictures are compared."""

    suffix: str
    title: str
    on_request: bool = False
    """Whether ``xscale score`` leaves it out."""


MASKED = "_masked"
QUADRATIC = "_ccq"
VARIANTS = (
    Variant("", "whole frame as rendered"),
    Variant("_covered", "covered pixels"),
    Variant("_cc", "whole frame, colour-fitted"),
    Variant("_covered_cc", "covered pixels, colour-fitted"),
    Variant("_uncovered", "uncovered pixels"),
    Variant("_uncovered_cc", "uncovered pixels, colour-fitted"),
    Variant("_white", "uncovered pixels white"),
    Variant(MASKED, "covered and not masked"),
    Variant(QUADRATIC, "whole frame after a quadratic colour fit", on_request=True),
)
"""All variants, in the order of scores files. ``_masked`` is there where a scene has masks."""
EXTRAS = ("lpips_vgg_unit", QUADRATIC)
"""Scores that the benchmark adds, for comparison with other programs' figures."""


def suffixes_of(masked: bool = False, extras: Collection[str] = ()) -> tuple[str, ...]:
    """Return the suffixes of a scores file: with or without masks, and those on request."""
    return tuple(
        v.suffix
        for v in VARIANTS
        if (v.suffix in extras if v.on_request else masked or v.suffix != MASKED)
    )


def metric_names(masked: bool = False, extras: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of all scores in the order of a scores file."""
    return tuple(
        metric.name + suffix
        for suffix in suffixes_of(masked, extras)
        for metric in metrics_wanted(extras)
    )


def score_photo(
    render: np.ndarray,
    photo: np.ndarray,
    coverage: np.ndarray,
    mask: np.ndarray | None = None,
    models: Models | None = None,
    suffixes: Collection[str] | None = None,
    extras: Collection[str] = (),
) -> dict[str, Score]:
    """Score a render against its photo.

    Args:
        render: uint8 [H, W, 3], sRGB.
        photo: uint8 [H, W, 3], reduced to the size of the render.
        coverage: bool [H, W], true where the pixel's centre ray hits the mesh.
        mask: bool [H, W], true where the photo may be used; None where the scene has no masks,
            and then there are no ``_masked`` scores.
        models: What metrics need, see ``xscale.metrics.models``; without it they score None.
        suffixes: The variants wanted, for example ``["_covered_cc"]``: LPIPS takes its time for
            each. None is all.
        extras: Metrics and suffixes on request.

    Returns:
        Every name of :func:`metric_names` of a variant wanted, with a number, ``"inf"`` for the
        PSNR of identical pictures, or None where no pixel counts: all variants but the plain one
        without a covered pixel, ``_uncovered`` without an uncovered one, ``_masked`` without an
        unmasked covered one, SSIM where none of them is outside the outer 5 pixels, LPIPS without
        weights or below 32 pixels a side.

    Raises:
        ShapeError: Shapes or dtypes do not fit together.
    """
    _check(render, photo, coverage, mask)
    wanted = [
        s
        for s in suffixes_of(mask is not None, extras)
        if suffixes is None or s in suffixes or s in extras
    ]
    variants = _variants(render, photo, coverage, mask)
    if QUADRATIC in wanted:
        fitted = quadratic_fitted(unit_range(render), unit_range(photo))
        variants[QUADRATIC] = Pair(fitted, fitted, photo, None)
    variants = {s: variants[s] for s in wanted if s in variants}
    metrics = metrics_wanted(extras)
    scores: dict[str, Score] = {m.name + s: None for s in wanted for m in metrics}
    for metric in metrics:
        found = metric.measure(list(variants.values()), models or {})
        scores.update({metric.name + s: v for s, v in zip(variants, found, strict=True)})
    return scores


def colour_fitted(render: np.ndarray, photo: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return a render after the colour fit of the ``_cc`` variants.

    Args:
        render: uint8 [H, W, 3].
        photo: uint8 [H, W, 3].
        coverage: bool [H, W], where the fit is made.

    Returns:
        float64 [H, W, 3] in [0, 1]; the render itself where nothing is covered.
    """
    source, target = unit_range(render), unit_range(photo)
    transform = fit_colour_transform(source, target, coverage)
    return source if transform is None else apply_colour_transform(transform, source)


def _variants(
    render: np.ndarray, photo: np.ndarray, coverage: np.ndarray, mask: np.ndarray | None
) -> dict[str, Pair]:
    """Make the pictures of every variant that has pixels, by suffix; equal ones are one array."""
    # Pictures stay bytes where they can: nine of float64 would not fit in memory at full size.
    variants = {"": Pair(render, render, photo, None)}
    if not coverage.any():
        return variants

    def only(picture: np.ndarray, where: np.ndarray) -> Pair:
        if where.all():
            return Pair(picture, picture, photo, where)
        filled = picture.copy()
        left_out = ~where
        filled[left_out] = photo[left_out] if filled.dtype == np.uint8 else photo[left_out] / 255.0
        return Pair(picture, filled, photo, where)

    fitted = colour_fitted(render, photo, coverage)
    variants["_covered"] = only(render, coverage)
    variants["_cc"] = Pair(fitted, fitted, photo, None)
    variants["_covered_cc"] = only(fitted, coverage)
    if not coverage.all():
        variants["_uncovered"] = only(render, ~coverage)
        variants["_uncovered_cc"] = only(fitted, ~coverage)
    white, white_photo = render, photo
    if not coverage.all():
        fill = np.uint8(255)
        white, white_photo = (np.where(coverage[:, :, None], p, fill) for p in (render, photo))
    variants["_white"] = Pair(white, white, white_photo, None)
    if mask is not None and (coverage & mask).any():
        variants[MASKED] = only(render, coverage & mask)
    return variants


def _check(
    render: np.ndarray, photo: np.ndarray, coverage: np.ndarray, mask: np.ndarray | None
) -> None:
    for name, picture in (("render", render), ("photo", photo)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"{name} must be uint8 [H, W, 3], is {picture.dtype} {picture.shape}")
    if render.shape != photo.shape:
        raise ShapeError(f"render is {render.shape}, photo {photo.shape}: they must be equal")
    for name, plane in (("coverage", coverage), ("mask", mask)):
        if plane is not None and (plane.dtype != bool or plane.shape != photo.shape[:2]):
            raise ShapeError(
                f"{name} must be bool {photo.shape[:2]}, is {plane.dtype} {plane.shape}"
            )
