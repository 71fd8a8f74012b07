"""The GigaNVS benchmark: scenes in its layout, splits, runs, scores, tables."""
