"""Sizes as people write them."""

from __future__ import annotations

_UNITS = {"": 1, "k": 1024, "M": 1024**2, "G": 1024**3}


def size_of(written: str) -> int:
    """`128M` in octets; ValueError."""
    number, unit = (
        (written, "") if written[-1:].isdigit() else (written[:-1], written[-1:])
    )
    if not (number.isascii() and number.isdigit() and unit in _UNITS):
        raise ValueError(f"{written} is not a size (write 128M)")
    return int(number) * _UNITS[unit]


def written_size(octets: int) -> str:
    """The shortest written form of a size: 268435456 is "256M"."""
    for unit, factor in (("G", 1024**3), ("M", 1024**2), ("k", 1024)):
        if octets and octets % factor == 0:
            return f"{octets // factor}{unit}"
    return str(octets)
