"""The learned part: hash grid on the surface, deferred shader, appearance of each photo."""
