from __future__ import annotations

import json

import pytest

from xscale import ops
from xscale.cli import _machine, doctor, main
from xscale.ops import OPS, _selftest, built


def test_doctor_tests_every_op_and_ends_with_a_verdict(capsys):
    code = main.main(["doctor"])
    text = capsys.readouterr().out
    assert code == (0 if built() else 13)
    assert all(op in text for op in OPS)
    assert text.rstrip().splitlines()[-1].startswith("xscale ")


def test_doctor_json_names_body_and_error_of_every_op(capsys):
    main.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {row["op"] for row in found["bodies"]} == set(OPS)
    assert {row["op"] for row in found["self_tests"]} == set(OPS)
    assert all(row["passed"] for row in found["self_tests"])
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize("broken", [lambda device: 1.0, lambda device: 1 / 0])
def test_an_op_that_is_wrong_is_named_and_fails_the_doctor(broken, monkeypatch, capsys):
    monkeypatch.setattr(_selftest, "SELF_TESTS", {"adam": broken})
    assert main.main(["doctor"]) == 13
    assert "adam" in capsys.readouterr().out.splitlines()[-1]


def test_missing_extra_says_what_to_install(monkeypatch, capsys):
    real = _machine.version
    monkeypatch.setattr(
        doctor._machine, "version", lambda name: None if name == "dracopy" else real(name)
    )
    monkeypatch.setattr(_selftest, "SELF_TESTS", {})
    main.main(["doctor"])
    assert "pip install xscale[formats]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (
            "the kernels do not run on cuda: xscale: adam: no kernel image is available",
            "no code for",
        ),
        ("CUDA driver version is insufficient for CUDA runtime version", "driver is older"),
        ("torch finds no CUDA device", "install a PyTorch with CUDA"),
        ("this build has no CUDA body of encode", "put nvcc on PATH"),
        ("the kernels do not run on cuda: something else", "report it"),
    ],
)
def test_a_gpu_whose_kernels_do_not_start_is_explained(monkeypatch, capsys, reason, advice):
    real = _machine.describe
    gpu = {"name": "a GPU", "memory_bytes": 2**30, "driver": "1.0"}
    monkeypatch.setattr(_machine, "describe", lambda: {**real(), "gpu": gpu, "driver": "1.0"})
    monkeypatch.setattr(ops, "cuda_built", lambda: True)
    monkeypatch.setattr(ops, "built", lambda: True)
    monkeypatch.setattr(ops, "why_unusable", lambda device: reason)
    monkeypatch.setattr(_selftest, "SELF_TESTS", {})
    assert main.main(["doctor"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert reason in line
    assert advice in line
