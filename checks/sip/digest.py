"""Digest authentication (RFC 7616 with RFC 8760 for SIP, and RFC 2617 for the old).

A response may carry several challenges: one per algorithm, and one per proxy and realm
on the way. Of each realm the strongest that is known is answered; of equals the first,
since a server lists them in its order of preference (RFC 8760 2.4).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from checks.settings import Secret
from checks.sip.message import Request, Response
from checks.sip.params import Params, quoted, unquoted

CHALLENGE_LIMIT = 16  # challenges read of one response: 3 algorithms of 5 realms

_PART = re.compile(
    r"""[\s,]*(?P<name>[A-Za-z0-9\-.!%*_+`'~]+)
    (?:\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|[^\s,"]*)|(?=[\s,]|$))""",
    re.DOTALL | re.VERBOSE,
)


def _hasher(name: str) -> Callable[[bytes], str]:
    return lambda octets: hashlib.new(name, octets, usedforsecurity=False).hexdigest()


# Weakest first; the order is the strength.
ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    "MD5": _hasher("md5"),
    "SHA-256": _hasher("sha256"),
    "SHA-512-256": _hasher("sha512_256"),
}
_STRENGTH = {name: rank for rank, name in enumerate(ALGORITHMS)}

# Where a response asks, and where the answer goes (RFC 3261 22.2, 22.3).
FIELDS = {
    "WWW-Authenticate": "Authorization",
    "Proxy-Authenticate": "Proxy-Authorization",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and the secret."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a WWW-Authenticate or Proxy-Authenticate asks for."""

    realm: str
    nonce: str

    algorithm: str = "MD5"
    "As written; SIP's default is MD5."

    qop: tuple[str, ...] = ()
    "auth, auth-int; empty from an RFC 2069 server."

    opaque: str | None = None

    stale: bool = False
    "The nonce was too old, the password may be right."

    charset: str = ""
    "UTF-8 where the server says so."

    @classmethod
    def parse(cls, text: str) -> Challenge:
        """Read the first Digest challenge; ValueError where there is none."""
        for challenge in cls.parse_all(text):
            return challenge
        raise ValueError(f"{text[:80]!r} holds no Digest challenge")

    @classmethod
    def parse_all(cls, text: str) -> tuple[Challenge, ...]:
        """The Digest challenges of one header field; ValueError on bad grammar."""
        return tuple(
            cls._of(Params(items))
            for scheme, items in _schemes(text)
            if scheme.lower() == "digest"
        )

    @classmethod
    def _of(cls, params: Params) -> Challenge:
        realm, nonce = params.get("realm"), params.get("nonce")
        if realm is None or nonce is None:
            raise ValueError("a Digest challenge without realm or nonce")
        options = (params.get("qop") or "").lower().split(",")
        return cls(
            realm=realm,
            nonce=nonce,
            algorithm=params.get("algorithm") or "MD5",
            qop=tuple(option.strip() for option in options if option.strip()),
            opaque=params.get("opaque"),
            stale=(params.get("stale") or "").lower() == "true",
            charset=params.get("charset") or "",
        )

    @property
    def base(self) -> str:
        """The algorithm's hash, its -sess left out, as `ALGORITHMS` names it."""
        return self.algorithm.upper().removesuffix("-SESS")

    @property
    def known(self) -> bool:
        """Whether it can be answered: hash and quality of protection are ours."""
        return self.base in ALGORITHMS and (
            not self.qop or "auth" in self.qop or "auth-int" in self.qop
        )


def answer(
    challenge: Challenge,
    credentials: Credentials,
    method: str,
    uri: str,
    *,
    body: bytes = b"",
    nc: int = 1,
    cnonce: str | None = None,
) -> str:
    """The value of the Authorization that answers a challenge (RFC 7616 3.4)."""
    hashed = ALGORITHMS[challenge.base]
    cnonce = secrets.token_hex(16) if cnonce is None else cnonce
    qop = _chosen_qop(challenge)
    count = f"{nc:08x}"
    a1 = f"{credentials.username}:{challenge.realm}:{credentials.password.reveal()}"
    ha1 = hashed(_octets(a1))
    if challenge.algorithm.upper().endswith("-SESS"):
        ha1 = hashed(_octets(f"{ha1}:{challenge.nonce}:{cnonce}"))
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += f":{hashed(body)}"
    middle = f"{count}:{cnonce}:{qop}:" if qop else ""
    response = hashed(_octets(f"{ha1}:{challenge.nonce}:{middle}{hashed(_octets(a2))}"))
    parts = [
        f"username={quoted(credentials.username)}",
        f"realm={quoted(challenge.realm)}",
        f"nonce={quoted(challenge.nonce)}",
        f"uri={quoted(uri)}",
        f'response="{response}"',
        f"algorithm={challenge.algorithm}",
    ]
    if qop or challenge.algorithm.upper().endswith("-SESS"):
        parts.append(f'cnonce="{cnonce}"')
    if qop:
        parts += [f"qop={qop}", f"nc={count}"]
    if challenge.opaque is not None:
        parts.append(f"opaque={quoted(challenge.opaque)}")
    return "Digest " + ", ".join(parts)


def choose(challenges: Iterable[Challenge]) -> list[Challenge]:
    """The strongest known challenge of each realm, realms in their order."""
    chosen: dict[str, Challenge] = {}
    for challenge in challenges:
        if not challenge.known:
            continue
        other = chosen.get(challenge.realm)
        if other is None or _STRENGTH[challenge.base] > _STRENGTH[other.base]:
            chosen[challenge.realm] = challenge
    return list(chosen.values())


def challenges(response: Response) -> dict[str, list[Challenge]]:
    """What a 401 or 407 asks, by header field; unreadable challenges are left out."""
    found: dict[str, list[Challenge]] = {}
    for name in FIELDS:
        read: list[Challenge] = []
        for value in response.headers.lines(name)[:CHALLENGE_LIMIT]:
            try:
                read += Challenge.parse_all(value)
            except ValueError:
                continue  # a second one, in another algorithm, may be readable
        found[name] = read[:CHALLENGE_LIMIT]
    return found


@dataclass(slots=True)
class _Nonce:
    challenge: Challenge
    count: int = 0  # how often it was used


@dataclass(slots=True)
class Session:
    """One user at one server: the nonces given, and how often each was used.

    A nonce that was accepted is used again, nc counting up, until the server calls it
    stale: that halves the messages of whoever asks often.
    """

    credentials: Credentials
    _nonces: dict[tuple[str, str], _Nonce] = field(default_factory=dict)

    def authorize(self, request: Request) -> None:
        """Put the answers to every challenge known so far into a request."""
        for name in FIELDS.values():
            request.headers.remove(name)
        for (name, _), nonce in self._nonces.items():
            nonce.count += 1
            value = answer(
                nonce.challenge,
                self.credentials,
                request.method,
                request.uri,
                body=request.body,
                nc=nonce.count,
            )
            request.headers.add(FIELDS[name], value)

    def learn(self, response: Response) -> frozenset[tuple[str, str, bool]]:
        """Take a response's challenges: field, realm and staleness of each taken."""
        taken = set()
        for name, offered in challenges(response).items():
            for challenge in choose(offered):
                key = (name, challenge.realm)
                if len(self._nonces) < CHALLENGE_LIMIT or key in self._nonces:
                    self._nonces[key] = _Nonce(challenge)
                    taken.add((*key, challenge.stale))
        return frozenset(taken)

    def accepted(self, response: Response) -> None:
        """Take the nonce that is to be used next, where the server names one.

        RFC 3261 20.6 and RFC 7616 3.5. It says no realm: with several known ones it
        cannot be told whose nonce it is, and the old ones go on.
        """
        told = (response.get("Authentication-Info") or "").replace(",", ";")
        nonce = Params.parse(told).get("nextnonce")
        if nonce and len(self._nonces) == 1:
            ((key, known),) = self._nonces.items()
            self._nonces[key] = _Nonce(replace(known.challenge, nonce=nonce))

    def forget(self) -> None:
        """Drop all nonces: the credentials were refused."""
        self._nonces.clear()

    @property
    def fresh(self) -> bool:
        """Whether no challenge is known yet."""
        return not self._nonces


def _chosen_qop(challenge: Challenge) -> str:
    if "auth" in challenge.qop:
        return "auth"
    return "auth-int" if "auth-int" in challenge.qop else ""


def _octets(text: str) -> bytes:
    # UTF-8 whatever charset says: RFC 8760 knows no other, and ASCII is the same in
    # all. What came with broken bytes goes back with the same ones.
    return text.encode("utf-8", "surrogateescape")


def _schemes(text: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Scheme and parameters of each challenge in one comma-joined line."""
    found: list[tuple[str, list[tuple[str, str | None]]]] = []
    at, text = 0, text.rstrip(", \t")
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"{text[:80]!r} is not a challenge")
        if part["value"] is None:
            found.append((part["name"], []))
        elif not found:
            raise ValueError(f"{text[:80]!r} begins without a scheme")
        else:
            found[-1][1].append((part["name"], unquoted(part["value"])))
        at = part.end()
    return found
