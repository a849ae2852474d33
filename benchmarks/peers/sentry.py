"""sentry-sdk: reports errors, to a transport that throws them away; without the integrations that patch others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.transport import Transport

if TYPE_CHECKING:
    from benchmarks.drivers import Operation


class _Nowhere(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        """Throw it away."""


def report_error(fn: Operation) -> Operation:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=_Nowhere,
        default_integrations=False,
        integrations=[ArgvIntegration(), DedupeIntegration(), ModulesIntegration()],
        enable_backpressure_handling=False,
        auto_session_tracking=False,
    )

    async def guarded(number: int) -> Any:
        try:
            return await fn(number)
        except ConnectionError as error:
            if sentry_sdk.capture_exception(error) is None:
                msg = "the event was dropped"
                raise AssertionError(msg) from None
            return number

    return guarded
