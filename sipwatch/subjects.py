"""Which subject somebody means, by its key or by the name that he knows it under."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from checks.observation import Kind, Subject, plain
from checks.registrations.judge import Judge
from sipwatch.sources import Sources

KEY = 700  # characters of a key: an AOR of 512, its registrar, the kind
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"  # what stands for a character that is not


class AmbiguousError(LookupError):
    """Several are named so; the text says which."""


class BusyError(Exception):
    """Somebody else does with it what is done once at a time; the text says what."""


def key_of(subject: Subject) -> str:
    """Its key as it is shown, and found by: an AOR may have anything in it."""
    return plain(subject.key, KEY)


def named(sources: Sources, name: str, registrar: str = "") -> Subject | None:
    """The one that is watched under this key or name; AmbiguousError.

    1001 is also 1001@example.com, where no other 1001 is watched.
    """
    found = list(dict.fromkeys(_candidates(sources, name, registrar)))
    if len(found) > 1:
        keys = ", ".join(subject.key for subject in found)
        raise AmbiguousError(f"several are named {name}: {keys}")
    return found[0] if found else None


def unwatched(sources: Sources, name: str, registrar: str = "") -> Iterator[str]:
    """Keys that an extension or a registration would have that is watched no more."""
    if _is_key(name):
        yield name
        return
    for judge in _judges(sources, registrar):
        for kind in (Kind.EXTENSION, Kind.REGISTRATION):
            yield f"{kind}:{judge.name}/{name}"


def everybody(sources: Sources) -> Iterator[Subject]:
    """All that is watched, each once; of files there are up to 100,000 targets."""
    yield from sources.alarms.subjects
    for target in list(sources.options.judge.subjects):
        if target is not None and not sources.alarms.knows(target):
            yield target


def is_watched(sources: Sources, key: str) -> bool:
    """Whether somebody of this key is watched."""
    return any(True for _ in _of_key(sources, key))


def _candidates(sources: Sources, name: str, registrar: str) -> Iterator[Subject]:
    if _is_key(name):
        yield from _of_key(sources, name)
        return
    for judge in _judges(sources, registrar):
        yield from _extensions(judge, name)
        if (registration := judge.outgoing.registrations.get(name)) is not None:
            yield registration.subject
    if not registrar:
        for kind in (Kind.TARGET, Kind.ACCOUNT, Kind.REGISTRAR):
            yield from _of_key(sources, f"{kind}:{name}")


def _judges(sources: Sources, registrar: str) -> list[Judge]:
    judges = sources.judges.values()
    return [judge for judge in judges if registrar in ("", judge.name)]


def _extensions(judge: Judge, name: str) -> Iterator[Subject]:
    exact = judge.extensions.get(name)
    if exact is not None:
        yield exact.subject
    elif "@" not in name:
        start = f"{name}@"
        for aor, extension in judge.extensions.items():
            if aor.startswith(start):
                yield extension.subject


def _is_key(name: str) -> bool:
    """A target may be named `twilio`, as a kind is."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind in _OF_KEY


def _of_key(sources: Sources, key: str) -> Iterator[Subject]:
    find = _OF_KEY.get(key.partition(":")[0])
    if find is not None:
        yield from find(sources, key)


def _extension(sources: Sources, key: str) -> Iterator[Subject]:
    registrar, _, aor = key.partition(":")[2].partition("/")
    judge = sources.judges.get(registrar)
    if judge is None:
        return
    found = judge.extensions.get(aor)
    if found is not None:
        yield found.subject
    elif UNPRINTABLE in aor:  # as it is shown of an AOR with anything in it
        for name, extension in judge.extensions.items():
            if not name.isprintable() and plain(name, len(name)) == aor:
                yield extension.subject


def _registration(sources: Sources, key: str) -> Iterator[Subject]:
    registrar, _, name = key.partition(":")[2].partition("/")
    judge = sources.judges.get(registrar)
    found = judge.outgoing.registrations.get(name) if judge else None
    if found is not None:
        yield found.subject


def _registrar(sources: Sources, key: str) -> Iterator[Subject]:
    for judge in sources.judges.values():
        for subject in (judge.subject, *(m.subject for m in judge.members.values())):
            if subject.key == key:
                yield subject


def _target(sources: Sources, key: str) -> Iterator[Subject]:
    if (found := sources.options.targets.get(key)) is not None:
        yield found.subject


def _account(sources: Sources, key: str) -> Iterator[Subject]:
    if (found := sources.accounts.get(key.partition(":")[2])) is not None:
        yield found.subject


def _twilio(sources: Sources, key: str) -> Iterator[Subject]:
    if (found := sources.alarms.find(Kind.TWILIO, key)) is not None:
        yield found


_OF_KEY: dict[str, Callable[[Sources, str], Iterator[Subject]]] = {
    Kind.EXTENSION: _extension,
    Kind.REGISTRATION: _registration,
    Kind.REGISTRAR: _registrar,
    Kind.TARGET: _target,
    Kind.ACCOUNT: _account,
    Kind.TWILIO: _twilio,
}
