"""The commands that write, on a tiny scene, and what must hold when their storage has failed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import builders
from tests.house.tree import ROOT

SOURCE = Path(__file__).with_name("shim.c")
SMALL = ["--set", "optim.batch=300", "model.grid.levels=4", "model.grid.log2_table_size=9"]
TRAIN = ["train", "{scene}", "--out", "{work}/run", "--steps", "6", *SMALL]


@dataclass
class Answer:
    """How a command went."""

    code: int | None
    said: str
    calls: int
    """Changes of files below the root."""
    networks: int
    """Sockets of a network, and hosts' names, that were asked for; none is given."""


class Server:
    """The process in which commands are forked (``server``); close it.

    Args:
        root: Folder below which storage fails.
        shim: The compiled shim.
    """

    def __init__(self, root: Path, shim: Path) -> None:
        self.root = root
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "FAULT_ROOT": str(root),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.storage_faults.server"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str], call: int = 0, error: int = 0, lasting: bool = False) -> Answer:
        """Run a command; its ``call``-th change of a file fails with ``error``, or kills it (0)."""
        fault = {"call": call, "error": error, "lasting": lasting} if call else {}
        return self._ask(words, fault)

    def run_within(self, words: list[str], room: int) -> Answer:
        """Run a command that may take this many bytes of addresses beyond what it begins with."""
        return self._ask(words, {"room": room})

    def run_and_connect(self, words: list[str]) -> Answer:
        """Run a command in whose process something asks for a connection first."""
        return self._ask(words, {"network": 1})

    def _ask(self, words: list[str], fault: dict[str, int]) -> Answer:
        request = {"words": words, "told": str(self.root.parent / "told.txt"), **fault}
        self._popen.stdin.write(json.dumps(request) + "\n")
        self._popen.stdin.flush()
        return Answer(**json.loads(self._popen.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._popen.stdin.close()
        self._popen.wait(60)
        self._popen.stdout.close()


def compiled(folder: Path) -> Path:
    """Compile the shim; return the library."""
    library = folder / "shim.so"
    subprocess.run(
        ["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o",
         str(library), str(SOURCE), "-ldl"],
        check=True,
    )  # fmt: skip
    return library


@dataclass(frozen=True)
class Command:
    """A command that writes below ``{work}``."""

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    """The command that goes on after a failure; the same one where empty."""
    needs: str = ""
    """Folder of the template that it works in."""
    ignore: tuple[str, ...] = ()
    """Names whose contents may differ between two good runs."""


COMMANDS = {
    "train": Command((*TRAIN,), (*TRAIN, "--resume"), ignore=("manifest.json", "metrics.jsonl")),
    "resume": Command(
        (*TRAIN[:4], "--steps", "9", *SMALL, "--resume"),
        needs="run",
        ignore=("manifest.json", "metrics.jsonl"),
    ),
    "render": Command(("render", "{work}/run", "--out", "{work}/views", "--size", "32x20",
                       "--outputs", "colour", "depth"), needs="run"),
    "render into the run": Command(("render", "{work}/run", "--size", "32x20"), needs="run"),
    "score": Command(("score", "{work}/run", "--scene", "{scene}"), needs="run"),
    "mesh": Command(("export", "{work}/run", "mesh", "--out", "{work}/mesh.obj", "--texel", "0.2"),
                    needs="run"),
    "points": Command(("export", "{work}/run", "points", "--out", "{work}/points.ply"),
                      needs="run"),
    "maps": Command(("export", "{work}/run", "maps", "--out", "{work}/maps"), needs="run"),
    "path": Command(("path", "{work}/run", "orbit", "--out", "{work}/path.json"), needs="run"),
    "convert": Command(("convert", "{scene}", "--to", "nerfstudio", "--out", "{work}/converted")),
    "inspect": Command(("inspect", "{scene}", "--report", "{work}/report.html")),
    "giganvs": Command(("giganvs", "prepare", "{scene}", "--out", "{work}/benchmark/tiny"),),
}  # fmt: skip


class Place:
    """A folder with a scene, a trained run to copy, and a server.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.scene = builders.write_colmap(builders.asymmetric_scene(), folder / "scene")
        self.work = folder / "work"
        self._template = folder / "template"
        self.server = Server(self.work, compiled(folder))
        self.work.mkdir()
        answer = self.server.run(self.words(TRAIN))
        assert answer.code == 0, answer.said
        self.work.rename(self._template)

    def words(self, words: tuple[str, ...] | list[str]) -> list[str]:
        """Return a command's words for this place."""
        return [word.format(scene=self.scene, work=self.work) for word in words]

    def begin(self, command: Command) -> None:
        """Make the working folder as the command finds it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        if command.needs:
            shutil.copytree(self._template / command.needs, self.work / command.needs)

    def files(self, command: Command) -> dict[str, str]:
        """Return a hash for every file, by its name."""
        found = {}
        for path in sorted(self.work.rglob("*")):
            name = path.relative_to(self.work).as_posix()
            if path.is_file() and path.name not in ("lock", *command.ignore):
                found[name] = _hash_of(path)
        return found


def _hash_of(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        # Runs have ids of their own, which stand in the first part.
        data = data[8 + int.from_bytes(data[:8], "little") :]
    elif path.suffix in (".json", ".jsonl"):
        data = _without_ids(data, log=path.suffix == ".jsonl")
    elif path.suffix == ".html":
        data = b""
    return hashlib.sha256(data).hexdigest()


_OWN = ("run", "self", "seconds", "date", "sha256", "bytes", "hashes", "crc", "hash", "time", "job")


def _without_ids(data: bytes, log: bool) -> bytes:
    """Return JSON, or a log's lines of it, without what two runs of equal trainings differ in."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in _OWN}
        return [strip(v) for v in value] if isinstance(value, list) else value

    if not log:
        return json.dumps(strip(json.loads(data))).encode()
    # A log: lines that a kill has torn are nobody's, and frames may stand in it twice.
    found = set()
    for line in data.splitlines():
        try:
            found.add(json.dumps(strip(json.loads(line)), sort_keys=True))
        except ValueError:
            continue
    return "\n".join(sorted(found)).encode()


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".tmp-*"))
