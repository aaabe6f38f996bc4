"""Who should be there: the PBX's own roster, a file, and what was learned.

Where the PBX has a roster, only it and the file count: a contact that outlives its
endpoint is a ghost. Where it has none, an AOR that stayed registered for a while is
learned.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from checks.observation import Kind, Scope, Subject, plain
from checks.registrations.extension import Extension
from checks.registrations.readings import RegistrarSettings
from checks.registrations.sites import Sites
from checks.settings import Glob

COLUMNS = ("extension", "name", "site", "owner")
FILE_LIMIT = 16_000_000  # characters: 200,000 extensions of 80
AOR_LIMIT = 512  # characters; it is a key and stored, and no registrar needs more
NAME_LIMIT = 80  # characters of a title, so that a mail's subject stays a line
DECISIONS = 200_000  # patterns' answers that are kept: the rows of the longest list


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A row of `extensions.file`."""

    aor: str
    name: str = ""
    site: str = ""


_BARE = Listed("")  # instead of every row that has neither name nor site


def read_list(path: str | Path) -> list[Listed]:
    """The rows of a CSV file; OSError, or ValueError that names the line."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        text = file.read(FILE_LIMIT + 1)
    if len(text) > FILE_LIMIT:
        raise ValueError(f"{path} is longer than {FILE_LIMIT} characters")
    return parse_list(text.splitlines(), str(path))


def parse_list(lines: Iterable[str], path: str) -> list[Listed]:
    """The rows of CSV text whose first line names the columns."""
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    try:
        columns = [name.strip() for name in next(reader, ())]
        if "extension" not in columns:
            raise ValueError(f"{path}:1: the header must name `extension`")
        if unknown := [name for name in columns if name not in COLUMNS]:
            known = ",".join(COLUMNS)
            raise ValueError(f"{path}:1: unknown column {unknown[0]} ({known})")
        rows = (row for row in reader if row)
        return [_listed(row, columns, f"{path}:{reader.line_num}") for row in rows]
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _listed(row: list[str], columns: list[str], place: str) -> Listed:
    if len(row) > len(columns):
        raise ValueError(f"{place}: more fields than the header names")
    told = dict(zip(columns, row, strict=False))  # what is left out is empty
    aor, name, site = (told.get(c, "").strip() for c in COLUMNS[:3])
    if not aor:
        raise ValueError(f"{place}: no extension")
    return Listed(aor, plain(name, NAME_LIMIT), sys.intern(site))


class Roster:
    """Which AORs of one registrar are watched, and as what."""

    def __init__(
        self,
        name: str,
        settings: RegistrarSettings,
        parent: Subject,
        listed: Iterable[Listed] = (),
        sites: Sites | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._parent = parent
        self.sites = Sites() if sites is None else sites
        self.listed = {
            self._canonical(row.aor): row if row.name or row.site else _BARE
            for row in listed
        }
        self._expected: dict[str, dict[str, str]] = {}  # by member: AOR and title
        self._scopes: dict[str, Scope] = {}
        only = settings.extensions
        self._choosy = bool(only.include or only.exclude)  # else all are admitted
        self._decided: dict[str, bool] = {}

    def _canonical(self, aor: str) -> str:
        user, _, domain = aor.partition("@")
        return user if domain and domain == self._settings.domain else aor

    @property
    def given(self) -> bool:
        """Whether the PBX has a roster of its own."""
        return bool(self._expected)

    def expect(self, member: str, expected: dict[str, str]) -> bool:
        """Take a member's roster of AORs and titles; whether it is another one.

        An empty one is a PBX that still loads: believing it would close every
        incident of that PBX at once.
        """
        if not expected:
            return False
        told = {
            aor: title for aor, title in expected.items() if self._tells(aor, title)
        }
        if self._expected.get(member) == told:
            return False
        self._expected[member] = told
        return True

    def _tells(self, aor: str, title: str) -> bool:
        """Whether a row of a PBX's roster says more than the file."""
        row = self.listed.get(aor)
        return row is None or bool(title and not row.name)

    def rename(self, member: str, extensions: Mapping[str, Extension]) -> None:
        """Know a member's AORs by the strings that their extensions have."""
        self._expected[member] = {
            extensions[aor].subject.name if aor in extensions else aor: title
            for aor, title in self._expected[member].items()
        }

    def __contains__(self, aor: str) -> bool:
        if aor in self.listed:
            return True
        for expected in self._expected.values():  # noqa: SIM110 - thrice as quick
            if aor in expected:
                return True
        return False

    def watches(self, aor: str, pending: dict[str, str] | None = None) -> bool:
        """Whether an AOR that shows up is watched; `pending`: a roster to come."""
        decided = self._decided.get(aor) if self._choosy else self._admits(aor)
        if decided is None:
            if len(self._decided) >= DECISIONS:
                self._decided.clear()
            decided = self._decided[aor] = self._admits(aor)
        if not decided or aor in self:
            return decided
        return aor in pending if pending is not None else not self._expected

    def names(self) -> Iterator[str]:
        """All AORs that should be there by file or PBX."""
        names = dict.fromkeys(self.listed)
        for expected in self._expected.values():
            names.update(dict.fromkeys(expected))
        return (aor for aor in names if self.watches(aor))

    def _admits(self, aor: str) -> bool:
        if not 0 < len(aor) <= AOR_LIMIT:
            return False
        if not self._choosy:
            return True
        only = self._settings.extensions
        if only.include and not matches(only.include, aor):
            return False
        return not matches(only.exclude, aor)

    def subject(self, aor: str) -> Subject:
        """A new subject for an extension."""
        site = self._fixed_site(aor) or self._settings.site
        patterns = self._settings.extensions
        return Subject(
            Kind.EXTENSION,
            aor,
            self._scope(site),
            self.title(aor),
            required=matches(patterns.required, aor),
            logout_ok=matches(patterns.logout_ok, aor),
        )

    def _fixed_site(self, aor: str) -> str:
        """The site by the file or by the number."""
        row = self.listed.get(aor)
        return (row.site if row else "") or self.sites.of_number(aor)

    def locate(self, subject: Subject, found_at: str) -> bool:
        """Put an extension where it belongs: by file or number, else where its phones
        were found; whether that is another site than before."""
        site = self._fixed_site(subject.name) or found_at or self._settings.site
        scope = self._scope(site)
        if subject.scope is scope:
            return False
        subject.scope = scope
        return True

    def relocate(self, sites: Sites) -> None:
        """The sites are configured otherwise."""
        self.sites = sites
        self._scopes.clear()

    def title(self, aor: str) -> str:
        """A human's name for an extension: the file's before the PBX's."""
        row = self.listed.get(aor)
        if row and row.name:
            return row.name
        for expected in self._expected.values():
            if title := expected.get(aor):
                return plain(title, NAME_LIMIT)
        return ""

    def _scope(self, site: str) -> Scope:
        if site not in self._scopes:
            labels = {**self._parent.scope.labels, "registrar": self._name}
            if site:
                labels["site"] = site
            parent = self._parent
            own = self.sites.subject(site) if site else None
            # The site of the PBX is above the PBX already.
            apart = () if own is None or own is parent.parent else (own,)
            scope = Scope(self._name, labels=labels, parent=parent, depends_on=apart)
            self._scopes[site] = scope
        return self._scopes[site]


def matches(patterns: Sequence[Glob], aor: str) -> bool:
    """Whether a pattern fits the AOR, or its user part: `10*`, `1001`, `*@lab`."""
    if not patterns:
        return False
    user = aor.partition("@")[0]
    return any(fits(aor) or fits(user) for fits in patterns)
