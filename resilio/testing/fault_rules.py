"""A rule of fault injection: which calls it strikes, and what it does to them."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, cast

from resilio.testing import fault_actions as actions
from resilio.testing import fault_schedules as schedules
from resilio.testing.fault_schedules import PASS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from resilio._core.colour import Colour
    from resilio._core.durations import Duration
    from resilio.testing.fault_actions import Cancellable, Delay, ErrorSource, FaultAction

M = TypeVar("M", bound="Callable[..., FaultRule]")

# The letters that a pattern knows by itself.
_LETTERS: dict[str, FaultAction] = {
    "F": actions.raises(ConnectionError),
    "S": actions.delays(1.0),
    "H": actions.hangs(),
}


def _says(method: M) -> M:
    """Void a rule of which a part was refused, so that only that refusal is heard of."""

    @functools.wraps(method)
    def call(self: FaultRule, *args: Any, **kwargs: Any) -> FaultRule:
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.stop()
            raise

    return cast("M", call)


class FaultRule:
    """What ``faults.on(target)`` returns: say when, then what.

    *When* is a row of schedules, each counting only the calls that the one before let through; none means every call.
    Calls are counted from 1, from the moment the rule was made. *What* is one action or more, done in the order in
    which they are written::

        faults.on(fetch).nth(3).delays(2).raises(TimeoutError)      # the third call: two seconds, then the error

    `pattern` and `weights` say both at once. Several rules for one target all apply, the earliest outermost.

    A rule takes effect with the call that follows its last method; safe to use from any thread and any event loop. As
    a context manager, it ends with the block.
    """

    def __init__(self, *, target: str, number: int, colour: Colour) -> None:
        self.number = number
        """The rule's number among those of its target, from 1."""
        self._target = target
        self._colour = colour
        self._row: list[schedules.Schedule] = []
        self._counts: list[int] = [0]
        self._actions: list[FaultAction] = []
        self._chooser: schedules.Chooser | None = None
        self._letters: dict[str, FaultAction] = {}
        self._stopped = False
        self._hits = 0
        self._maker = threading.get_ident()

    # -- when ----------------------------------------------------------------------------------------------------------

    @_says
    def nth(self, *numbers: int) -> Self:
        """Strike the calls with these numbers, from 1: ``nth(2, 5)``."""
        return self._then(schedules.Nth(numbers))

    @_says
    def first(self, count: int) -> Self:
        """Strike the first ``count`` calls."""
        return self._then(schedules.First(count))

    @_says
    def every(self, step: int) -> Self:
        """Strike every ``step``-th call: ``every(3)`` is the calls 3, 6, 9 and so on."""
        return self._then(schedules.Every(step))

    @_says
    def after(self, count: int) -> Self:
        """Strike all calls but the first ``count``."""
        return self._then(schedules.After(count))

    @_says
    def rate(self, probability: float) -> Self:
        """Strike each call with this probability, from 0 to 1; the seed and the call's number decide."""
        return self._then(schedules.Rate(probability))

    @_says
    def between(self, start: Duration, end: Duration) -> Self:
        """Strike the calls that start in this span, in seconds since the injector's time zero; ``end`` is outside."""
        return self._then(schedules.Between.checked(start, end))

    @_says
    def while_(self, condition: Callable[[], bool]) -> Self:
        """Strike the calls at whose start ``condition()`` is true; a plain function, asked at every call."""
        return self._then(schedules.While(condition))

    @_says
    def pattern(self, text: str, *, cycle: bool = False, **letters: FaultAction) -> Self:
        """Strike call by call as ``text`` says: ``"FF.S3H"`` fails twice, passes, is slow three times, then hangs.

        Args:
            text: A letter for each call; a number after it repeats it, spaces mean nothing. ``.`` lets the call pass;
                ``F`` fails with `ConnectionError`, ``S`` is slow by one second, ``H`` hangs. A `raises`, `delays` or
                `hangs` that follows says what F, S or H means here.
            cycle: Start over at the end; otherwise all later calls pass.
            letters: Other letters, or other meanings for these: ``pattern("X.", X=drops_ack())``, with actions from
                `resilio.testing.fault_actions`.

        Raises:
            ValueError: A letter has no meaning, or the text is no pattern.
        """
        return self._choose(schedules.Pattern.parsed(text, cycle=cycle), letters)

    @_says
    def weights(self, weights: Mapping[str, float], **letters: FaultAction) -> Self:
        """Draw for each call one of these letters, which mean what they mean in a `pattern`: ``{"F": 1, ".": 9}``.

        Args:
            weights: Each letter's weight, at least 0; ``.`` lets the call pass. They need not add up to 1.
            letters: Other letters, or other meanings, as for `pattern`.

        Raises:
            ValueError: A letter has no meaning, or the weights are none.
        """
        return self._choose(schedules.Weights.checked(weights), letters)

    # -- what ----------------------------------------------------------------------------------------------------------

    @_says
    def raises(self, error: ErrorSource, *, after_items: int = 0) -> Self:
        """Raise instead of calling; see [raises][resilio.testing.fault_actions.raises]."""
        return self._act(actions.raises(error, after_items=after_items), "F")

    @_says
    def delays(self, delay: Delay) -> Self:
        """Wait before calling: seconds, or a function that draws them from a ``random.Random``."""
        return self._act(actions.delays(delay), "S")

    @_says
    def hangs(self, limit: Duration | None = None) -> Self:
        """Never answer, until cancelled; a plain function needs a ``limit``, after which `TimeoutError` is raised."""
        return self._act(actions.hangs(limit), "H")

    @_says
    def returns(self, value: Any) -> Self:
        """Answer ``value`` without calling; for a generator, the items of ``value``."""
        return self._act(actions.returns(value))

    @_says
    def mangles(self, change: Callable[[Any], Any]) -> Self:
        """Call, and answer what ``change`` makes of the result, or of each item of a generator."""
        return self._act(actions.mangles(change))

    @_says
    def truncates(self, length: int) -> Self:
        """Call, and answer only the first ``length`` bytes, characters, elements or items."""
        return self._act(actions.truncates(length))

    @_says
    def cancels(self, scope: Cancellable | None = None) -> Self:
        """Cancel ``scope``, or else let the backend's own cancellation error come out of the call."""
        return self._act(actions.cancels(scope))

    @_says
    def drops_ack(self, error: ErrorSource = ConnectionResetError) -> Self:
        """Let the callee do its work, lose its reply, and raise ``error``."""
        return self._act(actions.drops_ack(error))

    # -- its life ------------------------------------------------------------------------------------------------------

    @property
    def hits(self) -> int:
        """How many calls it was decided to strike."""
        return self._hits

    @property
    def stopped(self) -> bool:
        """Whether it strikes no more: it was stopped, or a part of it was refused."""
        return self._stopped

    def stop(self) -> None:
        """Strike no more calls. Doing it twice does no harm."""
        self._stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __str__(self) -> str:
        said = [str(each) for each in self._row]
        if self._chooser is not None:
            meanings = "".join(f", {letter}={self._letters[letter]}" for letter in sorted(self._chooser.letters))
            said.append(f"{str(self._chooser).removesuffix(')')}{meanings})")
        said += [str(each) for each in self._actions]
        return ".".join(said) or "nothing yet"

    # -- deciding, under the injector's lock ---------------------------------------------------------------------------

    @property
    def conditions(self) -> tuple[schedules.While, ...]:
        """The schedules whose functions must be asked before the lock is taken."""
        return tuple(each for each in self._row if isinstance(each, schedules.While))

    def check_complete(self) -> None:
        """Raise if the rule says when and not what, or something that its target cannot do.

        Raises:
            RuntimeError: It has no action.
            TypeError: A letter of its pattern means something that cannot be done to this colour of function.
        """
        if self._stopped:
            return
        if not self._actions and self._chooser is None:
            row = "".join(f".{each}" for each in self._row)
            msg = (
                f"the rule faults.on({self._target}){row} does nothing: end it with an action, "
                "such as .raises(ConnectionError) or .delays(2)"
            )
            raise RuntimeError(msg)
        if self._chooser is not None:
            for letter in sorted(self._chooser.letters):
                self._check(self._letters[letter])

    @property
    def in_the_making(self) -> bool:
        """Whether another thread may be about to say what the rule does."""
        return not self._actions and self._chooser is None and self._maker != threading.get_ident()

    def decide(
        self, *, elapsed: float, dice: random.Random, answers: Mapping[schedules.While, bool]
    ) -> tuple[FaultAction, ...]:
        """Count one call, and return the actions for it."""
        if self._stopped:
            return ()
        for index, schedule in enumerate(self._row):
            if not schedule.admits(self._seen(index, elapsed, dice, answers)):
                return ()
        last = self._seen(len(self._row), elapsed, dice, answers)
        chosen = tuple(self._actions)
        if self._chooser is not None:
            letter = self._chooser.choose(last)
            chosen = () if letter == PASS else (self._letters[letter],)
        self._hits += bool(chosen)
        return chosen

    def _seen(
        self, place: int, elapsed: float, dice: random.Random, answers: Mapping[schedules.While, bool]
    ) -> schedules.Sight:
        self._counts[place] += 1
        return schedules.Sight(number=self._counts[place], elapsed=elapsed, dice=dice, answers=answers)

    # -- building ------------------------------------------------------------------------------------------------------

    def _then(self, schedule: schedules.Schedule) -> Self:
        if self._actions or self._chooser is not None:
            self._refuse(f"{schedule} comes after what the rule does; say when first, or make another rule")
        self._row.append(schedule)
        self._counts.append(0)
        return self

    def _choose(self, chooser: schedules.Chooser, letters: Mapping[str, FaultAction]) -> Self:
        if self._actions or self._chooser is not None:
            self._refuse(f"{chooser} comes after what the rule does; make another rule for it")
        for letter, action in letters.items():
            if letter not in chooser.letters:
                self._refuse(f"{letter}= stands for no letter of {chooser}")
            if not isinstance(action, actions.FaultAction):
                msg = f"{letter} must be an action, such as fault_actions.raises(ConnectionError), not {action!r}"
                raise TypeError(msg)
        known = {**_LETTERS, **letters}
        for letter in sorted(chooser.letters):
            if letter not in known:
                self._refuse(
                    f"{chooser} has the letter {letter!r}, which has no meaning: known are "
                    f"{', '.join(sorted(known))} and '.'; give it one, as in pattern('X.', X=drops_ack())"
                )
        self._chooser = chooser
        self._letters = known
        return self

    def _act(self, action: FaultAction, letter: str | None = None) -> Self:
        self._check(action)
        if self._chooser is None:
            self._actions.append(action)
        elif letter in self._chooser.letters:
            self._letters[letter] = action
        else:
            self._refuse(f"{action} stands for no letter of {self._chooser}; give it one, as in X={action}")
        return self

    def _check(self, action: FaultAction) -> None:
        refusal = action.refusal(self._colour)
        if refusal is not None:
            msg = f"faults.on({self._target}): cannot do {action} to a {self._colour.value} function: {refusal}"
            raise TypeError(msg)

    def _refuse(self, why: str) -> NoReturn:
        msg = f"faults.on({self._target}): {why}"
        raise ValueError(msg)
