"""The launcher's first lines, in words that every Python understands, 2.7 too.

With a Python that is too old, or a launcher that does not load, the command takes this process's place. The
operator is told of the former, see `old.py`.
"""

import os
import sys

if __name__ == "__main__":
    words = sys.argv[1:]
    if words and words[0] == "--":
        words = words[1:]
    if not words:
        sys.stderr.write("usage: launcher.pyz -- COMMAND [ARGUMENT ...]\n")
        sys.exit(2)
    run = None
    if sys.version_info >= (3, 9) and os.name == "posix":
        try:
            run = __import__("drumline.worker.launcher", fromlist=["main"]).main
        except Exception:  # noqa: BLE001 -- the command matters, not the launcher
            sys.stderr.write("drumline: the launcher does not load; the command runs without it\n")
    elif os.name == "posix":
        try:  # noqa: SIM105 -- an old Python has no `suppress`
            __import__("drumline_old")
        except Exception:  # noqa: BLE001, S110 -- nobody is told then
            pass
    if run is None:
        os.execvp(words[0], words)  # noqa: S606 -- the very point of it
    sys.exit(run(words, sys.path[0]))
