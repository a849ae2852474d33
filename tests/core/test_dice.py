"""The one source of randomness."""

from __future__ import annotations

import random

import pytest

from resilio._core import dice


def test_loaded_dice_repeat_themselves() -> None:
    """The same seed gives the same throws, of every kind."""

    def throws() -> tuple[float, float, bytes]:
        with dice.loaded(random.Random(7)):
            return dice.random(), dice.uniform(2.0, 4.0), dice.randbytes(4)

    assert throws() == throws()


def test_throws_stay_within_their_limits() -> None:
    """`random` is in [0, 1), `uniform` between its two numbers, `randbytes` of the length asked for."""
    with dice.loaded(random.Random(1)):
        assert all(0.0 <= dice.random() < 1.0 for _ in range(1000))
        assert all(3.0 <= dice.uniform(3.0, 5.0) <= 5.0 for _ in range(1000))
        assert len(dice.randbytes(12)) == 12


def test_dice_nest_and_come_back() -> None:
    """Inner dice do not disturb the sequence of the outer ones."""
    with dice.loaded(random.Random(3)):
        undisturbed = [dice.random(), dice.random()]
    with dice.loaded(random.Random(3)):
        first = dice.random()
        with dice.loaded(random.Random(99)):
            dice.random()
        assert [first, dice.random()] == undisturbed


def test_dice_are_put_back_after_an_error() -> None:
    """An exception in the block does not leave loaded dice on the table."""
    source = random.Random(5)
    with pytest.raises(LookupError), dice.loaded(source):
        raise LookupError
    state = source.getstate()
    dice.random()
    assert source.getstate() == state
