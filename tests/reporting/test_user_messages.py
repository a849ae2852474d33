"""The words for the user: found in every language, filled in safely, and plain."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from resilio import ErrorMessageProvider
from resilio.reporting.template import Template

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = {
    "validation": {
        "project_name_required": "Please provide a project name",
        "project_name_too_short": "Project name must be at least 3 characters",
        "invalid_characters": (
            "Project name contains characters that cannot be used. Use letters, numbers, and hyphens only"
        ),
    },
    "system": {
        "port_unavailable": "No available ports found. Please try again in a moment",
        "disk_space_low": "Insufficient disk space to create application",
        "permission_denied": "Permission denied. Please check file permissions",
    },
    "integration": {
        "connection_failed": "Unable to connect to data source. Please check your connection",
        "authentication_failed": "Authentication failed. Please check your credentials",
        "timeout": "Request timed out. The service may be slow, please try again",
    },
}


def shipped(locale: str) -> dict[str, dict[str, dict[str, str]]]:
    """The texts of a language, as they ship."""
    return tomllib.loads(resources.files("resilio.reporting").joinpath(f"locales/{locale}.toml").read_text("utf-8"))


def test_the_references_codes_have_the_references_texts() -> None:
    """Word for word, but for the one that called what the user wrote invalid."""
    for category, codes in REFERENCE.items():
        for code, text in codes.items():
            assert ErrorMessageProvider.get_message(category, code) == text


@pytest.mark.parametrize("locale", ["en", "de"])
def test_shipped_texts_are_plain(locale: str) -> None:
    """Each says what happened and what to do, briefly, without jargon, blame or exclamation."""
    banned = re.compile(
        r"\b(invalid|illegal|oops|whoops|uh-oh|an error occurred|error|fatal|abort\w*|exception|null|bad request"
        r"|ungültig\w*|fehler\w*|ups|hoppla|leider|unfortunately|sorry)\b|!",
        re.IGNORECASE,
    )
    for category, codes in shipped(locale).items():
        for code, parts in codes.items():
            assert parts["title"] and parts["detail"] and parts["action"], (category, code)  # noqa: PT018 -- all three
            for text in parts.values():
                assert not banned.search(text), (category, code, text)
                assert len(text) <= 160
            assert len(parts["title"]) <= 50
            assert not parts["title"].endswith(".")
            assert set(parts) <= {"title", "detail", "action", "message"}


def test_every_language_has_every_text() -> None:
    """What is told in English is told in German, and every category has words for what nobody foresaw."""
    english, german = shipped("en"), shipped("de")
    assert {name: set(codes) for name, codes in english.items()} == {n: set(codes) for n, codes in german.items()}
    assert all("default" in codes for codes in english.values())


def test_the_code_then_the_category_then_the_generic() -> None:
    """There are always words."""
    get = ErrorMessageProvider.get_message
    assert get("integration", "unheard of") == get("integration", "default")
    assert get("unheard of", "unheard of") == get("general", "default")
    assert get("", "") == get("general", "default")


def test_the_locale_then_its_language_then_english() -> None:
    """`de-AT` is German unless it has a text of its own; what has no German text is told in English."""
    provider = ErrorMessageProvider(locale="de_AT")
    german = shipped("de")["system"]["port_unavailable"]
    assert provider.get_message("system", "port_unavailable") == f"{german['detail']} {german['action']}"
    provider.register("system", "port_unavailable", "Kein Anschluss frei.", locale="de-AT")
    assert provider.get_message("system", "port_unavailable") == "Kein Anschluss frei."
    assert provider.get_message("system", "port_unavailable", locale="de").startswith("Es ")
    assert provider.get_message("system", "port_unavailable", locale="fr-CA").startswith("No available")
    provider.register("cats", "asleep", "The cat is asleep.")
    assert provider.get_message("cats", "asleep") == "The cat is asleep."
    for strange in ("", "x" * 100_000, "-", "../../etc", "de\x00", "DE.UTF-8"):
        assert provider.get_message("system", "port_unavailable", locale=strange)


def test_what_is_registered_is_the_providers_own() -> None:
    """Other providers, and the class, do not know it."""
    provider = ErrorMessageProvider()
    provider.register("integration", "timeout", {"title": "Late", "detail": "{system} is late.", "action": "Wait."})
    found = provider.message_for("integration", "timeout", {"system": "The post"})
    assert (found.title, found.detail, found.action, found.text) == (
        *("Late", "The post is late.", "Wait.", "The post is late. Wait."),
    )
    assert provider.get_message("integration", "timeout", system="It") == "It is late. Wait."
    for other in (ErrorMessageProvider, ErrorMessageProvider()):
        assert other.get_message("integration", "timeout").startswith("Request timed out")


@pytest.mark.parametrize(
    "template",
    [
        *(
            "{e.__class__}",
            "{e[0]}",
            "{e!r}",
            "{e:>100000000}",
            "{}",
            "{0}",
            "{__class__}",
            "{a b}",
            "{a",
            "a}",
            "{a:{b}}",
        ),
        *("{e.__init__.__globals__}", "x" * 10_000),
    ],
)
def test_templates_that_reach_further_than_a_name_are_refused(template: str) -> None:
    """When they are registered, not when they are needed."""
    with pytest.raises(ValueError, match="template"):
        ErrorMessageProvider().register("a", "b", template)


def test_values_are_cut_cleaned_and_redacted() -> None:
    """A missing one is an ellipsis; a secret is not shown; nothing breaks the line."""

    class Shy:
        def __str__(self) -> str:
            raise RuntimeError

    template = Template("<{a}|{b}|{password}|{{x}}>")
    assert template.render({"a": 1}) == "<1|…|…|{x}>"
    assert template.render({"a": "x" * 1_000, "b": "a\nb\x1b[31m\u202ec", "password": "canary"}) == (
        f"<{'x' * 100}…|a b [31m c|…|{{x}}>"
    )
    assert template.render({"a": "token=canary", "b": Shy()}).startswith("<token=[redacted]|<Shy whose")
    assert template.render({"a": 10**5_000}) == "<…|…|…|{x}>"


def test_texts_are_loaded_from_toml_and_json(tmp_path: Path) -> None:
    """The file's name says the language."""
    (tmp_path / "fr.toml").write_text(
        '[cats]\nasleep = "Le chat dort."\n[cats.away]\ntitle = "Absent"\ndetail = "{name} est sorti."\n', "utf-8"
    )
    (tmp_path / "texts.json").write_text(json.dumps({"cats": {"asleep": "Die Katze schläft."}}), "utf-8")
    provider = ErrorMessageProvider(locale="fr")
    provider.load(tmp_path / "fr.toml")
    provider.load(tmp_path / "texts.json", locale="de")
    assert provider.get_message("cats", "away", name="Tzara") == "Tzara est sorti."
    assert provider.get_message("cats", "asleep", locale="de-CH") == "Die Katze schläft."


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("en.toml", "[cats\n", "en.toml cannot be used"),
        ("en.json", "[]", "expected categories"),
        ("en.json", '{"cats": 1}', "codes of 'cats'"),
        ("en.json", '{"cats": {"a": 1}}', "cats.a: a template must be a text"),
        ("en.json", '{"cats": {"a": {"headline": "x"}}}', "cats.a: a message has the parts"),
        ("en.json", '{"cats": {"a": "{x.y}"}}', "cats.a: .*'x.y' cannot be used"),
        ("en.yaml", "", "must end in .toml or .json"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path: Path, name: str, content: str, told: str) -> None:
    """And nothing of it is added."""
    (tmp_path / name).write_text(content, "utf-8")
    provider = ErrorMessageProvider()
    with pytest.raises(ValueError, match=told):
        provider.load(tmp_path / name)
    assert repr(provider) == "<ErrorMessageProvider for en, 0 texts of its own>"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("", "b", "x"), ValueError),
        (("a", 1, "x"), TypeError),
        (("a", "b", None), TypeError),
        (("a", "b", {}), ValueError),
    ],
)
def test_what_is_no_text_is_refused(arguments: tuple[Any, Any, Any], error: type[Exception]) -> None:
    """With the name of the parameter, or the parts that there are."""
    with pytest.raises(error):
        ErrorMessageProvider().register(*arguments)
    with pytest.raises(ValueError, match="locale must be"):
        ErrorMessageProvider(locale=" ")
