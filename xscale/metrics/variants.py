"""Every score of one test photo, in every variant of the protocol.

Variants are suffixes: none (the frame as rendered), ``_covered`` (only pixels that the mesh
covers), ``_cc`` (after an affine colour fit), ``_covered_cc`` (both), ``_uncovered`` and
``_uncovered_cc`` (the other pixels), ``_white`` (uncovered pixels white in both pictures) and
``_masked`` (only pixels both covered and not masked out).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from xscale.errors import ShapeError
from xscale.metrics.colour_transform import (
    apply_colour_transform,
    fit_colour_transform,
    quadratic_fitted,
)
from xscale.metrics.lpips import LpipsModel, unit_range
from xscale.metrics.lpips_weights import NETS
from xscale.metrics.psnr import psnr
from xscale.metrics.ssim import mean_over, ssim_map

BASES = ("psnr", "ssim", *(f"lpips_{net}" for net in NETS))
SUFFIXES = ("", "_covered", "_cc", "_covered_cc", "_uncovered", "_uncovered_cc", "_white")
MASKED = "_masked"
UNIT = "lpips_vgg_unit"
"""LPIPS of VGG with inputs in [0, 1], not shifted to [-1, 1]: the convention of splatting codes."""
QUADRATIC = "_ccq"
"""Suffix of the variant after a quadratic colour fit, as gsplat and multinerf report it."""
EXTRAS = (UNIT, QUADRATIC)
"""Scores that are made on request, for comparison with other programs' figures."""

Score = float | str | None


class _Variant(NamedTuple):
    """Two pictures to compare and where."""

    render: np.ndarray
    """[H, W, 3], as it is for PSNR: uint8, or float64 in [0, 1] after a colour fit."""
    filled: np.ndarray
    """The same with left-out pixels replaced by the photo's, for SSIM and LPIPS."""
    photo: np.ndarray
    """uint8 [H, W, 3]."""
    weight: np.ndarray | None
    """bool [H, W]; None counts every pixel."""


def metric_names(masked: bool = False) -> tuple[str, ...]:
    """Return all metric names in the order of a scores file, with or without masks."""
    suffixes = (*SUFFIXES, MASKED) if masked else SUFFIXES
    return tuple(base + suffix for suffix in suffixes for base in BASES)


def score_photo(
    render: np.ndarray,
    photo: np.ndarray,
    coverage: np.ndarray,
    mask: np.ndarray | None = None,
    lpips: Mapping[str, LpipsModel] | None = None,
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
        lpips: Models by network name; the scores of an absent one are None.
        suffixes: The variants wanted, for example ``["_covered_cc"]``: LPIPS takes its time for
            each. None is all.
        extras: Any of :data:`EXTRAS`.

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
    there = (*SUFFIXES, MASKED) if mask is not None else SUFFIXES
    wanted = [s for s in there if suffixes is None or s in suffixes]
    if QUADRATIC in extras:
        wanted.append(QUADRATIC)
    scores: dict[str, Score] = {base + s: None for s in wanted for base in BASES}
    variants = _variants(render, photo, coverage, mask)
    if QUADRATIC in extras:
        fitted = quadratic_fitted(unit_range(render), unit_range(photo))
        variants[QUADRATIC] = _Variant(fitted, fitted, variants[""].photo, None)
    variants = {s: variants[s] for s in wanted if s in variants}
    scores.update(_psnr_and_ssim(variants))
    pictures: dict[int, np.ndarray] = {}
    for v in variants.values():
        pictures.update({id(v.filled): v.filled, id(v.photo): v.photo})
    place = {key: i for i, key in enumerate(pictures)}
    pairs = [(place[id(v.filled)], place[id(v.photo)]) for v in variants.values()]
    for net, model in (lpips or {}).items():
        distances = model.distances(list(pictures.values()), pairs)
        scores.update({f"lpips_{net}{s}": d for s, d in zip(variants, distances, strict=True)})
    if UNIT in extras:
        scores.update({f"{UNIT}{s}": None for s in wanted})
        if lpips and "vgg" in lpips:
            distances = lpips["vgg"].distances(list(pictures.values()), pairs, shifted=False)
            scores.update({f"{UNIT}{s}": d for s, d in zip(variants, distances, strict=True)})
    return scores


def _psnr_and_ssim(variants: Mapping[str, _Variant]) -> dict[str, Score]:
    """Return the scores of all variants; a pair of pictures in several is compared once."""
    scores: dict[str, Score] = {}
    similarity: dict[tuple[int, int], np.ndarray] = {}
    for suffix, v in variants.items():
        photo = unit_range(v.photo)
        decibels = psnr(unit_range(v.render), photo, v.weight)
        scores["psnr" + suffix] = "inf" if decibels == math.inf else decibels
        key = (id(v.filled), id(v.photo))
        if key not in similarity:
            similarity[key] = ssim_map(unit_range(v.filled), photo)
        scores["ssim" + suffix] = mean_over(similarity[key], v.weight)
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
) -> dict[str, _Variant]:
    """Make the pictures of every variant that has pixels, by suffix; equal ones are one array."""
    # Pictures stay bytes where they can: nine of float64 would not fit in memory at full size.
    variants = {"": _Variant(render, render, photo, None)}
    if not coverage.any():
        return variants

    def only(picture: np.ndarray, where: np.ndarray) -> _Variant:
        if where.all():
            return _Variant(picture, picture, photo, where)
        filled = picture.copy()
        left_out = ~where
        filled[left_out] = photo[left_out] if filled.dtype == np.uint8 else photo[left_out] / 255.0
        return _Variant(picture, filled, photo, where)

    fitted = colour_fitted(render, photo, coverage)
    variants["_covered"] = only(render, coverage)
    variants["_cc"] = _Variant(fitted, fitted, photo, None)
    variants["_covered_cc"] = only(fitted, coverage)
    if not coverage.all():
        variants["_uncovered"] = only(render, ~coverage)
        variants["_uncovered_cc"] = only(fitted, ~coverage)
    white, white_photo = render, photo
    if not coverage.all():
        fill = np.uint8(255)
        white, white_photo = (np.where(coverage[:, :, None], p, fill) for p in (render, photo))
    variants["_white"] = _Variant(white, white, white_photo, None)
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
