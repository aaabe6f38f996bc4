"""What the rungs come to: one sentence, and what to do, the first thing first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from checks.cause import Finding, classify
from checks.observation import Cause, State, plain
from sipwatch.diagnosis.network import Network
from sipwatch.diagnosis.roads import SOON, Road
from sipwatch.diagnosis.rung import Verdict

# What a registrar says of an account that is no matter of the way there.
_CREDENTIALS = (Cause.UNAUTHORIZED, Cause.WRONG_PASSWORD, Cause.UNKNOWN_USER)
MASKED = "***"  # what is shown of a password in a URI


class Problem(NamedTuple):
    """One thing that is wrong."""

    clause: str  # of a sentence
    steps: tuple[str, ...]
    cause: Cause | None = None


def of_network(network: Network) -> Verdict:
    """The verdict on a URI that nobody else knows of."""
    finding = _finding(network)
    return verdict(network, problems_of(network, finding), finding)


def problems_of(network: Network, finding: Finding | None = None) -> list[Problem]:
    """All that is wrong on the way there, and with its answer."""
    problems = list(_problems(network))
    finding = finding or _finding(network)
    if finding is not None and finding.cause is not None:
        problems.append(Problem(finding.sentence, finding.steps, finding.cause))
    return problems


def verdict(
    network: Network, problems: list[Problem], finding: Finding | None = None
) -> Verdict:
    """A sentence of all problems, and their steps."""
    uri = network.quest.uri
    if uri.password is not None:
        uri = replace(uri, password=MASKED)
    subject = str(uri)
    if not problems:
        return Verdict(subject=subject, ok=True, reached=True, sentence=_well(network))
    return Verdict(
        subject=subject,
        ok=False,
        reached=bool(network.answer or network.called),
        sentence=sentence([problem.clause for problem in problems]),
        cause=next((p.cause for p in problems if p.cause is not None), None),
        confidence=finding.confidence if finding else None,
        steps=tuple(dict.fromkeys(step for p in problems for step in p.steps)),
        evidence=finding.evidence if finding else (),
    )


def sentence(clauses: list[str]) -> str:
    """Clauses as one sentence, without its full stop."""
    whole = clauses[0]
    if len(clauses) > 1:
        whole = ", ".join(clauses[:-1]) + f", and {clauses[-1]}"
    return whole


def _well(network: Network) -> str:
    answer, name = network.answer, network.quest.named
    if network.rings:
        return f"nothing is wrong: {name} rings"
    over = network.taken.upper()
    said = f"answers OPTIONS over {over} with {answer.status}" if answer else "is there"
    accepted = f" and accepts {name}" if network.registered else ""
    return f"nothing is wrong: {network.quest.uri.host} {said}{accepted}"


def _finding(network: Network) -> Finding | None:
    """Why it answers as it does; None where it answers well, or not at all."""
    if network.called is not None and not network.rings:
        return classify(network.evidence())
    silent = network.answer is None and network.passed_on
    bad = network.answer is not None and not network.healthy
    if network.called is None and (silent or bad):
        return classify(network.evidence())
    return None


# --- problems -------------------------------------------------------------------------


def _problems(network: Network) -> Iterator[Problem]:
    name = network.wrong_name
    if name is not None:
        step = f"write {name.meant}" if name.meant else "write the name as it is there"
        yield Problem(name.problem, (step,), Cause.WRONG_NAME)
    if network.lost is not None:
        # That a name which nobody can have is not in the DNS is the same once more.
        if name is None or network.lost.cause is not Cause.DNS_NXDOMAIN:
            yield _nameless(network)
        return
    yield from _of_roads(network)
    if network.mute:
        yield _mute(network)
    yield from _of_certificate(network)
    yield from _of_account(network)
    for found in network.provider.wrong:
        yield Problem(found.said, (found.step,))
    if network.call_failed is not None:
        detail = plain(network.call_failed.detail)
        yield Problem(f"the call had no answer ({detail})", ("read its log",))


def _nameless(network: Network) -> Problem:
    error, host = network.lost, network.quest.uri.host
    if error is not None and error.cause is Cause.DNS_NXDOMAIN:
        step = f"check the spelling of {host}, and that the domain has not lapsed"
    else:
        step = "check the resolvers of this host (/etc/resolv.conf)"
    cause = error.cause if error else None
    return Problem(plain(error.detail) if error else "", (step,), cause)


def _of_roads(network: Network) -> Iterator[Problem]:
    wanted = network.roads.get(network.wanted)
    if wanted is None or not wanted.shut:
        return
    if wanted.open:
        shut = ", ".join(str(place) for place, _ in wanted.shut)
        clause = f"{shut} does not answer over {wanted.transport.upper()}"
        yield Problem(clause, (f"look after {shut}: the others answer",), wanted.cause)
        return
    if not network.taken:
        yield _nothing_answers(network)
        return
    yield _blocked(network, wanted)


def _blocked(network: Network, wanted: Road) -> Problem:
    """What is asked for is shut, and another way is open."""
    shut = [road for road in network.roads.values() if not road.open]
    shut.sort(key=lambda road: road is not wanted)
    clause = " and ".join(f"{road.name} {road.how}" for road in shut)
    open_ = network.roads[network.taken]
    if wanted.cause in _TLS:
        return _of_tls(network, wanted)
    first = _LET.get(wanted.cause or Cause.UNKNOWN, "look at {name} there")
    keep = "keep" if network.quest.wanted == open_.transport else "write"
    step = first.format(name=wanted.name)
    step += f", or {keep} transport={open_.transport}, which works"
    return Problem(clause, (step,), Cause.TRANSPORT_BLOCKED)


def _of_tls(network: Network, road: Road) -> Problem:
    """It is reached, and its TLS is not to be trusted, or none."""
    host, error = network.quest.uri.host, road.shut[0][1]
    step = _TLS[error.cause].format(name=road.name, host=host)
    detail = "" if error.cause is Cause.TLS_EXPIRED else f" ({plain(error.detail)})"
    return Problem(f"{road.name} {road.how}{detail}", (step,), error.cause)


_TLS = {
    Cause.TLS_VERIFY: "have the certificate issued for {host} by a CA that is trusted "
    "here, or name its own CA (--ca-file, or tls.ca)",
    Cause.TLS_EXPIRED: "renew the certificate there (or set the clock, if that is "
    "wrong)",
    Cause.TLS_HANDSHAKE: "see that it is TLS that {name} speaks, 1.2 or later",
}


def _mute(network: Network) -> Problem:
    """A connection is no answer: a listener of something else takes them, too."""
    host, road = network.quest.uri.host, network.roads[network.taken]
    return Problem(
        f"{host} takes connections on {road.name}, but answers no SIP",
        (f"see that it is the SIP service that listens on {road.name}, and its log",),
        Cause.TIMEOUT,
    )


_LET = {
    Cause.TIMEOUT: "let {name} out",
    Cause.CONNECTION_REFUSED: "have the server listen on {name}, or its firewall let "
    "it in",
    Cause.ICMP_UNREACHABLE: "have the server listen on {name}",
}


def _nothing_answers(network: Network) -> Problem:
    host, roads = network.quest.uri.host, list(network.roads.values())
    wanted = network.roads[network.wanted]
    if wanted.cause in _TLS:
        return _of_tls(network, wanted)
    causes = {road.cause for road in roads}
    if causes == {Cause.TIMEOUT}:
        names = ", ".join(road.name for road in roads)
        return Problem(
            f"nothing at all comes back from {host} ({names})",
            (
                f"see that {host} is up, and the route to it",
                "then a firewall on the way that drops everything, or a ban of this "
                "host there (fail2ban, ACL)",
            ),
            Cause.TIMEOUT,
        )
    # Where nothing else is open, nobody can tell a firewall from nobody there.
    clause = ", ".join(f"{road.name} {_silent_or(road)}" for road in roads)
    up = causes & {Cause.CONNECTION_REFUSED, Cause.CONNECTION_RESET}
    seen = f"{host} is up, but no SIP answers there: " if up else ""
    return Problem(
        f"{seen}{clause}",
        (f"start the SIP service on {host}, or correct the port; then its firewall",),
        wanted.cause,
    )


def _silent_or(road: Road) -> str:
    return "does not answer" if road.cause is Cause.TIMEOUT else road.how


def _of_certificate(network: Network) -> Iterator[Problem]:
    road = network.roads.get("tls")
    if road is None or road.days is None or road.days >= SOON:
        return
    if network.taken == "tls" or network.wanted == "tls":
        clause = f"its certificate ends in {max(0.0, road.days):.0f} days"
        yield Problem(clause, ("renew the certificate there",), Cause.TLS_EXPIRED)


def _of_account(network: Network) -> Iterator[Problem]:
    outcome, account = network.registered, network.quest.account
    if outcome is None or account is None or outcome.state is State.OK:
        return
    clause = plain(outcome.sentence)
    if outcome.cause in _CREDENTIALS:
        clause = f"the credentials of {account.username} are refused"
    yield Problem(clause, (plain(outcome.step),), outcome.cause)
