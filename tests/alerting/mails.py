"""Incidents of a small site, to be told: the cases behind tests/data/mail."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from alerting.incident import Batch, Crowd, Delivery, Incident, Severity, Told
from checks.observation import Cause, Fact, Kind, Loss, Scope, State, Subject

PARIS = ZoneInfo("Europe/Paris")
INSTANCE = "watcher.example.com"


def at(clock: str, day: int = 21) -> float:
    """A moment of November 2026 in Paris."""
    hour, minute, second = map(int, clock.split(":"))
    return datetime(2026, 11, day, hour, minute, second, tzinfo=PARIS).timestamp()


NOW = at("10:04:20")
BACK = at("10:16:40")

HQ = Subject(Kind.REGISTRAR, "hq", Scope("hq", labels={"type": "asterisk"}))
LYON = Scope("hq", labels={"registrar": "hq", "site": "Lyon"}, parent=HQ)
PARIS_HQ = Scope("hq", labels={"registrar": "hq", "site": "hq"}, parent=HQ)
BRANCH = Subject(Kind.SITE, "Lyon", Scope("Lyon", labels={"site": "Lyon"}))
NETWORK = Subject(Kind.VANTAGE, "network", Scope("network"))
TRUNK = Subject(Kind.TARGET, "twilio", Scope("twilio", role="trunk"))
RECEPTION = Subject(Kind.EXTENSION, "1001", LYON, title="Reception")
WHERE = "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75"


def own(name: str) -> Subject:
    """A part of sipwatch itself."""
    return Subject(Kind.SELF, name, Scope(name))


def twilio(name: str, title: str = "") -> Subject:
    """What Twilio reports about."""
    return Subject(Kind.TWILIO, name, Scope(name), title=title)


def incident(
    subject: Subject = RECEPTION,
    rule: str = "ExtensionUnregistered",
    state: State = State.UNREGISTERED,
    severity: Severity = Severity.WARNING,
    **more: object,
) -> Incident:
    """An open incident of 10:02:14."""
    fields: dict[str, object] = {
        "id": 4711,
        "family": "liveness",
        "since": at("10:02:14"),
        "opened_at": at("10:04:14"),
    } | more
    return Incident(
        subject=subject, rule=rule, state=state, severity=severity, **fields
    )  # type: ignore[arg-type]


def batch(
    *incidents: Incident,
    change: Told = Told.FIRING,
    late: bool = False,
    step: int = 0,
    id: str = "b1",
    thread: str = "b1",
) -> Batch:
    """A batch that tells these incidents."""
    rows = tuple(
        Delivery(one, "oncall", "g", wanted=change, step=step) for one in incidents
    )
    return Batch(id, "oncall", change, rows, thread, late)


def reception(**more: object) -> Incident:
    """The phone of the reception, gone by expiry."""
    fields: dict[str, object] = {
        "loss": Loss.EXPIRED,
        "detail": "its registration expired after the 60 s granted: "
        "the phone did not refresh it",
        "last_seen": WHERE,
        "evidence": (
            Fact(at("10:00:44"), "refresh, 60 s granted"),
            Fact(at("10:01:14"), "refresh, 60 s granted"),
            Fact(at("10:02:14"), "end"),
            Fact(at("10:02:15"), "read, no binding"),
        ),
    } | more
    return incident(**fields)  # type: ignore[arg-type]


def trunk(rule: str, state: State = State.DOWN, **more: object) -> Incident:
    """The trunk in some trouble."""
    fields: dict[str, object] = {"severity": Severity.CRITICAL} | more
    return incident(TRUNK, rule, state, **fields)  # type: ignore[arg-type]


def registration(state: State = State.FAILING, **more: object) -> Incident:
    """A registration that hq keeps at a provider, lost."""
    fields: dict[str, object] = {
        "severity": Severity.CRITICAL,
        "last_seen": "sip:line1@sip.example.com at sip:sip.example.com",
    } | more
    subject = Subject(Kind.REGISTRATION, "line1", PARIS_HQ)
    return incident(subject, "OutboundRegistrationLost", state, **fields)  # type: ignore[arg-type]


def account(state: State = State.REJECTED, **more: object) -> Incident:
    """An account of ours that cannot register."""
    fields: dict[str, object] = {
        "severity": Severity.CRITICAL,
        "last_seen": "203.0.113.9:5061 over TLS",
    } | more
    subject = Subject(Kind.ACCOUNT, "line1", Scope("line1"))
    return incident(subject, "RegisterFailing", state, **fields)  # type: ignore[arg-type]


def ended(**more: object) -> dict[str, object]:
    """What an incident has more when it is over."""
    return {"resolved_at": BACK, "ended_at": at("10:16:20")} | more


def cut_off(state: State = State.DOWN, **more: object) -> Incident:
    """This host, without a network."""
    fields: dict[str, object] = {
        "severity": Severity.CRITICAL,
        "detail": "0 of 3 answer, and this host has no way to the others",
        "evidence": (
            Fact(at("10:02:14"), "gateway: Network is unreachable"),
            Fact(at("10:02:14"), "dns: Network is unreachable"),
        ),
    } | more
    return incident(NETWORK, "VantageLost", state, **fields)  # type: ignore[arg-type]


def phones(count: int, **more: object) -> list[Incident]:
    """Several phones of Lyon, lost one second after the other."""
    return [
        incident(
            Subject(Kind.EXTENSION, f"{1001 + n}", LYON, title="Desk"),
            id=4711 + n,
            since=at("10:02:14") + n,
            loss=Loss.EXPIRED if n else Loss.CONNECTION_LOST,
            last_seen=f"10.20.0.{31 + n}:5060 over UDP",
            **more,  # type: ignore[arg-type]
        )
        for n in range(count)
    ]


def mass(subject: Subject = BRANCH, crowd: Crowd | None = None, **more) -> Incident:
    """The phones of a branch, lost at once."""
    fields: dict[str, object] = {
        "id": 4712,
        "opened_at": at("10:02:46"),
        "family": "mass",
        "severity": Severity.CRITICAL,
        "crowd": crowd or lost(31),
    } | more
    return incident(subject, "MassUnregistration", State.OK, **fields)  # type: ignore[arg-type]


def lost(missing: int, **more) -> Crowd:
    """31 of the 40 phones of the branch, of which so many are missing."""
    fields: dict[str, object] = {
        "lost": 31,
        "of": 40,
        "missing": missing,
        "through": ("hq",),
        "common": "subnet 10.20.0.0/24 (31 of 31)",
        "factor": "subnet",
        "listed": tuple(
            Fact(
                at("10:02:14") + n // 4,
                f"{1001 + n} Desk, 10.20.0.{31 + n}:5060 over UDP, Yealink SIP-T46U",
            )
            for n in range(min(missing, 20))
        ),
    } | more
    return Crowd(**fields)  # type: ignore[arg-type]


REFUSED = {"cause": Cause.CONNECTION_REFUSED, "detail": "AMI: connection refused"}
FOUR_SENDS = {
    "cause": Cause.TIMEOUT,
    "detail": "4 sends to 54.172.60.0:5060 over UDP, no answer",
    "evidence": (
        Fact(at("10:01:14"), "200 OK after 38 ms"),
        Fact(at("10:02:14"), "no answer to 4 sends in 5 s"),
        Fact(at("10:02:34"), "no answer to 4 sends in 5 s"),
    ),
}
_SILENT = {
    "cause": Cause.TIMEOUT,
    "detail": "its server does not answer OPTIONS; the PBX still says that it is "
    "registered, but will know better only at its next refresh",
    "evidence": (
        Fact(at("10:01:44"), "the PBX said that it is registered"),
        Fact(at("10:02:14"), "OPTIONS to sip:sip.example.com fails, 3 in a row"),
    ),
}
_WRONG_PASSWORD = {
    "cause": Cause.WRONG_PASSWORD,
    "detail": "the PBX knows line1, and the password is wrong",
    "evidence": (
        Fact(at("10:02:14"), "REGISTER: 401 Unauthorized after a digest"),
        Fact(at("10:03:14"), "REGISTER: 401 Unauthorized after a digest"),
    ),
}
FAILING = {"state": State.FAILING}
_READ_FAILS = {"state": State.UNREADABLE, **REFUSED}

CASES: dict[str, Batch] = {
    "unregistered": batch(reception()),
    "unregistered-worse": batch(
        reception(since=at("10:00:14")), change=Told.WORSE, id="b2"
    ),
    "unregistered-repeat": batch(reception(since=at("22:10:00", 20)), step=1, id="b3"),
    "unregistered-resolved": batch(
        reception(state=State.REGISTERED, **ended()), change=Told.RESOLVED, id="b4"
    ),
    "unregistered-late": batch(
        reception(state=State.REGISTERED, **ended()), change=Told.RESOLVED, late=True
    ),
    "unregistered-closed": batch(
        reception(closed="no longer watched", **ended()), change=Told.RESOLVED
    ),
    "logged-out": batch(reception(loss=Loss.DEREGISTERED, detail="", evidence=())),
    "never-registered": batch(
        incident(
            state=State.NEVER_REGISTERED,
            severity=Severity.CRITICAL,
            detail="it has not registered since it is watched",
        )
    ),
    "unreachable": batch(
        incident(
            rule="ExtensionUnreachable",
            state=State.UNREACHABLE,
            cause=Cause.UNREACHABLE_CONTACT,
            detail="it is registered, but does not answer the PBX's OPTIONS",
            last_seen=WHERE,
        )
    ),
    "mass": batch(mass()),
    "mass-known": batch(
        mass(
            HQ,
            lost(
                6,
                of=212,
                common="phones by Yealink (6 of 9)",
                factor="agent",
                told_before=2,
            ),
        )
    ),
    "mass-resolved": batch(
        mass(crowd=lost(2), **ended()), change=Told.RESOLVED, id="b10"
    ),
    "flapping": batch(
        incident(
            rule="Flapping",
            family="flapping",
            detail="6 changes of state",
            last_seen=WHERE,
        )
    ),
    "flapping-resolved": batch(
        incident(
            rule="Flapping",
            family="flapping",
            state=State.REGISTERED,
            detail="8 changes of state",
            **ended(),  # type: ignore[arg-type]
        ),
        change=Told.RESOLVED,
        id="b11",
    ),
    "vantage-lost": batch(cut_off()),
    "vantage-late": batch(
        cut_off(state=State.UP, **ended()), change=Told.RESOLVED, late=True
    ),
    "several": batch(*phones(3)),
    "many": batch(*phones(31, severity=Severity.CRITICAL)),
    "many-resolved": batch(
        *phones(3, state=State.REGISTERED, **ended()), change=Told.RESOLVED, id="b5"
    ),
    "mixed": batch(*phones(2), trunk("OptionsFailing", id=4800, **FOUR_SENDS)),
    "options-failing": batch(trunk("OptionsFailing", **FOUR_SENDS)),
    "options-failing-503": batch(trunk("OptionsFailing", cause=Cause.OVERLOADED)),
    "options-failing-dns": batch(trunk("OptionsFailing", cause=Cause.DNS_NXDOMAIN)),
    "options-failing-tls": batch(
        trunk(
            "OptionsFailing",
            cause=Cause.TLS_VERIFY,
            detail="the certificate is for *.example.org; not for sip.example.com",
        )
    ),
    "options-failing-resolved": batch(
        trunk("OptionsFailing", State.UP, **(FOUR_SENDS | ended())),
        change=Told.RESOLVED,
        id="b6",
    ),
    "degraded": batch(
        trunk("TargetDegraded", State.DEGRADED, cause=Cause("response_500"))
    ),
    "slow": batch(
        trunk(
            "OptionsSlow",
            State.UP,
            severity=Severity.WARNING,
            detail="612 ms on average",
        )
    ),
    "retransmits": batch(
        trunk(
            "RetransmitsHigh",
            State.UP,
            severity=Severity.INFO,
            detail="8 of 20 probes",
        )
    ),
    "certificate-expiring": batch(
        trunk(
            "CertificateExpiring",
            State.UP,
            severity=Severity.WARNING,
            detail="in 13 days, on 4 Dec",
        )
    ),
    "certificate-critical": batch(
        trunk("CertificateCritical", State.UP, detail="in 2 days, on 23 Nov")
    ),
    "certificate-expired": batch(
        trunk("CertificateCritical", State.DOWN, cause=Cause.TLS_EXPIRED)
    ),
    "registration-lost": batch(registration(**_SILENT)),  # type: ignore[arg-type]
    "registration-refused": batch(
        registration(
            State.REJECTED,
            cause=Cause.FORBIDDEN,
            detail="its server answers OPTIONS, but refuses the registration; "
            "Asterisk says Rejected",
        )
    ),
    "registration-resolved": batch(
        registration(State.OK, **(_SILENT | ended())),  # type: ignore[arg-type]
        change=Told.RESOLVED,
        id="b7",
    ),
    "registration-closed": batch(
        registration(closed="the PBX no longer has it", **ended()),
        change=Told.RESOLVED,
    ),
    "account-refused": batch(account(**_WRONG_PASSWORD)),  # type: ignore[arg-type]
    "account-blocked": batch(
        account(
            State.FAILING,
            cause=Cause.TRANSPORT_BLOCKED,
            detail="UDP 5060 is blocked, TLS 5061 answers",
            last_seen="203.0.113.9:5060 over UDP",
        )
    ),
    "account-in-use": batch(
        account(
            State.FAILING,
            severity=Severity.WARNING,
            cause=Cause.IN_USE,
            detail="a phone is registered as line1@sip.example.com (sip:line1@10.20.0."
            "31:5060); the test contact was not registered, so as not to throw it out",
        )
    ),
    "account-resolved": batch(
        account(State.OK, **(_WRONG_PASSWORD | ended())),  # type: ignore[arg-type]
        change=Told.RESOLVED,
        id="b9",
    ),
    "refresh-overdue": batch(
        incident(
            rule="RefreshOverdue",
            state=State.REGISTERED,
            severity=Severity.INFO,
            detail="its refresh is 4 min late, its registration ends in 22 min",
            last_seen=WHERE,
            evidence=(
                Fact(at("09:28:10"), "last refresh"),
                Fact(at("09:59:12"), "refresh due by its habit"),
                Fact(at("10:02:14"), "read, no refresh"),
                Fact(at("10:28:10"), "end of its registration"),
            ),
        )
    ),
    "few-contacts": batch(
        incident(
            rule="FewContacts",
            state=State.REGISTERED,
            detail="1 of 2 contacts",
        )
    ),
    "contacts-silent": batch(
        incident(
            HQ,
            "ContactsSilent",
            State.READABLE,
            detail="all 40 contacts that answered our OPTIONS before are silent",
        )
    ),
    "registration-policy": batch(
        incident(
            rule="RegistrationPolicy",
            state=State.REGISTERED,
            severity=Severity.INFO,
            detail="3600 s granted, more than 120 s",
        )
    ),
    "registration-policy-resolved": batch(
        incident(
            rule="RegistrationPolicy",
            state=State.REGISTERED,
            severity=Severity.INFO,
            **ended(),
        ),
        change=Told.RESOLVED,
        id="b11",
    ),
    "registration-audit": batch(
        incident(
            HQ,
            "RegistrationAudit",
            State.READABLE,
            detail="212 of 240 are outside the policy",
            evidence=(
                Fact(None, "200 Yealink over UDP: 3600 s granted (too long)"),
                Fact(
                    None,
                    "12 snom over TLS: 120 s granted, refreshed at 96 % (late)",
                ),
            ),
        )
    ),
    "registrar-unreadable": batch(
        incident(HQ, "RegistrarUnreadable", **_READ_FAILS)  # type: ignore[arg-type]
    ),
    "registrar-no-list": batch(
        incident(
            HQ,
            "RegistrarUnreadable",
            State.UNREADABLE,
            cause=Cause.NO_LIST,
            detail="FreeSWITCH has no `sofia`: mod_sofia is not loaded, or not yet",
        )
    ),
    "registrar-unreadable-worse": batch(
        incident(
            HQ,
            "RegistrarUnreadable",
            severity=Severity.CRITICAL,
            **_READ_FAILS,  # type: ignore[arg-type]
        ),
        change=Told.WORSE,
    ),
    "registrar-restarted": batch(
        incident(
            HQ,
            "RegistrarRestarted",
            State.READABLE,
            detail="31 of 40 back, the rest due by 10:14",
        )
    ),
    "registrar-failed-over": batch(
        incident(
            HQ, "RegistrarFailedOver", State.READABLE, detail="pbx-b is active now"
        )
    ),
    "notifier-failing": batch(
        incident(
            own("notifier/oncall"),
            "NotifierFailing",
            detail="mail server mail.example.com:587 says 535 authentication failed",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "heartbeat-failing": batch(
        incident(
            own("heartbeat"),
            "HeartbeatFailing",
            detail="hc-ping.com:443: no answer within 10 s",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "store-failing": batch(
        incident(
            own("store"),
            "StoreFailing",
            detail="database or disk is full",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "config-not-reloaded": batch(
        incident(
            own("configuration"),
            "ConfigNotReloaded",
            detail="sipwatch.yaml:14:5: targets.twilio.intervall: unknown key",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "resolver-failing": batch(
        incident(own("resolver"), "ResolverFailing", **FAILING)  # type: ignore[arg-type]
    ),
    "clock-jump": batch(
        incident(
            own("clock"),
            "ClockJump",
            detail="set back by 35 s",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "unavailable-rate": batch(
        incident(
            own("calls"),
            "UnavailableRate",
            detail="12 of 40 calls of the last 5 min were answered 480 (usually 4 %)",
            family="calls",
            state=State.OK,
        )
    ),
    "receive-buffer": batch(
        incident(
            own("receive-buffer"),
            "ReceiveBufferDrops",
            detail="212 answers, 300 since the start",
            **FAILING,  # type: ignore[arg-type]
        )
    ),
    "twilio-user": batch(
        incident(
            twilio("204@acme.sip.twilio.com", "Reception"),
            "TwilioAlert",
            state=State.DEGRADED,
            family="alert",
            cause=Cause.of_twilio(32009),
            detail="Twilio 32009 for 204 at 10:02 (3 times); "
            "204 unregistered at hq since 09:58",
            evidence=(
                Fact(at("09:58:10"), "204 unregistered at hq"),
                Fact(at("10:02:14"), "Twilio 32009 (warning): not registered"),
            ),
        )
    ),
    "twilio-account": batch(
        incident(
            twilio("32010/"),
            "TwilioAlert",
            state=State.FAILING,
            family="alert",
            severity=Severity.CRITICAL,
            cause=Cause.of_twilio(32010),
            detail="Twilio 32010 at 10:02",
            evidence=(Fact(at("10:02:14"), "Twilio 32010 (error)"),),
        )
    ),
    "twilio-several": batch(
        *(
            incident(
                twilio(f"32202/{user}@acme.sip.twilio.com"),
                "TwilioAlert",
                state=State.DEGRADED,
                family="alert",
                cause=Cause.of_twilio(32202),
            )
            for user in ("204", "205")
        )
    ),
    "twilio-unreadable": batch(
        incident(
            twilio("account"),
            "TwilioUnreadable",
            state=State.UNREADABLE,
            detail="monitor.twilio.com answers 401 Unauthorized: Authenticate",
        )
    ),
    "own-rule": batch(reception(rule="VipPhones", severity=Severity.CRITICAL)),
    "own-rule-figures": batch(
        trunk(
            "TrunkVerySlow",
            State.UP,
            family="TrunkVerySlow",
            detail="1400 ms on average",
        )
    ),
    "own-rule-resolved": batch(
        reception(rule="VipPhones", state=State.REGISTERED, **ended()),
        change=Told.RESOLVED,
        id="b7",
    ),
}
