"""A job on an existing Ray cluster: what the local engine does, on many machines.

A task renders one frame into the shared folder and returns its record, or renders a band of rows
of a large picture and returns that; the driver puts the bands together as the local engine does.
Ray repeats the tasks of lost workers, which is harmless: a frame that is rendered twice is
published under the same name with the same bytes. The driver alone writes the journal.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

import xscale
from xscale.errors import ClusterError, ResourceError, XscaleError
from xscale.io import storage
from xscale.render.batch import FATAL, Engine, Outcome, attempt
from xscale.render.job import Job, frame_band, frame_bands
from xscale.render.picture import Band
from xscale.render.run import Run
from xscale.render.sinks import module

Split = Literal["auto", "frames", "tiles"]

_RETRIES = 5
_PATIENCE = 20.0
_NO_WORKERS = 120.0
"""Seconds for which a cluster may be without any node that could work: one may be coming."""
_LOOK = 2.0
_IN_FLIGHT = 2
"""Tasks a worker has waiting, so that none idles between frames."""
_MANY_BANDS = 32
"""Pictures of so many bands are split, however many there are: about 64 million samples."""
_SPARE_MEMORY = 1 << 30

_held: dict[tuple[str, str, bool], Run] = {}
"""In a worker: the run, loaded by its first task."""


def ray_engine(address: str = "auto", workers: int | None = None, split: Split = "auto") -> Engine:
    """Return an engine that renders on a Ray cluster.

    Args:
        address: Of the cluster; ``auto`` finds the one of this machine.
        workers: How many frames or bands at a time; one for each GPU, or for each CPU, by default.
        split: What a task is: a frame, a band of rows of one (``tiles``), or by the job: bands of
            pictures that are very large, or larger than a band and fewer than the workers.

    Raises:
        SetupError: Ray is not installed.
    """
    ray = module("ray", "--engine ray", "cluster")

    def engine(run: Run, job: Job, pending: Sequence[int], folder: Path) -> Iterator[Outcome]:
        started = not ray.is_initialized()
        if started:
            connect(ray, address)
        try:
            yield from _render(ray, run, job, pending, folder.resolve(), workers, split)
        finally:
            if started:
                ray.shutdown()

    return engine


def connect(ray: ModuleType, address: str) -> None:
    """Connect to a Ray cluster.

    Raises:
        ClusterError: There is none at that address.
    """
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit() and "/" not in host:
            # Ray itself tries for minutes before it says so.
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(
            f"there is no Ray cluster at {address}: {error}",
            advice="start one (ray start --head) or give its --address",
        ) from error


def _render(
    ray: ModuleType,
    run: Run,
    job: Job,
    pending: Sequence[int],
    folder: Path,
    workers: int | None,
    split: Split,
) -> Iterator[Outcome]:
    resources = ray.cluster_resources()
    # Ray counts CUDA's GPUs by itself, others only where a node was started with --num-gpus.
    gpu = run.where.startswith("cuda") or (run.where != "cpu" and resources.get("GPU", 0) > 0)
    available = int(resources.get("GPU" if gpu else "CPU", 0))
    if not available:
        raise ClusterError(f"the cluster has no {'GPU' if gpu else 'CPU'}")
    workers = workers or available
    # Ray shuts workers of other tasks out of a CPU; the memory asked for keeps a node from
    # taking more tasks than models fit.
    needs = {
        "CPU": 0 if gpu else max(1, available // workers),
        "GPU": 1 if gpu else 0,
        "memory": run.model_bytes() + _SPARE_MEMORY,
    }
    probe = folder / f".probe-{secrets.token_hex(8)}"
    storage.write_text(probe, job.hash)
    source = (str(run.path.resolve()), run.where, run.uses_source_photos)
    place = _Place(source, str(folder), str(probe))
    cluster = _Cluster(ray, needs, workers * _IN_FLIGHT, place, ray.put(job))
    tiled = [index for index in pending if _is_tiled(job, index, split, len(pending) < workers)]
    whole = sorted(set(pending) - set(tiled))
    try:
        for index, outcome in cluster.any_order(_frame_task, [(index,) for index in whole]):
            yield index, _outcome(outcome)
        for index in tiled:
            yield index, attempt(run, job, index, folder, lambda i: _bands(cluster, job, i))
    finally:
        cluster.give_up()
        storage.remove_file(probe)


def _is_tiled(job: Job, index: int, split: Split, few: bool) -> bool:
    """Whether a frame is split into bands; a bad camera has none."""
    bands = len(frame_bands(job, index))
    if split == "auto":
        return bands >= _MANY_BANDS or (few and bands > 1)
    return split == "tiles" and bands > 0


def _bands(cluster: _Cluster, job: Job, index: int) -> Iterator[Band]:
    """Yield a frame's bands from top to bottom, the next ones under way meanwhile."""
    for outcome in cluster.in_order(_band_task, [(index, *b) for b in frame_bands(job, index)]):
        band = _outcome(outcome)
        if isinstance(band, XscaleError):
            raise band
        yield band


@dataclass(frozen=True)
class _Place:
    """Where a worker finds things, under the same paths as the driver."""

    run: tuple[str, str, bool]
    """Its folder, the device, and whether colours are corrected by its photos."""
    folder: str
    probe: str
    """A file that the driver wrote: who does not see it has another folder."""


@dataclass
class _Cluster:
    """Tasks on a cluster, a bounded number of them under way."""

    ray: ModuleType
    needs: dict[str, float]
    """Resources that a task takes."""
    most: int
    place: _Place
    job: object
    """Reference to the job."""
    running: list = field(default_factory=list)

    def any_order(self, task: object, arguments: list[tuple]) -> Iterator[tuple[int, object]]:
        """Yield (first argument, outcome) of each task as it is done."""
        remote = self._remote(task)
        waiting, started = arguments[::-1], {}
        while waiting or self.running:
            while waiting and len(self.running) < self.most:
                words = waiting.pop()
                reference = remote.remote(self.place, self.job, *words)
                started[reference] = words[0]
                self.running.append(reference)
            reference = self._ready(self.running)
            self.running.remove(reference)
            yield started.pop(reference), self._fetched(reference)

    def in_order(self, task: object, arguments: list[tuple]) -> Iterator[object]:
        """Yield the tasks' outcomes in the order of their arguments."""
        remote = self._remote(task)
        waiting = arguments[::-1]
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.most:
                    self.running.append(remote.remote(self.place, self.job, *waiting.pop()))
                first = self._ready(self.running[:1])
                yield self._fetched(first)
                self.running.pop(0)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Cancel what is under way."""
        for reference in self.running:
            self.ray.cancel(reference)
        self.running.clear()

    def _remote(self, task: object) -> object:
        return self.ray.remote(
            num_cpus=self.needs["CPU"],
            num_gpus=self.needs["GPU"],
            memory=self.needs["memory"],
            max_retries=_RETRIES,
            retry_exceptions=[OSError],
        )(task)

    def _ready(self, references: list) -> object:
        """Wait for one of some tasks.

        Raises:
            ClusterError: No node is left that could do them, and none came for a while.
        """
        alone = None
        while True:
            ready, _ = self.ray.wait(references, timeout=_LOOK)
            if ready:
                return ready[0]
            if self._has_worker():
                alone = None
            elif alone is None:
                alone = time.monotonic()
            elif time.monotonic() - alone > _NO_WORKERS:
                raise ClusterError(
                    "the cluster lost its workers: no node has "
                    f"{self.needs['GPU'] or self.needs['CPU']} "
                    f"{'GPU' if self.needs['GPU'] else 'CPU'} and "
                    f"{self.needs['memory'] / 2**30:.1f} GiB for a task",
                    advice="finished frames are listed; start nodes and run the command again",
                )

    def _has_worker(self) -> bool:
        return any(
            node["Alive"]
            and all(node["Resources"].get(name, 0) >= need for name, need in self.needs.items())
            for node in self.ray.nodes()
        )

    def _fetched(self, reference: object) -> object:
        """Return what a task gave.

        Raises:
            ClusterError: Its workers were lost again and again, or the task failed by no fault of
                the frame.
            ResourceError: A node has too little memory.
        """
        exceptions = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, XscaleError):
                raise cause from error
            raise ClusterError(f"a worker failed: {type(cause).__name__}: {cause}") from error
        except exceptions.OutOfMemoryError as error:
            raise ResourceError(
                "a node of the cluster has too little memory", advice="give fewer --workers"
            ) from error
        except exceptions.RayError as error:
            raise ClusterError(
                f"a task's worker was lost {_RETRIES + 1} times: {error}",
                advice="finished frames are listed; run the command again",
            ) from error


def _outcome(given: object) -> object:
    """Return what a task gave, its frame's error as an error again."""
    if not isinstance(given, dict) or "error" not in given:
        return given
    kind, message = given["error"]
    return next((c for c in _kinds() if c.__name__ == kind), XscaleError)(message)


def _kinds() -> list[type[XscaleError]]:
    from xscale import errors

    kinds = [v for v in vars(errors).values() if isinstance(v, type)]
    return [v for v in kinds if issubclass(v, XscaleError)]


def _worker_run(place: _Place, job: Job) -> Run:
    """Return the run in a worker, loaded by its first task.

    Raises:
        ClusterError: The worker sees another folder or run, or has another version.
    """
    if not Path(place.probe).is_file():
        raise ClusterError(
            "a worker does not see the job's folder",
            where=place.folder,
            advice="use a shared folder",
        )
    run = _held.get(place.run)
    if run is None:
        path, device, source_photos = place.run
        run = Run.open(path, device, source_photos=source_photos)
        if run.fingerprint != job.run:
            raise ClusterError("a worker found another run than the driver", where=path)
        if job.description()["xscale"] != xscale.__version__:
            raise ClusterError("a worker has another version of xscale than the driver")
        _held.clear()
        _held[place.run] = run
    return run


def _frame_task(place: _Place, job: Job, index: int) -> dict:
    """Render one frame in a worker; errors of the frame come back as words."""
    outcome = attempt(_worker_run(place, job), job, index, Path(place.folder))
    return _words(outcome) if isinstance(outcome, XscaleError) else outcome


def _band_task(place: _Place, job: Job, index: int, top: int, rows: int) -> Band | dict:
    """Render some rows of a frame in a worker; errors of the frame come back as words."""
    run = _worker_run(place, job)
    try:
        return frame_band(run, job, index, top, rows)
    except FATAL:
        raise
    except XscaleError as error:
        return _words(error)


def _words(error: XscaleError) -> dict:
    return {"error": (type(error).__name__, str(error))}
