"""One module writes, renames, removes and locks; nothing is unpickled; nothing runs a shell."""

from __future__ import annotations

import ast

from tests.house.tree import calls, files, name_of

STORAGE = (
    "xscale/io/storage.py",
    "xscale/io/temporaries.py",
    "xscale/io/file_sets.py",
    "xscale/io/run_lock.py",
)
_WRITING = {
    "write_text",
    "write_bytes",
    "imwrite",
    "imsave",
    "savetxt",
    "savez",
    "savez_compressed",
    "save_file",
    "tofile",
    "rename",
    "unlink",
    "rmtree",
    "mkdir",
    "makedirs",
    "symlink_to",
    "hardlink_to",
    "flock",
    "ftruncate",
    "copyfile",
    "copytree",
}
# Names under which a module may call storage's own functions.
_OWN = {"write_text", "write_bytes", "storage.write_text", "storage.write_bytes"}
_SAVERS = {"torch.save", "np.save", "numpy.save", "json.dump", "yaml.dump"}
_MODES = set("wax+")


def _sources():
    return [*files(".py", under="xscale"), *files(".py", under="viewer")]


def _in_memory(path) -> set[str]:
    """Names of io.BytesIO buffers in a file: saving into those writes no file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and ast.unparse(node.value.func) in ("io.BytesIO", "BytesIO")
        ):
            names |= {ast.unparse(target) for target in node.targets}
    return names


def _writes(name: str, call: ast.Call, buffers: set[str]) -> bool:
    last = name.rpartition(".")[2]
    if name in _OWN or (call.args and ast.unparse(call.args[0]) in buffers):
        return False
    if name in _SAVERS or (last in _WRITING and "." in name):
        return True
    if last == "open" and name != "Image.open":
        words = [a.value for a in call.args if isinstance(a, ast.Constant)]
        words += [k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)]
        modes = [w for w in words if isinstance(w, str) and w and set(w) <= set("rwaxbt+")]
        return any(_MODES & set(mode) for mode in modes)
    return False


def test_only_storage_writes():
    found = []
    for path in _sources():
        if name_of(path) in STORAGE:
            continue
        buffers = _in_memory(path)
        found += [
            f"{name_of(path)}:{call.lineno} {name}"
            for name, call in calls(path)
            if _writes(name, call, buffers)
        ]
    assert found == []


def test_nothing_read_from_a_file_is_executed():
    bad = []
    for path in _sources():
        for name, call in calls(path):
            keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
            if (
                name in ("eval", "exec", "os.system", "os.popen", "yaml.load", "marshal.loads")
                or name.startswith(("pickle.", "dill.", "joblib."))
                or (name == "torch.load" and keywords.get("weights_only") != "True")
                or (name == "np.load" and keywords.get("allow_pickle", "False") != "False")
                or keywords.get("shell") == "True"
            ):
                bad.append(f"{name_of(path)}:{call.lineno} {name}")
    assert bad == []


def test_no_module_imports_pickle():
    bad = []
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                if names & {"pickle", "dill", "marshal", "shelve"}:
                    bad.append(f"{name_of(path)}:{node.lineno}")
    assert bad == []


def test_only_the_command_line_prints_or_exits():
    bad = [
        f"{name_of(path)}:{call.lineno} {name}"
        for path in _sources()
        if not name_of(path).startswith(
            (
                "xscale/cli/",
                "xscale/__main__.py",
                "xscale/interrupts.py",
                "viewer/xscale_viewer/__main__.py",
            )
        )
        for name, call in calls(path)
        if name in ("print", "sys.exit", "exit", "quit", "os._exit")
    ]
    assert bad == []


def test_inputs_are_not_checked_by_assert():
    bad = [
        f"{name_of(path)}:{node.lineno}"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert bad == []
