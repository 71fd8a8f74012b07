"""Plug-ins to compare with: other packages' kernels, other encodings, and kernels' ceilings.

The core does not know these modules. It finds the rasterizers, look-ups and encodings among them by
name, as entry points (``xscale.plugins``), which the wheel brings along like any other package's.
"""
