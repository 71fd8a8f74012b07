"""The one download of the program: on request, by PyTorch's loader, with verified hashes."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import pytest

from xscale.errors import SetupError
from xscale.metrics import lpips_weights


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server with two files whose names hold their hashes, as torchvision's do."""
    served = tmp_path / "served"
    served.mkdir()
    files = {}
    for net in ("vgg", "alex"):
        data = f"weights of {net}".encode()
        name = f"{net}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
        (served / name).write_bytes(data)
        files[net] = (f"{net}_features.safetensors", name)
    monkeypatch.setattr(lpips_weights, "_FILES", files)
    handler = functools.partial(_Quiet, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", served, files
        running.shutdown()


def test_missing_backbones_are_fetched_once(server, tmp_path):
    source, served, files = server
    place = tmp_path / "cache"
    place.mkdir()
    lines = []
    found = lpips_weights.fetch_backbones(lines.append, source, place)
    for (_, name), path in zip(files.values(), found, strict=True):
        assert path.read_bytes() == (served / name).read_bytes()
        (served / name).unlink()
    assert lpips_weights.fetch_backbones(lines.append, source, place) == found
    assert [line.endswith("exists") for line in lines] == [False, False, True, True]


def test_files_that_do_not_match_their_hash_are_not_kept(server, tmp_path):
    source, served, files = server
    (served / files["vgg"][1]).write_bytes(b"something else")
    place = tmp_path / "cache"
    place.mkdir()
    with pytest.raises(SetupError, match="hash"):
        lpips_weights.fetch_backbones(lambda line: None, source, place)
    assert list(place.iterdir()) == []


def test_an_address_that_is_not_reached_is_named_with_advice(server, tmp_path):
    with pytest.raises(SetupError, match="--lpips-weights"):
        lpips_weights.fetch_backbones(lambda line: None, "http://127.0.0.1:9", tmp_path)
