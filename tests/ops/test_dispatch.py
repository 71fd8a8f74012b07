import subprocess
import sys


def test_plain_call_does_not_load_the_compiler():
    program = """
import sys, torch
from xscale import ops
layout = ops.grid_layout(4, 2, 10, 8, 1.5)
ops.encode(torch.rand(8, 3), torch.zeros(layout.rows, 2), layout)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
