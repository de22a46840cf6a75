"""What an API server can do, by its version, where nothing else tells."""

from __future__ import annotations

import re
from typing import Final

from drumline.runtime.errors import ApiError
from drumline.runtime.http import Client

IMAGE_VOLUMES: Final = (1, 35)  # on by default since; before that a pod with one is refused


async def takes_image_volumes(client: Client) -> bool:
    """Whether pods may have image volumes; True where the API server does not tell its version."""
    try:
        found = await client.request("GET", "/version")
    except ApiError:
        return True
    numbers = [re.match(r"\d+", str(found.get(part) or "")) for part in ("major", "minor")]
    return not all(numbers) or tuple(int(n[0]) for n in numbers if n) >= IMAGE_VOLUMES
