"""How many contacts an extension should have, a desk phone and an app: is one away?"""

from __future__ import annotations

from checks.observation import Observation
from checks.registrations.extension import HERE, Extension
from checks.registrations.readings import ContactsSettings
from checks.registrations.roster import matches


class Few:
    """Which extensions have fewer contacts than they should."""

    def __init__(self, settings: ContactsSettings) -> None:
        self._settings = settings

    def wanted(self, e: Extension) -> int:
        """How many contacts it should have; 0 where nobody said so."""
        only = self._settings.extensions
        wanted = self._settings.min
        return wanted if wanted and (not only or matches(only, e.aor)) else 0

    def judge(self, e: Extension) -> bool:
        """Bring the verdict on an extension up to date; whether it is another."""
        if not self._settings.min or not e.contacts:
            return False
        before, e.few = e.few, len(e.contacts) < self.wanted(e)
        return before is not e.few

    def tell(self, o: Observation, e: Extension) -> None:
        """Put into an observation what rules ask; its figures are its own."""
        if o.state in HERE and (wanted := self.wanted(e)):
            o.figures.contacts, o.figures.wanted = len(e.contacts), wanted
