"""Files: photos, meshes, hashes, and the one module that writes."""
