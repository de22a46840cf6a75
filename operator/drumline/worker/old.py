"""Tells the operator that this Python is too old for the launcher; worker 0 of slice 0 does.

A child process does it, in `LIMIT_SECONDS` at the most, for a name server or a network that is away would hold
up the user's command. Whatever fails in it, the command runs all the same, and nobody is told. The launcher's file
has it as `drumline_old`. Written in words that every Python understands, 2.7 too.
"""

# no pathlib, no annotations: this is for Pythons that lack them
# ruff: noqa: PTH123, SIM115

import binascii
import json
import os
import signal
import ssl
import sys
import time

LIMIT_SECONDS = 3
AGAIN_SECONDS = 0.3  # after an answer of a replica that does not lead
_FILES = "/var/run/secrets/drumline.dev"

_env = os.environ.get
_first = _env("DRUMLINE_SLICE", "0") == "0" and _env("DRUMLINE_WORKER", "0") == "0"
_wanted = "DRUMLINE_HELPER" not in os.environ and _env("DRUMLINE_REPORTER", "first") != "none"
_url = _env("DRUMLINE_REPORT_URL", "")

if __name__ == "drumline_old" and _first and _wanted and _url.startswith("https://"):
    _child = os.fork()
    if _child:
        os.waitpid(_child, 0)
    else:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LIMIT_SECONDS)
            try:
                _web = __import__("urllib.request", fromlist=["Request"])
            except ImportError:
                _web = __import__("urllib2")
            _report = {
                "version": 1,
                "job": {
                    "namespace": _env("DRUMLINE_JOB_NAMESPACE"),
                    "name": _env("DRUMLINE_JOB"),
                    "uid": _env("DRUMLINE_JOB_UID"),
                },
                "attempt": int(_env("DRUMLINE_ATTEMPT", "0")),
                "epoch": int(_env("DRUMLINE_EPOCH", "0")),
                "source": "launcher",
                "origin": binascii.hexlify(os.urandom(8)).decode("ascii"),
                "sentMs": 0,
                "oldPython": ".".join(map(str, sys.version_info[:3])),
            }
            _token = open(_env("DRUMLINE_REPORT_TOKEN_FILE", _FILES + "/token")).read().strip()
            _trust = ssl.create_default_context(cafile=_env("DRUMLINE_REPORT_CA_FILE", _FILES + "/ca.crt"))
            _open = _web.build_opener(_web.ProxyHandler({}), _web.HTTPSHandler(context=_trust)).open
            _words = {"Content-Type": "application/json", "Authorization": "Bearer " + _token}
            _body = json.dumps(_report).encode("ascii")
            while True:
                try:
                    _open(_web.Request(_url, _body, _words), timeout=LIMIT_SECONDS).close()
                    break
                except _web.HTTPError as _error:
                    if _error.code not in (429, 503):
                        break
                time.sleep(AGAIN_SECONDS)
        finally:
            os._exit(0)  # an exception has nobody to be shown to
