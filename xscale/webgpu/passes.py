"""Pipelines of a run and the passes that they run: draw faces, choose them, paint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xscale.webgpu import source
from xscale.webgpu.device import Device, module
from xscale.webgpu.lens import LensViews
from xscale.webgpu.pieces import Clusters, MeshPiece
from xscale.webgpu.targets import Candidates, Layer, Target

_FRAME_BYTES = 11 * 16
_VIEWS_BYTES = 16 + 6 * 64
_WALK_ROWS = 64
UNIFORM = {"type": "uniform"}
READ = {"type": "read-only-storage"}
WRITE = {"type": "storage"}
Entry = tuple[int, dict]


@dataclass(frozen=True)
class Resident:
    """A piece of the mesh on the device."""

    piece: object
    """Uniform buffer: its first face and their number."""
    vertices: object
    faces: object
    count: int


class Pass:
    """A compute pass over a rectangle, for every piece of the mesh in turn.

    Args:
        passes: The run's.
        pipeline: What to run.
        groups: Bind groups by set, for each piece.
        lanes: Rows that a workgroup covers.
    """

    def __init__(
        self, passes: Passes, pipeline: object, groups: Sequence[Sequence[object]], lanes: int
    ) -> None:
        self._passes = passes
        self._pipeline = pipeline
        self._groups = groups
        self._lanes = lanes

    def run(self, frame: np.ndarray, width: int, rows: int) -> None:
        """Submit it for some rows, which ``frame`` names the first of."""
        device = self._passes.device.handle
        device.queue.write_buffer(self._passes.frame, 0, frame.tobytes())
        encoder = device.create_command_encoder()
        work = encoder.begin_compute_pass()
        work.set_pipeline(self._pipeline)
        for groups in self._groups:
            for number, group in enumerate(groups):
                work.set_bind_group(number, group)
            work.dispatch_workgroups(-(-width // 8), -(-rows // self._lanes))
        work.end()
        device.queue.submit([encoder.finish()])


class Passes:
    """Resident data of a run on a device, and the passes over them.

    Args:
        device: See ``xscale.webgpu.device``.
        pieces: The mesh.
        tables: Bytes of the grid's bindings.
        net_bytes: Size of levels and network.
        clusters: Gives the boxes of the mesh's clusters, where a lens bends rays.
    """

    def __init__(
        self,
        device: Device,
        pieces: Sequence[MeshPiece],
        tables: Sequence[memoryview],
        net_bytes: int,
        clusters: Callable[[], Clusters],
    ) -> None:
        self.device = device
        use = module().BufferUsage
        make = device.handle.create_buffer
        self.frame = make(size=_FRAME_BYTES, usage=use.UNIFORM | use.COPY_DST)
        self._net = make(size=net_bytes, usage=use.UNIFORM | use.STORAGE | use.COPY_DST)
        self._views = make(size=_VIEWS_BYTES, usage=use.UNIFORM | use.COPY_DST)
        self._tables = [self._resident(data) for data in tables]
        self.use_pieces(pieces)
        self._clusters = clusters
        self._pipelines: dict[object, tuple] = {}
        self._painted: tuple | None = None

    def use_pieces(self, pieces: Sequence[MeshPiece]) -> None:
        """Put a mesh on the device."""
        shared: dict[int, object] = {}
        self.resident = []
        for piece in pieces:
            if id(piece.vertices) not in shared:
                shared[id(piece.vertices)] = self._resident(memoryview(piece.vertices).cast("B"))
            words = np.array([piece.first, len(piece.faces), 0, 0], np.uint32)
            self.resident.append(
                Resident(
                    self.device.handle.create_buffer_with_data(
                        data=words, usage=module().BufferUsage.UNIFORM
                    ),
                    shared[id(piece.vertices)],
                    self._resident(memoryview(piece.faces).cast("B")),
                    len(piece.faces),
                )
            )

    def _resident(self, data: memoryview) -> object:
        use = module().BufferUsage.STORAGE | module().BufferUsage.COPY_DST
        buffer = self.device.handle.create_buffer(size=-(-len(data) // 4) * 4, usage=use)
        step = 1 << 26  # a copy at a time: what is staged takes memory a second time
        for begin in range(0, len(data), step):
            part = data[begin : begin + step]
            if len(part) % 4:
                part = bytes(part) + bytes(-len(part) % 4)
            self.device.handle.queue.write_buffer(buffer, begin, part)
        return buffer

    def write_net(self, data: bytes) -> None:
        """Put levels and network on the device."""
        self.device.handle.queue.write_buffer(self._net, 0, data)

    def draw(self, target: Target | Layer, frame: np.ndarray) -> None:
        """Draw the nearest face of each pixel."""
        device = self.device.handle
        device.queue.write_buffer(self.frame, 0, frame.tobytes())
        pipeline, groups = self._drawing
        encoder = device.create_command_encoder()
        work = encoder.begin_render_pass(
            color_attachments=[
                {
                    "view": target.face_view,
                    "clear_value": (0, 0, 0, 0),
                    "load_op": "clear",
                    "store_op": "store",
                }
            ],
            depth_stencil_attachment={
                "view": target.depth_view,
                "depth_clear_value": 0.0,
                "depth_load_op": "clear",
                "depth_store_op": "discard",
            },
        )
        work.set_pipeline(pipeline)
        for piece, group in zip(self.resident, groups, strict=True):
            work.set_bind_group(0, group)
            work.draw(3 * piece.count)
        work.end()
        device.queue.submit([encoder.finish()])

    def paint(self, sizes: source.Sizes, target: Target, rays: np.ndarray | None) -> Pass:
        """Return the pass from a target's faces to its picture."""
        stage = module().ShaderStage.COMPUTE
        key = (sizes, target)
        if rays is None and self._painted is not None and self._painted[0] == key:
            return self._painted[1]
        network = UNIFORM if sizes.weights == "uniform" else READ
        entries: list[Entry] = [
            *mesh_entries(stage),
            (4, {"visibility": stage, "buffer": network}),
            (5, {"visibility": stage, "texture": {"sample_type": "uint"}}),
            (6, {"visibility": stage, "buffer": WRITE}),
        ]
        if sizes.lens:
            entries.append((7, {"visibility": stage, "texture": _UNFILTERED}))
        table = [
            (g, {"visibility": stage, "buffer": READ}) for g in range(len(self._tables))
        ]  # fmt: skip
        layouts, pipeline = self.pipeline(sizes, source.paint_source, "paint", (entries, table))
        texture = None if rays is None else self._ray_texture(rays)
        groups = [
            [
                self.group(
                    layouts[0],
                    [*self.mesh(piece), self._net, target.face_view, target.picture]
                    + ([] if texture is None else [texture]),
                ),
                self.group(layouts[1], self._tables),
            ]
            for piece in self.resident
        ]
        job = Pass(self, pipeline, groups, sizes.lanes // 8)
        self._painted = (key, job) if rays is None else None
        return job

    def choose(
        self, target: Target, frame: np.ndarray, candidates: Candidates, views: LensViews
    ) -> None:
        """Choose the faces that bent rays hit, and put them where a pinhole's are drawn."""
        stage = module().ShaderStage.COMPUTE
        entries: list[Entry] = [
            *mesh_entries(stage),
            (4, {"visibility": stage, "buffer": UNIFORM}),
            (5, {
                "visibility": stage,
                "texture": {"sample_type": "uint", "view_dimension": "2d-array"},
            }),
            (6, {"visibility": stage, "texture": _UNFILTERED}),
            (7, {"visibility": stage, "buffer": WRITE}),
        ]  # fmt: skip
        layouts, pipeline = self.pipeline(
            "choose", lambda _: source.choose_source(), "choose", (entries,)
        )
        packed = np.zeros(_VIEWS_BYTES // 4, np.float32)
        packed.view(np.uint32)[0] = len(views.views)
        for view, row in zip(views.views, packed[4:].reshape(6, 4, 4), strict=False):
            row[:3, :3] = view.R
            row[3] = view.fx, view.fy, view.cx, view.cy
        self.device.handle.queue.write_buffer(self._views, 0, packed.tobytes())
        texture = self._ray_texture(views.rays)
        groups = [
            [
                self.group(
                    layouts[0],
                    [*self.mesh(piece), self._views, candidates.view, texture, target.chosen],
                )
            ]
            for piece in self.resident
        ]
        Pass(self, pipeline, groups, 8).run(frame, target.width, target.height)
        self._walk(target, frame, texture)
        encoder = self.device.handle.create_command_encoder()
        encoder.copy_buffer_to_texture(
            {
                "buffer": target.chosen,
                "bytes_per_row": 4 * target.stride,
                "rows_per_image": target.height,
            },
            {"texture": target.face},
            (target.width, target.height, 1),
        )
        self.device.handle.queue.submit([encoder.finish()])

    def _walk(self, target: Target, frame: np.ndarray, rays: object) -> None:
        """Find the faces of rays that no candidate settled."""
        stage = module().ShaderStage.COMPUTE
        entries: list[Entry] = [
            *mesh_entries(stage),
            (4, {"visibility": stage, "buffer": UNIFORM}),
            (5, {"visibility": stage, "texture": _UNFILTERED}),
            (6, {"visibility": stage, "buffer": WRITE}),
            (7, {"visibility": stage, "buffer": READ}),
            (8, {"visibility": stage, "buffer": READ}),
        ]
        layouts, pipeline = self.pipeline(
            "walk", lambda _: source.walk_source(), "walk", (entries,)
        )
        sizes, boxes, members = self._boxes
        groups = [
            [
                self.group(
                    layouts[0], [*self.mesh(piece), sizes, rays, target.chosen, boxes, members]
                )
            ]
            for piece in self.resident
        ]
        job = Pass(self, pipeline, groups, 8)
        # In bands: systems stop a driver that answers nothing for seconds.
        for row in range(0, target.height, _WALK_ROWS):
            frame.view(np.uint32)[7, 3] = row
            job.run(frame, target.width, min(_WALK_ROWS, target.height - row))
        frame.view(np.uint32)[7, 3] = 0

    @cached_property
    def _boxes(self) -> tuple[object, object, object]:
        """Sizes, boxes and members of the clusters, on the device."""
        found = self._clusters()
        sizes = np.array([found.clusters, found.groups, 0, 0], np.uint32)
        return (
            self.device.handle.create_buffer_with_data(
                data=sizes, usage=module().BufferUsage.UNIFORM
            ),
            self._resident(memoryview(found.boxes).cast("B")),
            self._resident(memoryview(found.members).cast("B")),
        )

    def _ray_texture(self, rays: np.ndarray) -> object:
        height, width, _ = rays.shape
        use = module().TextureUsage
        texture = self.device.handle.create_texture(
            size=(width, height, 1),
            format="rgba32float",
            usage=use.TEXTURE_BINDING | use.COPY_DST,
        )
        self.device.handle.queue.write_texture(
            {"texture": texture},
            np.ascontiguousarray(rays),
            {"bytes_per_row": 16 * width, "rows_per_image": height},
            (width, height, 1),
        )
        return texture.create_view()

    @cached_property
    def _drawing(self) -> tuple[object, list[object]]:
        """The pipeline that draws faces, and its bind group for each piece."""
        device = self.device.handle
        code = device.create_shader_module(code=source.draw_source())
        layout = self._layout(mesh_entries(module().ShaderStage.VERTEX))
        pipeline = device.create_render_pipeline(
            layout=device.create_pipeline_layout(bind_group_layouts=[layout]),
            vertex={"module": code, "entry_point": "draw_vertex"},
            primitive={"topology": "triangle-list", "cull_mode": "none"},
            depth_stencil={
                "format": "depth32float",
                "depth_write_enabled": True,
                "depth_compare": "greater",
            },
            fragment={
                "module": code,
                "entry_point": "draw_fragment",
                "targets": [{"format": "r32uint"}],
            },
        )
        return pipeline, [self.group(layout, self.mesh(piece)) for piece in self.resident]

    def mesh(self, piece: Resident) -> list[object]:
        """Return the resources of ``mesh_entries``."""
        return [self.frame, piece.piece, piece.vertices, piece.faces]

    def pipeline(
        self, key: object, text: object, entry: str, sets: Sequence[Sequence[Entry]]
    ) -> tuple[list[object], object]:
        """Return the layouts of a compute pipeline's bind groups and the pipeline, made once."""
        if key not in self._pipelines:
            device = self.device.handle
            layouts = [self._layout(entries) for entries in sets]
            code = device.create_shader_module(code=text(key))
            pipeline = device.create_compute_pipeline(
                layout=device.create_pipeline_layout(bind_group_layouts=layouts),
                compute={"module": code, "entry_point": entry},
            )
            self._pipelines[key] = (layouts, pipeline)
        return self._pipelines[key]

    def _layout(self, entries: Sequence[Entry]) -> object:
        return self.device.handle.create_bind_group_layout(
            entries=[{"binding": number, **entry} for number, entry in entries]
        )

    def group(self, layout: object, resources: Sequence[object]) -> object:
        """Return a bind group of resources in the order of their bindings."""
        return self.device.handle.create_bind_group(
            layout=layout,
            entries=[
                {"binding": number, "resource": _whole(resource)}
                for number, resource in enumerate(resources)
            ],
        )


_UNFILTERED = {"sample_type": "unfilterable-float"}


def mesh_entries(stage: int) -> list[Entry]:
    """Return the bindings of camera and mesh, which every pass has."""
    kinds = (UNIFORM, UNIFORM, READ, READ)
    return [(n, {"visibility": stage, "buffer": kind}) for n, kind in enumerate(kinds)]


def _whole(resource: object) -> object:
    """Return a resource as bind groups take it: buffers whole."""
    if hasattr(resource, "map_state"):
        return {"buffer": resource, "offset": 0, "size": resource.size}
    return resource
