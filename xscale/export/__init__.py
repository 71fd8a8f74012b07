"""Files for other programs: textured meshes, coloured points, depth and normal maps of a run."""
