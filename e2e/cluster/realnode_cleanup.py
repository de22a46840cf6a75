"""Undo what a real node made on this host, whether its owner stopped it or was killed.

Run as a guardian, ``python -m e2e.cluster.realnode_cleanup``, it waits for its standard input to close, which
the kernel does when the owner ends, however it ends, and then cleans up from the journal. A clean-up may be
repeated: every step first looks at what is there.

Order: the node's own programs (so that nothing is started again), then containers, then mounts, then the
network, then control groups, then files. Containers are the children of containerd's shims, and a shim is
known by the socket in its command line; a container's first process takes the rest of its namespace along.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster import realnode_journal
from e2e.cluster.realnode_journal import Journal
from e2e.cluster.realnode_network import NetworkError, masquerade_rule, run

_PROGRAMS = {"kubelet", "kube-proxy", "coredns", "containerd", "containerd-shim-runc-v2", "runc"}
_CGROUPS = Path("/sys/fs/cgroup")
_LOG_LINKS = Path("/var/log/containers")
_KILL_SECONDS = 20
_POLL_SECONDS = 0.1


def clean(journal: Journal) -> None:
    """Undo everything in the journal, then forget it."""
    _kill_programs(journal.directory)
    _unmount_below(journal.directory)
    _remove_network(journal)
    _remove_cgroups(journal.cgroup)
    _remove_log_links(journal.directory)
    shutil.rmtree(journal.directory, ignore_errors=True)
    realnode_journal.forget()


def make_cgroups(name: str) -> None:
    """Make the group that pods' groups go into, under every controller of version 1 or the one of version 2."""
    if (_CGROUPS / "cgroup.controllers").exists():
        (_CGROUPS / name).mkdir(exist_ok=True)
        return
    for controller in _CGROUPS.iterdir():
        if (controller / "tasks").exists():
            (controller / name).mkdir(exist_ok=True)


def _kill_programs(directory: Path) -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    while doomed := _processes_of(directory):
        for pid in doomed:
            _kill(pid)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(doomed)} of the real node do not end")
        time.sleep(_POLL_SECONDS)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _processes_of(directory: Path) -> set[int]:
    """The node's programs and all that descends from them, found before any of them is killed."""
    parents: dict[int, int] = {}
    roots: set[int] = set()
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z":
            continue
        parents[pid] = int(parent)
        if Path(command.split("\0")[0]).name in _PROGRAMS and f"{directory}/" in command:
            roots.add(pid)
    return {pid for pid in parents if roots.intersection(_lineage(pid, parents))}


def _lineage(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        yield pid
        pid = parents[pid]


def _unmount_below(directory: Path) -> None:
    targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [_unescape(target) for target in targets if target.startswith(f"{directory}/")]
    for target in sorted(below, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


def _unescape(target: str) -> str:
    return target.encode().decode("unicode_escape")


def _remove_network(journal: Journal) -> None:
    bridge = journal.network.bridge
    if Path(f"/sys/class/net/{bridge}").exists():
        run("ip", "link", "delete", bridge)
    if journal.proxy_mode == "nftables":
        for table in (("ip", bridge), ("ip", "kube-proxy"), ("ip6", "kube-proxy")):
            _attempt("nft", "delete", "table", *table)
    else:
        _attempt("iptables", "-w", "-t", "nat", "-D", "POSTROUTING", *masquerade_rule(journal.network))
        _remove_proxy_chains()
    if not journal.forwarded:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def _remove_proxy_chains() -> None:
    """Drop kube-proxy's iptables rules: those of its chains, and the jumps to them."""
    for program in ("iptables", "ip6tables"):
        if shutil.which(f"{program}-save") is None:
            continue
        for table in ("nat", "filter", "mangle"):
            saved = run(f"{program}-save", "-t", table)
            kept = "\n".join(line for line in saved.splitlines() if "KUBE-" not in line)
            if kept != saved.rstrip("\n"):
                run(f"{program}-restore", "-w", "-T", table, stdin=kept + "\n")


def _attempt(*command: str) -> None:
    """Run a command whose failure means that there was nothing to remove."""
    try:
        run(*command)
    except NetworkError:
        return


def _remove_cgroups(name: str) -> None:
    roots = [path for path in (_CGROUPS, *_CGROUPS.iterdir()) if (path / name).is_dir()]
    for root in roots:
        for directory, _, _ in os.walk(root / name, topdown=False):
            _remove_cgroup(Path(directory))


def _remove_cgroup(directory: Path) -> None:
    # A group is busy for a moment after its last process ended.
    for _ in range(20):
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return


def _remove_log_links(directory: Path) -> None:
    if not _LOG_LINKS.is_dir():
        return
    for link in _LOG_LINKS.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(f"{directory}/"):
            link.unlink()


def main() -> int:
    """Wait for the owner's end, then clean up; the exit status is 1 when something could not be undone."""
    # A terminal's Ctrl-C goes to the whole foreground group; the owner decides when the end has come.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    journal = realnode_journal.read()
    if journal is None:
        return 0
    try:
        clean(journal)
    except (RuntimeError, OSError) as error:
        print(f"the real node could not be cleaned up: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
