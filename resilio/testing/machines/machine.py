"""What the machines have in common: settings, drawn or given, a policy made from them, and a clock moved by hand."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from resilio._core import clock, dice
from resilio.policies import registry
from resilio.testing.machines.by_hand import HandClock, HandPause, HandTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class PolicyMachine(RuleBasedStateMachine):
    """A game against one policy. Subclass a machine and set these, or use `for_settings`.

    Attributes:
        policy: What makes the policy: a class, or a function that takes the settings as keyword arguments.
        policy_settings: The settings; None lets Hypothesis draw them, anew for each game.
    """

    policy: ClassVar[Callable[..., Any]]
    policy_settings: ClassVar[Mapping[str, Any] | None] = None

    defaults: ClassVar[Mapping[str, Any]]
    """The settings that the model knows, with their defaults."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: HandClock = HandClock()
        self.pause: HandPause = HandPause(self.clock)
        self.tasks: list[HandTask] = []
        self._stack = ExitStack()
        self._stack.enter_context(clock.installed(self.clock))
        self._stack.enter_context(dice.loaded(random.Random(0)))  # noqa: S311 -- a game must be repeatable
        self._stack.enter_context(registry.fresh())  # a named circuit belongs to one game

    @classmethod
    def for_settings(cls, *, policy: Callable[..., Any] | None = None, **settings: Any) -> type[Self]:
        """This machine for these settings; those that are left out have their defaults.

        Args:
            policy: What makes the policy; a class, or a function that takes the settings as keyword arguments.
            settings: The policy's settings. Without any, Hypothesis draws them.

        Raises:
            TypeError: The model does not know one of the settings.
        """
        unknown = sorted(set(settings) - set(cls.defaults))
        if unknown:
            msg = f"the model of {cls.__name__} knows the settings {', '.join(sorted(cls.defaults))}, not {unknown[0]}"
            raise TypeError(msg)
        given = {"policy_settings": {**cls.defaults, **settings}} if settings else {}
        made = {} if policy is None else {"policy": staticmethod(policy)}
        return type(cls.__name__, (cls,), {"__module__": cls.__module__, **given, **made})

    def teardown(self) -> None:
        """Put the process back as it was."""
        for task in self.tasks:
            task.close()
        self._stack.close()

    # -- for the machines ----------------------------------------------------------------------------------------------

    def settings_for(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of this game."""
        return dict(drawn if self.policy_settings is None else self.policy_settings)

    def make(self, settings: Mapping[str, Any]) -> Any:
        """The policy of this game."""
        return type(self).policy(**settings)

    @property
    def waiting(self) -> list[HandTask]:
        """The tasks that have not ended."""
        return [task for task in self.tasks if not task.is_over]

    def pick(self, tasks: list[HandTask], number: int) -> HandTask:
        """One of ``tasks``, by a number that Hypothesis drew."""
        return tasks[number % len(tasks)]


NUMBERS = st.integers(0, 7)
"""Which one of several."""


class Cancelled(BaseException):
    """Stands for the cancellation of either backend: no policy may take it for a failure."""
