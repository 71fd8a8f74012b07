"""The scene: what the user has, recognised and checked."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, DamagedPhotoError, ListError, SceneError, UsageError
from xscale.geometry.mesh import Mesh
from xscale.io.hashing import fingerprint_of, sha256_file
from xscale.io.names import name_bytes
from xscale.io.photo.colour_spaces import Color
from xscale.io.photo.images import Alpha
from xscale.scene.checks.conventions import Convention, PoseConvention
from xscale.scene.checks.sightings import seen_in
from xscale.scene.layouts.kinds import RECIPE
from xscale.scene.layouts.views import Choice, Observations, some
from xscale.scene.load import open_parts
from xscale.scene.photo import Notes, Photo
from xscale.scene.posed import HowTaken, PixelOrigin
from xscale.scene.quarantine import LeftOut, OnBadPhoto, refuse_test_photos
from xscale.scene.split import Split, split_names
from xscale.scene.surface import MeshRepair

__all__ = ["Photo", "Scene", "Split"]

CHANGES = ("mesh_transform", "mesh_offset", "mesh_repair")
"""Keys of a provenance by which the mesh differs from its files."""

_MAKER = "xscale.demo.giga"
_OTHER_PIXELS = ("alpha", "convert_cmyk", "color")
"""Options by which the same photos have other pixels."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Photos with cameras, the mesh, and what was remarked while reading. Immutable."""

    root: Path
    """The folder, as given."""
    layout: str
    """Name of the layout: :data:`xscale.scene.layouts.LAYOUTS`."""
    reason: str
    """Why the folder was taken for that layout."""
    photos: tuple[Photo, ...]
    """Sorted by the bytes of their names."""
    mesh: Mesh
    mesh_files: tuple[Path, ...]
    """The file or files that the mesh was read from, in order."""
    points: np.ndarray | None
    """Sparse points, float64 [P, 3] in the scene's frame; None where the layout has none."""
    warnings: tuple[str, ...]
    """Coded one-line remarks, for example ``W-PHOTO-SIZE: ...``."""
    observe: Callable[[], Observations] | None = None
    """Reads where photos saw sparse points; see :meth:`sparse_observations`."""
    provenance: dict[str, object] = field(default_factory=dict)
    """Changes of the coordinates while reading, as plain values."""
    missing: tuple[str, ...] = ()
    """Names in the camera model whose photos are missing; few, and never test photos."""
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    """Damaged photos, by name; few, and never test photos (:mod:`xscale.scene.quarantine`)."""
    notes: Notes = field(default_factory=Notes)
    """Remarks from decoding the photos; they grow with every photo that is read."""
    convention: Convention = "world-to-camera"
    """Meaning that the cameras' matrices were taken to have."""
    frames: tuple[tuple[str, np.ndarray], ...] = ()
    """Frames that the scene's own file names, in which a mesh may stand: words, and the matrix
    float64 [4, 4] that takes such a mesh into the scene's frame."""
    options: dict[str, str | list[str]] = field(default_factory=dict)
    """The arguments of :meth:`open` that were given, as text: what opens the scene again."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        mesh: str | Path | Sequence[str | Path] | None = None,
        transform: str | Path | None = None,
        mesh_repair: MeshRepair = "none",
        pixel_origin: PixelOrigin = "corner",
        pose_convention: PoseConvention = "layout",
        layout_scale: float | None = None,
        cameras: str | Path | None = None,
        images: str | Path | None = None,
        colmap_model: str | None = None,
        on_bad_photo: OnBadPhoto = "skip",
        alpha: Alpha = "mask",
        convert_cmyk: bool | str = False,
        drop_outliers: bool | str = False,
        color: Color = "srgb",
        no_outside: bool | str = False,
    ) -> Scene:
        """Read a scene folder, check that its parts fit together, decode no photo.

        Args:
            path: The folder; for the ``images_{k}`` layout it may name that folder itself.
            mesh: The mesh file, or several to be put together, where the folder's own ``mesh.*``
                (else all its ``mesh_*.*``) shall not be taken.
            transform: File with a 4x4 matrix that takes the mesh into the cameras' frame.
            mesh_repair: ``drop-bad-faces`` leaves out faces with corners that are not finite.
            pose_convention: What the cameras' matrices are, where that is not what their layout
                documents: which way they go, and whose axes they have.
            pixel_origin: ``center`` for cameras that put (0, 0) at the first pixel's centre.
            layout_scale: The k of ``images_{k}`` to read; by default the smallest.
            cameras: The file (or folder) with the cameras where the folder's own shall not be
                taken; recognised by its content.
            images: The folder that photo names are relative to, where it is not the usual one.
            colmap_model: Which of several COLMAP models: a folder below ``sparse/``.
            on_bad_photo: ``stop`` refuses a scene with a damaged photo; by default a few training
                photos are left out, counted and named.
            alpha: Whether photos' alpha channels are masks, ignored, or say how much of their
                colour lies over white (:func:`xscale.io.photo.images.read_pixels`).
            convert_cmyk: Whether CMYK photos are converted, as if their inks were ideal; by default
                they are refused.
            drop_outliers: Whether the few training photos are left out whose cameras do not fit the
                others; by default they are named and used.
            color: What photos' integers mean: ``srgb`` as they are, ``linear`` light, or what their
                embedded profile says (``icc``). Floating-point photos are linear light anyway.
            no_outside: Whether photos that are links out of the photo folder are refused.

        Raises:
            SceneError: The layout is not known, photos or mesh are missing, or cameras and mesh
                do not meet.
            CameraError: A camera is unknown, impossible or disagrees with its photo.
            PhotoError: A photo cannot be used, or too many are damaged.
            MeshError: The mesh is damaged.
            UsageError: An option for a scene that is made on demand, which has nothing to choose.
        """
        choice = Choice(
            layout_scale,
            colmap_model,
            None if cameras is None else Path(cameras),
            None if images is None else Path(images),
        )
        given = {
            "transform": transform,
            "mesh_repair": None if mesh_repair == "none" else mesh_repair,
            "pixel_origin": None if pixel_origin == "corner" else pixel_origin,
            "pose_convention": None if pose_convention == "layout" else pose_convention,
            "cameras": cameras,
            "images": images,
            "colmap_model": colmap_model,
            "on_bad_photo": None if on_bad_photo == "skip" else on_bad_photo,
            "alpha": None if alpha == "mask" else alpha,
            "convert_cmyk": convert_cmyk or None,
            "drop_outliers": drop_outliers or None,
            "color": None if color == "srgb" else color,
            "no_outside": no_outside or None,
        }
        options = {name: str(value) for name, value in given.items() if value is not None}
        if (Path(path) / RECIPE).is_file():
            return _made_scene(Path(path), {"mesh": mesh, "layout_scale": layout_scale, **given})
        if mesh is None:
            files = []
        else:
            files = [Path(mesh)] if isinstance(mesh, str | os.PathLike) else [*map(Path, mesh)]
            options["mesh"] = str(files[0]) if len(files) == 1 else [str(file) for file in files]
        parts = open_parts(
            path,
            mesh=files,
            transform=None if transform is None else Path(transform),
            mesh_repair=mesh_repair,
            taken=HowTaken(
                pixel_origin,
                alpha,
                bool(convert_cmyk),
                on_bad_photo,
                pose_convention,
                bool(drop_outliers),
                color,
                bool(no_outside),
            ),
            choice=choice,
        )
        return cls(*parts, options)

    @property
    def mesh_path(self) -> Path:
        """The mesh file, the first of several."""
        return self.mesh_files[0]

    @property
    def origin(self) -> np.ndarray:
        """World position of the mesh's local origin, float64 [3]."""
        return self.mesh.origin

    @cached_property
    def _by_name(self) -> dict[str, Photo]:
        return {photo.name: photo for photo in self.photos}

    def photo(self, name: str) -> Photo:
        """Return the photo of that name.

        Raises:
            SceneError: There is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise SceneError(
                f"has no photo {name}", where=self.root, advice="xscale inspect lists the names"
            ) from None

    def without(self, reasons: Mapping[str, str]) -> Scene:
        """Return the scene with photos left out, as if they were damaged: why, by name."""
        out = {}
        for photo in self.photos:
            if photo.name in reasons:
                error = DamagedPhotoError(reasons[photo.name], where=photo.path)
                out[photo.name] = LeftOut(error, photo.listed_as)
        kept = tuple(photo for photo in self.photos if photo.name not in out)
        return replace(self, photos=kept, left_out={**self.left_out, **out})

    def split(self, test_every: int | None = None, test_list: str | Path | None = None) -> Split:
        """Divide the photos into training and test photos (method.md section 9).

        Args:
            test_every: Photos 0, N, 2N, ... are test, 0: none; default 7 above 14 photos, else 4.
            test_list: File with one test photo a line; wins.

        Raises:
            ListError: The list is wrong, a test photo is missing on the disk, or nothing would be
                left to train on.
            PhotoError: A test photo is damaged.
            UsageError: ``test_every`` is below 0.
        """
        absent = {*self.missing, *self.left_out}
        names = sorted((*(photo.name for photo in self.photos), *absent), key=name_bytes)
        split = split_names(names, test_every=test_every, test_list=test_list)
        if not absent:
            return split
        unseen = [name for name in split.test if name in self.missing]
        if unseen:
            raise ListError(
                f"{len(unseen)} test photos are missing: {some(unseen)}; a score over fewer photos "
                "is another score",
                where=self.root,
                advice="add them, or name other test photos by --test-list",
            )
        refuse_test_photos(self.left_out, split.test)
        return Split(tuple(n for n in split.train if n not in absent), split.test)

    @cached_property
    def _fingerprint(self) -> str:
        photos = [
            [
                # Names need not be text: their bytes are what counts.
                photo.name.encode("utf-8", "surrogateescape").hex(),
                photo.file_size,
                photo.camera.model,
                photo.camera.width,
                photo.camera.height,
                *photo.camera.K.reshape(-1).tolist(),
                *photo.camera.R.reshape(-1).tolist(),
                *photo.camera.t.tolist(),
                *photo.camera.distortion.tolist(),
            ]
            for photo in self.photos
        ]
        mesh = [x for f in self.mesh_files for x in (f.stat().st_size, sha256_file(f))]
        moved = {k: self.provenance[k] for k in CHANGES if k in self.provenance}
        moved |= {k: self.options[k] for k in _OTHER_PIXELS if k in self.options}
        return fingerprint_of({"photos": photos, "mesh": mesh, **moved})

    def fingerprint(self) -> str:
        """Return a SHA-256 over names, cameras, photo file sizes and the mesh's bytes.

        It does not depend on where the scene lies. The mesh is read once and the result kept.
        """
        return self._fingerprint

    def sparse_observations(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return, by photo name, where sparse points were seen: a check on cameras and photos.

        Returns:
            Pixels float64 [N, 2] at the photo's stored size, and points float64 [N, 3] in the
            scene's frame. Empty for layouts without sparse points.

        Raises:
            CameraError: The model changed since the scene was opened.
        """
        if self.observe is None:
            return {}
        unused = {*self.missing, *(left.listed_as for left in self.left_out.values())}
        origin = self.options.get("pixel_origin", "corner")
        try:
            return seen_in(self.observe(), self.photos, unused, origin)
        except KeyError as error:
            raise CameraError(
                f"photo {error.args[0]} was not in the model when the scene was opened",
                where=self.root,
                advice="open the scene again",
            ) from error


def _made_scene(path: Path, given: Mapping[str, object]) -> Scene:
    """Open the giga demo's scene, whose photos and mesh are made on demand."""
    chosen = [name for name, value in given.items() if value is not None]
    if chosen:
        raise UsageError(
            f"a scene made on demand takes no --{chosen[0].replace('_', '-')}",
            where=path,
            advice="leave it out",
        )
    # By name: what makes scenes stands above what reads them.
    return importlib.import_module(_MAKER).open_giga(path)
