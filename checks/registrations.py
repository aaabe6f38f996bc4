"""The one judge of who is registered, and the words that registrars speak to it in."""

from checks.readings import (
    SLICE,
    Added,
    Bindings,
    Expected,
    ExtensionsSettings,
    Gone,
    ListEnd,
    Reach,
    Reading,
    Registrar,
    RegistrarSettings,
    Restarting,
    Unreadable,
)

__all__ = [
    "SLICE",
    "Added",
    "Bindings",
    "Expected",
    "ExtensionsSettings",
    "Gone",
    "ListEnd",
    "Reach",
    "Reading",
    "Registrar",
    "RegistrarSettings",
    "Restarting",
    "Unreadable",
]
