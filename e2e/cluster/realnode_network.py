"""The network of a real node: a bridge of its own whose address is also the API server's and CoreDNS's.

An address must be on an interface before a server is told to advertise it, and not every kernel has ``dummy``
interfaces, so the bridge that pods will hang on comes first and everything else points at its address.
What is made here is undone by ``realnode_cleanup``.
"""

import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_POOL = ipaddress.ip_network("10.213.0.0/16")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_NAT_PROBE = """
table ip {name} {{
  chain endpoint {{
    ip saddr 192.0.2.1 meta mark set 0x4000
    meta l4proto tcp dnat ip to 192.0.2.1:80
  }}
  chain services {{
    type nat hook prerouting priority -90
    fib daddr type local meta l4proto tcp numgen random mod 1 vmap {{ 0 : goto endpoint }}
  }}
}}
"""
_MASQUERADE = """
table ip {name} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} ip daddr != {subnet} masquerade
  }}
}}
"""


class NetworkError(RuntimeError):
    """The host's network does not allow what a real node needs; the message says what is missing."""


@dataclass(frozen=True)
class Network:
    """A bridge, the IPv4 subnet of its pods, and the address it has itself in that subnet."""

    bridge: str
    subnet: str
    address: str

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix in bits."""
        return ipaddress.ip_network(self.subnet).prefixlen


def choose(identity: str) -> Network:
    """A network that no route of this host overlaps; ``identity`` is at most 10 characters.

    Raises ``NetworkError`` when every candidate is taken.
    """
    taken = [ipaddress.ip_network(text) for text in _routed()]
    for subnet in _POOL.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in taken):
            return Network(f"drum-{identity}", str(subnet), str(subnet[1]))
    raise NetworkError(f"every subnet of {_POOL} overlaps a route of this host")


def bring_up(network: Network) -> None:
    """Make the bridge with its address; raises ``NetworkError`` with what the kernel said."""
    run("ip", "link", "add", network.bridge, "type", "bridge")
    run("ip", "address", "add", f"{network.address}/{network.prefix}", "dev", network.bridge)
    run("ip", "link", "set", network.bridge, "up")


def masquerade(network: Network, proxy_mode: str) -> None:
    """Let pods reach beyond the host; ``proxy_mode`` is kube-proxy's, ``nftables`` or ``iptables``."""
    _FORWARDING.write_text("1")
    if proxy_mode == "nftables":
        load_nft(_MASQUERADE.format(name=network.bridge, subnet=network.subnet))
        return
    run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *masquerade_rule(network))


def masquerade_rule(network: Network) -> list[str]:
    """The iptables rule of the fallback mode, as arguments; its comment names the bridge."""
    match = ["-s", network.subnet, "!", "-d", network.subnet, "-m", "comment", "--comment", network.bridge]
    return [*match, "-j", "MASQUERADE"]


def proxy_mode() -> tuple[str, str]:
    """kube-proxy's mode for this kernel, and why: it is ``nftables`` if what that mode writes loads."""
    probe = f"drumline-probe-{os.getpid()}"
    try:
        load_nft(_NAT_PROBE.format(name=probe))
    except NetworkError as error:
        return "iptables", f"this kernel refuses what nftables mode needs: {error}"
    run("nft", "delete", "table", "ip", probe)
    return "nftables", "this kernel loads what nftables mode needs"


def forwards() -> bool:
    """Whether the host forwards IPv4 packets now."""
    return _FORWARDING.read_text().strip() == "1"


def load_nft(rules: str) -> None:
    """Load nftables rules in one transaction; raises ``NetworkError``."""
    run("nft", "-f", "-", stdin=rules)


def run(*command: str, stdin: str | None = None) -> str:
    """Run a host program and return its output; raises ``NetworkError`` with what it complained about."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NetworkError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise NetworkError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _routed() -> list[str]:
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))
    names = [route["dst"] for route in routes if route["dst"] != "default"]
    return [name if "/" in name else f"{name}/32" for name in names]
