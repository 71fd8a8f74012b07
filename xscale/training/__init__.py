"""Training: from a scene and settings to a run folder. The way in is ``xscale.train``."""
