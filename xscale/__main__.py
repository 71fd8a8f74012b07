"""``python -m xscale`` is the same as ``xscale``."""

import sys

from xscale.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
