"""Every error that xscale raises on purpose, with the exit code the command line gives it.

A message is one line in three parts, ``where: what; advice``: the file (and field, line or byte),
what is wrong with the found and the allowed value, and what to do. The library raises; only
``xscale.cli`` exits.
"""

from __future__ import annotations


def printable(text: object, limit: int = 200) -> str:
    """Return ``text`` with control and bidirectional characters escaped, cut in the middle.

    File names and file contents end up in messages; they must not drive the terminal.
    """
    escaped = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )
    if len(escaped) <= limit:
        return escaped
    half = limit // 2 - 2
    return f"{escaped[:half]}...{escaped[-half:]}"


class XscaleError(Exception):
    """Base of all expected failures.

    Args:
        what: What is wrong, with the found and the allowed value.
        where: The file as the user typed it, with field, line or byte where known.
        advice: What to do about it: an option or a command that exists.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: object | None = None, advice: str | None = None
    ) -> None:
        self.what = printable(what, 600)
        self.where = None if where is None else printable(where)
        self.advice = advice
        message = self.what if self.where is None else f"{self.where}: {self.what}"
        super().__init__(message if advice is None else f"{message}; {advice}")


class UsageError(XscaleError):
    """Wrong option, wrong combination or impossible setting."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting that does not exist or has an impossible value."""


class InputError(XscaleError):
    """A file given to us is wrong, missing, unsafe or unreadable."""

    exit_code = 3


class PhotoError(InputError):
    """A photo cannot be used."""


class DamagedPhotoError(PhotoError):
    """A photo's bytes make no sense. A training photo may be left out, a test photo never is."""


class UnreadablePhotoError(DamagedPhotoError):
    """A photo's drive or network did not give it, at several tries."""


class MaskError(InputError):
    """A mask cannot be used."""


class CameraError(InputError):
    """A camera is unknown, impossible or disagrees with its photo."""


class SceneError(InputError):
    """A scene folder cannot be understood or its parts do not belong together."""


class MeshError(InputError):
    """A mesh cannot be used."""


class ListError(InputError):
    """A list of photo names is wrong."""


class UnsafePathError(InputError):
    """A path leaves the folder it must stay in, or a format that can run code was offered."""


class LimitError(InputError):
    """A file asks for more than the limits allow."""


class StorageError(XscaleError):
    """An output could not be written or published."""

    exit_code = 4


class OutputExistsError(StorageError):
    """The output already exists and overwriting was not asked for."""


class ResourceError(XscaleError):
    """It would not fit, or did not fit, in memory, disk or file handles."""

    exit_code = 5


class DeviceError(XscaleError):
    """The GPU was lost or reported a fault."""

    exit_code = 6


class NumericsError(XscaleError):
    """Training diverged."""

    exit_code = 7


class BusyError(XscaleError):
    """Another live process owns this folder."""

    exit_code = 8


class PartialError(XscaleError):
    """Some items failed; the rest is done."""

    exit_code = 9


class IntegrityError(XscaleError):
    """Something xscale wrote earlier no longer matches its hash."""

    exit_code = 10


class ClusterError(XscaleError):
    """Ray or the folder that its nodes share failed beyond what is retried."""

    exit_code = 11


class QualityError(XscaleError):
    """A quality gate was not met; results are written."""

    exit_code = 12


class SetupError(XscaleError):
    """A driver, library, compiled part or optional package is missing or does not fit."""

    exit_code = 13


class InterruptedRunError(XscaleError):
    """The user stopped the run; a checkpoint was written first."""

    exit_code = 130


class ShapeError(XscaleError, ValueError):
    """An op was given a tensor of another shape, dtype or device than it takes."""


class BackendError(XscaleError, RuntimeError):
    """An op has no body for this device in this build."""

    exit_code = 13
