"""Every op on device code: what holds the emulation holds the kernels that nvcc made."""

import pytest
import torch

from tests.ops import test_emulated, test_mixed_step
from xscale import ops
from xscale.ops._selftest import SELF_TESTS

pytestmark = pytest.mark.usefixtures("device_code")

# The tests of the emulated kernels, collected here once more.
for _module in (test_emulated, test_mixed_step):
    globals().update({
        name: value for name, value in vars(_module).items() if name.startswith("test_")
    })  # fmt: skip


@pytest.mark.parametrize("op", SELF_TESTS)
def test_every_op_keeps_its_tolerance(op):
    assert SELF_TESTS[op](torch.device("cpu")) <= ops.OPS[op].float32_tolerance
