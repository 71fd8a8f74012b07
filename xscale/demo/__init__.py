"""The demo: a procedural scene with detail at every scale and an exact ground truth."""
