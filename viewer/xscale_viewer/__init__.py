"""Desktop viewer: a window on the render service of xscale, which never imports this package.

Modules without a window (``navigation``, ``picking``, ``measure``, ``session`` and others) hold the
logic; the modules below ``gui`` draw it with Dear ImGui.
"""
