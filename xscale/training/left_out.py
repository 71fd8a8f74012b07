"""Damaged photos in a training: reported, counted, recorded; too many stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from xscale import threads
from xscale.errors import DamagedPhotoError, InputError
from xscale.run.folder import RunFolder
from xscale.scene.quarantine import LeftOut, as_test_photo, check_left_out, group_of, notice, record
from xscale.scene.scene import Scene, Split


class LeftOutPhotos:
    """Training photos that are not used, from the scene's opening on.

    Args:
        scene: The scene; photos found damaged at its opening are left out of its split already.
        say: Called with a coded line for every photo that is found later.
    """

    def __init__(self, scene: Scene, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._say = say
        self._found = dict(scene.left_out)
        self._log: Callable[[dict], None] | None = None
        self.reasons: dict[str, str] = {n: left.error.what for n, left in self._found.items()}
        """Faults by photo name."""

    def take_up(self, reasons: Mapping[str, str]) -> None:
        """Leave out what an earlier session left out, even if it was repaired since."""
        for name, reason in reasons.items():
            self._found.setdefault(name, LeftOut(DamagedPhotoError(reason, where=name), name))
            self.reasons.setdefault(name, reason)

    def add(self, name: str, error: InputError) -> None:
        """Leave out a photo that could not be decoded.

        Raises:
            DamagedPhotoError: Too many are damaged now, or the user wants none left out.
        """
        if name in self._found:
            return
        if self._scene.options.get("on_bad_photo") == "stop":
            raise error
        self._found[name] = LeftOut(error, name)
        groups = {photo.name: group_of(photo.camera) for photo in self._scene.photos}
        groups |= dict.fromkeys(self._scene.left_out)
        check_left_out(groups, self._found)
        self.reasons[name] = error.what
        self._say(notice({name: self._found[name]}))
        if self._log is not None:
            self._log({"left_out": name, "reason": error.what})

    def found(self) -> tuple[tuple[dict, ...], tuple[str, ...]]:
        """Return what a manifest says of them: an entry a photo, and remarks."""
        later = {n: left for n, left in self._found.items() if n not in self._scene.left_out}
        return tuple(record(self._found)), (notice(later),) if later else ()

    def log_to(self, folder: RunFolder, step: Callable[[], int]) -> None:
        """From now on also write photos into the run's log, with the step."""
        self._log = lambda line: folder.log({"step": step(), **line})


_checked: WeakKeyDictionary[Scene, tuple[float, frozenset[str]]] = WeakKeyDictionary()


def check_test_photos(scene: Scene, split: Split, downscale: float) -> None:
    """Decode every test photo once: their damage must show before a night of training.

    Photos that are made have no file that could be damaged. Asked again, nothing is decoded again.

    Raises:
        DamagedPhotoError: One is damaged; test photos are never left out.
    """
    names = [name for name in split.test if scene.photo(name).make is None]
    wanted = (downscale, frozenset(names))
    if _checked.get(scene) == wanted:
        return
    with threads.pool("test-photos") as workers:
        for _ in workers.map(lambda name: _decode(scene, name, downscale), names):
            pass
    _checked[scene] = wanted


def _decode(scene: Scene, name: str, downscale: float) -> None:
    try:
        scene.photo(name).load(downscale)
    except DamagedPhotoError as error:
        raise as_test_photo(error) from error
