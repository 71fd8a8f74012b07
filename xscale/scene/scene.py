"""The scene: what the user has, recognised and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xscale.errors import CameraError, DamagedPhotoError, ListError, SceneError
from xscale.geometry.mesh import Mesh
from xscale.io.hashing import fingerprint_of, sha256_file
from xscale.io.names import name_bytes
from xscale.scene.checks.conventions import Convention
from xscale.scene.checks.sightings import seen_in
from xscale.scene.layouts.views import Observations, some
from xscale.scene.options import SceneOptions
from xscale.scene.photo import Notes, Photo
from xscale.scene.quarantine import LeftOut, refuse_test_photos
from xscale.scene.split import Split, split_names

__all__ = ["Photo", "Scene", "Split"]

CHANGES = ("mesh_transform", "mesh_offset", "mesh_repair")
"""Keys of a provenance by which the mesh differs from its files."""

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
    """The options that were given, as text (``SceneOptions.of``): what opens the scene again."""

    @classmethod
    def open(cls, path: str | Path, options: SceneOptions | None = None, **given: object) -> Scene:
        """Read a scene folder, check that its parts fit together, decode no photo.

        Args:
            path: The folder; for the ``images_{k}`` layout it may name that folder itself.
            options: How the scene is to be read.
            **given: The fields of :class:`~xscale.scene.options.SceneOptions` in place of
                ``options``: ``mesh``, ``transform``, ``mesh_repair``, ``cameras``, ``images``,
                ``colmap_model``, ``layout_scale``, ``pixel_origin``, ``pose_convention``,
                ``on_bad_photo``, ``alpha``, ``convert_cmyk``, ``color``, ``no_outside``,
                ``drop_outliers``. Paths may be text.

        Raises:
            SceneError: The layout is not known, photos or mesh are missing, or cameras and mesh
                do not meet.
            CameraError: A camera is unknown, impossible or disagrees with its photo.
            PhotoError: A photo cannot be used, or too many are damaged.
            MeshError: The mesh is damaged.
            UsageError: There is no such option, or an option is for a scene that is made on
                demand, which has nothing to choose.
        """
        from xscale.scene.load import open_scene

        return open_scene(path, SceneOptions.of(given) if options is None else options)

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
        """Divide the photos into training and test photos (docs/conventions.md).

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
