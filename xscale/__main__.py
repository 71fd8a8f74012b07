"""``python -m xscale`` and ``xscale`` both begin here: interrupts first, then everything else."""

import sys

from xscale import interrupts


def main() -> int:
    """Run the command that the process was started with; return its exit code."""
    interrupts.install()
    from xscale.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
