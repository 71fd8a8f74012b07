"""Cameras and vertices that move while a scene is learned: a little, held by priors, and reported.

At a few points of the training the model is rendered from every training photo's camera. Cameras
are moved to where picture and photo agree (``training.align``). The gauge freedom is removed: a
motion common to all cameras is undone, since the mesh and the cameras of pictures yet to be made
stand still. Test photos' cameras stay as they are. The difference that is left between picture and
photo moves the mesh's vertices (``training.heights``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xscale import threads
from xscale.errors import DamagedPhotoError, InputError, IntegrityError
from xscale.gbuffer.gbuffer import Surface
from xscale.geometry.adjust import NUMBERS, POSE, adjusted, cross_matrix
from xscale.geometry.camera import Camera
from xscale.io.storage import write_json
from xscale.render.renderer import Renderer
from xscale.render.resolve import render_resolved
from xscale.scene.layouts.views import some
from xscale.scene.photo import Photo
from xscale.training.align import Aligned, Template, align
from xscale.training.heights import Heights
from xscale.training.settings import RefineSettings
from xscale.training.trainer import Trainer

_FIRST, _LAST = 0.25, 0.7
"""Shares of the training between which the rounds lie."""
_PIXELS, _PIXELS_OF_MESH = 1 << 17, 1 << 19
"""Size of the pictures that are compared, for cameras alone and where vertices move."""
_GREY = torch.tensor([0.299, 0.587, 0.114])
_SHARED = 4
"""Photos with the same intrinsics from which on these are looked for."""


class Refinement:
    """Rounds of refinement, and the adjustments of the training cameras.

    Args:
        settings: What may move, and how far; where nothing may, no round is ever due.
        surface: The mesh.
        photos: The training photos.
        cameras: Theirs, local frame, at training size.
        packed: Float64 [P, 32], the same as the training uses them; changed in place.
        downscale: Factor by which the photos are reduced for training.
        left_out: Names of photos that are not used; may grow.
        on_damage: Called with a photo that turns out to be damaged and its error.
    """

    def __init__(
        self,
        settings: RefineSettings,
        surface: Surface,
        photos: list[Photo],
        cameras: list[Camera],
        packed: Tensor,
        downscale: float,
        left_out: Collection[str] = (),
        on_damage: Callable[[str, InputError], None] | None = None,
    ) -> None:
        self.settings = settings
        self.rounds = 0
        """Rounds that are done."""
        self.numbers = np.zeros((len(photos), NUMBERS))
        """Adjustments of the cameras, see ``xscale.geometry.adjust``."""
        self.pixels = np.zeros(len(photos))
        """By how many pixels of the training's size (root mean square)."""
        self.refused: set[str] = set()
        """Photos that would have had to move too far, or show too little of the mesh."""
        self._photos = photos
        self._cameras = cameras
        self._packed = packed
        self._downscale = downscale
        self.heights = Heights(settings, surface) if settings.surface == "learned" else None
        self.surface = surface if self.heights is None else self.heights.surface
        """The mesh that moves; the same as came where it may not."""
        self._off = settings.cameras == "off" and self.heights is None
        self._left_out = left_out
        self._on_damage = on_damage

    def due(self, share: float) -> bool:
        """Whether a round is due when this share of the training is done."""
        rounds = self.settings.rounds
        if self._off or self.rounds >= rounds:
            return False
        return share >= _FIRST + (_LAST - _FIRST) * self.rounds / max(rounds - 1, 1)

    def refine(self, trainer: Trainer) -> None:
        """Do a round: compare photos with the model's pictures, move what may move, look anew."""
        trainer.finish()
        renderer = Renderer(trainer.pool.surface, trainer.model, (0.0, 0.0, 0.0))
        found: dict[int, Aligned] = {}
        self.refused = set()
        for index, factor, grey, mask in self._pictures():
            template = self._template(renderer, index, factor, grey, mask)
            numbers = self.numbers[index]
            if self.settings.cameras != "off":
                aligned = align(template, numbers, self.settings.prior / factor)
                if aligned is None:
                    self.refused.add(self._photos[index].name)
                    continue
                found[index], numbers = aligned, aligned.numbers
            if self.heights is not None:
                self.heights.add(template, numbers)
        self.rounds += 1
        if found:
            self._move(found)
        if self.heights is not None:
            self.heights.solve()
        trainer.pool.recast(self._apply)

    def _move(self, found: dict[int, Aligned]) -> None:
        """Take what was found for cameras, but for those that would move too far."""
        numbers = self._solved(found) * self._trust(found)
        for index, aligned in found.items():
            pixels = aligned.pixels(numbers[index]) * self._factor(index)
            if pixels > self.settings.most:
                self.refused.add(self._photos[index].name)
            else:
                self.numbers[index], self.pixels[index] = numbers[index], pixels

    def _apply(self) -> None:
        if self.heights is not None:
            self.heights.apply()
        for row, camera, numbers in zip(self._packed, self._cameras, self.numbers, strict=True):
            row.copy_(torch.from_numpy(adjusted(camera, numbers).packed()))

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps; ``Run`` reads the adjustments."""
        if self._off:
            return {}
        return {
            "cameras.adjustments": torch.from_numpy(self.numbers.copy()),
            "cameras.pixels": torch.from_numpy(self.pixels.copy()),
            "cameras.rounds": torch.tensor([self.rounds]),
            **({} if self.heights is None else self.heights.tensors()),
        }

    def load(self, tensors: dict[str, np.ndarray]) -> None:
        """Take up what ``tensors`` gave, cameras included.

        Raises:
            IntegrityError: A tensor is missing or does not fit.
        """
        if self._off:
            return
        try:
            self.numbers[:] = tensors["cameras.adjustments"]
            self.pixels[:] = tensors["cameras.pixels"]
            self.rounds = int(tensors["cameras.rounds"][0])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"the cameras' adjustments do not fit: {error}") from error
        if self.heights is not None:
            self.heights.load(tensors)
        self._apply()

    def report(self, file: Path) -> list[str]:
        """Write what cameras moved by into a JSON file; return what moved as lines."""
        lines = [] if self.heights is None else [self.heights.report()]
        return lines if self.settings.cameras == "off" else [self._report(file), *lines]

    def _report(self, file: Path) -> str:
        names = [photo.name for photo in self._photos]
        moved = {}
        for name, camera, numbers, pixels in zip(
            names, self._cameras, self.numbers, self.pixels, strict=True
        ):
            moved[name] = {
                "pixels": round(float(pixels), 4),
                "turn_degrees": np.degrees(numbers[:3]).tolist(),
                "shift": numbers[3:POSE].tolist(),
                "focal_factor": float(np.exp(numbers[6])),
                "principal_point": (numbers[7:] * (camera.width, camera.height)).tolist(),
            }
        write_json(file, {"photos": moved, "left_alone": sorted(self.refused)}, overwrite=True)
        farthest = int(self.pixels.argmax())
        line = (
            f"cameras moved by {np.median(self.pixels):.2f} pixels in the median, "
            f"{self.pixels[farthest]:.2f} at most ({names[farthest]})"
        )
        if self.refused:
            line += f"; {len(self.refused)} were left where they are: {some(sorted(self.refused))}"
        return line

    def _factor(self, index: int) -> float:
        """By how much a photo is reduced, beyond the training's size, to be compared."""
        camera = self._cameras[index]
        most = _PIXELS if self.heights is None else _PIXELS_OF_MESH
        return max(1.0, (camera.width * camera.height / most) ** 0.5)

    def _pictures(self) -> Iterator[tuple[int, float, Tensor, Tensor | None]]:
        """Read the photos in turn, one ahead: index, factor, grey [H, W] and mask."""
        wanted = [
            index for index, photo in enumerate(self._photos) if photo.name not in self._left_out
        ]

        def read(index: int) -> tuple[np.ndarray, np.ndarray | None]:
            return self._photos[index].load(self._downscale * self._factor(index))

        with threads.aside("align") as ahead:
            reading = [ahead.submit(read, index) for index in wanted[:1]]
            for index, following in zip(wanted, [*wanted[1:], None], strict=True):
                if following is not None:
                    reading.append(ahead.submit(read, following))
                try:
                    rgb, mask = reading.pop(0).result()
                except DamagedPhotoError as error:
                    if self._on_damage is None:
                        raise
                    self._on_damage(self._photos[index].name, error)
                    continue
                grey = torch.from_numpy(rgb).float() @ _GREY / 255
                mask = None if mask is None else torch.from_numpy(mask)
                yield index, self._factor(index), grey, mask

    def _template(
        self, renderer: Renderer, index: int, factor: float, photo: Tensor, mask: Tensor | None
    ) -> Template:
        """Render the model as a photo's camera sees it now."""
        base = self._cameras[index].scaled(photo.shape[1], photo.shape[0])
        camera = adjusted(base, self.numbers[index])
        # Photos are means over their pixels' areas; so is a picture reduced by much.
        exposure = renderer.model.shader.exposure[index]
        picture = render_resolved(
            renderer, camera, ("srgb",), samples=2 if factor > 1.4 else 1, exposure=exposure
        )
        places = renderer.render(camera, ("position", "depth", "face")).on_cpu()
        usable = places.coverage & picture.coverage
        if mask is not None:
            usable &= mask
        grey = picture.srgb @ _GREY
        return Template(base, grey, photo, places.position, places.depth, usable, places.face)

    def _solved(self, found: dict[int, Aligned]) -> np.ndarray:
        """Return all adjustments [P, 9] after what photos share was solved for and taken out."""
        numbers = self.numbers.copy()
        for index, aligned in found.items():
            numbers[index] = aligned.numbers
        if self.settings.cameras == "all":
            for group in self._groups(found):
                self._solve_intrinsics(group, found, numbers)
        self._hold_world(found, numbers)
        return numbers

    def _trust(self, found: dict[int, Aligned]) -> float:
        """Return the share of what was found that is more than chance (empirical Bayes).

        Cameras that are right seem to be off a little, each by what its photo's parts disagree.
        """
        moved = np.median([aligned.pixels(aligned.numbers) ** 2 for aligned in found.values()])
        chance = np.median([aligned.chance**2 for aligned in found.values()])
        return float(max(1 - chance / max(moved, 1e-12), 0.0))

    def _groups(self, found: dict[int, Aligned]) -> list[list[int]]:
        """Photos of one camera: the same model, size and intrinsics."""
        groups: dict[tuple, list[int]] = {}
        for index in found:
            camera = self._photos[index].camera
            key = (camera.model, camera.width, camera.height)
            numbers = (*camera.K.ravel(), *camera.distortion)
            groups.setdefault((*key, *numbers), []).append(index)
        return [group for group in groups.values() if len(group) >= _SHARED]

    def _solve_intrinsics(
        self, group: list[int], found: dict[int, Aligned], numbers: np.ndarray
    ) -> None:
        """One Gauss-Newton step of a camera's intrinsics, the poses of its photos following."""
        pose, shared = slice(POSE), slice(POSE, NUMBERS)
        curve, slope = np.zeros((3, 3)), np.zeros(3)
        following = {}
        for index in group:
            aligned = found[index]
            prior = self.settings.prior / self._factor(index)
            pull = np.diag((aligned.moves / prior) ** 2)
            whole = aligned.information + pull
            down = aligned.slope + pull @ numbers[index]
            inverse = np.linalg.inv(whole[pose, pose])
            following[index] = inverse @ whole[pose, shared], inverse @ down[pose]
            mixed = whole[shared, pose]
            curve += whole[shared, shared] - mixed @ following[index][0]
            slope += down[shared] - mixed @ following[index][1]
        step = -np.linalg.solve(curve, slope)
        for index in group:
            by_shared, alone = following[index]
            numbers[index, shared] += step
            numbers[index, pose] -= alone + by_shared @ step

    def _hold_world(self, found: dict[int, Aligned], numbers: np.ndarray) -> None:
        """Take out the motion of the world that explains most of the cameras' own."""
        centre = np.mean([self._cameras[index].position for index in found], axis=0)
        curve, slope = np.zeros((POSE, POSE)), np.zeros(POSE)
        motions = {}
        for index, aligned in found.items():
            camera = self._cameras[index]
            # A turn w and a shift v of the world's frame, as the camera's numbers.
            motion = np.zeros((POSE, POSE))
            motion[:3, :3] = -camera.R
            motion[3:, :3] = -camera.R @ cross_matrix(camera.position - centre)
            motion[3:, 3:] = camera.R
            # Every photo counts by the pixels that its picture moves.
            by_pixel = aligned.jacobian[:, :, :POSE].reshape(-1, POSE).astype(np.float64)
            weight = by_pixel.T @ by_pixel / len(by_pixel)
            motions[index] = motion
            curve += motion.T @ weight @ motion
            slope += motion.T @ weight @ numbers[index, :POSE]
        unit = np.sqrt(np.diag(curve)) + 1e-300
        world = np.linalg.lstsq(curve / np.outer(unit, unit), slope / unit, rcond=1e-9)[0] / unit
        for index, motion in motions.items():
            numbers[index, :POSE] -= motion @ world
