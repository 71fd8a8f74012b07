"""Where LPIPS finds its weights. Nothing is downloaded unless ``doctor --fetch-lpips`` asks for it.

The definition is the ``lpips`` package, version 0.1: its linear heads are read from the package's
own files, without importing it (its import needs torchvision). The backbones' weights come from a
folder that the user names or from torchvision's usual place.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from xscale.errors import IntegrityError, SetupError, UsageError
from xscale.io.hashing import sha256_file
from xscale.io.storage import make_folder
from xscale.metrics.network import Convolution

WEIGHTS_VARIABLE = "XSCALE_LPIPS_WEIGHTS"
NETS = ("vgg", "alex")
_HEADS_VERSION = "v0.1"
_FILES = {
    "vgg": ("vgg16_features.safetensors", "vgg16-397923af.pth"),
    "alex": ("alexnet_features.safetensors", "alexnet-owt-7be5be79.pth"),
}
# Output channels, input channels and kernel width by torchvision's index in `features`.
LAYERS = {
    "vgg": {
        0: (64, 3, 3),
        2: (64, 64, 3),
        5: (128, 64, 3),
        7: (128, 128, 3),
        10: (256, 128, 3),
        12: (256, 256, 3),
        14: (256, 256, 3),
        17: (512, 256, 3),
        19: (512, 512, 3),
        21: (512, 512, 3),
        24: (512, 512, 3),
        26: (512, 512, 3),
        28: (512, 512, 3),
    },
    "alex": {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    },
}
_HEAD_CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}


class LpipsWeights(NamedTuple):
    """Everything that a distance depends on, and where it came from."""

    convolutions: dict[int, Convolution]
    """By torchvision's index in ``features``."""
    heads: list[torch.Tensor]
    """float32 [1, channels, 1, 1] for each of the five slices."""
    source: dict[str, str]
    """File names and SHA-256 of backbone and heads, for the scores' protocol."""


def _heads_file(net: str) -> Path:
    spec = importlib.util.find_spec("lpips")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "weights" / _HEADS_VERSION / f"{net}.pth"
        if path.is_file():
            return path
    raise SetupError(
        "LPIPS not scored: the lpips package is not installed",
        advice="pip install 'xscale[metrics]'",
    )


def _torchvision_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _place(folder: str | Path | None) -> Path:
    """Where backbones are looked for; UsageError if the named folder does not exist."""
    named = folder or os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        return _torchvision_folder()
    place = Path(named).expanduser()
    if not place.is_dir():
        raise UsageError(
            "is not a folder",
            where=place,
            advice=f"give --lpips-weights or {WEIGHTS_VARIABLE} a folder that holds "
            f"{' and '.join(names[0] for names in _FILES.values())}",
        )
    return place


def backbone_file(net: str, folder: str | Path | None = None) -> Path | None:
    """Find the backbone's weights.

    Args:
        net: ``vgg`` or ``alex``.
        folder: Where to look; None means $XSCALE_LPIPS_WEIGHTS, else torchvision's cache. A
            folder may hold our safetensors files or torchvision's own.

    Returns:
        The file, or None where there is none.

    Raises:
        UsageError: The named folder does not exist.
    """
    place = _place(folder)
    return next((place / n for n in _FILES[net] if (place / n).is_file()), None)


SOURCE = "https://download.pytorch.org/models"
"""Where torchvision's own loader takes the backbones from."""


def fetch_backbones(
    say: Callable[[str], None], source: str = SOURCE, folder: str | Path | None = None
) -> list[Path]:
    """Download the backbones that are missing, by PyTorch's own loader, and verify their hashes.

    Nothing else in xscale ever connects out, and this only when it is asked for.

    Args:
        say: Called with a line for each file.
        source: Address of the folder that holds torchvision's files.
        folder: Where to put them; None: $XSCALE_LPIPS_WEIGHTS, else torchvision's cache.

    Returns:
        The files of all networks.

    Raises:
        SetupError: The address cannot be reached, or a file does not match the hash in its name.
    """
    place = _place(folder)
    make_folder(place)
    found = []
    for net, (_, name) in _FILES.items():
        path = backbone_file(net, folder)
        if path is None:
            path = place / name
            prefix = path.stem.rpartition("-")[2]
            say(f"{source}/{name} -> {path}")
            try:
                torch.hub.download_url_to_file(
                    f"{source}/{name}", str(path), hash_prefix=prefix, progress=False
                )
            except (OSError, RuntimeError) as error:
                raise SetupError(
                    f"could not be fetched: {error}",
                    where=f"{source}/{name}",
                    advice="fetch it elsewhere and give its folder by --lpips-weights",
                ) from error
        else:
            say(f"{path} exists")
        found.append(path)
    return found


def check_available(folder: str | Path | None = None) -> tuple[tuple[str, ...], str | None]:
    """Say which networks can be scored.

    Returns:
        The networks whose files are all there, and one line on how to get the others, or None.

    Raises:
        UsageError: The named folder does not exist.
    """
    found = tuple(net for net in NETS if backbone_file(net, folder))
    try:
        _heads_file(NETS[0])
        error = None if found == NETS else _missing([n for n in NETS if n not in found], folder)
    except SetupError as no_package:
        found, error = (), no_package
    return found, None if error is None else str(error)


def _missing(nets: Sequence[str], folder: str | Path | None) -> SetupError:
    return SetupError(
        f"{' and '.join(f'lpips_{n}' for n in nets)} not scored: no "
        f"{' and no '.join(_FILES[n][0] for n in nets)} in {_place(folder)}",
        advice=f"name a folder with --lpips-weights or {WEIGHTS_VARIABLE}, or let `xscale doctor "
        "--fetch-lpips` download them once",
    )


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path, device="cpu")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Both readers raise many kinds (their own, pickle's, zipfile's, OSError) for a bad file.
        raise _damaged(path, f"cannot be read: {type(error).__name__}") from error


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(what, where=path, advice="fetch the file again")


def _tensor(
    values: dict[str, torch.Tensor], path: Path, names: tuple[str, ...], shape: tuple[int, ...]
) -> torch.Tensor:
    found = next((values[n] for n in names if n in values), None)
    if found is None or tuple(found.shape) != shape or not torch.isfinite(found).all():
        raise _damaged(path, f"does not hold {names[0]} of shape {list(shape)}")
    return found.float()


def load_weights(net: str, folder: str | Path | None = None) -> LpipsWeights:
    """Read backbone and heads.

    Raises:
        UsageError: The named folder does not exist.
        IntegrityError: A file is damaged or holds another network.
        SetupError: The backbone or the lpips package is not there.
    """
    heads_path, path = _heads_file(net), backbone_file(net, folder)
    if path is None:
        raise _missing([net], folder)
    digest = sha256_file(path)
    # torchvision writes the start of the SHA-256 into the name.
    if path.suffix == ".pth" and not digest.startswith(path.stem.rsplit("-", 1)[1]):
        raise _damaged(path, f"has SHA-256 {digest[:8]}..., not the one in its name")
    values = _read(path)
    convolutions = {
        index: Convolution(
            *(
                _tensor(values, path, (f"{index}.{part}", f"features.{index}.{part}"), shape)
                for part, shape in (("weight", (out, into, k, k)), ("bias", (out,)))
            )
        )
        for index, (out, into, k) in LAYERS[net].items()
    }
    values = _read(heads_path)
    heads = [
        _tensor(values, heads_path, (f"lin{i}.model.1.weight",), (1, channels, 1, 1))
        for i, channels in enumerate(_HEAD_CHANNELS[net])
    ]
    source = {
        "file": path.name,
        "sha256": digest,
        "heads": f"lpips {_HEADS_VERSION} {heads_path.name}",
        "heads_sha256": sha256_file(heads_path),
    }
    return LpipsWeights(convolutions, heads, source)
