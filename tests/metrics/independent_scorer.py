"""Scores a folder of renders by the scoring protocol, sharing no code with xscale.

A second opinion, for tests and for the command line: numpy, Pillow and scikit-image only, written
from the protocol's text. LPIPS is left to the lpips package.

    python tests/metrics/independent_scorer.py RENDERS COVERAGE PHOTOS_DIR DOWNSCALE
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity


def load(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def downscale(photo, factor):
    """Exact area averaging as two matrix products over exact fractions of pixels."""
    if factor == 1:
        return photo
    size = [max(1, round(n / factor)) for n in photo.shape[:2]]

    def matrix(source, target):
        edges = np.arange(target + 1) * source / target
        pixel = np.arange(source)
        low = np.maximum(edges[:-1, None], pixel)
        high = np.minimum(edges[1:, None], pixel + 1)
        return np.clip(high - low, 0, None) * target / source

    rows, columns = matrix(photo.shape[0], size[0]), matrix(photo.shape[1], size[1])
    planes = [rows @ photo[:, :, c].astype(np.float64) @ columns.T for c in range(3)]
    # Averages that are halves on paper must not fall below by rounding.
    return np.floor(np.stack(planes, axis=2) + 0.5 + 1e-9).astype(np.uint8)


def decibels(a, b, where=None):
    errors = ((a - b) ** 2).reshape(-1, 3)
    if where is not None:
        errors = errors[where.reshape(-1)]
    if len(errors) == 0:
        return None
    return math.inf if errors.mean() < 1e-22 else 10 * math.log10(1 / errors.mean())


def similarity(a, b, where=None):
    if min(a.shape[:2]) < 11:
        return None
    full = structural_similarity(
        a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, K1=0.01, K2=0.03, full=True,
    )[1]  # fmt: skip
    inner = full[5:-5, 5:-5].mean(axis=2)
    if where is not None:
        inner = inner[where[5:-5, 5:-5]]
    return float(inner.mean()) if inner.size else None


def quadratic(render, photo):
    """The quadratic colour fit as multinerf describes it: five rounds, clipped pixels left out."""
    low, high = 0.5 / 255, 1 - 0.5 / 255
    target, first = photo.reshape(-1, 3), render.reshape(-1, 3)
    now = first
    for _ in range(5):
        products = [now[:, i] * now[:, j] for i in range(3) for j in range(i, 3)]
        terms = np.column_stack([*products, now, np.ones(len(now))])
        columns = []
        for c in range(3):
            parts = np.stack([first[:, c], now[:, c], target[:, c]])
            inside = ((parts >= low) & (parts <= high)).all(axis=0)
            q, r = np.linalg.qr(terms[inside])
            columns.append(terms @ np.linalg.solve(r, q.T @ target[inside, c]))
        now = np.clip(np.column_stack(columns), 0, 1)
    return now.reshape(render.shape)


def pairs(render, photo, covered, mask=None):
    """Pictures by variant: (render for PSNR, render for SSIM and LPIPS, photo, pixels)."""
    r, p = render / 255, photo / 255
    result = {"": (r, r, p, None)}
    if covered.any():
        colours = np.column_stack([r[covered], np.ones(covered.sum())])
        fit = np.linalg.lstsq(colours, p[covered], rcond=None)[0]
        cc = np.clip(np.dstack([r, np.ones(covered.shape)]) @ fit, 0, 1)
        r_filled, cc_filled, r_white, p_white = r.copy(), cc.copy(), r.copy(), p.copy()
        r_filled[~covered] = p[~covered]
        cc_filled[~covered] = p[~covered]
        r_white[~covered] = 1
        p_white[~covered] = 1
        result["_covered"] = (r, r_filled, p, covered)
        result["_cc"] = (cc, cc, p, None)
        result["_covered_cc"] = (cc, cc_filled, p, covered)
        if not covered.all():
            beside, cc_beside = r.copy(), cc.copy()
            beside[covered], cc_beside[covered] = p[covered], p[covered]
            result["_uncovered"] = (r, beside, p, ~covered)
            result["_uncovered_cc"] = (cc, cc_beside, p, ~covered)
        result["_white"] = (r_white, r_white, p_white, None)
        if mask is not None and (covered & mask).any():
            masked = r.copy()
            masked[~(covered & mask)] = p[~(covered & mask)]
            result["_masked"] = (r, masked, p, covered & mask)
    return result


def score(render, photo, covered, mask=None):
    """PSNR and SSIM by name; a variant without pixels has no entry."""
    scores = {}
    for suffix, (plain, filled, target, where) in pairs(render, photo, covered, mask).items():
        scores["psnr" + suffix] = decibels(plain, target, where)
        scores["ssim" + suffix] = similarity(filled, target, where)
    return scores


def quadratic_score(render, photo):
    """PSNR and SSIM after the quadratic colour fit."""
    fitted = quadratic(render / 255, photo / 255)
    return {"psnr_ccq": decibels(fitted, photo / 255), "ssim_ccq": similarity(fitted, photo / 255)}


def main(renders, coverage, photos, factor):
    renders, coverage, photos = Path(renders), Path(coverage), Path(photos)
    by_name = {p.relative_to(photos).with_suffix(".png"): p for p in photos.rglob("*.*")}
    rows = {}
    for path in sorted(renders.rglob("*.png")):
        if coverage in path.parents:
            continue
        name = path.relative_to(renders)
        photo = downscale(load(by_name[name]), float(factor))
        rows[str(name)] = score(load(path), photo, load(coverage / name)[:, :, 0] == 255)
    metrics = sorted({metric for row in rows.values() for metric in row})
    found = {m: [row[m] for row in rows.values() if row.get(m) is not None] for m in metrics}
    mean = {m: sum(values) / len(values) if values else None for m, values in found.items()}
    json.dump({"photos": rows, "mean": mean}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:5])
