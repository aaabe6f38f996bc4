"""An extension looked at from the daemon: what its registrar holds, and who answers."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Protocol

from checks.accounts.settings import AccountSettings
from checks.cause import Answer, Confidence, Evidence, Finding, classify
from checks.cause.answer import Known, answer_of
from checks.cause.fits import HELD_BACK, NOBODY
from checks.observation import Cause, State, Subject, plain
from checks.options.targets import full_uri
from checks.options.views import TargetView
from checks.registrations.extension import Contact, over, place, place_of
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from sipwatch.diagnosis.network import Network, Quest
from sipwatch.diagnosis.roads import Means
from sipwatch.diagnosis.rung import Rung, Verdict
from sipwatch.findings import Findings
from sipwatch.sources import Sources

CONTACTS = 3  # of one extension that are asked
TIMEOUT = 5.0  # s for a phone to answer us
INCIDENTS = 3  # open ones that are named
RINGS = "see whether it rings: the same with --call"
LET_IN = (
    "check power and network of the phone, then firewalls between this host and the "
    "phones; a phone may answer {pbx} alone (switch qualify on there)"
)
AWAY = (State.UNREGISTERED, State.NEVER_REGISTERED)


class Daemon(Sources, Protocol):
    """What is needed of it."""

    @property
    def findings(self) -> Findings:
        """Why subjects are as they are."""


class Phone:
    """One extension; its rungs are awaited side by side."""

    def __init__(self, daemon: Daemon, subject: Subject, agent: str, call: bool):
        """LookupError for what is no extension."""
        judge = daemon.judges.get(subject.scope.name)
        found = judge.extensions.get(subject.name) if judge else None
        if judge is None or found is None:
            raise LookupError(f"{plain(subject.key)} is no extension that is watched")
        self._daemon, self._judge, self._extension = daemon, judge, found
        self._agent, self._calls = agent, call
        self._client = Client(clock=time.time)
        self._network: Network | None = None
        self._answers: list[Answer] = []
        self._silent: Cause | None = None

    def close(self) -> None:
        """Close every socket."""
        self._client.close()
        if self._network is not None:
            self._network.close()

    def rungs(self) -> list[Coroutine[Any, Any, Rung | None]]:
        """All that are to be looked at, in the order in which they are told."""
        return [
            self._registrar(),
            self._pbx(),
            self._bindings(),
            self._phone(),
            self._view(),
            self._in_call(),
            self._recent(),
            self._call(),
        ]

    # --- the registrar --------------------------------------------------------------

    async def _registrar(self) -> Rung:
        judge, known = self._judge, self._known()
        if known.blind:
            return Rung("registrar", False, f"{judge.name} is not read: {known.blind}")
        count = len(judge.extensions)
        text = f"{judge.name} ({judge.settings.type}) is read, {count} extensions"
        return Rung("registrar", True, text)

    async def _pbx(self) -> Rung | None:
        view = self._target()
        if view is None or view.state is None:
            return None
        figures = view.figures
        if view.state is not State.UP:
            return Rung("PBX", False, plain(view.detail), figures.rtt)
        text = "answers OPTIONS"
        if bad := figures.outcomes.bit_count():
            text += f", but not {bad} of the last {figures.probes}"
        return Rung("PBX", True, text, figures.rtt)

    async def _bindings(self) -> Rung:
        e = self._extension
        if e.state is None:
            return Rung("bindings", None, "nothing has been read of it yet")
        if not e.contacts:
            lost = self._daemon.findings.of(e.subject)
            why = lost.sentence if lost else "none"
            return Rung("bindings", False, f"none: {why}")
        now = self._daemon.clock.now()
        lines = [_contact_text(contact, now) for contact in e.contacts[:CONTACTS]]
        more = len(e.contacts) - CONTACTS
        lines += [f"and {more} more"] if more > 0 else []
        return Rung("bindings", True, "; ".join(lines))

    # --- the phone ------------------------------------------------------------------

    async def _phone(self) -> Rung | None:
        """Ask its contacts ourselves, as far as they can be reached from here."""
        contacts = self._extension.contacts[:CONTACTS]
        if not contacts:
            return None
        # Asterisk sends to the Contact as it has it, others to where it came from.
        by_uri = self._judge.settings.type == "asterisk"
        places = [(c, address_of(c, by_uri)) for c in contacts]
        asked = [(c, one) for c, one in places if one is not None]
        if not asked:
            how = over(contacts[0].uri, contacts[0].received)
            text = f"it is registered over {how}: only the PBX can ask it"
            return Rung("phone", None, text)
        began = time.monotonic()
        found = await asyncio.gather(*(self._ask(c, one) for c, one in asked))
        return Rung("phone", *self._heard(found), time.monotonic() - began)

    async def _ask(self, contact: Contact, address: Address) -> Answer | SipError:
        uri = _uri(contact, address)
        means = Means(
            client=self._client,
            uri=uri,
            from_uri=SipUri(uri.host, "sipwatch"),
            agent=self._agent,
            timeout=TIMEOUT,
        )
        try:
            heard = await means.ask(address)
        except SipError as error:
            return error
        known = Known(devices=(str(address),), agents=(contact.user_agent,))
        source = "{}:{}".format(*heard.source[:2])
        return answer_of(heard.response, source=source, at=time.time(), known=known)

    def _heard(self, found: list[Answer | SipError]) -> tuple[bool | None, str]:
        self._answers = [one for one in found if isinstance(one, Answer)]
        if not self._answers:
            errors = [one for one in found if isinstance(one, SipError)]
            self._silent = errors[0].cause
            # Many a phone answers nobody but its PBX: then what that says counts.
            ok = None if self._extension.reachable else False
            return ok, f"{plain(errors[0].detail)}{' (to us)' if ok is None else ''}"
        worst = max(self._answers, key=lambda answer: answer.status in HELD_BACK)
        agent = f", {worst.agent}" if worst.agent else ""
        return worst.status not in HELD_BACK, f"{worst.said} from {worst.source}{agent}"

    # --- the PBX's own view ---------------------------------------------------------

    async def _view(self) -> Rung | None:
        e = self._extension
        paused = e.subject.paused
        if paused is not None:
            return Rung("PBX view", False, f"{str(paused).replace('_', ' ')} is on")
        if not e.contacts:
            return None
        if e.reachable is None:
            return Rung("PBX view", None, "nobody asks it regularly (qualify is off)")
        if not e.reachable:
            return Rung("PBX view", False, "it does not answer the PBX's OPTIONS")
        return Rung("PBX view", True, "it answers OPTIONS", e.rtt)

    async def _in_call(self) -> Rung | None:
        """What the PBX knows of calls, where it does."""
        following = self._daemon.followings[self._judge.name]
        found = await following.look_for_call(self._extension.aor)
        if found is None:
            return None
        return Rung("calls", None, "it is in a call" if found else "it is in no call")

    async def _recent(self) -> Rung | None:
        subject, alarms = self._extension.subject, self._daemon.alarms
        found = [i for i in alarms.incidents if i.subject is subject]
        facts = self._known().recent
        parts = [f"incident {i.id} is open ({i.rule})" for i in found[:INCIDENTS]]
        parts += [plain(fact.text) for fact in facts[-INCIDENTS:]]
        return Rung("recent", None, "; ".join(parts)) if parts else None

    # --- a call ---------------------------------------------------------------------

    async def _call(self) -> Rung | None:
        if not self._calls:
            return None
        view = self._target()
        if view is None:
            name = self._extension.aor.partition("@")[0]
            text = f"no target is {self._judge.name}: call sip:{name}@HOST instead"
            return Rung("call", None, text)
        self._network = Network(self._quest(view))
        return await self._network.call_rung()

    def _quest(self, view: TargetView) -> Quest:
        pbx = SipUri.parse(full_uri(view.uri))
        user, _, domain = self._extension.aor.partition("@")
        uri = replace(pbx, user=user)
        agents = tuple(c.user_agent for c in self._extension.contacts)
        devices = tuple("".join(place(c)) for c in self._extension.contacts)
        return Quest(
            uri=uri,
            agent=self._agent,
            account=self._account(pbx.host, domain),
            call=True,
            known=Known(devices=devices, agents=agents),
        )

    def _account(self, *hosts: str) -> AccountSettings | None:
        """An account of ours at the same PBX, to call as."""
        for account in self._daemon.accounts.values():
            if account.settings.uri.host in hosts:
                return account.settings
        return None

    def _target(self) -> TargetView | None:
        return self._daemon.findings.pbx(self._judge.name)

    # --- what it comes to -----------------------------------------------------------

    def _known(self) -> Evidence:
        known = self._daemon.findings.evidence(self._extension.subject)
        return known or Evidence()

    def verdict(self) -> Verdict:
        """What all that comes to."""
        subject = self._extension.subject
        name = plain(f"{subject.name.partition('@')[0]} {subject.title}".strip())
        known = replace(self._known(), who=name)
        network = self._network
        if network is not None and network.called is not None:
            known = replace(known, answer=network.called)
        elif told := [a for a in self._answers if a.status in HELD_BACK | NOBODY]:
            known = replace(known, answer=told[0])
        if self._silent is Cause.ICMP_UNREACHABLE:
            known = replace(known, port_closed=True, reachable=False)
        found = classify(known)
        if network is not None and network.rings:
            found = found._replace(cause=None, sentence=f"{name} rings")
        elif found.cause is None and self._mute:
            found = self._unheard(found, name)
        return Verdict(
            subject=subject.key,
            ok=found.cause is None,
            reached=known.registration not in AWAY and known.reachable is not False,
            sentence=found.sentence,
            cause=found.cause,
            confidence=found.confidence,
            steps=found.steps if found.cause is not None else (),
            evidence=found.evidence,
        )

    @property
    def _mute(self) -> bool:
        """Whether it is registered, does not answer us, and nobody else asks it."""
        return self._silent is not None and self._extension.reachable is None

    def _unheard(self, found: Finding, name: str) -> Finding:
        """Silence to us alone: it may be gone, or answer nobody but its PBX."""
        steps = () if self._calls else (RINGS,)
        return found._replace(
            cause=Cause.UNREACHABLE_CONTACT,
            confidence=Confidence.POSSIBLE,
            sentence=f"{name} is registered, but does not answer us",
            steps=(*steps, LET_IN.format(pbx=self._judge.name)),
        )


def _contact_text(contact: Contact, now: float) -> str:
    where = "".join(place(contact)) or contact.uri
    parts = [f"{where} over {over(contact.uri, contact.received)}"]
    parts += [contact.user_agent] if contact.user_agent else []
    ends = contact.ends
    if ends is not None:
        granted = f" of {contact.granted} s" if contact.granted else ""
        parts.append(f"{ends - now:.0f} s{granted} left")
    if contact.refreshed is not None:
        parts.append(f"refreshed {now - contact.refreshed:.0f} s ago")
    return plain(", ".join(parts))


def address_of(contact: Contact, by_uri: bool) -> Address | None:
    """Where we can ask a contact: over UDP, and not behind a proxy."""
    host, port = place_of(contact.uri) if by_uri else place(contact)
    if over(contact.uri, contact.received) != "UDP" or contact.path:
        return None
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None
    return Address(ip, int(port[1:] or 5060), "udp")


def _uri(contact: Contact, address: Address) -> SipUri:
    try:
        return SipUri.parse(contact.uri)
    except ValueError:
        return SipUri(address.ip, None, address.port)
