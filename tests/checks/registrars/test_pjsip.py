from __future__ import annotations

from datetime import datetime

import pytest

from checks.observation import Binding, Loss
from checks.registrars.ami import AmiParser, Message
from checks.registrars.pjsip import (
    AUTHS_KEPT,
    Contacts,
    Roster,
    binding,
    startup,
    title,
    title_question,
)
from checks.registrations.judge import Added, Gone, Reach, Reading
from checks.registrations.readings import key
from tests import wire

UDP = "sip:1001@10.0.0.31:5060"
TCP = "sip:1001@10.0.0.31:5060;transport=TCP"
WSS = "sips:1001@10.0.0.31:5060;transport=wss"


def status(word: str, uri: str = UDP, **more: str) -> Message:
    event = {"Event": "ContactStatus", "URI": uri, "ContactStatus": word}
    return {**event, "AOR": "1001", "EndpointName": "1001", **more}


def authentication(account: str = "1001", service: str = "PJSIP") -> Message:
    return {"Event": "SuccessfulAuth", "Service": service, "AccountID": account}


def listed(end: float, **row: str) -> Binding:
    return binding({"AOR": "1001", "URI": UDP, "RegExpire": f"{end:.0f}", **row})


def messages(log: str) -> list[Message]:
    parser = AmiParser()
    return parser.feed(wire.lines(wire.read(log)) + b"\r\n\r\n")


def test_a_contact_is_known_by_a_number_of_its_own() -> None:
    pairs = [(f"{n}", f"sip:{n}@10.0.0.{n % 250}") for n in range(20_000)]
    assert len({key(*pair) for pair in pairs}) == len(pairs)
    assert all(0 <= key(*pair) < 2**60 for pair in pairs)
    assert key("1001", UDP) == key("10" + "01", UDP)
    assert key("1001", UDP) != key("1001", TCP)
    assert key("1", "001") != key("10", "01") != key("01", "10")


def test_a_first_status_is_a_binding_and_later_ones_its_reach() -> None:
    contacts = Contacts()
    read = [
        contacts.status(status("NonQualified"), 100.0),
        contacts.status(status("Reachable", RoundtripUsec="1500"), 100.1),
        contacts.status(status("Unreachable", RoundtripUsec="0"), 105.0),
    ]
    assert read == [
        Added(Binding("1001", UDP), 100.0),
        Reach("1001", UDP, True, 0.0015, 100.1),
        Reach("1001", UDP, False, None, 105.0),
    ]


@pytest.mark.parametrize(
    ("uri", "end", "authenticated", "at", "loss"),
    [
        (UDP, 160.0, None, 150.0, Loss.UNKNOWN),
        (UDP, 160.0, 149.0, 150.0, Loss.DEREGISTERED),
        (UDP, 160.0, 147.9, 150.0, Loss.UNKNOWN),
        (UDP, 160.0, None, 160.0, Loss.EXPIRED),
        (UDP, 160.0, None, 189.0, Loss.EXPIRED),
        (UDP, 160.0, 186.9, 189.0, Loss.EXPIRED),
        (UDP, 160.0, 188.9, 189.0, Loss.DEREGISTERED),  # refreshed since that end
        (UDP, None, 149.0, 150.0, Loss.DEREGISTERED),
        (TCP, 160.0, None, 150.0, Loss.CONNECTION_LOST),
        (TCP, 160.0, 149.0, 150.0, Loss.DEREGISTERED),
        (TCP, 160.0, None, 161.0, Loss.EXPIRED),
        (WSS, None, None, 150.0, Loss.CONNECTION_LOST),
    ],
)
def test_how_a_contact_was_lost(
    uri: str, end: float | None, authenticated: float | None, at: float, loss: Loss
) -> None:
    # The PBX's clock is 1,000 s ahead of ours.
    pbx_end = None if end is None else end + 1000.0
    contacts = Contacts(offset=1000.0, ends={key("1001", uri): pbx_end})
    if authenticated is not None:
        contacts.authenticated(authentication(), authenticated)

    assert contacts.status(status("Removed", uri), at) == Gone("1001", uri, at, loss)


@pytest.mark.parametrize(
    "event", [authentication("1002"), authentication(service="AMI")]
)
def test_only_the_accounts_own_sip_authentication_counts(event: Message) -> None:
    contacts = Contacts()
    contacts.authenticated(event, 150.0)
    gone = contacts.status(status("Removed"), 150.0)
    assert gone == Gone("1001", UDP, 150.0, Loss.UNKNOWN)


def test_an_events_own_stamp_tells_when_it_was() -> None:
    contacts = Contacts(offset=1000.0)
    late = contacts.status(status("Removed", Timestamp="1150.25"), 152.0)
    ahead = contacts.status(status("Removed", Timestamp="1153.0"), 152.0)
    assert isinstance(late, Gone)
    assert isinstance(ahead, Gone)
    assert (late.at, ahead.at) == (150.25, 152.0)


def test_a_contact_from_the_configuration_is_a_trunk_and_no_binding() -> None:
    contacts = Contacts(trunks={"1001"})
    assert contacts.status(status("Unreachable"), 100.0) is None


def test_trunks_are_told_from_phones_whatever_their_uris_hold() -> None:
    roster = Roster()
    odd = "sip:1,1001/a@10.0.0.1"
    for name, most, contacts in [
        ("1001", "2", f"1001/{odd},1001/sip:1@10.0.0.1;ob"),
        ("1002", "1", f"1002/{odd}"),
        ("carrier", "0", ""),
    ]:
        row = {"ObjectName": name, "MaxContacts": most, "Contact": contacts}
        roster.add(row)
    roster.strike("1001", "sip:1@10.0.0.1;ob")
    roster.strike("1001", odd)
    roster.strike("1003", odd)
    roster.settle()
    assert (list(roster.names), roster.trunks) == (["1001"], {"1002", "carrier"})


def test_authentications_are_kept_no_longer_than_they_are_needed() -> None:
    contacts = Contacts()
    for number in range(3 * AUTHS_KEPT):
        contacts.authenticated(authentication(str(number)), number * 1e-5)
    assert len(contacts.auths) <= AUTHS_KEPT


@pytest.mark.parametrize(
    ("date", "time", "estimate", "expected"),
    [
        ("2026-11-20", "09:41:30", 1795167690.9, 1795167690.0),  # UTC
        ("2026-11-20", "09:41:30", 1795167689.2, 1795167690.0),
        ("2026-11-20", "04:41:30", 1795167690.0, 1795167690.0),  # New York
        ("2026-11-20", "15:26:30", 1795167691.0, 1795167690.0),  # Kathmandu
        ("odd", "", 1795167690.0, None),
    ],
)
def test_boot_time_from_the_pbxs_local_time(
    date: str, time: str, estimate: float, expected: float | None
) -> None:
    core = {"CoreStartupDate": date, "CoreStartupTime": time}
    assert startup(core, estimate) == expected


def test_a_boot_time_in_an_unknown_zone_is_taken_for_this_machines() -> None:
    core = {"CoreStartupDate": "2026-11-20", "CoreStartupTime": "09:41:30"}
    here = datetime(2026, 11, 20, 9, 41, 30).astimezone()
    assert startup(core, None) == here.timestamp()
    assert startup({}, None) is None


def test_a_row_with_nothing_in_it_is_an_empty_binding() -> None:
    assert binding({"Event": "ContactStatusDetail"}) == Binding("", "")
    odd = {"RegExpire": "nan", "RoundtripUsec": "-1", "Status": "Reachable"}
    assert binding(odd) == Binding("", "", reachable=True)


def replay(log: str, lasting: float = 60.0) -> list[Reading]:
    """The readings of a recorded event log; its phones register for `lasting`."""
    contacts = Contacts()
    read: list[Reading] = []
    for event in messages(log):
        now = float(event.get("Timestamp", 0))
        if event.get("Event") == "SuccessfulAuth":
            contacts.authenticated(event, now)
        elif event.get("Event") == "ContactStatus":
            reading = contacts.status(event, now)
            assert reading is not None
            read.append(reading)
            if isinstance(reading, Added):  # as the list that follows it would
                name = key(reading.binding.aor, reading.binding.contact)
                contacts.ends[name] = int(now) + lasting  # Asterisk's whole seconds
    return read


def test_the_recorded_mass_event_tells_logout_from_expiry() -> None:
    read = replay("ami/mass_events.log.gz")
    gone = [r for r in read if isinstance(r, Gone) and len(r.aor) == 5]
    added = [r for r in read if isinstance(r, Added) and len(r.binding.aor) == 5]

    assert len(added) == 2000
    assert [g.loss for g in gone[:2000]] == [Loss.DEREGISTERED] * 2000
    assert [g.loss for g in gone[2000:]] == [Loss.EXPIRED] * 2000
    ends = [g.at - a.at for a, g in zip(added, gone[2000:], strict=True)]
    assert min(ends) >= 60
    assert max(ends) <= 90 + 1  # contact_expiration_check_interval


def test_the_recorded_losses_are_told_apart() -> None:
    read = replay("ami/ami_events_main.log.gz")
    before_restarts = 1795167985.0  # 09:46:25
    gone = [
        (r.aor, str(r.loss))
        for r in read
        if isinstance(r, Gone) and r.at < before_restarts
    ]
    assert gone == [
        ("1001", "unknown"),  # its list was never read
        ("1002", "deregistered"),  # SIGTERM
        ("1006", "deregistered"),  # thrown out by its next contact
        ("1006", "deregistered"),
        ("1001", "expired"),  # SIGKILL
        ("1008", "expired"),
        ("1011", "expired"),  # over TCP
        ("1009", "deregistered"),
        ("1009", "deregistered"),
        ("1003", "expired"),  # SIGSTOP
        ("1019", "expired"),
    ]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('"Reception" <1001>', "Reception"),
        ('"Anna "Ann" O\'Hara" <1001>', 'Anna "Ann" O\'Hara'),
        ('"" <1001>', ""),
        ('"1001" <1001>', ""),
        ("<unknown>", ""),
        ("", ""),
    ],
)
def test_a_caller_id_is_a_name_where_it_has_one(value: str, name: str) -> None:
    assert title({"Value": value}, "1001") == name
    assert title({}, "1001") == ""


def test_a_name_that_would_end_the_question_is_not_put_into_it() -> None:
    assert "callerid" in title_question("1001")["Variable"]
    assert title_question("1)x(")["Variable"] == "PJSIP_ENDPOINT(,callerid)"


# --- what was granted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "end", "authentications", "granted"),
    [
        (1160.0, 1190.0, [130.4], 60),  # it refreshed at 1130.4 of the PBX's clock
        (1160.0, 1190.0, [130.98], 60),
        (1160.0, 1160.0, [130.4], None),  # a call: the end is where it was
        (1160.0, 1190.0, [], None),  # without authentication
        (1160.0, 1190.0, [130.4, 140.0], None),  # a call beside it, before or after
        (None, 1190.0, [130.4], 60),  # new, by an event
    ],
)
def test_what_was_granted_is_from_the_one_authentication_to_the_end(
    before: float | None,
    end: float,
    authentications: list[float],
    granted: int | None,
) -> None:
    contacts = Contacts(offset=1000.0, ends={key("1001", UDP): before})
    for at in authentications:
        contacts.authenticated(authentication(), at)
    row = {"EndpointName": "1001"}
    assert contacts.listed(row, listed(end)).granted == granted


def test_the_account_is_the_endpoint_whatever_its_aor_is_called() -> None:
    contacts = Contacts(ends={key("1001", UDP): 160.0})
    contacts.authenticated(authentication("desk-1"), 130.0)
    assert contacts.listed({"EndpointName": "desk-1"}, listed(190.0)).granted == 60
    assert contacts.listed({"EndpointName": "1001"}, listed(190.0)).granted is None


def test_of_a_contact_that_no_list_had_before_nothing_is_concluded() -> None:
    contacts = Contacts()
    contacts.authenticated(authentication(), 130.0)  # a call, of one long registered
    assert contacts.listed({"EndpointName": "1001"}, listed(3190.0)).granted is None
