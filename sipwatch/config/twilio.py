"""What only the whole configuration shows of `twilio` and `twiml`."""

from __future__ import annotations

from checks.accounts import twilio as names
from sipwatch.config.settings import Config
from sipwatch.config.wording import did_you_mean
from sipwatch.config.yaml import Document, KeyPath, shorten


def check_twilio(document: Document, config: Config) -> None:
    """Put what they lack, and names that nobody has, into the document."""
    if config.twilio is not None and config.twilio.webhook:
        _check_public(document, config, ("twilio", "webhook"))
    for number, domain in enumerate(config.twilio.domains if config.twilio else ()):
        _check_domain(document, ("twilio", "domains", number), domain)
    if (twiml := config.twiml) is None:
        return
    _check_public(document, config, ("twiml",))
    _check_domain(document, ("twiml", "domain"), twiml.domain)
    if document.find(("twilio",)) is None:
        text = "its requests are signed with twilio.auth_token, which is missing"
        document.add(("twiml",), text)
    elif config.twilio is not None and config.twilio.auth_token is None:
        document.add(("twilio", "auth_token"), "is missing; twiml is signed with it")
    _check_action(document, config, ("twiml", "otherwise"), twiml.otherwise)
    for number, one in enumerate(twiml.fallbacks):
        where: KeyPath = ("twiml", "fallbacks", number, "then")
        _check_action(document, config, where, one.then)


def _check_public(document: Document, config: Config, path: KeyPath) -> None:
    if not config.web.public.listen:
        document.add(path, "Twilio cannot reach it without web.public.listen")
    elif not config.web.external_url:
        document.add(path, "its signature is of our address: give web.external_url")


def _check_domain(document: Document, path: KeyPath, domain: str) -> None:
    found = names.check(domain)
    if found is not None:
        meant = f" (did you mean {found.meant}?)" if found.meant else ""
        document.add(path, f"{found.problem}{meant}")


def _check_action(document: Document, config: Config, path: KeyPath, name: str) -> None:
    known = config.twiml.actions if config.twiml else {}
    if name not in known:
        hint = did_you_mean(name, known)
        document.add(path, f"no action is named {shorten(name)}{hint}")


def twilio_notices(config: Config) -> list[str]:
    """What is allowed, and worth a line."""
    lines = []
    if config.twilio is not None and config.twilio.webhook:
        lines.append(
            "twilio.webhook: let Twilio post to"
            f" {config.web.external_url}/twilio/alerts (Monitor, Settings, Webhook)"
        )
    if config.twiml is not None:
        lines.append(
            "twiml: give each number and domain a static fallback URL at Twilio, so"
            " that calls go on while sipwatch is down"
        )
    return lines
