"""How far a render is from its photo. Reads pictures only and knows nothing of models or meshes."""
