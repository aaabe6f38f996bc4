"""What the page says: from the configuration, and from what is seen now."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerting.notification.causes import reason
from alerting.rules.words import matched
from checks.accounts.account import Account
from checks.observation import Subject, plain
from checks.options.views import TargetView
from checks.registrations.extension import Extension
from checks.registrations.judge import Judge
from checks.registrations.losses import last_seen
from checks.settings import Secret, written_duration
from checks.sip.uri import SipUri
from sipwatch.config.settings import Config, local_zone
from sipwatch.runbook.page import Entry, Page, Section
from sipwatch.sources import Sources, readable

DEVICES = 1_000  # rows: some 20 ms of the loop, and more helps nobody
REGISTRATIONS = 100  # of one PBX
IN_FILE = "the configuration itself"
DEVICE_COLUMNS = (
    "extension",
    "name",
    "PBX",
    "site",
    "state",
    "last seen",
    "expiry",
    "verified",
)


class Contents:
    """Writes the page of a daemon as it is now."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._config: Config = sources.config
        self._zone = local_zone()

    def page(self) -> Page:
        """All of it."""
        now = self._sources.clock.now()
        page = Page(f"Runbook of {self._config.instance}")
        page.lines.append(
            f"Written by sipwatch at {self._at(now)} ({self._zone.key}), of what is "
            "configured and of what it saw last. No secret is in it, only where it is."
        )
        page.lines += self._reloaded()
        page.sections = [
            Section("PBXs", [self._pbx(j) for j in self._sources.judges.values()]),
            Section("Registrations of the PBXs elsewhere", list(self._registrations())),
            Section("Trunks", list(self._targets("trunk"))),
            Section("Other targets", list(self._targets("pbx", "phone"))),
            self._files(),
            Section("Accounts", [self._account(a) for a in self._accounts()]),
            Section("Twilio", list(self._twilio())),
            self._devices(),
            Section("Schedules", list(self._schedules())),
            Section("Who is told", list(self._told())),
        ]
        return page

    def _reloaded(self) -> Iterator[str]:
        """What the last reload changed, and what the test of each brought."""
        shown = self._sources.touched.shown(self._at)
        if shown is None:
            return
        if shown["at"] is not None:
            yield f"Configuration read again at {shown['at']}: {shown['summary']}."
        if refused := shown["refused"]:
            yield f"Refused at {refused['at']}, the one before stays: {refused['text']}"
        for one in shown["tested"]:
            text = f" ({one['text']})" if one["text"] else ""
            yield f"Verified at {one['at']}: {one['subject']} is {one['state']}{text}."
        if shown["waiting"]:
            yield f"Not verified yet: {', '.join(shown['waiting'])}."

    # --- what is watched ------------------------------------------------------------

    def _pbx(self, judge: Judge) -> Entry:
        settings = judge.settings
        entry = Entry(judge.name)
        entry.row("type", settings.type)
        addresses = settings.members or [settings.address]
        entry.row("address", ", ".join(addresses))
        entry.row("mode", settings.mode if settings.members else "")
        entry.row("domain", settings.domain)
        entry.row("site", settings.site)
        self._login(entry, settings)
        entry.row("read every", written_duration(settings.interval))
        entry.row("expiry", _expiry(settings.expiry))
        entry.row("required", _globs(settings.extensions.required))
        entry.row("may log out", _globs(settings.extensions.logout_ok))
        entry.row("listed in", settings.extensions.file or "")
        entry.row("schedule", self._during(judge.subject, judge))
        entry.row("told", self._who(judge.subject))
        read = [m.read_at for m in judge.members.values() if m.read_at]
        counts = ", ".join(
            f"{n} {state.replace('_', ' ')}" for state, n in judge.counts().items() if n
        )
        state = f"{judge.state or 'not read yet'}{f', {counts}' if counts else ''}"
        entry.row("last verification", self._verified(max(read, default=None), state))
        why = [m.detail for m in judge.members.values() if m.detail and not m.readable]
        entry.row("cannot be read", "; ".join(why))
        return entry

    def _registrations(self) -> Iterator[Entry]:
        for judge in self._sources.judges.values():
            several = list(judge.outgoing.registrations.values())[:REGISTRATIONS]
            for one in several:
                entry = Entry(f"{judge.name}: {one.name}")
                entry.row("server", one.server)
                state = f"{one.state or 'not told yet'}, {one.detail}".rstrip(", ")
                since = f"{state} since {self._at(one.since)}" if one.state else state
                read = [m.read_at for m in judge.members.values() if m.read_at]
                entry.row("secret", f"on the PBX {judge.name}")
                entry.row("told", self._who(one.subject))
                entry.row(
                    "last verification", self._verified(max(read, default=None), since)
                )
                yield entry

    def _targets(self, *roles: str) -> Iterator[Entry]:
        for name, settings in self._config.targets.items():
            if settings.role not in roles:
                continue
            view = self._sources.options.targets.get(f"target:{name}")
            entry = Entry(name)
            entry.row("role", settings.role)
            entry.row("address", _shown(settings.uri))
            entry.row("domain", _host(settings.uri))
            entry.row("transport", _transports(view) or _transport(settings.uri))
            entry.row("site", settings.site)
            entry.row("asked every", written_duration(settings.interval))
            entry.row("depends on", ", ".join(settings.depends_on))
            if view is not None:
                entry.row("certificate ends", self._date(view.not_after))
                entry.row("told", self._who(view.subject))
                asked = max((a.asked_at for a in view.addresses), default=0.0)
                entry.row("last verification", self._verified(asked, _of_target(view)))
            yield entry

    def _files(self) -> Section:
        section = Section("Files of targets", columns=("file", "role", "site", "every"))
        section.table = [
            (one.file, one.role, one.site, written_duration(one.interval))
            for one in self._config.target_files
        ]
        return section

    def _accounts(self) -> list[Account]:
        return list(self._sources.accounts.values())

    def _account(self, account: Account) -> Entry:
        settings = account.settings
        entry = Entry(account.name)
        entry.row("domain", settings.uri.host)
        entry.row("registrar", settings.registrar)
        entry.row("address of record", settings.identity.aor)
        user = settings.auth_username or settings.username
        entry.row("credential list username", user)
        self._login(entry, settings, user=False)
        used = account.outcome.transport.upper() if account.outcome else ""
        entry.row("transport", used or _transport(settings.registrar))
        entry.row("proxy", settings.outbound_proxy or "")
        entry.row("mode", settings.mode)
        if settings.mode == "bind":
            entry.row("expiry", f"{written_duration(settings.expires)} asked for")
        entry.row("tested every", written_duration(settings.interval))
        entry.row("site", settings.site)
        entry.row("told", self._who(account.subject))
        outcome = account.outcome
        result = "not tested yet"
        if outcome is not None:
            result = f"{account.state}: {outcome.sentence}"
            for binding in outcome.bindings[:4]:
                if binding.granted is not None:
                    entry.row("granted", f"{binding.granted} s")
        entry.row(
            "last verification", self._verified(outcome.at if outcome else None, result)
        )
        if outcome is not None and outcome.cause is not None:
            entry.row("next step", outcome.step)
        return entry

    def _twilio(self) -> Iterator[Entry]:
        settings, twiml = self._config.twilio, self._config.twiml
        if settings is None:
            return
        twilio = self._sources.twilio
        entry = Entry(settings.account_sid)
        if settings.api_secret is not None:
            entry.row("key", settings.api_key)
            entry.row("secret of the key", _kept(settings.api_secret))
        if settings.auth_token is not None:
            entry.row("auth token", _kept(settings.auth_token))
        domains = dict.fromkeys(
            [*settings.domains, *([twiml.domain] if twiml is not None else [])]
        )
        entry.row("domains", ", ".join(domains))
        entry.row("read every", written_duration(settings.interval))
        base = self._config.web.external_url
        entry.row("webhook", f"{base}/twilio/alerts" if settings.webhook else "")
        if twiml is not None:
            entry.row("voice URL", f"{base}/twiml/call")
            entry.row("fallback URL", "static, at Twilio itself: see there")
        entry.row("told", self._who(twilio.account))
        result = f"cannot be read: {twilio.error}" if twilio.error else "readable"
        entry.row("last verification", self._verified(twilio.read_at, result))
        yield entry

    def _devices(self) -> Section:
        section = Section("Devices", columns=DEVICE_COLUMNS)
        for judge in self._sources.judges.values():
            seen = readable(judge, self._sources.alarms)
            for extension in judge.extensions.values():
                if len(section.table) < DEVICES:
                    section.table.append(self._device(judge, extension, seen=seen))
                else:
                    section.more += 1
        section.table.sort(key=lambda row: (row[2], row[0]))
        judges = self._sources.judges.values()
        told = [
            f"{judge.name}: {self._who(next(iter(judge.extensions.values())).subject)}"
            for judge in judges
            if judge.extensions
        ]
        section.note = f"Told of them: {'; '.join(told)}." if told else ""
        return section

    def _device(self, judge: Judge, e: Extension, *, seen: bool) -> tuple[str, ...]:
        contact = e.contacts[0] if e.contacts else None
        state = str(e.state or "not read yet").replace("_", " ")
        if e.state is not None:
            state += f" since {self._at(e.since)}"
        required = " (required)" if e.subject.required else ""
        read = [m.read_at for m in judge.members.values() if m.read_at]
        verified = self._at(max(read)) if read else "never"
        return (
            plain(e.subject.name, 128) + required,
            e.subject.title,
            judge.name,
            e.subject.scope.labels.get("site", ""),
            state if seen else f"unknown; {state}",
            last_seen(contact) if contact is not None else "",
            f"{e.granted:.0f} s" if e.granted else "",
            verified,
        )

    # --- when, and who --------------------------------------------------------------

    def _schedules(self) -> Iterator[Entry]:
        now = self._sources.clock.to_wall(self._sources.clock.now())
        for name, settings in self._config.schedules.items():
            entry = Entry(name)
            schedule = self._sources.alarms.muting.schedules.get(name)
            entry.row("time zone", settings.timezone or self._zone.key)
            entry.row("holidays", settings.holidays)
            if schedule is not None:
                span = schedule.span(now)
                state = "open" if span.open else "closed"
                end = datetime.fromtimestamp(span.end, self._zone)
                entry.row("now", f"{state} until {end:%Y-%m-%d %H:%M}")
            users = [n for n, rule in self._config.rules.items() if rule.during == name]
            entry.row("hours of the rules", ", ".join(users))
            yield entry

    def _told(self) -> Iterator[Entry]:
        for number, route in enumerate(self._config.routes, 1):
            entry = Entry(f"route {number}")
            entry.row("of", matched(route.match) or "everything")
            entry.row("told", ", ".join(route.notify))
            entry.row("during", route.during)
            entry.row("outside", route.outside)
            for step in route.escalate:
                after = written_duration(step.after)
                entry.row(f"after {after}", ", ".join(step.notify))
            yield entry
        for name, settings in self._config.notifiers.items():
            entry = Entry(name)
            to = getattr(settings, "to", ())
            entry.row("reaches", ", ".join(to) if isinstance(to, list | tuple) else "")
            for key, secret in _secrets(settings):
                entry.row(key.replace("_", " "), _kept(secret))
            yield entry

    def _who(self, subject: Subject) -> str:
        return ", ".join(self._sources.alarms.hears(subject)) or "nobody"

    def _during(self, subject: Subject, judge: Judge) -> str:
        """The hours of the rules that watch it and its extensions."""
        subjects = [subject, *(e.subject for e in list(judge.extensions.values())[:1])]
        rules = self._sources.alarms.rules
        hours = {r.during: None for s in subjects for r in rules.of(s).rules}
        return ", ".join(filter(None, hours))

    def _login(self, entry: Entry, settings: Any, *, user: bool = True) -> None:
        if user:
            entry.row("user", getattr(settings, "username", ""))
        for key, secret in _secrets(settings):
            entry.row(key.replace("_", " "), _kept(secret))

    def _verified(self, at: float | None, result: str) -> str:
        if not at:
            return f"never; {result}" if result else "never"
        return f"{self._at(at)}: {result}"

    def _at(self, at: float) -> str:
        wall = self._sources.clock.to_wall(at)
        return f"{datetime.fromtimestamp(wall, self._zone):%Y-%m-%d %H:%M:%S}"

    def _date(self, wall: float | None) -> str:
        if wall is None:
            return ""
        return f"{datetime.fromtimestamp(wall, self._zone):%Y-%m-%d}"


def _of_target(view: TargetView) -> str:
    if view.state is None:
        return "not asked yet"
    said = f" ({reason(view.cause).short})" if view.cause else ""
    rtt = view.figures.rtt
    took = f", answered in {rtt * 1000:.1f} ms" if rtt is not None and not said else ""
    detail = f": {view.detail}" if view.detail else ""
    return f"{view.state}{said}{took}{detail}"


def _secrets(settings: Any) -> Iterator[tuple[str, Secret]]:
    """The secrets that settings hold, by their keys."""
    for key in getattr(settings, "__dataclass_fields__", {}):
        value = getattr(settings, key)
        if isinstance(value, Secret) and value.reveal():
            yield key, value
        elif hasattr(value, "__dataclass_fields__"):
            yield from _secrets(value)


def _kept(secret: Secret) -> str:
    return secret.kept or IN_FILE


def _globs(patterns: Any) -> str:
    return ", ".join(one.pattern for one in patterns)


def _expiry(settings: Any) -> str:
    least, most = settings.min, settings.max
    parts = [
        f"at least {written_duration(least)}" if least else "",
        f"at most {written_duration(most)}" if most else "",
    ]
    return ", ".join(filter(None, parts))


def _uri(text: str) -> SipUri | None:
    try:
        return SipUri.parse(text)
    except ValueError:
        return None


def _shown(text: str) -> str:
    """A URI without the password that it may have."""
    found = _uri(text)
    if found is None or found.password is None:
        return text
    return str(replace(found, password=None))


def _host(text: str) -> str:
    found = _uri(text)
    return found.host if found else ""


def _transport(text: str) -> str:
    """What the URI says; without a word DNS decides, and UDP is what is left."""
    found = _uri(text)
    named = found.params.get("transport") if found is not None else None
    if named:
        return named.upper()
    if text.startswith("sips:"):
        return "TLS"
    return "UDP" if found and _is_address(found.host) else "as DNS says, else UDP"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _transports(view: TargetView | None) -> str:
    seen = (
        dict.fromkeys(a.transport.upper() for a in view.addresses if a.transport)
        if (view is not None)
        else {}
    )
    return ", ".join(seen)
