"""From a folder to a :class:`Scene`: which layout it is, and whether its parts fit together."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from xscale import plugins
from xscale.errors import CameraError, DamagedPhotoError, SceneError, UsageError
from xscale.geometry.mesh import Mesh
from xscale.io.names import name_bytes
from xscale.scene.checks import fit, sightings
from xscale.scene.checks import plausibility as check
from xscale.scene.checks.advice import advise
from xscale.scene.checks.agree import photo_trial
from xscale.scene.checks.conventions import PoseConvention, reread
from xscale.scene.layouts import mvsnet
from xscale.scene.layouts.kinds import RECIPE, detected
from xscale.scene.layouts.views import Choice, PhotoView, Reading, photo_files, some
from xscale.scene.masks import mask_remarks
from xscale.scene.names import other_spellings, remark
from xscale.scene.options import SceneOptions
from xscale.scene.photo import Notes, Photo, png_name
from xscale.scene.posed import Remarks, WrongSizeError, posed_photo
from xscale.scene.quarantine import LeftOut, check_left_out, group_of, notice
from xscale.scene.scene import Scene
from xscale.scene.surface import SceneMesh, find_meshes, moved, read_surface

_NEAR_SHARE = 1e-4
_MOST_MISSING = 0.05
_MOST_FOLDERS = 200
_ASKED = 20
"""Missing photos that are looked for in other folders."""


def open_scene(path: str | Path, options: SceneOptions) -> Scene:
    """Read and check everything but the photos' pixels; see :meth:`Scene.open`."""
    if (Path(path) / RECIPE).is_file():
        return _made_scene(Path(path), options)
    root, named_scale = mvsnet.split_path(Path(path))
    choice = Choice(
        named_scale if options.layout_scale is None else options.layout_scale,
        options.colmap_model,
        options.cameras,
        options.images,
    )
    _check_folder(root)
    layout, warnings = detected(root, choice, named_scale is not None)
    files = options.mesh or find_meshes(root)
    reading = layout.read(root, choice)
    reading.views = _as_meant(reading, options.pose_convention)
    warnings += reading.warnings
    notes = Notes()
    photos, missing, left_out = _photos(root, reading, options, warnings, notes)
    warnings += check.check_cameras(photos)
    unused = {*missing, *(left.listed_as for left in left_out.values())}
    seen = sightings.seen_in(reading.sightings, photos, unused, options.pixel_origin)
    remarks, outliers = sightings.check_reprojection(seen, photos)
    warnings += remarks
    surface = read_surface(files, transform=options.transform, repair=options.mesh_repair)
    warnings += surface.warnings
    triangles = _placed(surface, photos, reading, root, warnings)
    own = options.pose_convention == "layout"
    if options.transform is None:
        cameras = [photo.camera for photo in photos]
        evidence = fit.Evidence(triangles, cameras, reading.points)
        trial = cache(lambda: photo_trial(photos, evidence))
        warnings += fit.check_frame(evidence, surface.offset, root, trial)
        if own:
            fit.check_convention(evidence, reading.convention, root, trial, cameras)
    warnings += check.check_parallax([photo.camera for photo in photos], triangles)
    remarks, blind = check.check_outliers(photos, triangles)
    warnings += remarks
    if options.drop_outliers:
        photos = _without(photos, {*outliers, *blind}, left_out, warnings)
    return Scene(
        root=root,
        layout=layout.name,
        reason=reading.reason,
        photos=_with_near(photos, triangles),
        mesh=triangles,
        mesh_files=tuple(files),
        points=reading.points,
        warnings=tuple(warnings),
        observe=reading.observe,
        provenance={**reading.provenance, **surface.provenance},
        missing=missing,
        left_out=left_out,
        notes=notes,
        convention=reading.convention if own else options.pose_convention,
        frames=tuple(reading.frames),
        options=options.as_text(),
    )


def _made_scene(path: Path, options: SceneOptions) -> Scene:
    """Open a scene whose photos and mesh are made on demand, by the plug-in that makes them."""
    chosen = list(options.changed())
    if chosen:
        raise UsageError(
            f"a scene made on demand takes no --{chosen[0].replace('_', '-')}",
            where=path,
            advice="leave it out",
        )
    return plugins.load("xscale.scenes", "giga", "maker of scenes")(path)


def _placed(
    surface: SceneMesh,
    photos: tuple[Photo, ...],
    reading: Reading,
    root: Path,
    warnings: list[str],
) -> Mesh:
    """Return the mesh in the cameras' frame, or refuse it with the option that sets it right."""
    mesh, cameras = surface.mesh, [photo.camera for photo in photos]
    evidence = fit.Evidence(mesh, cameras, reading.points)
    offset = surface.offset
    if offset is not None and fit.offset_helps(evidence, offset):
        mesh, offset = moved(surface, offset), None
        evidence = fit.Evidence(mesh, cameras, reading.points)
        surface.provenance["mesh_offset"] = surface.offset.tolist()
        warnings.append(
            f"W-MESH-SHIFT: the offset in {surface.offset_file.name} was added to the mesh, which "
            "brings it to the cameras"
        )
    try:
        warnings += check.check_points(reading.points, mesh, root, reading.advice)
        warnings += check.check_views(cameras, mesh, root, reading.advice)
    except SceneError as error:
        found = advise(
            evidence,
            photo_trial(photos, evidence),
            cameras,
            mesh,
            offset=offset,
            own=reading.convention,
            frames=reading.frames,
        )
        advice = found or reading.advice or error.advice
        raise SceneError(error.what, where=error.where, advice=advice) from error
    return mesh


def _as_meant(reading: Reading, convention: PoseConvention) -> list[PhotoView]:
    """Return the views with the poses that their matrices have in the convention given."""
    if convention == "layout":
        return reading.views
    poses = [reread(view.R, view.t, reading.convention, convention) for view in reading.views]
    return [replace(v, R=R, t=t) for v, (R, t) in zip(reading.views, poses, strict=True)]


def _check_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.exists():
        raise SceneError(
            "a scene is a folder, this is a file", where=root, advice="unpack archives first"
        )
    raise SceneError("there is no such folder", where=root, advice="check the path")


def _photos(
    root: Path, reading: Reading, options: SceneOptions, warnings: list[str], notes: Notes
) -> tuple[tuple[Photo, ...], tuple[str, ...], dict[str, LeftOut]]:
    """Join views with photo files, look at every header, and sort by the names' bytes.

    Returns:
        The photos, the names of cameras whose photos are missing, and the damaged photos.
    """
    listed, missing, remarks = _found(root, reading.photo_folder, reading.views)
    warnings += remarks
    views = [replace(view, name=name) for name, view in listed.items()]
    views.sort(key=lambda view: name_bytes(view.name))
    _check_collisions(reading.photo_folder, views)
    remarks = Remarks(notes=notes)
    photos = []
    left_out: dict[str, LeftOut] = {}
    for view in views:
        path, listed_as = reading.photo_folder / view.name, listed[view.name].name
        try:
            photo = posed_photo(view, path, root, options, remarks)
        except (DamagedPhotoError, WrongSizeError) as error:
            if options.on_bad_photo == "stop":
                raise
            left_out[view.name] = LeftOut(error, listed_as)
            continue
        photos.append(replace(photo, listed_as=listed_as))
    warnings += remarks.lines()
    warnings += mask_remarks(remarks.masks_in(root / "masks"), photos, [*listed, *missing])
    if left_out:
        check_left_out({view.name: group_of(view) for view in views}, left_out)
        warnings.append(notice(left_out))
    names = {view.name for view in views}
    spare = [name for name in photo_files(reading.photo_folder) if name not in names]
    if spare:
        warnings.append(
            f"W-PHOTO-NO-CAMERA: {len(spare)} photos have no camera and are not used: {some(spare)}"
        )
    return tuple(photos), missing, left_out


def _without(
    photos: tuple[Photo, ...],
    outliers: set[str],
    left_out: dict[str, LeftOut],
    warnings: list[str],
) -> tuple[Photo, ...]:
    """Leave photos out whose cameras do not fit the others: a few, as with damaged ones."""
    odd = [photo for photo in photos if photo.name in outliers]
    if not odd:
        return photos
    for photo in odd:
        error = CameraError(
            "its camera does not fit the others",
            where=photo.path,
            advice="align it again, or take it out of the camera model",
        )
        left_out[photo.name] = LeftOut(error, photo.listed_as)
    check_left_out({photo.name: group_of(photo.camera) for photo in photos}, left_out)
    names = [photo.name for photo in odd]
    warnings.append(f"W-CAMERA-DROPPED: {len(odd)} training photos are left out: {some(names)}")
    return tuple(photo for photo in photos if photo.name not in outliers)


def _found(
    root: Path, folder: Path, views: list[PhotoView]
) -> tuple[dict[str, PhotoView], tuple[str, ...], list[str]]:
    """Join views with the photos on the disk.

    Returns:
        The views by their photos' names, the names of the few that have no photo, and remarks.

    Raises:
        CameraError: A photo has several poses.
        SceneError: More than a twentieth of the photos are missing.
    """
    posed: dict[str, PhotoView] = {}
    for view in views:
        if view.name in posed:
            raise CameraError(
                f"photo {view.name} has a second pose there",
                where=view.where,
                advice="take one of them out: a photo has one pose",
            )
        posed[view.name] = view
    there = [view.name for view in views if (folder / view.name).exists()]
    absent = sorted({view.name for view in views}.difference(there))
    spelled = {}
    if absent:
        spelled = other_spellings(absent, set(photo_files(folder)).difference(there), folder)
    remarks = remark(spelled)
    missing = [name for name in absent if name not in spelled]
    if missing:
        told = f"{len(missing)} of {len(views)} photos with a camera are missing: {some(missing)}"
        if len(missing) == len(views):
            told = f"{told}; it holds {_holdings(folder)}"
        if len(missing) > _MOST_MISSING * len(views):
            raise SceneError(told, where=folder, advice=_where_photos_are(root, folder, missing))
        remarks.append(f"W-PHOTO-MISSING: {told}; they are left out")
    found = [view for view in views if view.name not in set(missing)]
    return {spelled.get(view.name, view.name): view for view in found}, tuple(missing), remarks


def _where_photos_are(root: Path, folder: Path, missing: list[str]) -> str:
    """Say which folder of the scene holds the missing photos, or which option names one."""
    asked = missing[:_ASKED]
    for number, (parent, folders, _) in enumerate(os.walk(root)):
        folders.sort()
        if number >= _MOST_FOLDERS:
            break
        if Path(parent) != folder and all((Path(parent) / name).is_file() for name in asked):
            return f"they are in {parent}: add --images {parent}"
    return (
        "add them, give the folder that holds them by --images, or take them out of the camera "
        "model"
    )


def _holdings(folder: Path) -> str:
    """Say how many files of which endings a folder and those in it hold, the most first."""
    found = Counter(
        Path(name).suffix.lower() or "no ending"
        for _, _, names in os.walk(folder)
        for name in names
    )
    counts = [f"{count} {ending}" for ending, count in found.most_common()]
    return f"files of {some(counts)}" if counts else "nothing"


def _check_collisions(folder: Path, views: list[PhotoView]) -> None:
    """Refuse photos whose renders would have one name."""
    taken: dict[str, str] = {}
    for view in views:
        name = png_name(view.name)
        if name in taken:
            raise SceneError(
                f"{taken[name]} and {view.name} would both be rendered to {name}",
                where=folder,
                advice="rename one of them, in the camera model too",
            )
        taken[name] = view.name


def _with_near(photos: tuple[Photo, ...], mesh: Mesh) -> tuple[Photo, ...]:
    """Set every near plane to 1e-4 of the median distance from cameras to the mesh's centre."""
    positions = np.array([photo.camera.position for photo in photos])
    distance = float(np.median(np.linalg.norm(positions - mesh.origin, axis=1)))
    near = _NEAR_SHARE * (distance or mesh.world_bounds.diagonal)
    return tuple(replace(p, camera=replace(p.camera, near=near)) for p in photos)
