"""Phones: real ones (baresip, SIPp), and one scripted on a socket for exact timing.

Tests use `Baresip` for a phone that a person could hold, `SippPhones` for many, and
`ScriptedPhone` only where a moment or an odd message must be exact.
"""

from __future__ import annotations

import http
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from hashlib import md5
from pathlib import Path
from re import findall
from typing import Self

from tests.servers import require
from tests.servers.process import Process, ServerError

SCENARIOS = Path(__file__).parent / "scenarios"
REGISTER_TIMEOUT = 5.0

BARESIP_CONFIG = """\
net_interface {address}
module_path {modules}
module g711.so
module ausine.so
module_app account.so
module_app menu.so
audio_player aufile,nil
audio_source ausine,440
audio_alert aufile,nil
"""


class Baresip:
    """One baresip: it registers, refreshes, answers OPTIONS and rings.

    stop() de-registers, kill9() dies without a word, freeze() holds its ports silently.
    """

    def __init__(
        self,
        folder: Path,
        aor: str,
        password: str,
        registrar: str,
        *,
        address: str,
        transport: str = "udp",
        expires: int = 60,
    ) -> None:
        """`aor` is user@domain, `registrar` and `address` are IP addresses."""
        command = require("baresip")
        self.aor = aor
        folder.mkdir(parents=True, exist_ok=True)
        modules = command.root / "usr/lib/baresip/modules"
        (folder / "config").write_text(
            BARESIP_CONFIG.format(address=address, modules=modules)
        )
        (folder / "accounts").write_text(
            f"<sip:{aor};transport={transport}>;auth_pass={password};regint={expires}"
            f';outbound="sip:{registrar};transport={transport}"\n'
        )
        user = aor.partition("@")[0]
        self._process = Process(f"baresip-{user}", command("-f", folder, "-s"), folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    def start(self, *, registers: bool = True) -> Self:
        """Start; returns when registered, unless it is not meant to succeed."""
        self._process.log.unlink(missing_ok=True)
        self._process.start()
        self._process.wait_ready(self._is_registered if registers else self._is_up)
        return self

    def stop(self) -> None:
        self._process.stop()

    def kill9(self) -> None:
        self._process.kill9()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def log(self) -> str:
        """Its log, with every SIP message it sent and received."""
        return self._process.log.read_text(errors="replace")

    def _is_up(self) -> bool:
        return "baresip is ready" in self.log()

    def _is_registered(self) -> bool:
        return " 200 OK " in self.log() and "binding" in self.log()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Sipp:
    """One SIPp process with one scenario file."""

    def __init__(
        self,
        folder: Path,
        scenario: Path,
        *options: object,
        address: str,
        port: int = 0,
        transport: str = "udp",
        keys: Mapping[str, object] | None = None,
    ) -> None:
        self.address = address
        self.port = port or free_port(address)
        name = f"sipp-{scenario.stem}"
        keyed = [x for pair in (keys or {}).items() for x in ("-key", *pair)]
        argv = require("sipp")(
            *("-sf", scenario, "-i", address, "-p", self.port),
            *("-t", {"udp": "u1", "tcp": "t1"}[transport], "-nostdin", "-nd"),
            *("-trace_err", "-error_file", folder / f"{name}-errors.log"),
            *keyed,
            *options,
        )
        self.process = Process(name, argv, folder, {"TERM": "dumb"})

    def start(self) -> Self:
        self.process.start()
        return self

    def run(self, timeout: float = 30.0) -> None:
        """Run to the end; ServerError where a call of the scenario failed."""
        status = self.start().process.wait(timeout)
        if status != 0:
            raise ServerError(f"sipp ended with {status}\n{self.process.tail()}")

    def stop(self) -> None:
        self.process.kill9()  # its own end waits for calls that never end

    kill9 = stop

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Answering(Sipp):
    """SIPp as a phone or trunk that answers every OPTIONS with one code."""

    def __init__(
        self,
        folder: Path,
        code: int = 200,
        reason: str = "",
        *,
        address: str,
        port: int = 0,
        transport: str = "udp",
    ) -> None:
        # SIPp takes a status from the scenario's own text alone.
        text = (SCENARIOS / "answer.xml").read_text()
        line = f"SIP/2.0 {code} {reason or _reason(code)}"
        folder.mkdir(parents=True, exist_ok=True)
        scenario = folder / f"answer-{code}.xml"
        scenario.write_text(text.replace("SIP/2.0 200 OK", line))
        super().__init__(
            folder, scenario, address=address, port=port, transport=transport
        )

    def start(self) -> Self:
        super().start()
        self.process.wait_ready(lambda: is_bound(self.address, self.port))
        return self


def _reason(code: int) -> str:
    known = {480: "Temporarily Unavailable", 486: "Busy Here", 603: "Decline"}
    if code in known:
        return known[code]
    try:
        return http.HTTPStatus(code).phrase
    except ValueError:
        return "Answer"


class SippPhones:
    """Many phones on one address: registered with digest, and refreshed where asked."""

    def __init__(
        self,
        folder: Path,
        users: Sequence[str],
        password: str,
        registrar: str,
        *,
        address: str,
        contact: str = "",
        expires: int = 60,
    ) -> None:
        """`registrar` is host:port; `contact` host:port, by default nobody's port."""
        self.folder = folder
        self.registrar = registrar
        self.address = address
        self.contact = contact or f"{address}:{free_port(address)}"
        self.expires = expires
        self.users = list(users)
        self._refreshing: Sipp | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._field_file = folder / "users.csv"
        rows = [f"{u};[authentication username={u} password={password}]" for u in users]
        self._field_file.write_text("\n".join(["SEQUENTIAL", *rows, ""]))

    def register(self, *, expires: int | None = None, rate: int = 200) -> None:
        """One REGISTER each; returns when all are answered 200."""
        self._sipp("register", expires, rate, "-m", len(self.users)).run()

    def deregister(self, *, rate: int = 200) -> None:
        self.register(expires=0, rate=rate)

    def keep_registered(self, *, refresh: float, rate: int = 200) -> None:
        """Register, and refresh every so many seconds until stop() or kill9()."""
        pause = ("-set", "refresh", int(refresh * 1000))
        self._refreshing = self._sipp(
            "refresh", None, rate, "-m", len(self.users), *pause
        )
        self._refreshing.start()

    def kill9(self) -> None:
        """All of them die without a word; their bindings stay till they expire."""
        if self._refreshing is not None:
            self._refreshing.kill9()
            self._refreshing = None

    stop = kill9

    def _sipp(
        self, scenario: str, expires: int | None, rate: int, *options: object
    ) -> Sipp:
        return Sipp(
            self.folder,
            SCENARIOS / f"{scenario}.xml",
            self.registrar,
            *("-inf", self._field_file, "-r", rate, "-l", len(self.users)),
            *options,
            address=self.address,
            keys={
                "domain": self.registrar.partition(":")[0],
                "contact": self.contact,
                "expires": self.expires if expires is None else expires,
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class ScriptedPhone:
    """One UDP socket that registers exactly when told; refreshes nothing by itself."""

    def __init__(
        self,
        user: str,
        password: str,
        registrar: str,
        *,
        address: str,
        port: int = 5060,
        user_agent: str = "scripted phone",
        contact_user: str = "",
    ) -> None:
        self.user = user
        self.contact_user = contact_user or user
        self.user_agent = user_agent
        self.password = password
        self.registrar = registrar
        self.port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.settimeout(REGISTER_TIMEOUT)
        self.contact = "{}:{}".format(*self._socket.getsockname())
        self._call_id = secrets.token_hex(8)
        self._cseq = 0

    def register(self, expires: int = 60, contacts: Iterable[str] = ()) -> str:
        """Register now; `contacts` are host:port, by default its own. The answer."""
        bound = list(contacts) or [self.contact]
        answer = self._exchange(expires, bound, "")
        if answer.startswith("SIP/2.0 401"):
            answer = self._exchange(expires, bound, self._authorization(answer))
        return answer

    def deregister(self, contacts: Iterable[str] = ()) -> str:
        return self.register(0, contacts)

    def close(self) -> None:
        self._socket.close()

    def _exchange(self, expires: int, contacts: list[str], authorization: str) -> str:
        self._cseq += 1
        bound = "".join(f"Contact: <sip:{self.contact_user}@{c}>\r\n" for c in contacts)
        aor = f"sip:{self.user}@{self.registrar}"
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        request = (
            f"REGISTER sip:{self.registrar} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.contact};rport;branch={branch}\r\n"
            f"Max-Forwards: 70\r\nFrom: <{aor}>;tag=phone\r\nTo: <{aor}>\r\n"
            f"Call-ID: {self._call_id}\r\n"
            f"CSeq: {self._cseq} REGISTER\r\n{bound}Expires: {expires}\r\n"
            f"{authorization}User-Agent: {self.user_agent}\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        self._socket.sendto(request.encode(), (self.registrar, self.port))
        while True:
            answer = self._socket.recv(65535).decode(errors="replace")
            if f"CSeq: {self._cseq} REGISTER" in answer:
                return answer

    def _authorization(self, challenge: str) -> str:
        """RFC 2617 3.2.2 with qop=auth or without, MD5: what both PBXs ask for."""
        asked = dict(findall(r'(realm|nonce|qop|opaque)="([^"]*)"', challenge))
        uri = f"sip:{self.registrar}"
        secret = _hash(f"{self.user}:{asked['realm']}:{self.password}")
        what = _hash(f"REGISTER:{uri}")
        proof = f"{asked['nonce']}:{what}"
        fields = {"username": self.user, "realm": asked["realm"]}
        fields |= {"nonce": asked["nonce"], "uri": uri}
        tail = ""
        if "qop" in asked:
            cnonce = secrets.token_hex(4)
            proof = f"{asked['nonce']}:00000001:{cnonce}:auth:{what}"
            tail = f', qop=auth, nc=00000001, cnonce="{cnonce}"'
        if "opaque" in asked:
            fields["opaque"] = asked["opaque"]
        fields["response"] = _hash(f"{secret}:{proof}")
        pairs = ", ".join(f'{key}="{value}"' for key, value in fields.items())
        return f"Authorization: Digest {pairs}{tail}\r\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hash(text: str) -> str:
    return md5(text.encode()).hexdigest()


def free_port(address: str) -> int:
    """A UDP port of an address that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def is_bound(address: str, port: int) -> bool:
    """Does something listen there by UDP or TCP?"""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return True
    return False
