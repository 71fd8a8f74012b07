"""From a mesh and a camera to surface points of pixels."""
