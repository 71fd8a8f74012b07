"""The field: a hash grid over the mesh's box, read at surface points."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from xscale import ops, plugins, threads
from xscale.gbuffer.gbuffer import GBuffer, Surface
from xscale.model.box import Box
from xscale.model.settings import ENCODINGS, GridSettings, ModelSettings


class Field:
    """Hash-grid table with its layout, box and the buffers that training needs.

    Args:
        settings: The grid's settings; finest_resolution and log2_table_size must be set (see the
            functions of these names).
        box: Where the grid lies.
        device: Where the table lives.
        generator: Source of the initial values.
        frozen: Whether the table is for pictures only: float16, and empty until it is loaded.
    """

    def __init__(
        self,
        settings: GridSettings,
        box: Box,
        device: torch.device,
        generator: torch.Generator | None = None,
        frozen: bool = False,
    ) -> None:
        self.settings = settings
        self.box = box
        self.layout = grid_layout_of(settings)
        shape = (self.layout.rows, settings.features_per_level)
        if frozen:
            self.table = ops.table_zeros(shape, torch.float16, device)
        else:
            table = ops.table_zeros(shape)
            _fill_uniform(table, settings.initial_range, generator)
            self.table = table.to(device)
        self._centre = torch.tensor(box.centre, device=device)
        self._scale = torch.tensor([1 / e for e in box.extent], device=device)
        self._least_scale = float(self._scale.min())

    @property
    def channels(self) -> int:
        """Features a point has."""
        return self.layout.levels * self.settings.features_per_level

    def unit(self, position: Tensor) -> Tensor:
        """Map local positions [N, 3] (world units) into the grid's [0, 1] box."""
        return (position - self._centre) * self._scale + 0.5

    def unit_footprint(self, footprint: Tensor) -> Tensor | None:
        """Map footprints [N] (world units) into box lengths; None where fading is off."""
        if self.settings.footprint_scale <= 0:
            return None
        return footprint * self._least_scale

    def level(self, footprint: Tensor) -> Tensor:
        """Return the level [N] whose cells are as large as footprints [N] (world units)."""
        coarsest, finest = self.layout.scales[0] + 1, self.layout.scales[-1] + 1
        cells = 1 / (footprint * self._least_scale)
        share = torch.log((cells + 1) / coarsest) / math.log(finest / coarsest)
        last = self.layout.levels - 1
        return (share * last).clamp(0, last)

    def encode(self, position: Tensor, footprint: Tensor) -> Tensor:
        """Return features [N, channels] of local positions [N, 3] with footprints [N]."""
        return ops.encode(
            self.unit(position),
            self.table,
            self.layout,
            interpolation=self.settings.interpolation,
            footprint=self.unit_footprint(footprint),
            footprint_scale=self.settings.footprint_scale,
        )

    def features(self, samples: GBuffer) -> Tensor:
        """Return features [N, channels] of surface points."""
        return self.encode(samples.position, samples.footprint)

    def fixed(self) -> dict[str, Tensor]:
        """Name the tensors that are kept with the table and never change: none."""
        return {}

    def begin(self, say: Callable[[str], None]) -> None:
        """Prepare for the first step: nothing."""

    def frame_grid(self) -> ops.FrameGrid:
        """Return the grid as ``ops.fused_frame`` takes it."""
        return ops.FrameGrid(
            self.table,
            self.layout,
            torch.stack([self._centre, self._scale]),
            self.settings.interpolation,
            max(self.settings.footprint_scale, 0.0),
            self._least_scale,
        )

    def step_grid(self, first: Tensor, second: Tensor, steps: Tensor) -> ops.StepGrid:
        """Return the grid as ``ops.fused_step`` takes it, with lazy Adam's state of its rows."""
        return ops.StepGrid(
            table=self.table,
            first=first,
            second=second,
            steps=steps,
            layout=self.layout,
            centre=self._centre,
            unit=self._scale,
            footprint_unit=self._least_scale,
            interpolation=self.settings.interpolation,
            footprint_scale=max(self.settings.footprint_scale, 0.0),
        )

    def backward(
        self, grad_features: Tensor, samples: GBuffer, grad_table: Tensor, touched: Tensor
    ) -> None:
        """Add the table's gradient to ``grad_table`` and mark the rows hit in ``touched``."""
        ops.encode_backward(
            grad_features,
            self.unit(samples.position),
            self.layout,
            interpolation=self.settings.interpolation,
            footprint=self.unit_footprint(samples.footprint),
            footprint_scale=self.settings.footprint_scale,
            grad_table=grad_table,
            touched=touched,
        )


def make_field(
    settings: ModelSettings,
    box: Box,
    device: torch.device,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    surface: Surface | None = None,
) -> Field:
    """Make the features that ``settings.encoding`` asks for: the hash grid, or a plug-in's.

    A plug-in takes the grid settings and, by keyword, box, device, generator, frozen and surface;
    what it returns has the attributes of ``Field`` that a step of single ops uses:
    ``channels``, ``table``, ``fixed``, ``begin``, ``features`` and ``backward``.

    Args:
        settings: The model's settings; the grid's finest_resolution and log2_table_size are set.
        box: Where the grid lies.
        device: Where the table lives.
        generator: Source of the initial values.
        frozen: As for ``Field``; other tables than a grid's may stay float32.
        surface: The mesh; plug-ins may need it.
    """
    if settings.encoding == "hash":
        return Field(settings.grid, box, device, generator, frozen)
    kind = plugins.load(ENCODINGS, settings.encoding, "encoding", ("hash",))
    return kind(
        settings.grid, box=box, device=device, generator=generator, frozen=frozen, surface=surface
    )


_ROWS_A_FILL = 1 << 17
"""Rows that one generator fills; fixed, so that the values do not depend on the threads."""


def _fill_uniform(table: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill with uniform values in [-bound, bound], on all threads.

    PyTorch draws a tensor's numbers on one: half a second of the wait for the first step.
    """
    pieces = table.split(_ROWS_A_FILL)
    seeds = torch.randint(2**62, (len(pieces),), generator=generator).tolist()

    def fill(piece: Tensor, seed: int) -> None:
        piece.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))

    with threads.pool("fill") as workers:
        list(workers.map(fill, pieces, seeds))


def grid_layout_of(settings: GridSettings) -> ops.GridLayout:
    """Return the levels that the settings ask for; what may be automatic must be set."""
    ratio = settings.finest_resolution / settings.coarsest_resolution
    return ops.grid_layout(
        settings.levels,
        settings.features_per_level,
        settings.log2_table_size,
        settings.coarsest_resolution,
        settings.per_level_scale or ratio ** (1 / (settings.levels - 1)),
    )


def log2_table_size(settings: GridSettings, covered_pixels: float) -> int:
    """Return the table size's logarithm for that many covered pixels in the training photos.

    A surface point is seen by several photos and a row serves several pixels of each, so the rows
    that a level can use grow with the pixels; the bounds keep small scenes quick and large ones
    within a laptop's memory.
    """
    if settings.log2_table_size:
        return settings.log2_table_size
    return int(min(max(math.floor(math.log2(max(covered_pixels / 8, 1))), 14), 21))


def finest_resolution(settings: GridSettings, box: Box, footprints: Tensor) -> int:
    """Return the finest level's resolution that the photos' pixel footprints ask for.

    Args:
        settings: The grid's settings; its finest_resolution wins where it is not 0.
        box: Where the grid lies.
        footprints: A sample of pixel footprints on the surface [N], world units.

    Source: method section 5: the finest cell is about the 5th-percentile footprint.
    """
    if settings.finest_resolution:
        return settings.finest_resolution
    if settings.per_level_scale:
        growth = settings.per_level_scale ** (settings.levels - 1)
        return max(round(settings.coarsest_resolution * growth), settings.coarsest_resolution + 1)
    cell = float(torch.quantile(footprints.double(), 0.05)) * settings.finest_cell
    resolution = max(box.extent) / max(cell, 1e-12)
    return int(min(max(math.ceil(resolution), 4 * settings.coarsest_resolution), 2**19))
