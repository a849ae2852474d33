"""What a room above may ask a handler and a provider for, and a context that is only there to be known."""

from __future__ import annotations

from resilio import ErrorHandler, ErrorMessageProvider, log_operation
from resilio.reporting.operations import context_around, current_context


def test_a_provider_tells_its_languages() -> None:
    """Those that ship with the package, and those that were added."""
    provider = ErrorMessageProvider(locale="de-AT")
    assert (provider.locale, provider.locales) == ("de-at", frozenset({"de", "en"}))
    provider.register("general", "default", "Rien ne va plus.", locale="fr")
    assert provider.locales == frozenset({"de", "en", "fr"})


def test_a_handler_shows_its_words() -> None:
    """Its own provider, or the one that it was given."""
    provider = ErrorMessageProvider()
    assert ErrorHandler(messages=provider).messages is provider
    assert ErrorHandler().messages.locale == "en"


def test_a_context_is_known_within_and_forgotten_after() -> None:
    """By the blocks inside as well; it names no operation of its own."""
    with context_around({"request_id": "r1"}):
        with log_operation("feed", cat="Tzara"):
            assert current_context() == {"request_id": "r1", "cat": "Tzara", "operation": "feed"}
        assert current_context() == {"request_id": "r1"}
        with context_around({"request_id": "r2"}):
            assert current_context() == {"request_id": "r2"}
        assert current_context() == {"request_id": "r1"}
    assert current_context() == {}
