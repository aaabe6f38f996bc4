"""What only the whole configuration shows: names that nobody has, files that are not
there, severities that nobody is told of, listeners that anybody could reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from alerting.incident import Severity
from alerting.routes import RouteSettings
from alerting.rules.grades import Rule
from alerting.rules.rule import RulesError, RuleSettings, build
from checks.accounts import twilio
from checks.options.targets import check_uri
from checks.registrars.failures import check_url, host_and_port
from checks.registrars.sip import SipSettings
from checks.registrations.reaching import routed
from checks.registrations.readings import RegistrarSettings
from checks.settings import Secret
from sipwatch.asking import probe_settings
from sipwatch.config.access import access_notices, check_access
from sipwatch.config.charting import check_charted
from sipwatch.config.files import check_files
from sipwatch.config.settings import Config, is_loopback, web_address
from sipwatch.config.topology import check_topology
from sipwatch.config.twilio import check_twilio, twilio_notices
from sipwatch.config.wording import did_you_mean
from sipwatch.config.yaml import Document, KeyPath, Node, shorten

NAME = re.compile(r"[^\W_][\w.-]{0,63}")  # keys, labels and paths are made of them
NAMED = (
    *("targets", "registrars", "accounts", "sites", "schedules", "maintenance"),
    *("rules", "notifiers"),
)


def cross_check(document: Document, config: Config) -> None:
    """Put all that is wrong between the entries into the document."""
    _check_names(document)
    _check_references(document)
    _check_registrars(document, config)
    check_topology(document, config)
    check_files(document, config)
    _check_rules(document, config)
    _check_routes(document, config)
    _check_listeners(document, config)
    check_twilio(document, config)
    check_charted(document, config)


def notices(config: Config) -> list[str]:
    """What is allowed, and worth a line before it surprises."""
    lines = []
    watched = config.targets or config.target_files or config.registrars
    if not (watched or config.accounts):
        lines.append("no targets and no registrars: nothing is watched")
    if not config.notifiers:
        lines.append(
            "no notifiers: problems show in metrics and status, nobody is told"
        )
    for name, settings in config.registrars.items():
        only = settings.extensions
        named = only.file or any(one.name for one in only.include)
        if settings.type == "sip" and not named:
            lines.append(
                f"registrars.{name}: asked AOR by AOR, and neither `file` nor "
                "`include` names any"
            )
        if isinstance(settings, SipSettings) and only.logout_ok:
            told = (
                "where it offers no reg events"
                if settings.subscribe
                else "without reg events (subscribe: false)"
            )
            lines.append(
                f"registrars.{name}.extensions.logout_ok: {told}, a SIP registrar "
                "cannot tell a log-out from a loss, and each is told as a loss"
            )
    for name, account in config.accounts.items():
        if found := twilio.check(account.uri.host):
            meant = f" (did you mean {found.meant}?)" if found.meant else ""
            lines.append(f"accounts.{name}.registrar: {found.problem}{meant}")
    web = config.web
    lines.extend(access_notices(web, loopback=is_loopback(web.listen)))
    return lines + twilio_notices(config)


def _names(document: Document, section: str) -> list[str]:
    """The names that a section of the file gives, its wrong entries as well."""
    node = document.find((section,))
    return list(node.value) if node and isinstance(node.value, dict) else []


def _check_names(document: Document) -> None:
    for section in NAMED:
        for name in _names(document, section):
            if not NAME.fullmatch(name):
                text = "a name has letters, digits, - _ and . only, at most 64"
                document.add((section, name), text, key=True)


# A key, and the section that has the names it may take.
REFERENCES = (
    (("targets", "*", "site"), "sites"),
    (("target_files", "*", "site"), "sites"),
    (("registrars", "*", "site"), "sites"),
    (("accounts", "*", "site"), "sites"),
    (("registrars", "*", "target"), "targets"),
    (("rules", "*", "notify", "*"), "notifiers"),
    (("routes", "*", "notify", "*"), "notifiers"),
    (("routes", "*", "escalate", "*", "notify", "*"), "notifiers"),
    (("rules", "*", "during"), "schedules"),
    (("routes", "*", "during"), "schedules"),
    (("routes", "*", "outside"), "schedules"),
    (("twiml", "fallbacks", "*", "during"), "schedules"),
    (("twiml", "fallbacks", "*", "outside"), "schedules"),
)


def _check_references(document: Document) -> None:
    """In the file itself, so that an entry with another mistake is looked at too."""
    for pattern, section in REFERENCES:
        known = _names(document, section)
        for path, node in _matching(document.root, pattern, ()):
            name = node.value
            if isinstance(name, Secret):
                name = name.reveal()
            if isinstance(name, str) and name and name not in known:
                hint = did_you_mean(name, known) or _there_are(known)
                what = section.removesuffix("s")
                document.add(path, f"no {what} is named {shorten(name)}{hint}")


def _matching(
    node: Node | None, pattern: Sequence[str], path: KeyPath
) -> Iterator[tuple[KeyPath, Node]]:
    if node is None or not pattern:
        if node is not None:
            yield path, node
        return
    steps: Iterable[str | int] = pattern[:1]
    if pattern[0] == "*":
        several = isinstance(node.value, dict | list)
        steps = () if not several else _steps(node.value)
    for step in steps:
        yield from _matching(node.child(step), pattern[1:], (*path, step))


def _steps(value: dict[str, Any] | list[Any]) -> Iterable[str | int]:
    return value if isinstance(value, dict) else range(len(value))


def _there_are(known: Collection[str]) -> str:
    some = ", ".join(shorten(name) for name in list(known)[:5])
    return f" (there are {some})" if some else ""


def _check_registrars(document: Document, config: Config) -> None:
    for name, settings in config.registrars.items():
        path = ("registrars", name)
        if settings.address and settings.members:
            text = "stands beside address: write one of them"
            document.add((*path, "members"), text, key=True)
        elif not settings.address and not settings.members:
            document.add((*path, "address"), "is missing (or members, if several)")
        if settings.mode == "active_standby" and len(settings.members) < 2:
            document.add((*path, "mode"), "active_standby needs two members or more")
        if settings.address:
            _check_address(document, (*path, "address"), settings, settings.address)
        for index, member in enumerate(settings.members):
            _check_address(document, (*path, "members", index), settings, member)
        _check_probing(document, path, settings)


def _check_probing(
    document: Document, path: KeyPath, settings: RegistrarSettings
) -> None:
    try:
        probe_settings(settings.probe)
    except ValueError as error:
        document.add((*path, "probe"), str(error))
    if settings.outbound_proxy and not routed(settings.outbound_proxy):
        text = f"{settings.outbound_proxy!r} is no proxy (write sip:10.0.0.5)"
        document.add((*path, "outbound_proxy"), text)


def _check_address(
    document: Document, path: KeyPath, settings: RegistrarSettings, address: str
) -> None:
    try:
        ADDRESSES[settings.type](address)
    except ValueError as error:
        document.add(path, str(error))


def _of_manager(address: str) -> None:
    host_and_port(address, 5038)


def _of_event_socket(address: str) -> None:
    host_and_port(address, 8021)


def _of_rpc(address: str) -> None:
    check_url(address)
    web_address(address)


# What an address is, by the type of registrar.
ADDRESSES: dict[str, Callable[[str], object]] = {
    "asterisk": _of_manager,
    "freeswitch": _of_event_socket,
    "kamailio": _of_rpc,
    "opensips": _of_rpc,
    "sip": check_uri,
}


def _check_rules(document: Document, config: Config) -> None:
    # A rule that is wrong by itself may also have a name that nobody knows.
    unread = {
        name: RuleSettings()
        for name in _names(document, "rules")
        if name not in config.rules and document.find(("rules", name, "on")) is None
    }
    for rules in (config.rules, unread):
        try:
            build(rules)
        except RulesError as errors:
            for one in errors.problems:
                path = ("rules", one.rule, one.key) if one.key else ("rules", one.rule)
                document.add(path, one.sentence, key=not one.key)


def _check_routes(document: Document, config: Config) -> None:
    """A rule that warns or worse reaches somebody (information need not)."""
    if not config.routes:
        return
    untold: dict[Severity, list[str]] = {}
    for rule in _sound(config):
        if rule.notify:
            continue
        for severity in {grade.severity for grade in rule.grades} - {Severity.INFO}:
            if not any(_takes(route, rule, severity) for route in config.routes):
                untold.setdefault(severity, []).append(rule.name)
    for severity, names in sorted(untold.items()):
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        document.add(("routes",), f"no route takes severity {severity} of {some}")


def _sound(config: Config) -> Iterable[Rule]:
    """The rules in force, as far as they are well."""
    try:
        return build(config.rules)
    except RulesError as errors:
        wrong = {one.rule for one in errors.problems}
        rules: dict[str, RuleSettings] = {
            name: rule for name, rule in config.rules.items() if name not in wrong
        }
        return build(rules)


def _takes(route: RouteSettings, rule: Rule, severity: Severity) -> bool:
    """Whether some incident of this rule and severity goes this way."""
    said = {
        "severity": str(severity),
        "rule": rule.name,
        "family": rule.family,
        "kind": str(rule.kind),
    }
    return all(
        any(one(said[name]) for one in several)
        for name, several in route.match.items()
        if name in said
    )


def _check_listeners(document: Document, config: Config) -> None:
    web = config.web
    if not (is_loopback(web.listen) or web.users or web.tokens):
        text = (
            f"{web.listen} can be reached from outside: say in users or tokens who"
            " may, listen on 127.0.0.1, or give Prometheus metrics.listen and allow"
        )
        document.add(("web", "listen"), text)
    check_access(document, web)
    listen = web.metrics.listen
    if listen and not is_loopback(listen) and not web.metrics.allow:
        text = f"{listen} could be read by anybody: name the networks that may in allow"
        document.add(("web", "metrics", "listen"), text)
    if listen and listen == web.listen and not listen.endswith(":0"):
        text = f"{listen} is web.listen, which has /metrics already"
        document.add(("web", "metrics", "listen"), text)
    public = web.public.listen
    if public and not public.endswith(":0") and public in (web.listen, listen):
        document.add(("web", "public", "listen"), f"{public} is taken by another key")
    if public and not web.external_url:
        text = "no links lead here without external_url"
        document.add(("web", "public", "listen"), text)
