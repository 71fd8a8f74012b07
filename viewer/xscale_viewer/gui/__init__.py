"""Dear ImGui panels over the viewer's logic."""
