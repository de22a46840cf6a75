"""What a Python program under the launcher runs first, as its `sitecustomize`: stacks on request.

The launcher puts a directory with this file at the front of PYTHONPATH. It makes Python write the stacks of all
threads into a file when a real-time signal comes that nobody else uses, and then makes way for the
`sitecustomize` that the program would have had, if it has one. Written in words that every Python understands.
"""

# Every Python process of the program runs this: no pathlib, which takes time to load, and no file to close.
# ruff: noqa: PTH100, PTH118, PTH120, PTH123, SIM115

import os
import sys

if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.abspath(__file__))
    _folder = os.environ.get("DRUMLINE_STACKS")
    try:
        import faulthandler

        if _folder:
            _file = open(os.path.join(_folder, str(os.getpid())), "wb", 0)
            faulthandler.register(int(os.environ["DRUMLINE_STACKS_SIGNAL"]), _file, True, False)
    except Exception:  # noqa: BLE001, S110 -- without stacks rather than with an error
        pass
    _self = sys.modules.pop("sitecustomize")
    sys.path[:] = [_path for _path in sys.path if os.path.abspath(_path) != _here]
    try:
        __import__("sitecustomize")
    except ImportError as _error:
        # the program's own may be there, and miss something: that is for it to say
        if getattr(_error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", _self)
