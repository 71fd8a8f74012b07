"""Scores of a run in a file, in a table and on a page. Reads pictures and numbers only."""
