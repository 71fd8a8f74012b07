"""Names that were spelled differently on the way: case, Unicode's two forms, Windows' back-slashes.

Windows and macOS do not tell such names apart, so a copied folder may not agree with its camera
model. Exact names always win; a looser match must be the only one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from xscale.errors import SceneError


def composed(name: str) -> str:
    """Return a name in Unicode's composed form, in which macOS's and Linux's names are equal.

    Bytes that were not UTF-8 are taken as Windows' Western code page, as older programs write it.
    """
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        data = name.encode("utf-8", "surrogateescape")
        name = data.decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    """Return what is left of a name when case and Unicode form are disregarded."""
    return composed(composed(name).casefold())


def _forward(name: str) -> str:
    return name.replace("\\", "/")


_LOOSER: tuple[Callable[[str], str], ...] = (
    lambda name: composed(_forward(name)),
    lambda name: caseless(_forward(name)),
)


def other_spellings(wanted: Sequence[str], there: Iterable[str], where: object) -> dict[str, str]:
    """Find names that are there in another spelling only.

    Args:
        wanted: Names that are not there exactly.
        there: Names that nothing claims yet.
        where: Folder, for the error.

    Returns:
        For each name that was found, how it is spelled there.

    Raises:
        SceneError: A name fits several, or several names fit one.
    """
    tables: list[dict[str, list[str]]] = [{} for _ in _LOOSER]
    for other in sorted(there):
        for table, key in zip(tables, _LOOSER, strict=True):
            table.setdefault(key(other), []).append(other)
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for name in wanted:
        looked_up = (table.get(key(name)) for table, key in zip(tables, _LOOSER, strict=True))
        fits = next(filter(None, looked_up), None)
        if fits is None:
            continue
        if len(fits) > 1:
            raise SceneError(
                f"{name!a} does not exist, and photos {fits[0]!a} and {fits[1]!a} differ "
                "from it in case or Unicode form only",
                where=where,
                advice="give one of them the exact name",
            )
        if fits[0] in owner:
            raise SceneError(
                f"{owner[fits[0]]!a} and {name!a} of the camera model would both be {fits[0]!a}",
                where=where,
                advice="add the missing one with its exact name",
            )
        owner[fits[0]] = name
        found[name] = fits[0]
    return found


def remark(found: dict[str, str]) -> list[str]:
    """Return one warning about names found in another spelling, or none."""
    if not found:
        return []
    name, there = next(iter(found.items()))
    return [
        f"W-PHOTO-NAME: {len(found)} photos are spelled differently in the camera model (upper and "
        f"lower case, Unicode form or back-slashes), e.g. {name!a} is {there!a}"
    ]
