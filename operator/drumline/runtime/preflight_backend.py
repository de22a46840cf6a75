"""What the API server makes of the objects that a backend wants to have of a gang, before any of them exists."""

from __future__ import annotations

from drumline.api.reasons import Reason
from drumline.core.gang.plan import Create
from drumline.core.gang.types import Refusal
from drumline.runtime.errors import AlreadyExists, Forbidden, NotFound, TerminalError
from drumline.runtime.http import Client
from drumline.runtime.http_paths import resource_path


async def object_refusal(client: Client, create: Create) -> Refusal | None:
    """Why an object can't be made as it is to be; None = it can. Raises ApiError when the API server can't be asked."""
    metadata = create.manifest["metadata"]
    what = f"{create.manifest['kind']} {metadata['name']}"
    try:
        answer = await client.request(
            "POST",
            resource_path(create.resource, metadata["namespace"]),
            body=create.manifest,
            params={"dryRun": "All"},
            repeatable=True,
        )
    except AlreadyExists:
        return None
    except NotFound as error:
        return Refusal(Reason.BACKEND_UNAVAILABLE, f"{what}: {error.message}")
    except Forbidden as error:
        text = (
            f"{what}: {error.message}; the chart's value `backends` gives the operator the right to make it"
        )
        return Refusal(Reason.BACKEND_UNAVAILABLE, text)
    except TerminalError as error:
        return Refusal(Reason.UNSUPPORTED_SCHEDULING, f"{what}: {error.message}")
    lost = create.kept(create.manifest, answer) if create.kept is not None else ""
    return Refusal(Reason.BACKEND_FIELD_DROPPED, dropped(what, lost)) if lost else None


def dropped(what: str, lost: str) -> str:
    """The text of a field that the API server does not keep."""
    return f"the API server drops {lost} of {what}: a feature gate or a webhook of the backend is missing, and no gang comes of it"
