"""What a server exposes for Prometheus, read as little as the engines' tests need."""

import re


def families(text: str) -> set[str]:
    """The names of all metrics that the text declares."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def values(text: str) -> dict[str, float]:
    """The sum over all series of each sample's name."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name = series.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def labelled(text: str, name: str, label: str) -> dict[str, float]:
    """The values of one name's series by the value of one label."""
    pattern = re.compile(rf'^{re.escape(name)}{{.*?\b{label}="([^"]*)".*?}} (\S+)$', re.MULTILINE)
    return {found[1]: float(found[2]) for found in pattern.finditer(text)}
