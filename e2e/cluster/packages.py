"""Debian packages that the real node and its images need on this host, installed where that is allowed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence


class PackageError(RuntimeError):
    """Something is not installed and could not be; the message says what to install."""


def ensure_programs(packages: Mapping[str, str]) -> None:
    """Install the packages of the programs (``program → package``) that are missing; raises ``PackageError``."""
    install([package for program, package in packages.items() if shutil.which(program) is None])


def ensure_library(name: str, package: str) -> None:
    """Install ``package`` where pkg-config does not know the library ``name``; raises ``PackageError``."""
    ensure_programs({"pkg-config": "pkg-config"})
    if subprocess.run(["pkg-config", "--exists", name], check=False).returncode != 0:
        install([package])


def install(packages: Sequence[str]) -> None:
    """Install Debian packages; raises ``PackageError`` without root or apt-get, or when it fails."""
    if not packages:
        return
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PackageError(f"these packages (by their Debian names) are needed: {names}; install them first")
    print(f"installing with apt-get: {names}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PackageError(f"apt-get could not install {names}: {done.stderr.strip()}")
