"""What the user is told: what happened, and what to do about it, in the user's language."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar

from resilio.reporting.template import Template

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ("ErrorMessageProvider", "UserMessage")

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULT_CODE: Final = "default"
_GENERIC: Final = "general"
_LAST_RESORT: Final = "en"
_LONGEST_LOCALE: Final = 40
_PARTS: Final = ("title", "detail", "action", "message")

Key: TypeAlias = tuple[str, str, str]
"""Locale, category, code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """What the user is told, in parts.

    Attributes:
        title: A few words.
        detail: What happened.
        action: What to do.
        text: All of it in one line, for where there is no more room.
    """

    title: str
    detail: str
    action: str
    text: str


class _Entry:
    __slots__ = ("_action", "_detail", "_fixed", "_text", "_title")

    def __init__(self, parts: Mapping[str, str]) -> None:
        unknown = sorted(set(parts) - set(_PARTS))
        if unknown or not parts.get("detail", parts.get("message")):
            msg = f"a message has the parts {', '.join(_PARTS)} and needs detail or message; not {dict(parts)!r}"
            raise ValueError(msg)
        detail, action = parts.get("detail") or parts["message"], parts.get("action", "")
        self._title = Template(parts.get("title", ""))
        self._detail = Template(detail)
        self._action = Template(action)
        self._text = Template(parts.get("message") or f"{detail} {action}".strip())
        is_fixed = all(each.is_fixed for each in (self._title, self._detail, self._action, self._text))
        self._fixed = self._filled({}) if is_fixed else None

    def fill(self, values: Mapping[str, object]) -> UserMessage:
        return self._filled(values) if self._fixed is None else self._fixed

    def _filled(self, values: Mapping[str, object]) -> UserMessage:
        return UserMessage(
            title=self._title.render(values),
            detail=self._detail.render(values),
            action=self._action.render(values),
            text=self._text.render(values),
        )


class _OnClassToo(Generic[P, R]):
    """A method that may also be called on the class, and then works on what ships with the package."""

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, provider: ErrorMessageProvider | None, _owner: type | None = None) -> Callable[P, R]:
        return MethodType(self._method, _shipped_provider() if provider is None else provider)

    def __call__(self, provider: ErrorMessageProvider, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it as a plain function, with the provider first."""
        return self._method(provider, *args, **kwargs)


class ErrorMessageProvider:
    """Finds the words for an error: by category and code, in the user's language.

    Args:
        locale: The language of the texts, such as ``"de-AT"``; then ``de`` is looked for, then ``en``.

    Raises:
        ValueError: ``locale`` is empty.
        TypeError: ``locale`` is no text.

    English and German texts ship with the package, `register` and `load` add to them or replace them. A text has a
    title, a detail (what happened) and an action (what to do). Safe to share between threads and loops.

        >>> ErrorMessageProvider.get_message("integration", "timeout")
        'Request timed out. The service may be slow, please try again'
        >>> provider = ErrorMessageProvider()
        >>> provider.register("validation", "no_cats", "{name} needs at least one cat.")
        >>> provider.get_message("validation", "no_cats", name="Tzara")
        'Tzara needs at least one cat.'
    """

    __slots__ = ("_entries", "_locale", "_lock")

    def __init__(self, *, locale: str = "en") -> None:
        self._locale = _checked(locale)
        self._entries: Mapping[Key, _Entry] = {}
        self._lock = threading.Lock()

    @_OnClassToo
    def get_message(self, /, category: str, error_code: str, *, locale: str | None = None, **context: object) -> str:
        """The text for an error, in one line.

        On the class, ``ErrorMessageProvider.get_message(...)``, it gives the texts that ship with the package.

        Args:
            category: Such as ``"integration"``.
            error_code: Such as ``"timeout"``.
            locale: Such as ``"de-AT"``; the provider's own by default.
            context: Values for the places in the text. Secrets among them are not shown.

        Returns:
            The text for the code; if there is none, the category's; if there is none, one that says that something did
            not work. Each in the locale, its language (``de``), or English. Never raises an ``Exception``.
        """
        return self.message_for(category, error_code, context, locale=locale).text

    def message_for(
        self, category: str, error_code: str, context: Mapping[str, object] | None = None, *, locale: str | None = None
    ) -> UserMessage:
        """The same as `get_message`, in parts.

        Args:
            category: As there.
            error_code: As there.
            context: Values for the places in the text.
            locale: As there.
        """
        locales = _fallbacks(locale[:_LONGEST_LOCALE] if isinstance(locale, str) and locale else self._locale)
        for look_up in ((category, error_code), (category, _DEFAULT_CODE), (_GENERIC, _DEFAULT_CODE)):
            for each in locales:
                key = (each, *look_up)
                entry = self._entries.get(key) or _shipped(each).get(key)
                if entry is not None:
                    return entry.fill(context or {})
        msg = "the package was installed without its texts"
        raise RuntimeError(msg)

    @property
    def locale(self) -> str:
        """The language that is spoken where none is asked for."""
        return self._locale

    @property
    def locales(self) -> frozenset[str]:
        """The languages that there are texts in, those that ship with the package included."""
        return _SHIPPED | {locale for locale, _, _ in self._entries}

    def register(
        self, category: str, error_code: str, text: str | Mapping[str, str], *, locale: str = _LAST_RESORT
    ) -> None:
        """Add a text, or replace one.

        Args:
            category: The category it is for.
            error_code: The code; ``"default"`` stands for every code of the category that has no text.
            text: What is shown, or its parts: ``title``, ``detail``, ``action``, and ``message`` for the line that
                shows it all. ``{name}`` stands for a value of the error's context.
            locale: The language it is in.

        Raises:
            ValueError: A placeholder is more than a bare name, or a part is unknown or missing.
            TypeError: Something is no text.
        """
        for name, value in (("category", category), ("error_code", error_code)):
            if not isinstance(value, str) or not value:
                msg = f"{name} must be a text that is not empty, not {value!r}"
                raise (ValueError if isinstance(value, str) else TypeError)(msg)
        self._add({(_checked(locale), category, error_code): _entry(text)})

    def load(self, path: str | os.PathLike[str], *, locale: str | None = None) -> None:
        """Add the texts of a file.

        Args:
            path: A TOML or JSON file: categories, in them codes, in them a text or its parts. All or nothing is added.
            locale: The language it is in; by default the file's name says so: ``de.toml``, ``pt-BR.json``.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is neither TOML nor JSON, or a text in it cannot be used.
        """
        path = Path(path)
        content = path.read_bytes()
        try:
            if path.suffix.lower() == ".json":
                tables = json.loads(content)
            elif path.suffix.lower() == ".toml":
                tables = tomllib.loads(content.decode("utf-8"))
            else:
                msg = "its name must end in .toml or .json"
                raise ValueError(msg)  # noqa: TRY301 -- told with the others
            self._add(_entries(tables, _checked(path.stem if locale is None else locale)))
        except (ValueError, TypeError) as error:
            msg = f"{path} cannot be used for messages: {error}"
            raise ValueError(msg) from error

    def _add(self, entries: Mapping[Key, _Entry]) -> None:
        with self._lock:
            self._entries = {**self._entries, **entries}

    def __repr__(self) -> str:
        return f"<ErrorMessageProvider for {self._locale}, {len(self._entries)} texts of its own>"


def _entries(tables: Any, locale: str) -> dict[Key, _Entry]:
    if not isinstance(tables, Mapping):
        msg = f"expected categories by name, not {type(tables).__name__}"
        raise TypeError(msg)
    found = {}
    for category, codes in tables.items():
        if not isinstance(codes, Mapping):
            msg = f"expected the codes of {category!r} by name, not {type(codes).__name__}"
            raise TypeError(msg)
        for code, text in codes.items():
            try:
                found[locale, str(category), str(code)] = _entry(text)
            except (ValueError, TypeError) as error:
                msg = f"{category}.{code}: {error}"
                raise ValueError(msg) from error
    return found


def _entry(text: str | Mapping[str, str]) -> _Entry:
    if isinstance(text, Mapping):
        return _Entry(text)
    Template(text)  # says what is wrong with what is no text
    return _Entry({"message": text})


def _checked(locale: str) -> str:
    if not isinstance(locale, str):
        msg = f"locale must be a text such as 'de-AT', not {locale!r}"
        raise TypeError(msg)
    if not locale.strip():
        msg = "locale must be a text such as 'de-AT', not empty"
        raise ValueError(msg)
    return locale.strip().replace("_", "-").lower()


@lru_cache(maxsize=1024)
def _fallbacks(locale: str) -> tuple[str, ...]:
    """The locale, then with one subtag less each time, then English."""
    tags = locale.strip().partition(".")[0].replace("_", "-").lower().split("-")
    return (*("-".join(tags[:length]) for length in range(len(tags), 0, -1)), _LAST_RESORT)


_SHIPPED: Final = frozenset({"en", "de"})


def _shipped(locale: str) -> Mapping[Key, _Entry]:
    return _read_shipped(locale) if locale in _SHIPPED else {}


@lru_cache(maxsize=len(_SHIPPED))
def _read_shipped(locale: str) -> Mapping[Key, _Entry]:
    text = resources.files("resilio.reporting").joinpath("locales", f"{locale}.toml").read_text(encoding="utf-8")
    return _entries(tomllib.loads(text), locale)


@lru_cache(maxsize=1)
def _shipped_provider() -> ErrorMessageProvider:
    return ErrorMessageProvider()
