"""``python -m xscale_viewer [--tied | --path] ...``: the process of the window, or of a path.

With ``--tied`` the window ends with the process that started it, which holds the other end of its
standard input: also where that process was killed, or interrupted before it knew of this one. With
``--path`` a camera path is rendered for a window (``path_job``), and ends with that.
"""

import os
import signal
import sys
import threading
import time

_INTERRUPTED = 130


def _end_with_starter(number: int, grace: float) -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), number)
    time.sleep(grace)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    words = sys.argv[1:]
    kind = words.pop(0) if words[:1] in (["--tied"], ["--path"]) else None
    if kind is not None:
        # Seconds that the window, or the frame that is being rendered, has to end by itself.
        end = (signal.SIGINT, 10.0) if kind == "--path" else (signal.SIGTERM, 0.7)
        threading.Thread(target=_end_with_starter, args=end, name="starter", daemon=True).start()
    # After the thread: these imports take most of the start.
    if kind == "--path":
        from xscale_viewer.path_job import main
    else:
        from xscale_viewer.window import main
    code = main(words)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Not by Python's own end: a thread that still renders would crash in it.
    os._exit(code)
