import pytest

from xscale.config import from_dict, override, to_dict
from xscale.errors import ConfigError
from xscale.training.settings import PRESETS, Settings, preset


def test_settings_survive_the_way_through_plain_values():
    for settings in PRESETS.values():
        assert from_dict(Settings, to_dict(settings)) == settings


def test_override_changes_one_setting_and_nothing_else():
    before = to_dict(preset("default"))
    after = to_dict(override(preset("default"), ["model.grid.levels=12", "optim.loss=l2"]))
    assert after["model"]["grid"].pop("levels") == 12
    assert before["model"]["grid"].pop("levels") == 16
    assert after["optim"].pop("loss") == "l2"
    before["optim"].pop("loss")
    assert before == after


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.grid.levls=12", "did you mean model.grid.levels"),
        ("model.grid.levels", "takes key=value"),
        ("model.grid.levels=many", "levels must be int"),
        ("optim.loss=l3", "loss must be one of l1, charbonnier, l2"),
        ("model.grid.levels=1", "must be 2 to 32"),
        ("model.shader.exposure=code", "exposure=code belongs to"),
    ],
)
def test_override_names_what_is_wrong(assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(preset("default"), [assignment])


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match="default"):
        preset("best")


@pytest.mark.parametrize(
    "wrong",
    ["optim.table_rate=NaN", "optim.table_rate=-1", "optim.beta1=1", "optim.warmup=1.5",
     "optim.table_epsilon=0", "optim.final_rate=Infinity", "pool.budget_mb=0",
     "pool.refresh_steps=0", "pool.refresh_ratio=0", "patch.ssim=-1", "patch.share=NaN"],
)  # fmt: skip
def test_impossible_numbers_are_refused(wrong):
    key = wrong.partition("=")[0].rpartition(".")[2]
    with pytest.raises(ConfigError, match=rf"\b{key} must be "):
        override(Settings(), [wrong])
