"""Steps that nobody waits for and that are played from a recording, with the host as the device."""

import json
import math
from functools import partial

import numpy as np
import pytest
import torch

import xscale
from xscale import ops
from xscale.config import override
from xscale.errors import NumericsError, UsageError
from xscale.io.checkpoints import load_newest
from xscale.training import graph, readback, session
from xscale.training.settings import preset
from xscale.training.steps import check_deterministic
from xscale.training.trainer import Trainer

SMALL = ["optim.batch=500", "model.grid.levels=4", "model.grid.log2_table_size=10"]
FILM = ["optim.dense_table=false", "model.grid.levels=2"]


class Recording:
    """What CUDA does, in short: recording runs nothing, every replay runs all of it."""

    made = 0

    def __init__(self, launch, device):
        self.replay = launch
        Recording.made += 1


@pytest.fixture
def queued(monkeypatch, emulated):
    """Let trainings run the device kernels' logic on the host, as a GPU runs it."""
    Recording.made = 0
    monkeypatch.setattr(graph, "record_cuda", Recording)
    monkeypatch.setattr(session, "Trainer", partial(Trainer, queued=True))
    return monkeypatch


def _train(folder, out, *settings, steps=40, **options):
    scene = xscale.Scene.open(folder)
    run = xscale.train(scene, out=out, steps=steps, settings=[*SMALL, *settings], **options)
    return load_newest(run.path / "checkpoints")[0].tensors


@pytest.mark.parametrize(("preset", "more"), [("default", []), ("paper", FILM)])
def test_recorded_steps_are_the_steps_bit_for_bit(
    asymmetric_folder, tmp_path, queued, preset, more
):
    # Sums in fixed-point numbers, so that the order of blocks does not show.
    queued.setattr(session, "Trainer", partial(Trainer, queued=True, deterministic=True))
    options = {"preset": preset, "steps": 12}
    plain = _train(asymmetric_folder, tmp_path / "plain", "optim.graph=false", *more, **options)
    assert Recording.made == 0
    played = _train(asymmetric_folder, tmp_path / "played", *more, **options)
    assert Recording.made == 1
    assert (plain["adam.row_steps"] > 1).any()
    for name, tensor in plain.items():
        assert np.array_equal(tensor, played[name]), name


@pytest.mark.parametrize(
    ("preset", "more"),
    [("default", []), ("paper", FILM), ("paper", ["model.grid.levels=2"]),
     ("default", ["patch.share=0.5"])],
)  # fmt: skip
def test_queued_steps_learn_what_waited_steps_learn(
    asymmetric_folder, tmp_path, queued, preset, more
):
    late = _train(asymmetric_folder, tmp_path / "late", *more, preset=preset, steps=8)
    queued.setattr(session, "Trainer", Trainer)
    waited = _train(asymmetric_folder, tmp_path / "waited", *more, preset=preset, steps=8)
    for name, tensor in waited.items():
        assert np.allclose(late[name], tensor, rtol=2e-2, atol=2e-3), name


def test_losses_arrive_some_steps_late_and_none_is_lost(asymmetric_folder, tmp_path, queued):
    found = []

    class Told(Trainer):
        def train_step(self, progress):
            found.append(super().train_step(progress))
            return found[-1]

        def finish(self):
            found.append(super().finish())
            return found[-1]

    queued.setattr(session, "Trainer", partial(Told, queued=True))
    _train(asymmetric_folder, tmp_path / "run", steps=50)
    assert found[0].steps == 1  # people wait for the first
    assert [i + 1 for i, f in enumerate(found[:50]) if f is not None] == [1, 32, 48]
    told = [f for f in found if f is not None]
    assert sum(f.steps for f in told) == 50
    assert all(math.isfinite(f.loss) for f in told if f.steps)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 1


def test_a_loss_that_is_not_finite_ends_the_training_and_nothing_has_moved(
    asymmetric_folder, tmp_path, queued
):
    trainers = []

    class Poisoned(Trainer):
        def train_step(self, progress):
            if self.step == 20:
                trainers.append(self)
                self.model.shader.weights[-1] = float("nan")  # a bias of the colours
                self.kept = [t.clone() for t in self.model.tensors().values()]
            return super().train_step(progress)

    queued.setattr(session, "Trainer", partial(Poisoned, queued=True))
    with pytest.raises(NumericsError, match="the loss is not finite at") as caught:
        _train(asymmetric_folder, tmp_path / "run", steps=200)
    assert caught.value.exit_code == 7
    assert len(trainers) == 3  # begun again twice, with lower rates
    for trainer in trainers:
        assert 20 < trainer.step <= 20 + 2 * readback.READ_EVERY + 16
        for kept, now in zip(trainer.kept, trainer.model.tensors().values(), strict=True):
            assert torch.equal(kept.nan_to_num(7.0), now.nan_to_num(7.0))


def test_a_recording_that_fails_is_said_once_and_training_goes_on(
    asymmetric_folder, tmp_path, queued
):
    def refuse(launch, device):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    queued.setattr(graph, "record_cuda", refuse)
    said = []
    _train(asymmetric_folder, tmp_path / "run", steps=20, on_stage=said.append)
    assert [line for line in said if "W-GRAPH" in line] == [
        "W-GRAPH: steps are launched one by one: recording failed: operation not permitted when "
        "stream is capturing (--set optim.graph=false leaves it out)"
    ]


def test_half_the_rays_make_a_recording_of_their_own(asymmetric_folder, tmp_path, queued):
    step = ops.fused_step

    def fused_step(rays, *args, **options):
        if len(rays.face_id) == 500 and Recording.made == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(rays, *args, **options)

    queued.setattr(ops, "fused_step", fused_step)
    said = []
    _train(asymmetric_folder, tmp_path / "run", steps=12, on_stage=said.append)
    assert any("W-MEMORY" in line and "250 rays" in line for line in said)
    assert Recording.made == 2


def test_mixed_steps_learn_and_say_where_they_cannot_be_had(asymmetric_folder, tmp_path, queued):
    said = []
    mixed = _train(
        asymmetric_folder, tmp_path / "mixed", "optim.precision=mixed", on_stage=said.append
    )
    plain = _train(asymmetric_folder, tmp_path / "plain")
    assert not any("W-PRECISION" in line for line in said)
    loss = {}
    for name in ("mixed", "plain"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        loss[name] = next(json.loads(line)["loss"] for line in lines)
    assert loss["mixed"] == pytest.approx(loss["plain"], rel=0.01)
    assert not np.array_equal(mixed["field.table"], plain["field.table"])
    queued.setattr(session, "Trainer", Trainer)
    _train(
        asymmetric_folder, tmp_path / "cpu", "optim.precision=mixed", steps=2, on_stage=said.append
    )
    assert sum("W-PRECISION" in line for line in said) == 1


def test_deterministic_mixed_steps_are_refused():
    settings = override(preset("default"), ["optim.precision=mixed"])
    with pytest.raises(UsageError, match=r"does not go with optim\.precision=mixed"):
        check_deterministic(settings, torch.device("cpu"))
