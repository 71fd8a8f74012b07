"""``python -m xscale_viewer``: the process of the window."""

import sys

from xscale_viewer.window import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
