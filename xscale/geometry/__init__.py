"""Cameras, rotations, meshes and boxes: numpy only, no files."""
