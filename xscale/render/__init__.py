"""Forward only: cameras to images, and the run folder that a render needs."""
