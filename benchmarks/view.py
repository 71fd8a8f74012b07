"""Numbers of a viewer on a run: how soon pictures come, how good they are while moving.

A motion of orbit, dolly and turn is played at 60 requests a second against ``RenderService``, as a
window would play it. Every figure is measured here and now; cores that others used meanwhile stand
beside them, since all of these are times of a clock on the wall.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks._timing import _cpu_seconds
from xscale.geometry.camera import Camera
from xscale.geometry.trajectory import look_at, placed, up_of
from xscale.render.probe import focus_of
from xscale.render.run import Run
from xscale.render.service import Picture, RenderService, ViewRequest

_RATE = 60.0
_COMPARED = 16
"""Moving pictures that are compared with true renders."""
_FIRST_PICTURE = """
import sys, threading, time
start = float(sys.argv[2])
from xscale.render.run import Run
from xscale.render.service import RenderService, ViewRequest

run = Run.open(sys.argv[1])
done = threading.Event()
with RenderService(run, lambda picture: done.set() if picture.complete else None) as service:
    camera = run.camera(run.names("all")[0]).scaled(int(sys.argv[3]), int(sys.argv[4]))
    service.request(ViewRequest(camera, samples=1))
    done.wait(120)
    print(time.time() - start)
"""


def rows(
    run: Path | None, size: tuple[int, int], seconds: float, threads: int | None, minutes: float
) -> list[dict[str, object]]:
    """Measure a run; without one a short training of fountain or of the demo is made first.

    Args:
        run: The run's folder; None trains fountain at full size where XSCALE_SCENES has it, else
            the tiny demo.
        size: (width, height) of the pictures.
        seconds: Length of the motion.
        threads: Threads of the service; None: all.
        minutes: Of the training, where one is made.
    """
    if run is not None:
        return measured(run, size, seconds, threads)
    with tempfile.TemporaryDirectory() as folder:
        return measured(_trained(Path(folder), minutes), size, seconds, threads)


def _trained(folder: Path, minutes: float) -> Path:
    from xscale.demo.make import make_demo
    from xscale.demo.photos import TINY
    from xscale.scene.scene import Scene
    from xscale.training.api import train

    fountain = Path(os.environ.get("XSCALE_SCENES", "")) / "fountain"
    if not (os.environ.get("XSCALE_SCENES") and fountain.is_dir()):
        fountain = folder / "scene"
        make_demo(fountain, TINY)
    return train(Scene.open(fountain), out=folder / "run", minutes=minutes).path


def measured(
    path: Path, size: tuple[int, int], seconds: float, threads: int | None = None
) -> list[dict[str, object]]:
    """Return the rows of the table for one run."""
    run = Run.open(path)
    found = [_start(path, size)]
    motion, rest = _motion(run, size)
    watch = _Watch()
    with RenderService(run, watch.take, threads, watch.errors.append) as service:
        found += _moving(service, run, watch, motion, seconds)
        found += _resting(service, watch, rest)
        found.append(_idle(service))
    if watch.errors:
        raise RuntimeError(watch.errors[0])
    return found


class _Watch:
    """Pictures as they come, with their times."""

    def __init__(self) -> None:
        self.pictures: list[tuple[float, Picture]] = []
        self.errors: list[str] = []
        self.changed = threading.Condition()

    def take(self, picture: Picture) -> None:
        with self.changed:
            # Arrays of a moving picture are its own; bands share theirs.
            self.pictures.append((time.perf_counter(), picture))
            self.changed.notify_all()

    def wait_for(self, number: int, samples: int) -> float:
        """Wait for the whole picture of a request at so many samples; return when it came."""

        def when() -> float | None:
            for moment, picture in self.pictures:
                same = picture.number == number and picture.samples == samples
                if same and picture.complete and picture.stage != "moving":
                    return moment
            return None

        with self.changed:
            self.changed.wait_for(lambda: when() is not None or self.errors, 300)
            moment = when()
        if moment is None:
            raise RuntimeError(self.errors[0] if self.errors else "no picture came")
        return moment


def _row(
    what: str, figure: float, unit: str, goal: str, met: bool | None, others: float
) -> dict[str, object]:
    return {"what": what, "figure": round(figure, 3), "unit": unit, "goal": goal, "met": met,
            "others": round(others, 2)}  # fmt: skip


class _Others:
    """Cores that other processes used since the object was made."""

    def __init__(self) -> None:
        self._began = (time.perf_counter(), *_cpu_seconds())

    def cores(self) -> float:
        start, everything, own = self._began
        now_everything, now_own = _cpu_seconds()
        spent = (now_everything - everything) - (now_own - own)
        return max(spent, 0.0) / max(time.perf_counter() - start, 1e-9)


def _motion(run: Run, size: tuple[int, int]) -> tuple[Callable[[float], Camera], list[Camera]]:
    """Return a camera for every moment, and three places to rest at."""
    names = run.names("test") or run.names("train")
    first = run.camera(names[0])
    width, height = size
    share = min(width / first.width, height / first.height)
    K = np.array([[first.fx * share, 0, width / 2], [0, first.fx * share, height / 2], [0, 0, 1]])
    lens = Camera("PINHOLE", width, height, K, first.R, first.t, near=first.near)
    up = up_of([run.camera(name) for name in run.names("all")])
    centre = focus_of(run.surface, run.origin, [lens])
    if centre is None:
        raise RuntimeError("the first view sees nothing of the mesh")
    arm = lens.position - centre

    def camera(moment: float) -> Camera:
        """Orbit by 15 degrees to both sides, come 20 % nearer and go back, look aside a little."""
        angle = math.radians(15) * math.sin(2 * math.pi * moment / 8)
        nearer = 1 - 0.1 * (1 - math.cos(2 * math.pi * moment / 6))
        turned = _about(up, angle) @ arm * nearer
        aside = np.linalg.norm(arm) * 0.05 * math.sin(2 * math.pi * moment / 5)
        target = centre + aside * np.cross(up, arm / np.linalg.norm(arm))
        position = centre + turned
        return placed(lens, position, look_at(position, target, up))

    return camera, [camera(moment) for moment in (0.0, 1.7, 3.1)]


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def _start(path: Path, size: tuple[int, int]) -> dict[str, object]:
    others = _Others()
    command = [sys.executable, "-c", _FIRST_PICTURE, str(path), str(time.time()), *map(str, size)]
    seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return _row("start of Python to the first exact picture", seconds, "s", "3", seconds <= 3,
                others.cores())  # fmt: skip


def _moving(
    service: RenderService,
    run: Run,
    watch: _Watch,
    motion: Callable[[float], Camera],
    seconds: float,
) -> list[dict[str, object]]:
    first = service.request(ViewRequest(motion(0.0), samples=1))
    watch.wait_for(first, 1)
    watch.pictures.clear()
    gaps = _Gaps()
    others = _Others()
    sent: list[tuple[int, float]] = []
    with gaps:
        start = time.perf_counter()
        while (moment := time.perf_counter() - start) < seconds:
            number = service.request(ViewRequest(motion(moment), moving=True))
            sent.append((number, time.perf_counter()))
            time.sleep(max(0.0, len(sent) / _RATE - (time.perf_counter() - start)))
        end = time.perf_counter()
    service.idle()
    service.wait(60)
    busy = others.cores()
    came = [(moment, picture) for moment, picture in watch.pictures if moment <= end]
    delays, next_picture = [], iter(came)
    shown = next(next_picture, None)
    for number, asked in sent:
        while shown is not None and shown[1].number < number:
            shown = next(next_picture, None)
        if shown is None:
            break
        delays.append(1e3 * (shown[0] - asked))
    rate = len(came) / seconds
    pictures = [picture for _, picture in came]
    compared = pictures[:: max(1, len(pictures) // _COMPARED)]
    quality = sorted(_psnr(run, picture) for picture in compared)
    reused = statistics.median(picture.reused for picture in pictures)
    median, late = statistics.median(delays), float(np.quantile(delays, 0.95))
    worst = quality[0]
    return [
        _row("input to moved picture, median", median, "ms", "60", median <= 60, busy),
        _row("input to moved picture, 95 %", late, "ms", "100", late <= 100, busy),
        _row("moving pictures", rate, "1/s", "12", rate >= 12, busy),
        _row("moving picture to the true one, least", worst, "dB", "35", worst >= 35, busy),
        _row("moving picture to the true one, median", statistics.median(quality), "dB", "35",
             statistics.median(quality) >= 35, busy),
        _row("colours reused while moving, median", 100 * reused, "%", "", None, busy),
        _row("gap of another Python thread, 99 %", gaps.quantile(0.99), "ms", "50",
             gaps.quantile(0.99) <= 50, busy),
        _row("gap of another Python thread, most", gaps.quantile(1.0), "ms", "150",
             gaps.quantile(1.0) <= 150, busy),
    ]  # fmt: skip


class _Gaps:
    """A thread that would like to run every 5 ms, and how much later it does."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def _loop(self) -> None:
        before = time.perf_counter()
        while not self._end.is_set():
            time.sleep(0.005)
            now = time.perf_counter()
            self._late.append(1e3 * (now - before))
            before = now

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def quantile(self, share: float) -> float:
        return float(np.quantile(self._late, share))


def _psnr(run: Run, picture: Picture) -> float:
    """Return the PSNR of a whole picture, background included, to the true render."""
    true = run.render(picture.request.camera).colour.cpu().numpy()
    apart = true.astype(np.float64) - picture.rgba[..., :3]
    return 10 * math.log10(255**2 / max(float(np.square(apart).mean()), 1e-6))


def _resting(
    service: RenderService, watch: _Watch, cameras: list[Camera]
) -> list[dict[str, object]]:
    others = _Others()
    first, exact, fine = [], [], []
    for camera in cameras:
        watch.pictures.clear()
        asked = time.perf_counter()
        number = service.request(ViewRequest(camera, samples=2))
        fine.append(watch.wait_for(number, 2) - asked)
        exact.append(watch.wait_for(number, 1) - asked)
        first.append(min(moment for moment, _ in watch.pictures) - asked)
    dropped = []
    for step in range(12):
        service.request(ViewRequest(cameras[step % len(cameras)], samples=4))
        time.sleep(0.05 + 0.09 * step)
        asked = time.perf_counter()
        service.idle()
        service.wait(60)
        dropped.append(1e3 * (time.perf_counter() - asked))
    busy = others.cores()
    figures = [
        ("rest to something on the screen", statistics.median(first), "s", "", None),
        ("rest to the exact picture", statistics.median(exact), "s", "0.6", 0.6),
        ("rest to 2 x 2 samples", statistics.median(fine), "s", "2.5", 2.5),
        ("cancelled within, median", statistics.median(dropped), "ms", "40", 40.0),
        ("cancelled within, most", max(dropped), "ms", "40", 40.0),
    ]
    return [
        _row(what, figure, unit, goal, None if most is None else figure <= most, busy)
        for what, figure, unit, goal, most in figures
    ]


def _idle(service: RenderService) -> dict[str, object]:
    service.idle()
    service.wait(60)
    others = _Others()
    before, start = time.process_time(), time.perf_counter()
    time.sleep(2.0)
    share = 100 * (time.process_time() - before) / (time.perf_counter() - start)
    return _row("idle", share, "% of a core", "3", share <= 3, others.cores())
