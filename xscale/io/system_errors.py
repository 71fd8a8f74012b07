"""Errors of the system as ours: one line with the file, what happened, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xscale.errors import OutputExistsError, ResourceError, StorageError, XscaleError

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "your quota is used up: free some space or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another path",
    errno.EISDIR: "a folder stands where a file is needed: choose another path",
    errno.ELOOP: "it is a symbolic link: remove the link",
    errno.EFBIG: "the file size limit of this shell or file system is reached",
}


_CHECK_DISK = "check the disk and the folder"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ILL = {errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT}


def is_full(error: StorageError) -> bool:
    """Whether a disk, a quota or a limit on sizes is used up."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL


def is_about_storage(error: StorageError) -> bool:
    """Whether the storage failed, and not the request: full, unreadable, gone read-only."""
    ill = isinstance(error.__cause__, OSError) and error.__cause__.errno in _ILL
    return ill or is_full(error)


_LIMITS = {
    errno.EMFILE: "raise `ulimit -n`",
    errno.ENFILE: "the system has no file handles left: end other programs",
    errno.EAGAIN: "raise `ulimit -u`",
    errno.ENOMEM: "use --downscale 2, or a smaller --preset",
}


def explained(error: OSError) -> XscaleError | None:
    """Return a system's error as ours, with a file and advice; None where it may be a bug.

    Only what depends on the machine and on names is explained: that a file is missing which
    somebody opened without asking is a bug.
    """
    where = error.filename if isinstance(error.filename, str | os.PathLike) else None
    what = error.strerror or str(error)
    if error.errno in _LIMITS:
        return ResourceError(what, where=where, advice=_LIMITS[error.errno])
    if error.errno in _ADVICE or error.errno in _ILL:
        return StorageError(what, where=where, advice=_ADVICE.get(error.errno or 0, _CHECK_DISK))
    return None


@contextmanager
def as_storage_error(path: Path, doing: str) -> Iterator[None]:
    """Turn the system's errors into one line that names the file and what to do."""
    try:
        yield
    except FileExistsError as error:
        raise name_taken(path) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"could not {doing}: {reason}",
            where=path,
            advice=_ADVICE.get(error.errno or 0, _CHECK_DISK),
        ) from error


def name_taken(path: Path) -> OutputExistsError:
    """Return the error of a name that another file has."""
    return OutputExistsError(
        "already exists", where=path, advice="choose another name or give --overwrite"
    )
