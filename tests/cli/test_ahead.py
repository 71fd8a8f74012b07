"""What is left out or loaded meanwhile, so that commands start quickly."""

import subprocess
import sys
import textwrap

import pytest

from tests import builders
from xscale import Scene
from xscale.cli._ahead import importing
from xscale.training import left_out
from xscale.training.ahead import look_ahead


def _run(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_pytorch_works_without_what_its_compiler_needs_and_loads_it_when_asked():
    said = _run(
        """
        import sys
        from xscale.cli._ahead import defer_compiler
        defer_compiler()
        import torch
        print("torch._decomp" in sys.modules)
        generator = torch.Generator().manual_seed(1)
        print(torch.rand(1, generator=generator).item())
        compiled = torch.compile(lambda x: (x * 2).softmax(0).sum(), backend="aot_eager")
        print("torch._decomp" in sys.modules, round(compiled(torch.ones(3)).item(), 3))
        from torch._meta_registrations import meta_index_Tensor
        """
    )
    import torch

    expected = torch.rand(1, generator=torch.Generator().manual_seed(1)).item()
    assert said == ["False", str(expected), "True", "1.0"]


def test_a_name_of_the_deferred_module_loads_it():
    said = _run(
        """
        import sys
        from xscale.cli._ahead import defer_compiler
        defer_compiler()
        import torch
        from torch._meta_registrations import meta_index_Tensor
        print(callable(meta_index_Tensor), "torch._decomp" in sys.modules)
        print(torch.empty(3, device="meta").sin().shape[0])
        """
    )
    assert said == ["True", "True", "3"]


def test_errors_of_the_body_and_of_the_import_are_raised():
    with pytest.raises(ZeroDivisionError), importing("json"):
        _ = 1 / 0
    with pytest.raises(ModuleNotFoundError, match="not_there"), importing("xscale.not_there"):
        pass


def test_what_is_looked_at_ahead_is_not_looked_at_again(tmp_path, monkeypatch):
    folder = builders.write_colmap(builders.asymmetric_scene(), tmp_path / "scene")
    scene = Scene.open(folder)
    look_ahead(scene, test_every=None, test_list=None, downscale=1)
    decoded = []
    monkeypatch.setattr(left_out, "_decode", lambda scene, name, downscale: decoded.append(name))
    split = scene.split()
    left_out.check_test_photos(scene, split, 1)
    assert decoded == []
    left_out.check_test_photos(scene, split, 2)
    assert sorted(decoded) == sorted(split.test)
