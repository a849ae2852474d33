"""Where a fault is put: finding the place that an import path or a bound method names, and putting it back."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilio._core.colour import name_of, refuse_to_decorate

if TYPE_CHECKING:
    from collections.abc import Callable

_ABSENT: Any = object()
_BINDING = (types.FunctionType, classmethod, staticmethod)


@dataclass(slots=True)
class Place:
    """An attribute of a module, a class or an object, which can be replaced and put back.

    Attributes:
        owner: The module, class or object.
        name: The attribute's name.
        title: What it is called in logs.
        raw: What the attribute holds: for a class, as it stands in a ``__dict__``; otherwise as it is looked up.
        original: The function behind it.
    """

    owner: Any
    name: str
    title: str
    raw: Any
    original: Callable[..., Any]
    _before: Any = field(default=_ABSENT, repr=False)

    def put(self, wrapper: Callable[..., Any]) -> None:
        """Replace the attribute.

        Raises:
            TypeError: The owner does not let its attributes be replaced.
        """
        self._before = self._present()
        try:
            setattr(self.owner, self.name, self._dressed(wrapper))
        except Exception as error:
            msg = (
                f"cannot put a fault on {self.title}: {type(self.owner).__name__!r} does not let its attribute "
                f"{self.name!r} be replaced ({error}); name the method of its class by import path, or call "
                "what faults.wrap() returns"
            )
            raise TypeError(msg) from error

    def restore(self) -> None:
        """Put back what was there before."""
        if self._before is _ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self._before)

    def _present(self) -> Any:
        own = getattr(self.owner, "__dict__", {})
        if self.name in own:
            return own[self.name]
        if hasattr(inspect.getattr_static(type(self.owner), self.name, None), "__set__"):  # a slot
            return getattr(self.owner, self.name)
        return _ABSENT

    def _dressed(self, wrapper: Callable[..., Any]) -> Any:
        if not isinstance(self.owner, type):
            return types.MethodType(wrapper, self.owner) if _is_bound(self.raw, self.owner) else wrapper
        if isinstance(self.raw, classmethod):
            return classmethod(wrapper)
        # A partial or another callable object does not bind to an instance, and neither may what stands in for it.
        return wrapper if isinstance(self.raw, types.FunctionType) else staticmethod(wrapper)


def place_of_path(path: str) -> Place:
    """Find what ``package.module.name`` or ``package.module.Class.method`` names.

    Raises:
        ValueError: There is no such module or attribute.
        TypeError: It is not something that can be called and replaced.
    """
    owner, name = _owner_of(path)
    on_class = isinstance(owner, type)
    raw = inspect.getattr_static(owner, name, _ABSENT) if on_class else getattr(owner, name, _ABSENT)
    if raw is _ABSENT:
        msg = f"there is no {path!r}: {_title_of(owner)} has no attribute {name!r}"
        raise ValueError(msg)
    original = raw.__func__ if isinstance(raw, (classmethod, staticmethod)) or _is_bound(raw, owner) else raw
    refuse_to_decorate(original)
    # On a class, only these are known to bind as the wrapper will; a property or a partialmethod binds its own way.
    strange = on_class and hasattr(type(raw), "__get__") and not isinstance(raw, _BINDING)
    if strange or not callable(original):
        msg = f"cannot put a fault on {path!r}: it is a {type(raw).__name__}, not a function or method"
        raise TypeError(msg)
    return Place(owner, name, path, raw, original)


def place_of_method(method: Any) -> Place | None:
    """Find the place of a bound method on its object; None if ``method`` is not bound.

    Raises:
        TypeError: The object does not hold the method under its name.
    """
    owner = getattr(method, "__self__", None)
    if not inspect.isroutine(method) or owner is None or isinstance(owner, types.ModuleType):
        return None
    name = method.__name__
    if getattr(owner, name, None) != method:
        msg = (
            f"cannot put a fault on {name_of(method)}: its object does not hold it as {name!r}; "
            "name it by import path, or call what faults.wrap() returns"
        )
        raise TypeError(msg)
    raw: Any = inspect.getattr_static(owner, name) if isinstance(owner, type) else method
    binds = isinstance(raw, classmethod) or _is_bound(raw, owner)
    return Place(owner, name, name_of(method), raw, raw.__func__ if binds else method)


def _is_bound(raw: object, owner: object) -> bool:
    return inspect.ismethod(raw) and raw.__self__ is owner


def _owner_of(path: str) -> tuple[Any, str]:
    """Import as much of ``path`` as is a module, and walk down the rest but its last name."""
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004 -- a module and a name
        msg = f"an import path is 'package.module.name' or 'package.module.Class.method', not {path!r}"
        raise ValueError(msg)
    owner: Any = _imported(parts[0], path)
    found = parts[0]
    for part in parts[1:-1]:
        found = f"{found}.{part}"
        if hasattr(owner, "__path__") and (found in sys.modules or importlib.util.find_spec(found) is not None):
            owner = _imported(found, path)
        elif hasattr(owner, part):
            owner = getattr(owner, part)
        else:
            msg = f"there is no {path!r}: {_title_of(owner)} has no attribute {part!r}"
            raise ValueError(msg)
    return owner, parts[-1]


def _imported(module: str, path: str) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise  # the module is there; something that it imports is not
        msg = f"there is no {path!r}: no module or attribute named {module!r}"
        raise ValueError(msg) from error


def _title_of(owner: object) -> str:
    return getattr(owner, "__qualname__", None) or getattr(owner, "__name__", None) or type(owner).__qualname__
