"""The code under test: a shop that has each order reserved at a warehouse, and loses none while that is out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilio import AdminNotifier, BackoffStrategy, CircuitBreaker, DeadLetterQueue, Pipeline, Timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Order = dict[str, Any]


class Shop:
    """Takes orders.

    Args:
        reserve: Has the warehouse reserve what was ordered.
    """

    def __init__(self, reserve: Callable[[Order], Awaitable[None]]) -> None:
        self.reserve = Pipeline(
            BackoffStrategy(max_retries=2, base_delay=0.1),
            CircuitBreaker(name="warehouse", failure_threshold=3, recovery_timeout=5),
            Timeout(2),
        )(reserve)
        self.letters = DeadLetterQueue(local_file_path="orders.jsonl", reprocessor=self.reserve)
        self.admin = AdminNotifier()

    async def take(self, order: Order) -> bool:
        """Reserve what was ordered, or keep the order for later; tell which it was."""
        try:
            await self.reserve(order)
        except Exception as error:
            await self.letters.send_to_dlq(order, error)
            is_reserved = False
        else:
            is_reserved = True
        await self.admin.send_health_check_notification(is_reserved, {"component": "warehouse"})  # tells changes alone
        return is_reserved

    async def catch_up(self) -> None:
        """Reserve what was kept."""
        await self.letters.reprocess_all()
