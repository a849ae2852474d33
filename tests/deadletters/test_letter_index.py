from __future__ import annotations

from resilio.deadletters import lines
from resilio.deadletters.index import LetterIndex


def claim(index: LetterIndex, *ids: str) -> None:
    """Hand letters out."""
    index.apply(lines.line("claim", ids=ids, token="t", until="2026-01-01T00:00:00+00:00")[:-1], 0)


def release(index: LetterIndex, *ids: str) -> None:
    """Give them back."""
    index.apply(lines.line("release", ids=ids, token="t")[:-1], 0)


def index_of(count: int) -> LetterIndex:
    """An index of so many letters that nobody has claimed."""
    index = LetterIndex()
    for number in range(count):
        index.put(f"{number:05}", number, 1)
    return index


def test_letters_given_back_come_before_those_that_were_never_handed_out() -> None:
    """First come, first served, also after a cancelled replay; each but once."""
    index = index_of(5)
    claim(index, *index.next_free(3, 0.0))
    release(index, "00001", "00000")
    claim(index, "00000")
    release(index, "00000")
    assert index.next_free(10, 0.0) == ["00000", "00001", "00003", "00004"]
    assert index.next_free(10, 0.0) == []


def test_a_claim_that_ran_out_comes_last() -> None:
    """Those that nobody has tried go first."""
    index = index_of(3)
    claim(index, *index.next_free(1, 0.0))
    assert index.next_free(10, 2e9) == ["00001", "00002", "00000"]


def test_the_index_forgets_letters_that_come_and_go() -> None:
    """A hundred thousand letters that were deleted, or claimed by their ids and given back, leave nothing behind."""
    index = index_of(2)
    for number in range(100_000):
        index.put("x", number, 1)
        index.drop(["x"])
    for _ in range(5_000):
        claim(index, "00001")
        release(index, "00001")
    assert len(index._fresh) + len(index._again) < 2_000
    assert index.next_free(10, 0.0) == ["00001", "00000"]
