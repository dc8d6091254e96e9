"""Import a module when something of it is first asked for (PEP 562)."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType

__all__ = ["app_when_named", "modules_when_named"]


def app_when_named(package: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of an app's package: ``APP`` of its module ``app``, on demand.

    A process that reads images for an app needs neither its metrics nor its reports.

    Args:
        package: ``__name__`` of the package.
    """
    return _when_named(package, {"APP": lambda: import_module(f"{package}.app").APP})


def modules_when_named(package: str, names: Collection[str]) -> Callable[[str], ModuleType]:
    """The ``__getattr__`` of a package whose modules are imported when they are first named.

    Args:
        package: ``__name__`` of the package.
        names: of its modules.
    """
    return _when_named(
        package, {name: partial(import_module, f"{package}.{name}") for name in names}
    )


def _when_named(package: str, known: Mapping[str, Callable[[], Any]]) -> Callable[[str], Any]:
    """A ``__getattr__`` that gives what it knows and refuses other names as Python does."""

    def getattr_of_package(name: str) -> Any:
        if name not in known:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return known[name]()

    return getattr_of_package
