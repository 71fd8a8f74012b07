"""The viewer is a client: its logic needs no window, and it uses nothing private of the core."""

from __future__ import annotations

import ast

from tests.house.tree import files, name_of

_WINDOW = {"viewer/xscale_viewer/window.py", "viewer/xscale_viewer/display.py"}
_GUI = "viewer/xscale_viewer/gui/"
_LIBRARIES = {"imgui_bundle", "glfw"}
_NOT_A_CLIENTS = ("xscale.cli", "xscale.training", "xscale._core", "xscale.demo")


def _imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_window_knows_the_library():
    users = {
        name_of(path)
        for path in files(".py", under="viewer")
        if {name.split(".")[0] for name in _imports(path)} & _LIBRARIES
    }
    assert users - _WINDOW == {name for name in users if name.startswith(_GUI)}
    assert users & _WINDOW == _WINDOW


def test_the_viewer_uses_the_public_interface_of_the_core():
    bad = []
    for path in files(".py", under="viewer"):
        for name in _imports(path):
            private = any(part.startswith("_") for part in name.split(".")[:-1])
            own = name.rpartition(".")[2]
            hidden = own.startswith("_") and name.startswith("xscale.") and own != "__version__"
            if name.startswith(_NOT_A_CLIENTS) or (private and "__future__" not in name) or hidden:
                bad.append(f"{name_of(path)}: {name}")
    assert bad == []


def test_the_core_never_imports_the_viewer():
    bad = [
        name_of(path)
        for path in files(".py", under="xscale")
        if any(name.split(".")[0] in {"xscale_viewer", *_LIBRARIES} for name in _imports(path))
    ]
    assert bad == []
