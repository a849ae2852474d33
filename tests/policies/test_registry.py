"""A name is an identity: breakers of one name share one circuit."""

from __future__ import annotations

import functools
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from breaker_forms import DownError, state_of, throw, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState, circuit_breaker
from resilio.policies import registry
from resilio.policies.registry import CAPACITY, CircuitRegister

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.policies.circuit import Circuit


@pytest.fixture(autouse=True)
def register() -> Iterator[CircuitRegister]:
    """Each test begins without any named circuit."""
    with registry.fresh() as register:
        yield register


def settings_of(**settings: Any) -> Any:
    """The checked settings of a breaker built with these."""
    return CircuitBreaker(**settings)._circuit.settings


PLAIN = settings_of()

# -- sharing -----------------------------------------------------------------------------------------------------------


def test_two_objects_of_one_name_share_one_circuit() -> None:
    """What one of them learns, the other knows."""
    one, other = (CircuitBreaker(name="api", failure_threshold=1) for _ in range(2))
    tripped(one)
    assert state_of(other) is CircuitState.OPEN
    other.reset()
    assert state_of(one) is CircuitState.CLOSED


def test_both_colours_share_one_circuit() -> None:
    """Async and blocking breakers of one name are one circuit."""
    one = CircuitBreaker(name="api", failure_threshold=1)
    other = resilio.sync.CircuitBreaker(name="api", failure_threshold=1)
    with pytest.raises(DownError):
        other.execute(lambda: throw(DownError()))
    with pytest.raises(CircuitBreakerOpenError):
        one.acquire()


def test_decorators_and_objects_share_one_circuit() -> None:
    """However it is written, the name decides."""

    @circuit_breaker(name="api", failure_threshold=2)
    def decorated() -> None:
        raise DownError

    @resilio.sync.circuit_breaker(name="api", failure_threshold=2)
    def decorated_too() -> None:
        raise DownError

    for fn in (decorated, decorated_too):
        with pytest.raises(DownError):
            fn()
    assert state_of(CircuitBreaker(name="api", failure_threshold=2)) is CircuitState.OPEN


def test_breakers_without_a_name_are_private() -> None:
    """Two unnamed breakers share nothing."""
    one, other = CircuitBreaker(failure_threshold=1), CircuitBreaker(failure_threshold=1)
    tripped(one)
    assert (one.name, other.name) == ("unnamed", "unnamed")
    assert state_of(other) is CircuitState.CLOSED


def test_a_breaker_called_unnamed_is_not_private() -> None:
    """The name that private circuits show is a name like any other."""
    one, other, private = CircuitBreaker(name="unnamed"), CircuitBreaker(name="unnamed"), CircuitBreaker()
    one.force_open()
    assert state_of(other) is CircuitState.FORCED_OPEN
    assert state_of(private) is CircuitState.CLOSED


def test_a_breaker_built_inside_the_function_still_trips() -> None:
    """The reference builds its breaker anew for every message; its name makes it one circuit."""
    reached = []

    def process_message(message: str) -> str:
        breaker = resilio.sync.CircuitBreaker(
            failure_threshold=5, recovery_timeout=60, name="openai-api", record=lambda error: error is not None
        )

        def generate() -> str:
            reached.append(message)
            raise ConnectionError

        try:
            return breaker.execute(generate)
        except CircuitBreakerOpenError:
            return "Meow? (DadaCat is taking a catnap.)"
        except ConnectionError:
            return "Meow? (DadaCat seems confused.)"

    answers = [process_message(f"message {number}") for number in range(8)]
    assert len(reached) == 5
    assert answers == ["Meow? (DadaCat seems confused.)"] * 5 + ["Meow? (DadaCat is taking a catnap.)"] * 3


def test_threads_that_build_at_once_get_one_circuit() -> None:
    """There is no moment in which a name has two circuits."""
    together = threading.Barrier(16)
    built: list[Circuit] = []

    def build() -> None:
        together.wait(10)
        built.append(CircuitBreaker(name="raced")._circuit)

    threads = [threading.Thread(target=build) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(10)
    assert len(built) == 16
    assert len(set(map(id, built))) == 1


# -- other settings under the same name --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "other", "told"),
    [
        ({"failure_threshold": 3}, {"failure_threshold": 5}, "trip=ConsecutiveFailures(threshold=3), not"),
        ({"recovery_timeout": 30}, {"recovery_timeout": 60}, "recovery_timeout=30.0, not 60.0"),
        ({"half_open_max_calls": 2}, {}, "half_open_max_calls=2, not 1"),
        ({"success_threshold": 2}, {}, "success_threshold=2, not 1"),
        ({"half_open_timeout": 9}, {}, "half_open_timeout=9.0, not None"),
        ({"record": KeyError}, {}, "record=<class 'KeyError'>, not <class 'Exception'>"),
        ({"ignore": KeyError}, {}, "ignore=<class 'KeyError'>, not ()"),
        ({"failure_result": bool}, {}, "failure_result=<class 'bool'>, not None"),
    ],
)
def test_other_settings_are_refused_by_name(mine: dict[str, Any], other: dict[str, Any], told: str) -> None:
    """The error names the circuit and what differs, and the circuit stays as it was."""
    first = CircuitBreaker(name="api", **mine)
    with pytest.raises(ValueError, match="circuit 'api' exists already") as caught:
        CircuitBreaker(name="api", **other)
    assert told in str(caught.value)
    assert CircuitBreaker(name="api", **mine)._circuit is first._circuit


def test_everything_that_differs_is_named() -> None:
    """Not only the first difference."""
    CircuitBreaker(name="api", failure_threshold=3, recovery_timeout=30)
    with pytest.raises(ValueError, match=r"trip=.*, recovery_timeout=30\.0, not 60\.0"):
        CircuitBreaker(name="api", failure_threshold=5, recovery_timeout=60)


def _lambda() -> Callable[[object], bool]:
    return lambda error: isinstance(error, KeyError)


def _closure() -> Callable[[object], bool]:
    wanted = (KeyError, ValueError)
    return lambda error: isinstance(error, wanted)


def _default() -> Callable[[object], bool]:
    def is_wanted(error: object, wanted: type[Exception] = KeyError) -> bool:
        return isinstance(error, wanted)

    return is_wanted


def _nested() -> Callable[[object], bool]:
    inner = _closure()
    return lambda error: inner(error)  # noqa: PLW0108 -- a lambda over a lambda is the point


def _partial() -> Callable[[object], bool]:
    return functools.partial(lambda kind, error: isinstance(error, kind), KeyError)


def _recursive() -> Callable[[object], bool]:
    def is_wanted(error: object) -> bool:
        cause = getattr(error, "__cause__", None)
        return isinstance(error, KeyError) or (cause is not None and is_wanted(cause))

    return is_wanted


@pytest.mark.parametrize(
    "make", [_lambda, _closure, _default, _nested, _partial, _recursive], ids=lambda make: make.__name__
)
@pytest.mark.parametrize("setting", ["record", "ignore", "failure_result", "recovery_timeout"])
def test_functions_made_anew_are_the_same_setting(setting: str, make: Callable[[], Callable[[object], bool]]) -> None:
    """A lambda written inside a function that runs for every message is no change of settings."""
    first = CircuitBreaker(name="api", **{setting: make()})  # type: ignore[arg-type]
    assert CircuitBreaker(name="api", **{setting: make()})._circuit is first._circuit  # type: ignore[arg-type]


def test_functions_over_other_values_are_other_settings() -> None:
    """The same code over another value decides otherwise."""

    def only(kind: type[Exception]) -> Callable[[BaseException], bool]:
        return lambda error: isinstance(error, kind)

    CircuitBreaker(name="api", record=only(KeyError))
    CircuitBreaker(name="api", record=only(KeyError))
    with pytest.raises(ValueError, match="record="):
        CircuitBreaker(name="api", record=only(ValueError))


def test_functions_with_other_defaults_are_other_settings() -> None:
    """Defaults, positional or by keyword, are part of what a function does."""

    def by_keyword(kind: type[Exception]) -> Callable[[BaseException], bool]:
        def is_wanted(error: BaseException, *, wanted: type[Exception] = kind) -> bool:
            return isinstance(error, wanted)

        return is_wanted

    CircuitBreaker(name="api", record=by_keyword(KeyError))
    with pytest.raises(ValueError, match="record="):
        CircuitBreaker(name="api", record=by_keyword(ValueError))


def test_functions_over_values_that_do_not_compare_are_other_settings() -> None:
    """Where nobody can tell, the answer is a clear error, and not whatever the comparison raises."""

    class Moody:
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]

    def over(value: Moody) -> Callable[[BaseException], bool]:
        return lambda error: error == value

    CircuitBreaker(name="api", record=over(Moody()))
    with pytest.raises(ValueError, match="record="):
        CircuitBreaker(name="api", record=over(Moody()))


# -- the register is bounded -------------------------------------------------------------------------------------------


def test_the_register_holds_ten_thousand() -> None:
    """Past that, circuits are forgotten."""
    assert CAPACITY == 10_000


def test_the_longest_unused_closed_circuit_is_forgotten_first() -> None:
    """Looking a name up counts as use."""
    register = CircuitRegister(capacity=3)
    for name in "abc":
        register.obtain(name, PLAIN)
    register.obtain("a", PLAIN)
    register.obtain("d", PLAIN)
    assert [circuit.name for circuit in register.all()] == ["a", "c", "d"]


@pytest.mark.parametrize("how", ["open", "forced open", "half-open", "metrics only", "disabled"])
def test_a_circuit_that_is_not_closed_is_kept(how: str) -> None:
    """Forgetting an open circuit would let everybody through again."""
    with registry.fresh():
        registry.circuits._capacity = 2
        breaker = CircuitBreaker(name="kept", failure_threshold=1, recovery_timeout=0)
        if how in {"open", "half-open"}:
            tripped(breaker)
        if how == "half-open":
            breaker.acquire()
        controls: dict[str, Callable[[], None]] = {
            "forced open": breaker.force_open,
            "metrics only": breaker.metrics_only,
            "disabled": breaker.disable,
        }
        if how in controls:
            controls[how]()
        state = state_of(breaker)
        del breaker, controls
        for number in range(10):
            CircuitBreaker(name=f"other {number}")
        assert state_of(CircuitBreaker(name="kept", failure_threshold=1, recovery_timeout=0)) is state


def test_the_oldest_is_forgotten_where_none_is_closed() -> None:
    """The bound holds even if every circuit is open."""
    register = CircuitRegister(capacity=3)
    for name in "abcde":
        register.obtain(name, PLAIN).control(lambda machine: machine.force(CircuitState.FORCED_OPEN))
    assert [circuit.name for circuit in register.all()] == ["c", "d", "e"]


def test_a_new_circuit_is_not_the_one_forgotten() -> None:
    """In a register full of open circuits, a breaker built inside a function still trips."""
    with registry.fresh() as register:
        register._capacity = 3
        for name in "abc":
            CircuitBreaker(name=name).force_open()
        for _ in range(5):
            CircuitBreaker(name="built per message", failure_threshold=5).acquire().failure()
        assert state_of(CircuitBreaker(name="built per message", failure_threshold=5)) is CircuitState.OPEN


def test_a_forgotten_circuit_that_somebody_holds_keeps_its_identity() -> None:
    """The register remembers it weakly: a new breaker of that name is still the same circuit."""
    register = CircuitRegister(capacity=2)
    held = register.obtain("held", PLAIN)
    for name in "abcdef":
        register.obtain(name, PLAIN)
    assert register.obtain("held", PLAIN) is held
    other = settings_of(failure_threshold=1)
    with pytest.raises(ValueError, match="exists already"):
        register.obtain("held", other)


def test_a_forgotten_circuit_that_nobody_holds_is_gone() -> None:
    """Then the name is free, also for other settings."""
    register = CircuitRegister(capacity=2)
    forgotten = weakref.ref(register.obtain("forgotten", PLAIN))
    for name in "abc":
        register.obtain(name, PLAIN)
    assert forgotten() is None
    assert register.find("forgotten") is None
    register.obtain("forgotten", settings_of(failure_threshold=1))


@pytest.mark.slow("builds 12 000 breakers")
def test_a_name_per_customer_does_not_grow_without_end(register: CircuitRegister) -> None:
    """Twelve thousand names leave ten thousand circuits."""
    for number in range(CAPACITY + 2_000):
        CircuitBreaker(name=f"customer {number}", failure_threshold=3, recovery_timeout=30)
    assert len(register.all()) == CAPACITY


def test_named_circuits_outlive_their_breakers() -> None:
    """A breaker that is dropped and built again finds its circuit as it left it."""
    breaker = CircuitBreaker(name="api", failure_threshold=1)
    tripped(breaker)
    del breaker
    assert state_of(CircuitBreaker(name="api", failure_threshold=1)) is CircuitState.OPEN


# -- looking around ----------------------------------------------------------------------------------------------------


def test_circuits_can_be_found(register: CircuitRegister) -> None:
    """By name, and all of them in the order of their names."""
    breakers = [CircuitBreaker(name=name) for name in ("b", "a")]
    found = register.find("a")
    assert found is not None
    assert found is breakers[1]._circuit
    assert register.find("c") is None
    assert [circuit.name for circuit in register.all()] == ["a", "b"]


def test_a_fresh_register_gives_the_former_one_back() -> None:
    """Names inside the block are nobody's outside of it, and the other way about."""
    outside = CircuitBreaker(name="api", failure_threshold=1)
    with registry.fresh():
        inside = CircuitBreaker(name="api", failure_threshold=9)
        assert inside._circuit is not outside._circuit
    assert CircuitBreaker(name="api", failure_threshold=1)._circuit is outside._circuit


def test_building_asks_nothing_under_the_registers_lock(register: CircuitRegister) -> None:
    """Code of the user's that runs while a name is looked up may itself build a named breaker."""

    class Building:
        def __eq__(self, other: object) -> bool:
            CircuitBreaker(name="built while comparing")
            return isinstance(other, Building)

        __hash__ = None  # type: ignore[assignment]

    def over(value: Building) -> Callable[[BaseException], bool]:
        return lambda error: error == value

    def build() -> None:
        CircuitBreaker(name="api", record=over(Building()))

    for _ in range(2):
        thread = threading.Thread(target=build, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), "the register is locked up"
    assert register.find("built while comparing") is not None
