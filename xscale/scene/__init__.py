"""From a folder to a checked scene: photos with cameras, the mesh, the split."""
