"""Whether a scene is fit to be trained on: measured before a night is spent on it."""
