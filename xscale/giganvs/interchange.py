"""Results as nerfbaselines 1.2.12 writes them: an archive of predictions, and results.json.

``nerfbaselines evaluate`` reads the archive and finds the same figures.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xscale.errors import InputError
from xscale.giganvs.layout import PreparedScene
from xscale.giganvs.splits import SplitFile
from xscale.io.file_sets import atomic_folder
from xscale.io.photo.images import encode_png
from xscale.io.storage import open_atomic, write_json
from xscale.report.predictions import Predictions
from xscale.scene.photo import png_name

VERSION = "1.2.12"
ARCHIVE = "predictions.tar.gz"
RESULTS = "results.json"
_NAMES = {"psnr": "psnr", "ssim": "ssim", "lpips": "lpips_alex", "lpips_vgg": "lpips_vgg"}
"""Our scores by their names: their ``lpips`` is Alex."""
_DIGITS = 5


def write_results(
    out: str | Path,
    scores: Mapping[str, Any],
    predictions: Predictions,
    scene: PreparedScene,
    split: SplitFile,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a folder with ``predictions.tar.gz`` and ``results.json``; all or nothing.

    Args:
        out: The folder to make.
        scores: The scores file of these predictions.
        predictions: The pictures.
        scene: The prepared scene.
        split: Its split.
        overwrite: Whether the folder may exist.

    Raises:
        InputError: A picture is missing: nerfbaselines knows no missing ones.
        OutputExistsError: The folder exists.
    """
    if predictions.missing:
        raise InputError(
            f"{len(predictions.missing)} test photos have no picture, which nerfbaselines cannot "
            "say", where=predictions.source, advice="render all test photos",
        )  # fmt: skip
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    dataset = {
        "name": f"GigaNVS {scene.name} {split.name}",
        "scene": scene.name,
        "color_space": "srgb",
        "background_color": None,
        "evaluation_protocol": "default",
        "split_sha256": split.hash,
    }
    info = {
        "method": scores["method"],
        "nb_version": VERSION,
        "num_iterations": None,
        "total_train_time": scores.get("resources", {}).get("train_seconds"),
        "resources_utilization": None,
        "datetime": now,
        "config_overrides": {},
        "dataset_metadata": dataset,
        "evaluation_protocol": "default",
    }
    rendered = {
        "render_version": VERSION,
        "render_datetime": now,
        "render_dataset_metadata": dataset,
    }
    # Their order: by the file's name.
    names = sorted(split.test, key=png_name)
    with atomic_folder(out, overwrite=overwrite) as folder:
        with open_atomic(folder / ARCHIVE) as file:
            hashes = _write_archive(file, names, predictions, scene, {**info, **rendered})
        raw = {
            theirs: [_number(scores["photos"][name][ours]) for name in names]
            for theirs, ours in _NAMES.items()
            if scores["mean"].get(ours) is not None
        }
        write_json(folder / RESULTS, {
            **rendered,
            "nb_info": info,
            "evaluate_datetime": now,
            "evaluate_version": VERSION,
            "metrics": {k: round(sum(v) / len(v), _DIGITS) for k, v in raw.items()},
            "metrics_raw": {k: _encoded(v) for k, v in raw.items()},
            "metrics_sha256": _metrics_hash(raw),
            "predictions_sha256": hashes[0],
            "ground_truth_sha256": hashes[1],
            "evaluation_protocol": "default",
        })  # fmt: skip
    return Path(out)


def _write_archive(
    file: Any,
    names: Sequence[str],
    predictions: Predictions,
    scene: PreparedScene,
    info: Mapping[str, Any],
) -> tuple[str, str]:
    """Write the archive; return the SHA-256 of all predictions, and of all photos, in order."""
    hashes = hashlib.sha256(), hashlib.sha256()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        _add(archive, "info.json", json.dumps(info, indent=2).encode())
        for name in names:
            photo = scene.photo(name)
            pictures = predictions.read(name, photo), photo
            for folder, picture, total in zip(("color", "gt-color"), pictures, hashes, strict=True):
                data = encode_png(picture)
                total.update(data)
                _add(archive, f"{folder}/{png_name(name)}", data)
    return hashes[0].hexdigest(), hashes[1].hexdigest()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _number(score: float | str) -> float:
    return float("inf") if score == "inf" else float(score)


def _encoded(values: Sequence[float]) -> str:
    """Return float32 values, little-endian, as base64."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode("ascii")


def _metrics_hash(raw: Mapping[str, Sequence[float]]) -> str:
    """Return the SHA-256 of all values: by sorted name, each sorted, one a line."""
    total = hashlib.sha256()
    for name in sorted(raw):
        total.update(name.lower().encode() + _encoded(sorted(raw[name])).encode() + b"\n")
    return total.hexdigest()
