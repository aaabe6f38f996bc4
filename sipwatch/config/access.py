"""Who may use the HTTP interface: users, tokens, TLS; and what is wrong with them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from checks.settings import Parsed, Secret
from sipwatch.config.yaml import Document, shorten
from sipwatch.scrypt import Hash, parse

if TYPE_CHECKING:
    from sipwatch.config.settings import WebSettings

TOKEN = 20  # characters of the shortest token: nobody guesses it at any rate
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750 2.1
_USER = re.compile(r"[^\W_][\w.@-]{0,63}")  # no colon: RFC 7617 2 ends the name there
_LINE = (("type", "string"), ("pattern", r"^scrypt(\$[0-9]+){3}(\$[\w-]+){2}$"))

RoleName = Literal["read", "operate"]
PasswordHash = Annotated[Hash, Parsed(parse, _LINE)]

ROLE = "`read` looks on; `operate` also acknowledges, silences, tests."


def _said(text: str) -> dict[str, str]:
    return {"description": text}


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """A person who logs in with a password."""

    password: PasswordHash = field(
        metadata=_said("The line that `sipwatch password` prints.")
    )
    role: RoleName = field(default="read", metadata=_said(ROLE))


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """A program that shows a token."""

    secret: Secret = field(
        metadata=_said("At least 20 random characters (openssl rand -hex 32).")
    )
    role: RoleName = field(default="read", metadata=_said(ROLE))


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The certificate that `web.listen` shows; both files are read again on reload."""

    certificate: str = field(metadata=_said("PEM, with the intermediate ones below."))
    key: str = field(metadata=_said("PEM, without a passphrase."))


def context_of(tls: TlsSettings) -> ssl.SSLContext:
    """What a server needs to show it; OSError, ValueError for what cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except ssl.SSLError as error:
        why = (error.reason or "no PEM in it").replace("_", " ").lower()
        text = f"{shorten(tls.certificate, 200)} and {shorten(tls.key, 200)}: {why}"
        raise ValueError(text) from None
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase, which nobody is there to type")


def at_home(web: WebSettings, folder: Path) -> WebSettings:
    """With paths that hold wherever the daemon runs."""
    tls = web.tls
    if tls is not None:
        paths = {"certificate": tls.certificate, "key": tls.key}
        tls = replace(tls, **{key: str(folder / path) for key, path in paths.items()})
    return replace(web, socket=str(folder / web.socket), tls=tls)


def check_access(document: Document, web: WebSettings) -> None:
    """Names that can be said, tokens that cannot be guessed, files that can be used."""
    for name in web.users:
        if not _USER.fullmatch(name):
            text = "a user's name has letters, digits, @ - _ and . only, at most 64"
            document.add(("web", "users", name), text, key=True)
    seen: dict[str, str] = {}
    for name, token in web.tokens.items():
        if text := _weakness(token.secret.reveal(), seen):
            document.add(("web", "tokens", name, "secret"), text)
        seen.setdefault(token.secret.reveal(), name)
    if web.tls is not None:
        try:
            context_of(web.tls)
        except (OSError, ValueError) as error:
            document.add(("web", "tls", "certificate"), _why(error, web.tls))


def _weakness(token: str, seen: dict[str, str]) -> str:
    if token in seen:
        return f"is the token of {seen[token]}: then nobody knows which of them it was"
    if len(token) < TOKEN:
        return f"has fewer than {TOKEN} characters (openssl rand -hex 32 makes one)"
    if not _TOKEN.fullmatch(token):
        return "has characters that no token has (openssl rand -hex 32 makes one)"
    return ""


def _why(error: Exception, tls: TlsSettings) -> str:
    if not isinstance(error, OSError):
        return str(error)
    for file in (tls.certificate, tls.key):  # the error does not say which
        try:
            open(file, "rb").close()
        except OSError as unread:
            return f"{shorten(file, 200)}: {unread.strerror}"
    return str(error.strerror or error)


def access_notices(web: WebSettings, *, loopback: bool) -> Iterator[str]:
    """What is allowed, and worth a line before it surprises."""
    if not loopback and web.tls is None:
        yield (
            f"web.listen: {web.listen} takes passwords and tokens that anybody on the"
            " way can read: set web.tls, or listen on 127.0.0.1 behind a proxy"
        )
