"""The background: colours of rays that meet no surface, so that pictures have no white holes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Kind = Literal["direction", "box"]
KINDS: tuple[Kind, ...] = ("direction", "box")
_CHUNK = 1 << 19


class Background:
    """Pictures of all directions, equirectangular about an axis, in sRGB.

    Sky and distant hills depend on a ray's direction alone (``direction``); ground that the mesh
    lacks lies near where the ray leaves the box of mesh and cameras (``box``), and is looked up in
    the direction in which that point lies from the box's middle. What stands nearer moves with the
    camera: then there are pictures for several places, and a camera sees a mean of those around it
    that changes smoothly as it moves.

    Args:
        texture: Uint8 [R, 2 R, 3], row 0 looks along the axis; [P, R, 2 R, 3] for several places.
        kind: What rays are looked up by.
        low: Float32 [3], lower corner of the box of mesh and cameras, local frame.
        high: Float32 [3], upper corner.
        places: Float32 [P, 3], local frame; None: one picture for all.
        axis: The axis, 0 to 2, that row 0 looks along, where pictures are drawn together: best one
            along which photos show little.
    """

    def __init__(
        self,
        texture: Tensor,
        kind: Kind,
        low: Tensor,
        high: Tensor,
        places: Tensor | None = None,
        axis: int = 2,
    ) -> None:
        self.texture = texture
        self.kind: Kind = kind
        self.low, self.high = low, high
        self.places = places
        self.axis = axis
        self._seen: tuple[bytes, Tensor] | None = None

    def colour(self, position: Tensor, direction: Tensor) -> Tensor:
        """Return sRGB [N, 3] in [0, 1].

        Args:
            position: Float32 [3], where the rays begin, local frame.
            direction: Float32 [N, 3], unit.
        """
        texture = self.seen_from(position)
        parts = [
            look_up(texture, seen_at(self.kind, self.low, self.high, position, part, self.axis))
            for part in direction.split(_CHUNK)
        ]
        return torch.cat(parts)

    def seen_from(self, position: Tensor) -> Tensor:
        """Return the picture uint8 [R, 2 R, 3] that is looked up from a place, float32 [3]."""
        if self.places is None:
            return self.texture
        key = position.cpu().numpy().tobytes()
        if self._seen is None or self._seen[0] != key:
            share = shares(self.places, position)
            used = (share > 0).nonzero().squeeze(1)
            mean = torch.full(self.texture.shape[1:], 0.5, device=self.texture.device)
            for number in used.tolist():
                mean.add_(self.texture[number], alpha=float(share[number]))
            self._seen = (key, mean.to(torch.uint8))
        return self._seen[1]

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor that pictures need."""
        # The first kinds are those of files from before there were axes.
        number = KINDS.index(self.kind) + len(KINDS) * (2 - self.axis)
        kind = torch.tensor([number], dtype=torch.int32)
        named = {"texture": self.texture, "kind": kind, "low": self.low, "high": self.high}
        return named if self.places is None else named | {"places": self.places}

    @classmethod
    def load(cls, tensors: dict[str, Tensor], device: torch.device | str = "cpu") -> Background:
        """Make the background that ``tensors`` came from.

        Raises:
            KeyError: A tensor is missing.
            ValueError: One has another type or shape, or the box is not one.
        """
        texture, kind, low, high = (tensors[name] for name in ("texture", "kind", "low", "high"))
        places = tensors.get("places")
        many = () if places is None else (len(places),)
        rows = texture.shape[-3] if texture.ndim >= 3 else 0
        wanted = [
            (texture, torch.uint8, (*many, rows, 2 * rows, 3)), (kind, torch.int32, (1,)),
            (low, torch.float32, (3,)), (high, torch.float32, (3,)),
        ]  # fmt: skip
        if places is not None:
            wanted.append((places, torch.float32, (*many, 3)))
        if not rows or any(t.dtype != d or tuple(t.shape) != shape for t, d, shape in wanted):
            raise ValueError("a tensor has another type or shape")
        number = int(kind)
        if not 0 <= number < 3 * len(KINDS):
            raise ValueError(f"there is no kind {number}")
        if not (low.isfinite() & high.isfinite() & (low <= high)).all():
            raise ValueError("its box has no size")
        if places is not None:
            if not len(places) or not places.isfinite().all():
                raise ValueError("its places are not numbers")
            places = places.to(device)
        turned, number = divmod(number, len(KINDS))
        box = (low.to(device), high.to(device))
        return cls(texture.to(device), KINDS[number], *box, places, 2 - turned)


def shares(places: Tensor, position: Tensor) -> Tensor:
    """Return how much pictures of places [P, 3] count at a position [3]: float64 [P], sum 1.

    They change smoothly with the position; few places count.
    """
    away = (places.double() - position.double()).norm(dim=1)
    between = torch.cdist(places.double(), places.double())
    between.fill_diagonal_(torch.inf)
    spacing = between.amin(1).median() if len(places) > 1 else away.amin()
    reach = 2 * torch.maximum(away.amin(), spacing / 2).clamp(min=1e-12)
    share = (1 - away / reach).clamp(min=0) ** 2
    return share / share.sum()


class Plain:
    """One colour everywhere.

    Args:
        grey: Of all channels, sRGB in [0, 1].
    """

    def __init__(self, grey: float) -> None:
        self.grey = grey

    def colour(self, position: Tensor, direction: Tensor) -> Tensor:
        """Return sRGB [N, 3]; arguments of ``Background.colour``."""
        return torch.full_like(direction, self.grey)


def seen_at(
    kind: Kind, low: Tensor, high: Tensor, position: Tensor, direction: Tensor, axis: int = 2
) -> Tensor:
    """Return the places [N, 2] of rays in the picture: column and row as shares of its sides.

    Args:
        kind: See ``Background``.
        low: Float32 [3], the box's lower corner.
        high: Float32 [3], its upper corner.
        position: Float32 [3] or [N, 3], where rays begin; brought into the box.
        direction: Float32 [N, 3], unit.
        axis: See ``Background``.
    """
    if kind == "box":
        middle = (low + high) / 2
        direction = functional.normalize(leaving_points(low, high, position, direction) - middle)
    x, y, z = direction.roll(2 - axis, 1).unbind(1)
    column = torch.atan2(y, x) / (2 * math.pi) + 0.5
    row = torch.acos(z.clamp(-1, 1)) / math.pi
    return torch.stack([column, row], 1)


def leaving_points(low: Tensor, high: Tensor, position: Tensor, direction: Tensor) -> Tensor:
    """Return where rays leave a box [N, 3]; arguments of ``seen_at``."""
    start = torch.minimum(torch.maximum(position.expand_as(direction), low), high)
    wall = torch.where(direction > 0, high, low)
    # A ray along a side never meets it: 0 / 0 and x / 0 are both passed over.
    along = torch.where(direction == 0, torch.inf, (wall - start) / direction)
    point = start + direction * along.amin(1, keepdim=True)
    return torch.minimum(torch.maximum(point, low), high)


def look_up(texture: Tensor, place: Tensor) -> Tensor:
    """Return a picture's values [N, 3] in [0, 1] between its cells' centres."""
    rows, columns = texture.shape[:2]
    x, y = place[:, 0] * columns - 0.5, (place[:, 1] * rows - 0.5).clamp(0, rows - 1)
    left, top = x.floor(), y.floor()
    right_share, low_share = (x - left)[:, None], (y - top)[:, None]
    left, top = left.long(), top.long()
    lower = (top + 1).clamp(max=rows - 1)
    near, far = left % columns, (left + 1) % columns
    cells = texture.reshape(-1, 3)

    def along(row: Tensor) -> Tensor:
        begin = cells.index_select(0, row * columns + near).float()
        end = cells.index_select(0, row * columns + far).float()
        return begin + right_share * (end - begin)

    upper_row = along(top)
    return (upper_row + low_share * (along(lower) - upper_row)) / 255
