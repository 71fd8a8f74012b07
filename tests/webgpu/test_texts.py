"""The text of every shader is taken by both of its compilers: naga natively, Tint in Chromium."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.webgpu.browser import needs_browser
from tests.webgpu.problems import problem
from xscale.errors import DeviceError
from xscale.webgpu import source
from xscale.webgpu.device import faults


def texts(device):
    """Every module by name: all shaders, widths, numbers and outputs."""
    found = {
        "draw": source.draw_source(),
        "choose": source.choose_source(),
        "walk": source.walk_source(),
        "reproject": source.reproject_source(),
        **source.page_sources(),
    }
    for kind in ("relu", "film"):
        sizes = problem(kind).painter(device).sizes
        for width in (1, 2, 4, 8):
            for number in ("float32", "float16", "snorm8"):
                one = replace(sizes, width=width, number=number)
                found[f"{kind} {width} {number}"] = source.paint_source(one)
        more = {
            "lens": {"lens": True}, "floats": {"floats": True}, "depth": {"depth": True},
            "smoothstep": {"smoothstep": True}, "stored": {"weights": "storage"},
            "split": {"groups": (2, 5, sizes.levels)},
        }  # fmt: skip
        for name, options in more.items():
            found[f"{kind} {name}"] = source.paint_source(replace(sizes, **options))
    return found


def test_naga_takes_every_text(device):
    with faults(device):
        for text in texts(device).values():
            device.handle.create_shader_module(code=text)


@needs_browser
def test_tint_takes_every_text_and_says_where_one_is_wrong(browser, pages, device):
    browser.open((pages / "one.html").as_uri())
    browser.wait("!!window.xscale")
    compiled = """
    (async (texts) => {
      const device = await (await navigator.gpu.requestAdapter()).requestDevice();
      const found = {};
      for (const [name, code] of Object.entries(texts)) {
        const info = await device.createShaderModule({ code }).getCompilationInfo();
        found[name] = info.messages.filter((m) => m.type === "error").map((m) => m.message);
      }
      device.destroy();
      return found;
    })(%s)
    """
    every = texts(device)
    found = browser.run(compiled % json.dumps({**every, "wrong": every["draw"] + "fn"}))
    assert found.pop("wrong") != []
    assert found == {name: [] for name in every}


def test_naga_refuses_a_text_that_is_wrong(device):
    with pytest.raises(DeviceError, match="expected"), faults(device):
        device.handle.create_shader_module(code=source.draw_source() + "fn")
