"""``python -m xscale`` is the same as ``xscale``."""

import os
import sys

# `python -m` puts the current folder first on the module path, so that a folder of photos with a
# json.py in it would be executed. It stays only where xscale itself lies there (a checkout).
_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
if not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0] or ".") != _HOME:
    del sys.path[0]

from xscale.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
