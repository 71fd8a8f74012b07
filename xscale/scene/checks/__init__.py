"""Plausibility checks: whether photos, cameras, mesh and sparse points fit together."""
