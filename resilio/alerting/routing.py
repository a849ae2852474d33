"""From what a notifier is given as ``channel`` to the channels at work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from resilio import settings
from resilio.alerting.channels import Channel, LogChannel, NotificationChannel
from resilio.alerting.outlet import Outlet, text_of
from resilio.alerting.route import Route

if TYPE_CHECKING:
    from resilio.alerting.outlet import LetterBox

__all__ = ("Target", "outlets_of", "routes_of")

Target = NotificationChannel | Channel | Route
"""What a notifier's ``channel`` may be, or hold."""


def routes_of(sns_topic_arn: str | None, channel: Target | Iterable[Target] | None) -> list[Route]:
    """The routes to ``channel``, or to where the environment says.

    Raises:
        ValueError: The channel is unknown, or needs settings that were not given.
        TypeError: It is something else altogether.
    """
    if channel is None:
        topic = sns_topic_arn or settings.SNS_TOPIC_ARN.read()
        return [_route(LogChannel() if topic is None else NotificationChannel.SNS, topic)]
    if isinstance(channel, (str, type)) or not isinstance(channel, Iterable):
        return [_route(channel, sns_topic_arn)]
    routes = [_route(each, sns_topic_arn) for each in channel]
    if not routes:
        msg = "channel must be at least one channel; leave it out for the log"
        raise ValueError(msg)
    return routes


def _route(channel: Target, sns_topic_arn: str | None) -> Route:
    if isinstance(channel, Route):
        return channel
    if not isinstance(channel, str):
        return Route(channel)
    try:
        kind = NotificationChannel(channel)
    except ValueError:
        kinds = ", ".join(NotificationChannel)
        msg = f"channel must be a NotificationChannel ({kinds}) or a channel object, not {channel!r}"
        raise ValueError(msg) from None
    if kind is NotificationChannel.LOG:
        return Route(LogChannel())
    if kind is not NotificationChannel.SNS:
        example = {"EMAIL": "EmailChannel(host=...)", "SMS": "SmsChannel('+1...')", "WEBHOOK": "WebhookChannel(url)"}
        msg = f"channel={kind!s} needs settings: pass channel={example[kind]} in its place"
        raise ValueError(msg)
    topic = sns_topic_arn or settings.SNS_TOPIC_ARN.read()
    if topic is None:
        msg = "channel=SNS needs a topic: pass sns_topic_arn, or set the environment variable SNS_TOPIC_ARN"
        raise ValueError(msg)
    from resilio.alerting.aws import SnsChannel  # noqa: PLC0415 -- who logs needs nothing of this

    return Route(SnsChannel(topic))


def outlets_of(routes: Iterable[Route], dead_letters: LetterBox | None) -> tuple[Outlet, ...]:
    """Each route at work, under a name of its own."""
    outlets: list[Outlet] = []
    taken: set[str] = set()
    for route in routes:
        name = first = text_of(getattr(route.channel, "name", None) or type(route.channel).__name__)
        number = 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        outlets.append(Outlet(name, route, dead_letters))
    return tuple(outlets)
