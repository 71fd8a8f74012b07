"""The benchmark on a Ray cluster: the bytes of a local one, and a broken scene stops no other."""

import shutil

import pytest

from tests.giganvs.test_giganvs import SMALL
from xscale.cli.main import main
from xscale.errors import SetupError
from xscale.giganvs.run import SCORES, run
from xscale.render import sinks

PLACE = f"every7/xscale-default-seed0/{SCORES}"


def test_without_ray_the_extra_is_named_before_any_work(prepared, tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(sinks.importlib, "import_module", missing)
    with pytest.raises(SetupError, match=r"xscale\[cluster\]"):
        run(prepared.path, tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_bytes_of_a_local_run(prepared, tmp_path, capsys):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    root = tmp_path / "root"
    shutil.copytree(prepared.path, root / "a-broken")
    shutil.copytree(prepared.path, root / "b-good")
    for path in (root / "a-broken/cams_1").iterdir():
        path.write_text("damaged")
    argv = ["giganvs", "run", str(root), "--steps", "4", "--device", "cpu", "--set", *SMALL]
    assert main([*argv, "--out", str(tmp_path / "local")]) == 9
    head = {"num_cpus": 2, "include_dashboard": False, "memory": 2 << 30}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        on_ray = [*argv, "--out", str(tmp_path / "ray"), "--engine", "ray"]
        assert main(on_ray) == 9
        assert "a-broken" in capsys.readouterr().err
        expected = (tmp_path / "local/b-good" / PLACE).read_bytes()
        assert (tmp_path / "ray/b-good" / PLACE).read_bytes() == expected
        again = run(root, tmp_path / "ray", steps=4, settings=SMALL, device="cpu", engine="ray")
        assert (again.kept, list(again.failed)) == (1, ["a-broken every7 seed 0"])
    finally:
        ray.shutdown()
        cluster.shutdown()
