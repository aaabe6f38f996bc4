"""What the DNS was asked, and what it said, in one line."""

from __future__ import annotations

from checks.observation import plain

RECORDS = 4  # steps of a look-up in one line


def records(steps: tuple[str, ...], ips: list[str]) -> str:
    """no NAPTR, no SRV; A 54.172.60.0 54.172.60.1."""
    asked = [(step.partition(" ")[0], step.rpartition(" -> ")[2]) for step in steps]
    absent = [k for k in ("NAPTR", "SRV") if _is_absent(asked, k)]
    parts = [", ".join(f"no {kind}" for kind in absent)] if absent else []
    there = [step for step in steps if _is_pointer(step)]
    parts += [plain(step.partition(" (")[0]) for step in there[:RECORDS]]
    four = [ip for ip in ips if ":" not in ip]
    six = [ip for ip in ips if ":" in ip]
    addresses = [f"A {' '.join(four)}"] if four else []
    addresses += [f"AAAA {' '.join(six)}"] if six else []
    return "; ".join([*parts, ", ".join(addresses)])


def _is_absent(asked: list[tuple[str, str]], kind: str) -> bool:
    said = [answer for k, answer in asked if k == kind]
    return bool(said) and all(answer in ("none", "no such name") for answer in said)


def _is_pointer(step: str) -> bool:
    kind, answer = step.partition(" ")[0], step.rpartition(" -> ")[2]
    return kind in ("NAPTR", "SRV", "hosts") and answer not in ("none", "no such name")
