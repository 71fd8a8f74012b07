"""xscale as nerfbaselines sees it: a method that it trains and renders, and a loader of scenes.

Only nerfbaselines imports this module (by ``nerfbaselines_spec``). A training is one of its
iterations, since xscale keeps its own pace, checkpoints and pool of photos.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from nerfbaselines import camera_model_from_int, camera_model_to_int, new_cameras, new_dataset

from xscale.errors import InputError, UsageError
from xscale.geometry.camera import Camera
from xscale.giganvs.layout import PreparedScene
from xscale.io.photo.images import encode_png, image_size
from xscale.io.storage import make_folder, place_file, remove_folder, write_bytes
from xscale.render.run import Run
from xscale.run.folder import RunFolder
from xscale.scene.layouts.writers import ColmapTables
from xscale.scene.scene import Scene
from xscale.scene.surface import find_meshes
from xscale.training.api import train

# Their coefficients by place: k1, k2, p1, p2, k3, k4, k5, k6.
_LENSES = {
    "pinhole": ("PINHOLE", ()),
    "opencv": ("OPENCV", (0, 1, 2, 3)),
    "opencv_fisheye": ("OPENCV_FISHEYE", (0, 1, 4, 5)),
    "full_opencv": ("FULL_OPENCV", (0, 1, 2, 3, 4, 5, 6, 7)),
}
_OWN = ("mesh", "preset", "steps", "minutes", "seed", "device")
_RUN = "run"
_FAR_UP = 2
"""Folders above the photos in which a mesh is looked for."""


class XscaleMethod:
    """xscale behind nerfbaselines' interface of methods.

    ``--set`` takes mesh, preset, steps, minutes, seed, device, and every setting of
    ``xscale train --settings``. Without ``mesh`` the scene's mesh.* is looked for in the photos'
    folder and the two above it.

    Args:
        checkpoint: A folder that :meth:`save` wrote.
        train_dataset: The photos to train on.
        config_overrides: What ``--set`` gave.
    """

    def __init__(
        self,
        *,
        checkpoint: str | None = None,
        train_dataset: Mapping[str, Any] | None = None,
        config_overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = {key: str(value) for key, value in (config_overrides or {}).items()}
        self._dataset = train_dataset
        self._checkpoint = checkpoint
        # Gone with the method, or at the end of the program.
        self._work = Path(tempfile.mkdtemp(prefix="xscale-nerfbaselines-"))
        weakref.finalize(self, remove_folder, self._work)
        self._folder = (Path(checkpoint) if checkpoint else self._work) / _RUN
        self._names = _relative_names(train_dataset) if train_dataset else []

    @classmethod
    def get_method_info(cls) -> dict[str, Any]:
        """Return what nerfbaselines must know before it loads photos."""
        return {
            "method_id": "xscale",
            "required_features": frozenset(("color",)),
            "supported_camera_models": frozenset(_LENSES),
            "supported_outputs": ("color",),
            "can_resume_training": False,
        }

    def get_info(self) -> dict[str, Any]:
        """Return what nerfbaselines must know to train and render."""
        return {
            **self.get_method_info(),
            "num_iterations": 1,
            "loaded_step": 1 if self._checkpoint else None,
            "loaded_checkpoint": self._checkpoint,
            "hparams": dict(self._options),
        }

    def get_train_embedding(self, index: int) -> None:
        """Return nothing: exposures are the training's own."""

    def optimize_embedding(self, dataset: object, *, embedding: object = None) -> dict[str, Any]:
        """Refuse: nothing of a test photo is looked at.

        Raises:
            UsageError: Always.
        """
        raise UsageError("xscale fits nothing to test photos")

    def train_iteration(self, step: int) -> dict[str, float]:
        """Train to the end.

        Raises:
            UsageError: An option is unknown or makes no sense.
            XscaleError: The scene cannot be used, or the training fails.
        """
        chosen = {key: self._options.pop(key) for key in _OWN if key in self._options}
        self._options = {**chosen, **self._options}
        scene = self._scene(chosen.get("mesh"))
        minutes, steps = (chosen.get(key) for key in ("minutes", "steps"))
        train(
            scene,
            out=self._folder,
            preset=chosen.get("preset", "default"),
            minutes=None if minutes is None else _number(float, "minutes", minutes),
            steps=None if steps is None else _number(int, "steps", steps),
            seed=_number(int, "seed", chosen.get("seed", "0")),
            device=chosen.get("device", "auto"),
            settings=[f"{k}={v}" for k, v in self._options.items() if k not in _OWN],
            test_every=0,
        )
        found: dict[str, float] = {}
        for line in RunFolder(self._folder).logged():
            found |= {key: line[key] for key in ("loss", "psnr") if key in line}
        return found

    def render(self, camera: Any, *, options: object = None) -> dict[str, np.ndarray]:
        """Render a camera: ``color``, uint8 [H, W, 3]."""
        frame = self._run.render(xscale_camera(camera.item()), ("colour",))
        return {"color": frame.colour.cpu().numpy()}

    def save(self, path: str) -> None:
        """Copy the run into ``path``/run."""
        target = Path(path) / _RUN
        if target.resolve() == self._folder.resolve():
            return
        for file in sorted(p for p in self._folder.rglob("*") if p.is_file()):
            if file.name != "lock":
                place_file(file, target / file.relative_to(self._folder))

    @cached_property
    def _run(self) -> Run:
        return Run.open(self._folder, self._options.get("device", "cpu").replace("auto", "cpu"))

    def _scene(self, mesh: str | None) -> Scene:
        """Write the cameras as a COLMAP model beside the photos, and open the whole."""
        dataset = self._dataset
        if dataset is None:
            raise UsageError("a training needs photos", advice="nerfbaselines train --data")
        root = Path(dataset["image_paths_root"])
        paths = [Path(path) for path in dataset["image_paths"]]
        folder = make_folder(self._work / "scene")
        cameras = {name: xscale_camera(dataset["cameras"][i]) for i, name in enumerate(self._names)}
        tables = ColmapTables(cameras, np.zeros((0, 3)), {})
        for name, data in tables.binary().items():
            write_bytes(folder / "sparse/0" / name, data, overwrite=True)
        # Photos that nerfbaselines reduced or straightened are not those of the files.
        stored = all(
            image_size(path) == (camera.width, camera.height)
            for path, camera in zip(paths, cameras.values(), strict=True)
        )
        if not stored:
            root = folder / "images"
            for i, (name, camera) in enumerate(cameras.items()):
                picture = np.asarray(dataset["images"][i])[: camera.height, : camera.width, :3]
                if picture.dtype != np.uint8:
                    picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
                write_bytes(root / name, encode_png(picture), overwrite=True)
        for i, name in enumerate(self._names if dataset.get("masks") is not None else ()):
            kept = np.asarray(dataset["masks"][i])[: cameras[name].height, : cameras[name].width]
            data = encode_png(np.where(kept > 0, 255, 0).astype(np.uint8))
            write_bytes(folder / "masks" / f"{name}.png", data, overwrite=True)
        found = [Path(mesh)] if mesh else _mesh_near(Path(dataset["image_paths_root"]))
        return Scene.open(folder, images=root, mesh=found)


def _number(kind: type, name: str, text: str) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"{name} must be a number, got {text!r}") from error


def _relative_names(dataset: Mapping[str, Any]) -> list[str]:
    root = Path(dataset["image_paths_root"])
    return [Path(path).relative_to(root).as_posix() for path in dataset["image_paths"]]


def _mesh_near(folder: Path) -> list[Path]:
    """Return the mesh in the photos' folder or above it.

    Raises:
        InputError: There is none.
    """
    for place in (folder, *folder.parents[:_FAR_UP]):
        if any(place.glob("mesh*.*")):
            return list(find_meshes(place))
    raise InputError(
        "has no mesh.*, nor have the folders above it", where=folder,
        advice="name the mesh: --set mesh=FILE",
    )  # fmt: skip


def xscale_camera(camera: Any) -> Camera:
    """Return one of nerfbaselines' cameras as xscale's.

    Args:
        camera: A single camera: pose camera to world [3, 4], OpenCV axes.
    """
    model, places = _LENSES[camera_model_from_int(int(camera.camera_models))]
    pose = np.asarray(camera.poses, np.float64)
    # Their poses are float32: the rotation nearest to it.
    u, _, v = np.linalg.svd(pose[:3, :3])
    R = (u @ v).T
    fx, fy, cx, cy = np.asarray(camera.intrinsics, np.float64)
    bends = np.zeros(8)
    given = np.asarray(camera.distortion_parameters, np.float64).reshape(-1)[:8]
    bends[: len(given)] = given
    width, height = (int(n) for n in camera.image_sizes)
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Camera(model, width, height, K, R, -R @ pose[:3, 3], bends[list(places)])


def load_giganvs(
    path: str,
    split: str,
    *,
    features: frozenset[str] | None = None,
    protocol: str = "every7",
    **others: object,
) -> dict[str, Any]:
    """Return a prepared scene's training or test photos as a dataset of nerfbaselines.

    Args:
        path: The scene's folder.
        split: ``train`` or ``test``.
        features: What nerfbaselines wants to have beside photos; there is nothing.
        protocol: Name of the split file.
        others: Options of other loaders.

    Raises:
        InputError: The folder is not a prepared scene.
    """
    prepared = PreparedScene.open(path)
    chosen = prepared.split(protocol)
    held = set(chosen.test)
    names = [n for n in chosen.photos if (n in held) == (split == "test")]
    photos = [prepared.scene.photo(name) for name in names]
    cameras = [photo.camera for photo in photos]
    poses = [np.concatenate([c.R.T, c.position[:, None]], axis=1) for c in cameras]
    return new_dataset(
        cameras=new_cameras(
            poses=np.array(poses, np.float32),
            intrinsics=np.array([[c.fx, c.fy, c.cx, c.cy] for c in cameras], np.float32),
            camera_models=np.full(len(names), camera_model_to_int("pinhole"), np.int32),
            image_sizes=np.array([[c.width, c.height] for c in cameras], np.int32),
        ),
        image_paths=[str(photo.path) for photo in photos],
        image_paths_root=str(photos[0].path.parent),
        metadata={
            "name": f"GigaNVS {prepared.name} {chosen.name}",
            "scene": prepared.name,
            "color_space": "srgb",
            "background_color": None,
            "evaluation_protocol": "default",
            "split_sha256": chosen.hash,
        },
    )
