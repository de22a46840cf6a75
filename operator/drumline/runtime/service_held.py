"""How many requests an endpoint picker holds for a service that may be scaled to zero.

A picker with flow control keeps requests in a queue while no group can take them; its metrics tell how many. That
is what wakes a role at zero, see docs/inference.md.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import aiohttp

from drumline.core.inference.observation import Observation
from drumline.runtime.metrics import read_samples
from drumline.runtime.progress_scrape import page

# the endpoint picker's own names, the present one first
QUEUE: Final = ("llm_d_epp_flow_control_queue_size", "inference_extension_flow_control_queue_size")
PATH: Final = "/metrics"

logger = logging.getLogger(__name__)


def may_hold(observation: Observation) -> bool:
    """Whether somebody may hold requests for a role that scales to zero."""
    spec = observation.spec
    if spec is None or spec.routing.inference_pool is None:
        return False
    return any(r.autoscaling is not None and r.autoscaling.scale_to_zero is not None for r in spec.roles)


async def held(session: aiohttp.ClientSession, observation: Observation) -> float:
    """The number of requests that the service's picker holds; 0 where it can't be asked."""
    pool = observation.spec.routing.inference_pool if observation.spec is not None else None
    if pool is None:
        return 0.0
    host = f"{pool.endpoint_picker}.{observation.service.namespace}.svc"
    try:
        return queued(await page(session, host, pool.metrics_port, PATH))
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        logger.info("no metrics of endpoint picker %s: %s", host, str(error) or type(error).__name__)
        return 0.0


def queued(text: str) -> float:
    """Requests in the queues of a picker's metrics page. ValueError when it is malformed."""
    lines = [line for line in text.splitlines() if line.startswith(QUEUE)]
    totals = dict.fromkeys(QUEUE, 0.0)
    for name, value in read_samples("\n".join([*lines, ""])):
        if name in totals and math.isfinite(value) and value > 0:
            totals[name] += value
    return next((total for total in totals.values() if total), 0.0)
