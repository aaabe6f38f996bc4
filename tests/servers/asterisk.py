"""A real Asterisk on an address of its own, unpacked in place and run as anyone.

with Asterisk(folder, "127.100.1.1", [Extension("1001")]) as pbx:
    pbx.cli("pjsip show contacts")
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers import require
from tests.servers.process import Process, ServerError

SIP_PORT = 5060
AMI_PORT = 5038
WS_PORT = 8088
WSS_PORT = 8089
CLI_TIMEOUT = 10.0

# What a PBX without hardware, databases or call features does not need to boot.
NOLOAD = (
    "*odbc*", "app_agent_pool*", "app_alarmreceiver*", "app_amd*", "app_confbridge*",
    "app_festival*", "app_followme*", "app_minivm*", "app_page*", "app_queue*",
    "app_voicemail*", "cdr_*", "cel_*", "chan_console*", "chan_dahdi*", "chan_iax2*",
    "chan_mobile*", "chan_motif*", "chan_unistim*", "codec_dahdi*", "pbx_ael*",
    "pbx_dundi*", "pbx_lua*", "res_calendar*", "res_config_*", "res_fax*", "res_hep*",
    "res_parking*", "res_phoneprov*", "res_pjsip_notify*", "res_pjsip_phoneprov*",
    "res_prometheus*", "res_smdi*", "res_snmp*", "res_stun_monitor*", "res_xmpp*",
    "test_*",
)  # fmt: skip

DIRECTORIES = ("etc", "lib", "db", "keys", "agi", "spool", "log", "data")

# What a monitor needs of AMI, and no call's events.
EVENTS = (
    "ContactStatus", "PeerStatus", "Registry", "FullyBooted", "Shutdown", "Reload",
    "SuccessfulAuth", "InvalidAccountID", "ChallengeResponseFailed", "FailedACL",
    "PJSIPMaintenanceStatus",
)  # fmt: skip


@dataclass(frozen=True)
class Extension:
    """An endpoint with an auth and an AOR of the same name."""

    name: str
    password: str = "secret"
    callerid: str = ""
    qualify_frequency: int = 0
    qualify_timeout: float = 2.0
    max_contacts: int = 1
    remove_existing: bool = True
    default_expiration: int = 60
    minimum_expiration: int = 1
    maximum_expiration: int = 7200
    rewrite_contact: bool = False
    deny: str = ""  # addresses that may not use it: "0.0.0.0/0.0.0.0"

    def section(self) -> str:
        callerid = (
            f'callerid="{self.callerid}" <{self.name}>\n' if self.callerid else ""
        )
        return (
            f"[{self.name}]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\n"
            f"auth={self.name}\naors={self.name}\n{callerid}"
            f"rewrite_contact={'yes' if self.rewrite_contact else 'no'}\n"
            f"{f'deny={self.deny}' if self.deny else ''}\n"
            f"[{self.name}]\ntype=auth\nauth_type=userpass\n"
            f"username={self.name}\npassword={self.password}\n"
            f"[{self.name}]\ntype=aor\n"
            f"max_contacts={self.max_contacts}\n"
            f"remove_existing={'yes' if self.remove_existing else 'no'}\n"
            f"qualify_frequency={self.qualify_frequency}\n"
            f"qualify_timeout={self.qualify_timeout}\n"
            f"default_expiration={self.default_expiration}\n"
            f"minimum_expiration={self.minimum_expiration}\n"
            f"maximum_expiration={self.maximum_expiration}\n"
        )


@dataclass(frozen=True)
class Trunk:
    """An endpoint with a permanent contact: no extension, and no row among contacts."""

    name: str
    contact: str
    match: str = ""
    qualify_frequency: int = 0

    def section(self) -> str:
        identify = (
            f"[{self.name}]\ntype=identify\nendpoint={self.name}\nmatch={self.match}\n"
        )
        return (
            f"[{self.name}]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\n"
            f"aors={self.name}\nidentify_by=ip\n"
            f"[{self.name}]\ntype=aor\ncontact={self.contact}\n"
            f"qualify_frequency={self.qualify_frequency}\nqualify_timeout=2.0\n"
            f"{identify if self.match else ''}"
        )


@dataclass(frozen=True)
class Registration:
    """A registration that Asterisk keeps at another server; `user` is its account."""

    name: str
    server: str  # sip:10.0.0.5:5060
    user: str
    password: str = "secret"
    login: str = ""  # default: the user
    expiration: int = 60
    retry_interval: int = 2
    permanent: bool = False  # a refused password is not tried again

    def section(self) -> str:
        host = self.server.removeprefix("sip:").partition(":")[0]
        return (
            f"[{self.name}]\ntype=registration\ntransport=udp\n"
            f"outbound_auth={self.name}\nserver_uri={self.server}\n"
            f"client_uri=sip:{self.user}@{host}\ncontact_user={self.user}\n"
            f"expiration={self.expiration}\nretry_interval={self.retry_interval}\n"
            f"forbidden_retry_interval={self.retry_interval}\nmax_retries=10000\n"
            f"auth_rejection_permanent={'yes' if self.permanent else 'no'}\n"
            "max_random_initial_delay=0\n"
            f"[{self.name}]\ntype=auth\nauth_type=userpass\n"
            f"username={self.login or self.user}\npassword={self.password}\n"
        )


@dataclass(frozen=True)
class ManagerUser:
    """An AMI login, as manager.conf has it."""

    name: str
    secret: str
    read: str
    write: str
    deny: str = ""
    filtered: bool = False

    def section(self) -> str:
        filters = "".join(f"eventfilter=Event: {name}\n" for name in EVENTS)
        return (
            f"[{self.name}]\nsecret={self.secret}\nread={self.read}\n"
            f"write={self.write}\n{f'deny={self.deny}' if self.deny else ''}\n"
            f"{filters if self.filtered else ''}"
        )


MONITOR = ManagerUser(
    "sipwatch", "sipwatchpw", "system,security", "system,reporting", filtered=True
)
MANAGER_USERS = (
    MONITOR,
    ManagerUser("norights", "norightspw", "system,security", ""),
    ManagerUser("denied", "deniedpw", "system", "system", deny="0.0.0.0/0.0.0.0"),
    ManagerUser("admin", "adminpw", "all", "all"),
)


class Asterisk:
    """One Asterisk: SIP over UDP and TCP on 5060 and AMI on 5038 of its address.

    `watcher` is the address that the monitor's own SIP comes from: Asterisk knows it by
    an identify, so its OPTIONS are answered 200 and not 401. SIP over WebSocket is at
    /ws on 8088; with a `certificate` (a PEM file of key and chain) also on 8089.
    """

    sip_port = SIP_PORT
    ami_port = AMI_PORT
    user = MONITOR.name
    secret = MONITOR.secret

    def __init__(
        self,
        folder: Path,
        address: str,
        extensions: Sequence[Extension] = (),
        trunks: Sequence[Trunk | Registration] = (),
        *,
        contact_expiration_check_interval: int = 1,
        watcher: str = "127.0.0.1",
        users: Sequence[ManagerUser] = MANAGER_USERS,
        certificate: Path | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.extensions = list(extensions)
        self.trunks = list(trunks)
        self.contact_expiration_check_interval = contact_expiration_check_interval
        self.watcher = watcher
        self.users = list(users)
        self.certificate = certificate
        self._command = require("asterisk")
        # The control socket's path must stay under 108 bytes: not in pytest's folders.
        self._run_folder = Path(tempfile.mkdtemp(prefix="sipwatch-asterisk-"))
        self._configuration = folder / "etc/asterisk.conf"
        self._process = Process("asterisk", self._argv("-f", "-n"), folder)

    @property
    def uri(self) -> str:
        return f"sip:{self.address}:{self.sip_port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    def start(self) -> Self:
        """Write the configuration and boot; returns when Asterisk is fully booted."""
        self.configure()
        self._process.start()
        self._process.wait_ready(self._is_booted)
        return self

    def stop(self) -> None:
        """SIGTERM: a clean shutdown, with AMI's Shutdown event."""
        self._process.stop()

    def kill9(self) -> None:
        self._process.kill9()

    def freeze(self) -> None:
        """SIGSTOP: TCP still connects, nothing is ever answered."""
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def wipe_astdb(self) -> None:
        """Forget every dynamic contact, as a new machine or container does."""
        for path in (self.folder / "db").glob("astdb*"):
            path.unlink()

    def restart(self, *, wiped: bool = False, killed: bool = False) -> None:
        if killed:
            self.kill9()
        else:
            self.stop()
        if wiped:
            self.wipe_astdb()
        self.start()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._run_folder, ignore_errors=True)

    def cli(self, command: str) -> str:
        """What the console answers; ServerError where it cannot be reached."""
        try:
            done = subprocess.run(
                self._argv("-rx", command),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=CLI_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServerError(f"{command}: no answer in {CLI_TIMEOUT:g} s") from None
        if done.returncode != 0:
            raise ServerError(f"{command}: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def contacts(self) -> list[str]:
        """The AOR of every contact that is bound now."""
        lines = self.cli("pjsip show contacts").splitlines()
        rows = [line.split()[1] for line in lines if line.startswith("  Contact:  ")]
        return sorted(row.split("/")[0] for row in rows if not row.startswith("<"))

    def kept(self) -> int:
        """How many contacts are on its disk: it writes once a second."""
        database = f"file:{self.folder}/db/astdb.sqlite3?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as astdb:
            query = "SELECT count(*) FROM astdb WHERE key LIKE '/registrar/contact/%'"
            return int(astdb.execute(query).fetchone()[0])

    def reload(self) -> None:
        """Write the configuration anew, and have it read."""
        self.configure()
        self.cli("core reload")

    def _is_booted(self) -> bool:
        if not (self._run_folder / "asterisk.ctl").exists():
            return False
        try:
            return "fully booted" in self.cli("core waitfullybooted")
        except ServerError:
            return False

    def _argv(self, *arguments: str) -> list[str]:
        return self._command("-C", self._configuration, *arguments)

    def configure(self) -> None:
        for name in DIRECTORIES:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in {
            "asterisk.conf": self._asterisk_conf(),
            "modules.conf": self._modules_conf(),
            "logger.conf": "[logfiles]\nconsole=notice,warning,error,security\n",
            "manager.conf": self._manager_conf(),
            "http.conf": self._http_conf(),
            "pjsip.conf": self._pjsip_conf(),
            "extensions.conf": (
                "[phones]\nexten=_1XXX,1,Dial(PJSIP/${EXTEN},20)\n same=n,Hangup()\n"
            ),
        }.items():
            (self.folder / "etc" / name).write_text(text)

    def _asterisk_conf(self) -> str:
        tree = self._command
        places = {
            "astetcdir": self.folder / "etc",
            "astmoddir": tree.libraries / "asterisk/modules",
            "astvarlibdir": self.folder / "lib",
            "astdbdir": self.folder / "db",
            "astkeydir": self.folder / "keys",
            # The tree's own: without its XML documents res_pjsip refuses to configure.
            "astdatadir": tree.root / "usr/share/asterisk",
            "astagidir": self.folder / "agi",
            "astspooldir": self.folder / "spool",
            "astrundir": self._run_folder,
            "astlogdir": self.folder / "log",
        }
        lines = "".join(f"{key} => {value}\n" for key, value in places.items())
        return f"[directories]\n{lines}[options]\nsystemname = {self.address}\n"

    def _modules_conf(self) -> str:
        modules = self._command.libraries / "asterisk/modules"
        names = sorted(p.name for pattern in NOLOAD for p in modules.glob(pattern))
        noloads = "".join(f"noload={name}\n" for name in names)
        return f"[modules]\nautoload=yes\n{noloads}"

    def _manager_conf(self) -> str:
        sections = "".join(user.section() for user in self.users)
        return (
            "[general]\nenabled=yes\nwebenabled=no\n"
            f"bindaddr={self.address}\nport={self.ami_port}\n{sections}"
        )

    def _http_conf(self) -> str:
        secure = ""
        if self.certificate is not None:
            secure = (
                f"tlsenable=yes\ntlsbindaddr={self.address}:{WSS_PORT}\n"
                f"tlscertfile={self.certificate}\ntlsprivatekey={self.certificate}\n"
            )
        return (
            f"[general]\nenabled=yes\nbindaddr={self.address}\n"
            f"bindport={WS_PORT}\n{secure}"
        )

    def _pjsip_conf(self) -> str:
        transports = "".join(
            f"[{kind}]\ntype=transport\nprotocol={kind}\n"
            f"bind={self.address}:{self.sip_port}\n"
            for kind in ("udp", "tcp", "ws", "wss")
        )
        interval = self.contact_expiration_check_interval
        watcher = (
            "[watcher]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\n"
            "identify_by=ip\n"
            f"[watcher]\ntype=identify\nendpoint=watcher\nmatch={self.watcher}\n"
        )
        rows: list[Extension | Trunk | Registration] = [*self.extensions, *self.trunks]
        return (
            # By name first: a phone's TCP comes from the watcher's address.
            "[global]\ntype=global\nendpoint_identifier_order=username,ip\n"
            f"contact_expiration_check_interval={interval}\n"
            f"{transports}{watcher}{''.join(row.section() for row in rows)}"
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
