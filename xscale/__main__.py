"""``python -m xscale`` and ``xscale`` both begin here: interrupts first, then everything else."""

import os
import sys

# `python -m` puts the current folder first on the module path, so that a folder of photos with a
# json.py in it would be executed. It stays only where xscale itself lies there (a checkout).
_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path[:1] = [entry for entry in sys.path[:1] if os.path.realpath(entry or ".") == _HOME]

from xscale import interrupts  # noqa: E402


def main() -> int:
    """Run the command that the process was started with; return its exit code."""
    interrupts.install()
    from xscale.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
