"""Records of a job's folder: job.json, a line for each finished frame, manifest.json.

A frame is finished when its line is in a journal and its files have the sizes that the line says;
that a file exists proves nothing. Every line has its own checksum, so one torn by a kill is
ignored. Shards write journals of their own; readers take them all together.
"""

from __future__ import annotations

import contextlib
import json
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from xscale.errors import BusyError, InputError, IntegrityError
from xscale.io import storage
from xscale.io.hashing import sha256_file
from xscale.io.own_files import read_own_json, read_own_lines
from xscale.io.run_lock import RunLock
from xscale.render.job import Job
from xscale.render.options import check_folder, other_job

_PATIENCE = 30.0


class JobFolder:
    """The folder of one job, or of one shard's part of it.

    Args:
        path: The folder.
        job: What is rendered into it.
        shard: (number from 1, of how many) or None for the whole job.
    """

    def __init__(self, path: Path, job: Job, shard: tuple[int, int] | None = None) -> None:
        self.path = path
        self.job = job
        self.shard = shard
        part = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
        self._journal = path / f"journal{part}.jsonl"
        self._shards = path / "shards"
        self._lock: RunLock | None = None

    @contextlib.contextmanager
    def opened(self, overwrite: bool = False) -> Iterator[JobFolder]:
        """Own the folder (or the shard's part) while frames are rendered.

        Args:
            overwrite: Replace another job's folder instead of refusing it.

        Raises:
            BusyError: Another process renders into it.
            OutputExistsError: It holds something else than this job.
        """
        storage.make_folder(self.path)
        self._refuse_links()
        if self.shard is None:
            with RunLock(self.path) as self._lock:
                self._no_shard_runs()
                self._claim(overwrite)
                storage.clean_temporaries(self.path)
                for file in self.job.settings.files():
                    storage.clean_temporaries(self.path / file.output)
                yield self
            return
        part = storage.make_folder(self._shards / f"{self.shard[0]}-of-{self.shard[1]}")
        with RunLock(part) as self._lock:
            with self._whole_lock():
                self._claim(overwrite)
            yield self

    def _refuse_links(self) -> None:
        """Refuse folders that lead elsewhere: what a job writes stays in its folder.

        Raises:
            UnsafePathError: One is a symbolic link.
        """
        inside = {self._shards, *self._shards.glob("*-of-*")}
        for frame in self.job.frames:
            for file in self.job.paths(frame):
                inside |= {self.path / parent for parent in file.parents[:-1]}
        for folder in inside:
            storage.refuse_link(folder)

    @contextlib.contextmanager
    def _whole_lock(self) -> Iterator[None]:
        """Hold the whole folder's lock for a moment; other shards do so too, so be patient."""
        end = time.monotonic() + _PATIENCE
        while True:
            lock = RunLock(self.path)
            try:
                lock.__enter__()
                break
            except BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def _no_shard_runs(self) -> None:
        for part in sorted(self._shards.glob("*-of-*")):
            with RunLock(part):
                pass

    def _claim(self, overwrite: bool) -> None:
        """Write job.json into a new folder; accept only the same job in an old one."""
        file = self.path / "job.json"
        mine = {"hash": self.job.hash, "run_id": self.job.run_id, **self.job.description()}
        try:
            theirs = read_own_json(file)
        except FileNotFoundError:
            check_folder(self.path, overwrite=overwrite)
            storage.write_json(file, mine)
            return
        except IntegrityError as error:
            if not overwrite:
                raise IntegrityError(error.what, where=file, advice="give --overwrite") from error
            theirs = {}
        if theirs.get("hash") == mine["hash"]:
            return
        if not overwrite:
            changed = [k for k in self.job.description() if theirs.get(k) != mine[k]]
            raise other_job(self.path, changed)
        self._remove_older()
        storage.write_json(file, mine, overwrite=True)

    def _remove_older(self) -> None:
        """Remove what another job left: its listed pictures, what stands beside them, its journals.

        Only plain files below the folder that have the sizes which its journals say: whatever else
        lies here is somebody's own.
        """
        for record in self._older_records():
            for entry in record["files"].values():
                path = self.path / entry["file"]
                if path.stat().st_size == entry["bytes"]:
                    storage.remove_file(path)
        films = [path for path in self.path.glob("video.*") if path.is_file()]
        for path in (self.path / "cameras.json", self.path / "manifest.json", *films):
            storage.remove_file(path)
        for journal in self.path.glob("journal*.jsonl"):
            storage.remove_file(journal)

    def _older_records(self) -> Iterator[dict]:
        """Yield the records of another job whose files are plain files below the folder."""
        for journal in sorted(self.path.glob("journal*.jsonl")):
            for line in read_own_lines(journal):
                record = _parsed(line)
                try:
                    names = [entry["file"] for entry in record["files"].values()]
                    if all(self._is_plain(PurePosixPath(name)) for name in names):
                        yield record
                except (KeyError, TypeError, AttributeError, ValueError, OSError):
                    continue

    def _is_plain(self, name: PurePosixPath) -> bool:
        """Whether a name of a journal leads to a regular file in this folder, and nowhere else."""
        path = self.path
        if name.is_absolute() or ".." in name.parts:
            return False
        for part in name.parts[:-1]:
            path /= part
            if not stat.S_ISDIR(path.lstat().st_mode):
                return False
        return stat.S_ISREG((path / name.name).lstat().st_mode)

    def finished(self, verify: bool = False) -> dict[int, dict]:
        """Return the records of finished frames by index.

        Args:
            verify: Read every file and compare its hash, not only its size.
        """
        done = {}
        for journal in sorted(self.path.glob("journal*.jsonl")):
            for entry in read_own_lines(journal):
                record = _parsed(entry)
                try:
                    if record is not None and self._holds(record, verify):
                        done[record["index"]] = record
                except (KeyError, TypeError, AttributeError, ValueError):
                    continue  # not a line of ours: its frame is rendered again
        return done

    def _holds(self, record: dict, verify: bool) -> bool:
        index = record["index"]
        if type(index) is not int or not 0 <= index < len(self.job.frames):
            return False
        files = self.job.settings.files()
        wanted = zip(files, self.job.paths(self.job.frames[index]), strict=True)
        # Only the job's own files are looked at, whatever names the line has.
        expected = {file.output: path.as_posix() for file, path in wanted}
        if {output: entry["file"] for output, entry in record["files"].items()} != expected:
            return False
        for entry in record["files"].values():
            path = self.path / entry["file"]
            try:
                found = path.lstat()
                if not stat.S_ISREG(found.st_mode) or found.st_size != entry["bytes"]:
                    return False
                if verify and sha256_file(path) != entry["sha256"]:
                    return False
            except (OSError, InputError):
                return False
        return True

    def append(self, record: dict) -> None:
        """Remember a finished frame."""
        self._still_here()
        text = json.dumps(record, sort_keys=True)
        storage.append_line(
            self._journal, json.dumps({"crc": zlib.crc32(text.encode()), "record": record},
                                      sort_keys=True), sync=True
        )  # fmt: skip

    def write_manifest(self, failed: dict[str, str], warnings: Sequence[str] = ()) -> dict:
        """Write manifest.json: finished frames of all shards, this process's failures, remarks."""
        self._still_here()
        done = self.finished()
        manifest = {
            "job": self.job.hash,
            "frames": len(self.job.frames),
            "finished": [done[index] for index in sorted(done)],
            "failed": [{"name": name, "error": error} for name, error in failed.items()],
            "warnings": list(warnings),
        }
        storage.write_json(self.path / "manifest.json", manifest, overwrite=True)
        return manifest

    def _still_here(self) -> None:
        """Refuse to go on in a folder that was moved, removed or replaced meanwhile."""
        if self._lock is not None:
            self._lock.check()

    def check(self) -> dict[str, list[str]]:
        """Compare the folder with its job: frames missing, files damaged, files that are not its.

        Returns:
            "missing" (names), "damaged" and "foreign" (files).
        """
        listed, whole = self.finished(), self.finished(verify=True)
        known = {Path(n) for n in ("job.json", "manifest.json", "cameras.json", "lock")}
        known |= {p.relative_to(self.path) for p in self.path.glob("journal*.jsonl")}
        known |= {p.relative_to(self.path) for p in self.path.glob("video.*")}
        for frame in self.job.frames:
            known |= set(self.job.paths(frame))
        files = [p.relative_to(self.path) for p in sorted(self.path.rglob("*")) if p.is_file()]
        foreign = [p for p in files if p not in known and p.parts[0] != "shards"]
        frames = self.job.frames
        return {
            "missing": [f.name for k, f in enumerate(frames) if k not in listed],
            "damaged": [frames[k].name for k in sorted(listed.keys() - whole.keys())],
            "foreign": [p.as_posix() for p in foreign],
        }


def _parsed(entry: dict) -> dict | None:
    """Return a line's record, None where it is torn or damaged."""
    try:
        record = entry["record"]
        text = json.dumps(record, sort_keys=True)
        return record if entry["crc"] == zlib.crc32(text.encode()) else None
    except (ValueError, KeyError, TypeError):
        return None
