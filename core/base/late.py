"""Import a module when something of it is first asked for (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType

__all__ = ["app_when_named", "modules_when_named"]


def app_when_named(package: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of an app's package: ``APP`` of its module ``app``, on demand.

    A process that reads images for an app needs neither its metrics nor its reports.

    Args:
        package: ``__name__`` of the package.
    """

    def getattr_of_package(name: str) -> Any:
        if name != "APP":
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return import_module(f"{package}.app").APP

    return getattr_of_package


def modules_when_named(package: str, names: Collection[str]) -> Callable[[str], ModuleType]:
    """The ``__getattr__`` of a package whose modules are imported when they are first named.

    Args:
        package: ``__name__`` of the package.
        names: of its modules.
    """

    def getattr_of_package(name: str) -> ModuleType:
        if name not in names:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return import_module(f"{package}.{name}")

    return getattr_of_package
