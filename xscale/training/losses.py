"""The losses of training: of rays, of rays under outliers, and of squares of photos.

The loss of single rays is an op (``ops.shade_loss``), for the fused step computes it too. A new
loss of rays goes there, a new loss of squares into ``PatchLoss.grade``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xscale.errors import SetupError
from xscale.metrics import ssim
from xscale.metrics.lpips_loss import FeatureDistance
from xscale.model.film_shader import FilmShader
from xscale.model.shader import ReluShader
from xscale.ops.shade import shade_loss
from xscale.training.rays import Squares
from xscale.training.settings import OptimSettings, PatchSettings


def shade_robustly(
    shader: ReluShader | FilmShader,
    features: Tensor,
    direction: Tensor,
    photo: Tensor,
    target: Tensor,
    settings: OptimSettings,
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Shade as the shader's ``train`` does, with less weight for rays whose photo disagrees.

    What only one photo shows, a passer-by for example, is then not learned by all.

    Args:
        shader: The shader.
        features: Float32 [N, F], of the rays' surface points.
        direction: Float32 [N, 3], unit.
        photo: Int32 [N], index of the training photo.
        target: Float32 [N, 3], the photo's colours.
        settings: ``robust`` is the distance at which a ray counts half.

    Returns:
        Colours [N, 3], the rays' losses without the weights [N], the features' gradient, and the
        gradients of the shader's parameters.
    """
    kept = []

    def gradient(colour: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = colour.detach().requires_grad_()
            ray_loss = shade_loss(leaf, target, settings.loss)
            away = (colour - target).abs().mean(1) / settings.robust
            weighted = (ray_loss / (1 + away**2)).mean()
            kept.extend((colour, ray_loss.detach()))
            return torch.autograd.grad(weighted, leaf)[0]

    grad_features, grads = shader.follow(features, direction, photo, gradient)
    return kept[0], kept[1], grad_features, grads


@dataclass(frozen=True)
class Graded:
    """Loss of some squares' colours, and its gradient."""

    gradient: Tensor
    """Float32 [N, 3], of the loss in each ray's colour."""
    loss: float
    """The loss: a weighted sum of means."""
    squared_error: float
    """Mean over rays and channels."""


class PatchLoss:
    """Loss of squares: pixels' own loss, structural similarity and a distance of features, weighed.

    Pixels that the mesh does not cover show the photo in both pictures, as in scoring.

    Args:
        settings: Weights of the parts.
        pixel_loss: Kind of the pixels' own loss, see ``ops.shade_loss``.
        device: Where the squares will be.

    Raises:
        SetupError: Features are asked for and the network's weights are missing.
    """

    def __init__(self, settings: PatchSettings, pixel_loss: str, device: torch.device) -> None:
        self.settings = settings
        self._pixel_loss = pixel_loss
        self._blur = _blur_matrix(settings.size).to(device)
        self._features = None
        if settings.features:
            try:
                self._features = FeatureDistance(settings.network, device)
            except SetupError as error:
                raise SetupError(f"patch.features has no network: {error}") from error

    def grade(self, colour: Tensor, squares: Squares, target_range: float, step: int = 0) -> Graded:
        """Return a loss and its gradient.

        Args:
            colour: Float32 [N, 3], of the squares' rays.
            squares: Where they lie and what the photos show.
            target_range: Value of a white target.
            step: Which of the squares are compared by their features follows it.
        """
        settings, size = self.settings, self.settings.size
        target = squares.target.float() / target_range
        with torch.enable_grad():
            colour = colour.detach().requires_grad_()
            theirs = target.reshape(-1, 3)[squares.place]
            loss = settings.colour * shade_loss(colour, theirs, self._pixel_loss).mean()
            picture = target.reshape(-1, 3).index_copy(0, squares.place, colour)
            picture = picture.reshape(target.shape).permute(0, 3, 1, 2)
            photo = target.permute(0, 3, 1, 2)
            if settings.ssim:
                radius = ssim.RADIUS
                covered = torch.zeros(target.shape[:3].numel(), device=target.device)
                covered = covered.index_fill(0, squares.place, 1.0).reshape(target.shape[:3])
                inner = covered[:, radius : size - radius, radius : size - radius]
                lost = (1 - self._similarity(picture, photo)).mean(1) * inner
                loss = loss + settings.ssim * lost.sum() / inner.sum().clamp(min=1)
            if self._features is not None:
                every = min(settings.features_every, len(photo))
                loss = loss + settings.features * self._features(
                    *(stack[step % every :: every] for stack in (picture, photo))
                )
            (gradient,) = torch.autograd.grad(loss, colour)
        error = float((colour.detach() - theirs).square().mean())
        return Graded(gradient, float(loss.detach()), error)

    def _similarity(self, picture: Tensor, photo: Tensor) -> Tensor:
        """Return SSIM [P, 3, S - 10, S - 10]; the definition of ``metrics.ssim``."""
        stack = torch.stack([picture, photo, picture**2, photo**2, picture * photo])
        mean_a, mean_b, aa, bb, ab = self._blur.T @ stack @ self._blur
        square_a, square_b, product = mean_a**2, mean_b**2, mean_a * mean_b
        luminance = (2 * product + ssim.C1) / (square_a + square_b + ssim.C1)
        spread = aa - square_a + bb - square_b
        return luminance * (2 * (ab - product) + ssim.C2) / (spread + ssim.C2)


def _blur_matrix(size: int) -> Tensor:
    """Return [size, size - 10]: a row times it is the row seen through SSIM's window."""
    taps = torch.tensor(ssim.TAPS, dtype=torch.float32)
    matrix = torch.zeros(size, size - 2 * ssim.RADIUS)
    for column in range(matrix.shape[1]):
        matrix[column : column + len(taps), column] = taps
    return matrix
