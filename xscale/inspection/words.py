"""An inspection's figures as people read them, for the terminal and the page."""

from __future__ import annotations

MILLIMETRES = {"m": 1000.0, "cm": 10.0, "mm": 1.0}


def length(value: float | None, unit: str | None) -> str:
    """Write a length: in millimetres where the unit is known, else in scene units."""
    if value is None:
        return "-"
    return f"{value:.3g}" if unit is None else f"{value * MILLIMETRES[unit]:.3g} mm"


def size(count: float) -> str:
    """Write a number of bytes."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def many(count: float) -> str:
    """Write a large number."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g} {letter}"
    return f"{count:.0f}"


def rough(seconds: float) -> str:
    """Write an estimated duration without digits that nobody can know."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{float(f'{seconds / unit:.2g}'):g} {name}"
    return f"{float(f'{seconds / 86400:.2g}'):g} days"


def measures(facts: dict, unit: str | None) -> dict[str, str]:
    """Return what the scene holds and how its parts agree, by label."""
    photos, mesh, split = facts["photos"], facts["mesh"], facts["split"]
    sizes = ", ".join(f"{count} of {size}" for size, count in list(photos["sizes"].items())[:4])
    low, high = (" ".join(f"{x:.6g}" for x in mesh[key]) for key in ("low", "high"))
    footprint = facts["footprint"]
    shown = "  ".join(f"{p} {length(footprint[p], unit)}" for p in ("p1", "p5", "p50", "p99"))
    coverage, points = facts["coverage"], facts["sparse_points"]
    back = facts["back_faces"]
    masks = f"; {photos['with_mask']} with a mask" if photos["with_mask"] else ""
    some = facts["looked_at"]
    spread = f"; {some} of them looked at" if some < photos["count"] else ""
    lines = {
        "layout": f"{facts['layout']}: {facts['because']}",
        "photos": f"{photos['count']}: {sizes}{masks}{spread}",
        "cameras": ", ".join(f"{count} {model}" for model, count in photos["models"].items()),
        "split": f"{split['train']} train, {len(split['test'])} test",
        "mesh": f"{mesh['path']}: {mesh['faces']:,} faces, {mesh['vertices']:,} vertices, "
        f"median edge {length(mesh['median_edge'], unit)}; {mesh['unreferenced_vertices']:,} "
        f"vertices unused, {mesh['degenerate_faces']:,} faces without area, "
        f"{mesh['duplicate_faces']:,} duplicates",
        "bounds": f"{low} to {high}",
        "points": "none" if points is None else f"{points:,} sparse points",
        "footprint": f"{shown} a pixel{'' if unit else ' (scene units)'}",
        "coverage": f"mean {coverage['mean']:.0%}, least {coverage['min']:.0%} of a picture",
        "behind": f"{back['seen']:.1%} of what hits the mesh sees it from behind, "
        f"{back['uncovered']:.1%} through holes: that counts as uncovered",
    }
    if mesh["edges"]:
        lines["edges"] = (
            "{open:,} at the border, {crowded:,} of over two faces, {turned:,} between faces of "
            "opposite winding"
        ).format(**mesh["edges"])
    if mesh["coordinate_system"]:
        lines["system"] = "{name} (named in {file})".format(**mesh["coordinate_system"])
    agreement = _agreement(facts["agreement"])
    return lines | ({"agreement": agreement} if agreement else {})


def _agreement(found: dict) -> str:
    parts = []
    if found["neighbour_pixels"] is not None:
        parts.append(f"neighbouring photos lie {found['neighbour_pixels']:.1f} pixels apart")
    if found["reprojection_pixels"] is not None:
        parts.append(f"sparse points {found['reprojection_pixels']:.2f} pixels off")
    if found["mesh_offset"] is not None:
        parts.append(f"the mesh {found['mesh_offset']:.2%} of the distance off them")
    return f"{', '.join(parts)} (medians)" if parts else ""


def plan_lines(plan: dict) -> dict[str, str]:
    """Return what a training would choose, need and take, by label."""
    if not plan["possible"]:
        return {"training": f"not possible: {plan['because']}"}
    pool = plan["pool"]
    free = "" if plan["free_bytes"] is None else f" of {size(plan['free_bytes'])} free"
    held = "all" if pool["holds_everything"] else f"a changing part of {pool['tiles']:,}"
    lines = {
        "table": f"2^{plan['log2_table_size']} rows a level, {size(plan['table_bytes'])}; finest "
        f"level {plan['finest_resolution']:,} cells along the box",
        "memory": f"{size(plan['training_bytes'])} to train{free}; the pool holds {held} tiles in "
        f"{size(pool['bytes'])}",
    }
    time = f"{many(plan['rays'])} rays see each of {many(plan['covered_training_pixels'])} covered "
    time += "training pixels eight times"
    if plan["seconds"] is not None:
        time += (
            f": about {rough(plan['seconds'])} here, at {many(plan['rays_per_second'])} rays/s "
            f"on the {plan['device'].upper()}"
        )
    return lines | {"time": time}
