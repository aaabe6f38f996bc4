"""What registrars read, and the settings that all of them have in common.

A registrar yields readings and decides nothing; `registrations` judges them. Bindings
carry the PBX's clock; every other time is UTC seconds of our own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from checks.observation import Binding, Cause, Loss, State
from checks.settings import Duration, Glob

SLICE = 1000  # rows of one `Bindings`: a list is applied without a stall of the loop
KEY = 2**60 - 1  # what of a hash an int of 32 bytes holds


def key(aor: str, uri: str) -> int:
    """One contact, by its hash: its name alone would take thrice as much."""
    return hash((aor, uri)) & KEY


@dataclass(slots=True)
class Expected:
    """The PBX's own roster: who should be there, as (AOR, title)."""

    aors: list[tuple[str, str]]  # the title may be ""


@dataclass(slots=True)
class Bindings:
    """A slice of a full list, at most SLICE rows; absence is decided at ListEnd."""

    rows: list[Binding]


@dataclass(slots=True)
class ListEnd:
    """A full list was read to its proper end."""

    began: float  # when the read was asked for
    pbx_now: float | None = None  # the PBX's clock at about the time this is applied
    boot: float | None = None  # when the PBX started, on its own clock
    aors: frozenset[str] | None = None  # None: the list covers all; else only these
    run: str = ""  # the PBX's name of this run of it; where told, another is a restart
    kept: bool = False  # bindings outlive a restart: one that is there proves nothing


@dataclass(slots=True)
class Added:
    """A binding came or was seen again, by event."""

    binding: Binding
    at: float


@dataclass(slots=True)
class Gone:
    """A binding was removed, by event."""

    aor: str
    contact: str
    at: float
    loss: Loss
    end: float | None = None  # of the binding, PBX's clock, where it tells of that too
    why: str = ""  # where the PBX tells more than the loss


@dataclass(slots=True)
class Reach:
    """The registrar's own qualify of a contact changed, by event."""

    aor: str
    contact: str
    reachable: bool | None  # None: not asked
    rtt: float | None  # s
    at: float


@dataclass(slots=True)
class Paused:
    """All who are not to be reached on purpose: do_not_disturb or maintenance."""

    causes: dict[str, Cause]  # by AOR


@dataclass(slots=True)
class Pausing:
    """One that is not to be reached on purpose from now on, or is again, by event."""

    aor: str
    cause: Cause
    on: bool
    at: float


@dataclass(slots=True)
class Restarting:
    """The PBX said that it shuts down."""

    at: float


@dataclass(slots=True)
class Outbound:
    """One registration that the PBX itself keeps at a server, by list or by event."""

    name: str  # as the PBX names it: an object, a gateway, an AOR
    state: State | None  # OK, REJECTED, FAILING; None: under way, the last one holds
    at: float
    server: str = ""  # the SIP URI of the registrar it registers at
    client: str = ""  # the AOR it registers
    cause: Cause | None = None  # where the PBX tells
    detail: str = ""  # the reason in a sentence, where the PBX tells
    expires: float | None = None  # when it ends, on our clock, where the PBX tells
    # False: the PBX says OK long after it is dead, and its REJECTED covers silence too;
    # what the server answers to OPTIONS of our own joins the verdict.
    trusted: bool = True
    proxy: str = ""  # the SIP URI that it is sent through, where it is not the server's
    # s by which what is said may be late, where not trusted: the time of a refresh.
    lag: float = 3600.0


@dataclass(slots=True)
class Outbounds:
    """All that the PBX keeps: the complete list, what it lacks is gone."""

    rows: list[Outbound]
    told: bool = True  # False: it cannot be had now, and says nothing of any


@dataclass(slots=True)
class Refused:
    """The PBX refused a registration, by its log of security events: to whom it may
    concern who sent it. It says nothing of who is registered."""

    call_id: str
    cause: Cause
    at: float


Reading = (
    Expected
    | Bindings
    | ListEnd
    | Added
    | Gone
    | Reach
    | Paused
    | Pausing
    | Restarting
    | Outbound
    | Outbounds
    | Refused
)


class Ask(NamedTuple):
    """What a judge wants asked by our own OPTIONS, beside the configured targets."""

    name: str  # unique within the registrar: "contact/1001/<uri>", "server/<uri>"
    uri: str
    address: str = ""  # ip:port to send to; "": where the route or the URI leads
    route: str = ""  # the Route header field: through which proxies, "" for none


class Unreadable(Exception):  # noqa: N818 - a state, no fault of ours
    """The registrar cannot be read; what it holds is unknown, not gone."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail  # one sentence: what failed, and what to add where


class Registrar(Protocol):
    """One connection to one address that holds bindings."""

    address: str

    def watch(self) -> AsyncGenerator[Reading, None]:
        """Connect, list, stream, relist each interval; raises Unreadable."""
        ...

    def relist(self) -> None:
        """Ask for a full list now; asking again before it is answered adds nothing."""
        ...


@runtime_checkable
class TellsCalls(Protocol):
    """A registrar that knows of calls as well."""

    async def in_call(self, aor: str) -> bool | None:
        """Whether a phone is in a call now; None: it cannot tell, or not in time."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExtensionsSettings:
    """Which extensions of a registrar are watched, by patterns of their AOR."""

    include: list[Glob] = field(default_factory=list)  # empty: all
    exclude: list[Glob] = field(default_factory=list)  # of those that are included
    required: list[Glob] = field(default_factory=list)  # must be there; loss critical
    logout_ok: list[Glob] = field(default_factory=list)  # may de-register
    history: list[Glob] = field(default_factory=list)  # their RTT is kept for charts
    file: str | None = None  # CSV: extension,name,site,owner


@dataclass(frozen=True, kw_only=True)
class ExpirySettings:
    """What Expires a registrar should grant; None: as the transport has it."""

    min: Duration | None = None  # default: 60s
    max: Duration | None = None  # default: 120s over UDP, 1h over others

    def __post_init__(self) -> None:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is more than max")


@dataclass(frozen=True, kw_only=True)
class ContactsSettings:
    """How many contacts an extension should have: a desk phone and an app, say."""

    min: int = 0  # fewer for 10 min are told (FewContacts); 0: any number is well
    extensions: list[Glob] = field(default_factory=list)  # empty: all

    def __post_init__(self) -> None:
        if self.min < 0:
            raise ValueError("min is less than 0")


@dataclass(frozen=True, kw_only=True)
class ProbeKeys:
    """How contacts, and the servers at which the PBX registers, are asked."""

    interval: Duration = 60.0  # between two questions to one
    timeout: Duration = 5.0  # for an answer, retransmissions included
    confirm: Duration = 15.0  # between two questions after a failure
    min_interval: Duration = 0.0  # between two questions to one IP address
    from_: str = field(default="", metadata={"alias": "from"})
    """The From of our requests; empty: sip:sipwatch@our-address."""
    user_agent: str = ""  # empty: sipwatch and its version
    source: str = ""  # the local IP address to ask from

    def __post_init__(self) -> None:
        if not 0 < self.timeout < self.interval:
            raise ValueError("timeout must be more than 0s and less than interval")
        if self.confirm <= 0:
            raise ValueError("confirm must be more than 0s")


@dataclass(frozen=True, kw_only=True)
class RegistrarSettings:
    """What the settings of every type of registrar have in common."""

    type: str
    address: str = ""  # where it is read: AMI or ESL host:port, URL or SIP URI
    members: list[str] = field(default_factory=list)  # addresses, instead of `address`
    mode: Literal["any", "active_standby"] = "any"  # of several members
    interval: Duration = 30.0  # between reconciling reads
    domain: str = ""  # left out of the AOR where it is this
    site: str = ""  # the site it belongs to
    depends_on: tuple[str, ...] = ()  # targets, registrars, sites it is seen through
    extensions: ExtensionsSettings = field(default_factory=ExtensionsSettings)
    """Which of its extensions are watched."""
    target: str = ""  # the OPTIONS target that is this PBX
    expiry: ExpirySettings = field(default_factory=ExpirySettings)
    """The Expires that it should grant."""
    probe_servers: bool = True  # where the PBX registers, if its word is not enough
    probe_contacts: bool = False  # ask the registered contacts too
    probe: ProbeKeys = field(default_factory=ProbeKeys)  # how both are asked
    outbound_proxy: str = ""  # a SIP URI: contacts are asked through it
    contacts: ContactsSettings = field(default_factory=ContactsSettings)
    """How many contacts its extensions should have."""
