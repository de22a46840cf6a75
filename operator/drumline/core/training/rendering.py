"""How an observation's settings reach the rendering."""

from __future__ import annotations

from dataclasses import replace

from drumline.core.gang.pods import PodSettings
from drumline.core.training.observation import Observation, Settings
from drumline.core.training.progress_render import Reporting
from drumline.core.training.provisioned import consumed
from drumline.core.training.render import PreparedGang, RenderSettings, prepare_gang
from drumline.core.training.spares_render import PreparedSpares, prepare_spares
from drumline.core.training.view import View


def render_settings(obs: Observation) -> RenderSettings:
    """What the configuration, the job's priority class and its request for nodes say about its pods."""
    pods = PodSettings(
        node_loss_seconds=obs.settings.node_loss_seconds,
        priority_class=obs.pod_priority_class,
        annotations=consumed(obs.status),
    )
    return RenderSettings(
        pods=pods, cluster_domain=obs.settings.cluster_domain, reporting=reporting(obs.settings)
    )


def reporting(settings: Settings) -> Reporting:
    """What the configuration says of reporting."""
    return Reporting(settings.report_url, settings.launcher_image, settings.container_restarts)


def prepared_spares(view: View, attempt: int) -> PreparedSpares | None:
    """The pods of the spares of an attempt; None where there is no image for them, so that places are all they are."""
    image = view.obs.settings.launcher_image
    if not view.spec.spares or not image:
        return None
    pull = view.obs.settings.image_volumes
    settings = replace(render_settings(view.obs).pods, annotations={})  # no nodes were asked for them
    return prepare_spares(prepared(view, attempt), view.spec, image, settings, pull_images=pull)


def prepared(view: View, attempt: int) -> PreparedGang:
    """One attempt of the job under decision, ready to be rendered."""
    return prepare_gang(view.obs.job, view.spec, view.obs.catalog, attempt, render_settings(view.obs))
