"""`sipwatch probe`: ask once, say what answers, exit as monitoring plugins do.

Imports little, as a monitoring system starts it every minute: lists of plain addresses
need neither asyncio nor a resolver. What came from the network passes through `plain`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.observation import Cause, State, plain
from checks.options.probe import ProbeResult, probe
from checks.options.targets import (
    TargetTls,
    address_family,
    check_uri,
    floor_of,
    healthy_codes,
    read_file,
)
from checks.settings import duration
from sipwatch import __version__
from sipwatch.commands.terminal import columns

if TYPE_CHECKING:
    from checks.options.views import AddressView
    from checks.sip.resolver import Resolver

STATUS = {State.UP: 0, State.DEGRADED: 1, State.DOWN: 2}
MISUSED = 3  # UNKNOWN to a monitoring system
DAY = 86400.0
GAP = "   "
INDENT = " " * 10
ALIGNED = 48  # characters; a longer field moves its own line only

Row = list[str]  # the fields of a line, the state first


def run(
    *,
    uris: Sequence[str],
    targets: str | None,
    timeout: str,
    from_uri: str | None,
    user_agent: str | None,
    source: str | None,
    ca_file: str | None,
    nameserver: str | None = None,
    healthy: str | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Ask and print; the exit status."""
    agent = f"sipwatch/{__version__}"
    try:
        asked = _asked(uris, targets)
        options = _options(timeout, from_uri, user_agent, source, ca_file, healthy)
        if nameserver:
            options["resolver"] = _resolver(nameserver, options["timeout"])
        _claim(asked)
        results = probe(asked, agent=agent, exchange=verbose, **options)
    except (ValueError, OSError) as error:
        for line in _said(error, source):
            print(f"sipwatch probe: {line}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("sipwatch probe: stopped", file=sys.stderr)
        return MISUSED
    if as_json:
        _print_json(results, verbose)
    else:
        print("\n".join(_lines(results, verbose, options["timeout"], columns())))
    return max(STATUS[result.state] for result in results)


def _asked(uris: Sequence[str], file: str | None) -> list[str]:
    wrong = []
    for uri in uris:
        try:
            check_uri(uri)
        except ValueError as error:
            wrong.append(plain(str(error)))
    if wrong:
        raise ValueError("\n".join(wrong))
    asked = [*uris, *(read_file(Path(file)) if file else ())]
    if not asked:
        raise ValueError("no target: give a SIP URI, or a file by --targets")
    return asked


def _claim(asked: Sequence[str]) -> None:
    """Leave alone who bans those that ask too often; TooSoonError."""
    if any(floor_of(uri, 0.0) for uri in asked):
        from sipwatch import floors

        floors.claim(floors.options(asked))


def _options(
    timeout: str,
    from_uri: str | None,
    user_agent: str | None,
    source: str | None,
    ca_file: str | None,
    healthy: str | None,
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "timeout": duration(timeout),
        "from_": from_uri or "",
        "user_agent": user_agent or "",
        "source": source or "",
    }
    if healthy:
        options["healthy_codes"] = healthy_codes(
            [code.strip() for code in healthy.split(",") if code.strip()]
        )
    if ca_file:
        with open(ca_file, "rb"):  # a wrong name is told now, not as the peer's fault
            options["tls"] = TargetTls(ca=ca_file)
    return options


def _resolver(server: str, timeout: float) -> Resolver:
    from checks.sip.resolver import Resolver

    ip, port = server.strip("[]"), 53
    if "]:" in server or server.count(":") == 1:
        host, _, digits = server.rpartition(":")
        ip, port = host.strip("[]"), int(digits) if digits.isdigit() else 0
    address_family(ip)
    if not 0 < port < 65536:
        raise ValueError(f"{server!r}: the port of a name server is 1 to 65535")
    return Resolver([ip], port, timeout)


def _said(error: ValueError | OSError, source: str | None) -> list[str]:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error).split("\n")
    what = error.filename or (f"cannot send from {source}" if source else "")
    return [f"{what}: {error.strerror}" if what else error.strerror]


# --- for people -----------------------------------------------------------------------


def _lines(
    results: Sequence[ProbeResult], verbose: bool, timeout: float, width: int
) -> Iterator[str]:
    now = time.time()
    rows = [_row(result, now) for result in results]
    texts = _folded(rows, width)
    if len(results) == 1:
        text = texts[0].replace("|", "¦")  # a monitoring system splits there
        figures = f"| {_figures(results[0], timeout, now)}"
        fits = len(text.rpartition("\n")[2]) + 1 + len(figures) <= width
        texts = [f"{text} {figures}" if fits else f"{text}\n{INDENT}{figures}"]
    for result, text in zip(results, texts, strict=True):
        yield text
        if len(result.addresses) > 1:
            each = [_address_row(address, now) for address in result.addresses]
            yield from _folded(each, width, 2)
        if verbose:
            from checks.sip.trace import ladder

            yield f"\n{ladder(result.exchange)}"


def _row(result: ProbeResult, now: float) -> Row:
    fields = [
        result.state,
        plain(result.uri, 512),
        _answer(result.code, result.reason, result.cause),
        result.address,
    ]
    if result.rtt is not None:
        fields.append(_ms(result.rtt))
        if result.sends > 1:
            fields.append(f"at send {result.sends}")
    elif result.cause is Cause.TIMEOUT:
        fields.append(f"{result.sends} sends" if result.sends > 1 else "")
    else:
        fields.append(plain(result.detail.partition(";")[0]))
    if result.not_after is not None:
        fields.append(_certificate(result.not_after, now))
    return fields


def _address_row(view: AddressView, now: float) -> Row:
    took = "" if view.rtt is None or not view.answered else _ms(view.rtt)
    code = view.code if view.answered else None
    fields = [
        view.state or "unknown",
        f"{view.address} {view.transport}",
        _answer(code, view.reason, view.cause),
        took,
    ]
    if view.not_after is not None:
        fields.append(_certificate(view.not_after, now))
    return fields


def _answer(code: int | None, words: str, cause: Cause | None) -> str:
    if code is not None:
        return plain(f"{code} {words}".rstrip(), 60)
    if cause is None:
        return ""
    from alerting.notification.causes import (
        reason,  # all the words for mails: not for a plain 200
    )

    return reason(cause).short


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _days(not_after: float, now: float) -> int:
    return int((not_after - now) // DAY)


def _exact_days(not_after: float | None, now: float) -> float | None:
    return None if not_after is None else round((not_after - now) / DAY, 1)


def _certificate(not_after: float, now: float) -> str:
    days = _days(not_after, now)
    return f"certificate {days} days" if days >= 0 else "certificate expired"


def _folded(rows: Sequence[Row], width: int, indent: int = 0) -> list[str]:
    """Each row as a text: one line, or two where one of them all does not fit."""
    widths = [
        max((len(field) for field in column if len(field) <= ALIGNED), default=0)
        for column in zip(*(row[:4] for row in rows), strict=True)
    ]
    lines = [_line(row, widths, indent) for row in rows]
    if all(len(line) <= width for line in lines):
        return lines
    edge = " " * indent + INDENT
    below = [edge + _joined(row[2:], widths[2:]) for row in rows]
    if any(len(line) > width for line in below):
        below = [edge + _joined(row[2:], ()) for row in rows]
    heads = [_line(row[:2], widths, indent) for row in rows]
    return [f"{head}\n{rest}" for head, rest in zip(heads, below, strict=True)]


def _line(row: Row, widths: Sequence[int], indent: int) -> str:
    state = f"{' ' * indent}{row[0]:<{len(INDENT)}}"
    return (state + _joined(row[1:], widths[1:])).rstrip()


def _joined(fields: Sequence[str], widths: Sequence[int]) -> str:
    """Fields in columns; those without a width as they are, where there is one."""
    padded = [field.ljust(width) for field, width in zip(fields, widths, strict=False)]
    padded += [field for field in fields[len(widths) :] if field]
    return GAP.join(padded).rstrip()


# --- for programs ---------------------------------------------------------------------


def _figures(result: ProbeResult, timeout: float, now: float) -> str:
    """Performance data: 'label'=value[unit];[warn];[crit];[min];[max]."""
    took = "U" if result.rtt is None else f"{result.rtt:.6f}s"
    figures = [f"rtt={took};;;0;{timeout:g}", f"sends={result.sends};;;0"]
    if result.not_after is not None:
        figures.append(f"certificate_days={_days(result.not_after, now)}")
    return " ".join(figures)


def _print_json(results: Sequence[ProbeResult], verbose: bool) -> None:
    import json

    now = time.time()
    shown = [_as_json(result, now) for result in results]
    if verbose:
        from checks.sip.trace import ladder

        for entry, result in zip(shown, results, strict=True):
            entry["exchange"] = ladder(result.exchange)
    print(json.dumps(shown, indent=2))


def _as_json(result: ProbeResult, now: float) -> dict[str, Any]:
    return {
        "uri": result.uri,
        "state": result.state,
        "cause": result.cause,
        "code": result.code,
        "reason": plain(result.reason),
        "address": result.address,
        "transport": result.transport,
        "rtt": result.rtt,
        "sends": result.sends,
        "certificate_days": _exact_days(result.not_after, now),
        "detail": plain(result.detail),
        "agent": plain(result.agent),
        "addresses": [
            {
                "address": view.address,
                "transport": view.transport,
                "state": view.state,
                "cause": view.cause,
                "code": view.code if view.answered else None,
                "rtt": view.rtt if view.answered else None,
                "certificate_days": _exact_days(view.not_after, now),
                "detail": plain(view.detail),
            }
            for view in result.addresses
        ],
    }
