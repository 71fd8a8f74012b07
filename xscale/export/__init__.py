"""What others can open: textured meshes, coloured point clouds, depth and normal maps of a run."""
