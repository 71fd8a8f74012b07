"""``python -m xscale_viewer [--tied]``: the process of the window.

With ``--tied`` it ends with the process that started it, which holds the other end of its standard
input: also where that process was killed, or interrupted before it knew of this one.
"""

import os
import signal
import sys
import threading
import time

_GRACE = 0.7
"""Seconds that the window has to end by itself."""
_INTERRUPTED = 130


def _end_with_starter() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["--tied"]:
        words = words[1:]
        threading.Thread(target=_end_with_starter, name="starter", daemon=True).start()
    # After the thread: this import takes most of the start.
    from xscale_viewer.window import main

    code = main(words)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Not by Python's own end: a thread that still renders would crash in it.
    os._exit(code)
