from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.conftest import (
    MakeSippPhones,
    StartAnswering,
    StartAsterisk,
    StartBaresip,
    StartKamailio,
    StartPostfix,
)
from tests.servers import ServerError, require, until
from tests.servers.asterisk import Asterisk, Extension, Trunk
from tests.servers.kamailio import Kamailio
from tests.servers.loopback import Loopback
from tests.servers.phones import ScriptedPhone, free_port

StartRegistrar = Callable[[], Asterisk | Kamailio]
SHORT = 3  # seconds of a registration that is left to expire


@pytest.fixture(params=["asterisk", "kamailio"])
def registrar(
    request: pytest.FixtureRequest, asterisk: StartAsterisk, kamailio: StartKamailio
) -> Asterisk | Kamailio:
    if request.param == "asterisk":
        return asterisk([Extension("1001", max_contacts=3), Extension("1002")])
    return kamailio({"1001": "secret", "1002": "secret"})


def options(uri: str, transport: str = "udp") -> str:
    """The status line that sipsak gets, or nothing after a second."""
    command = require("sipsak")("-s", uri, "-vv", "-E", transport, "-D", 1, "-A", 1)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shown = (done.stdout + done.stderr).splitlines()
    lines = [line for line in shown if line.startswith("SIP/2.0 ")]
    return lines[0].removeprefix("SIP/2.0 ") if lines else ""


def ami(pbx: Asterisk, user: str, secret: str, until_text: str, *actions: str) -> str:
    """Log in, send actions, and read till a text or the end of the connection."""
    login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\n\r\n"
    with socket.create_connection((pbx.address, pbx.ami_port), 10) as connection:
        connection.sendall(login.encode())
        for action in actions:
            connection.sendall(f"Action: {action}\r\n\r\n".encode())
        text = ""
        while until_text not in text and (data := connection.recv(65536)):
            text += data.decode()
    return text


@pytest.mark.real("asterisk", "kamailio", "baresip")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_real_phone_registers_with_digest_and_de_registers(
    registrar: Asterisk | Kamailio, baresip: StartBaresip, transport: str
) -> None:
    phone = baresip("1001", registrar, transport=transport)
    assert registrar.contacts() == ["1001"]
    assert " 401 Unauthorized" in phone.log()

    phone.stop()

    assert registrar.contacts() == []


@pytest.mark.wall
@pytest.mark.real("asterisk", "kamailio", "baresip")
def test_a_killed_phone_is_bound_till_its_registration_ends(
    registrar: Asterisk | Kamailio, baresip: StartBaresip
) -> None:
    phone = baresip("1001", registrar, expires=SHORT)
    phone.kill9()
    assert registrar.contacts() == ["1001"]

    until(lambda: registrar.contacts() == [], SHORT + 3, "the contact has expired")


@pytest.mark.real("asterisk", "kamailio", "baresip")
def test_a_wrong_password_never_registers(
    registrar: Asterisk | Kamailio, baresip: StartBaresip
) -> None:
    phone = baresip("1001", registrar, "wrong", registers=False)

    until(lambda: phone.log().count("SIP/2.0 401 ") >= 2, 5, "refused twice")

    assert registrar.contacts() == []


@pytest.mark.real("asterisk", "kamailio", "sipp")
def test_many_phones_register_refresh_and_de_register(
    asterisk: StartAsterisk, kamailio: StartKamailio, sipp_phones: MakeSippPhones
) -> None:
    users = [str(number) for number in range(1001, 1041)]
    for registrar in (
        asterisk([Extension(user) for user in users]),
        kamailio(dict.fromkeys(users, "secret")),
    ):
        phones = sipp_phones(users, registrar)
        phones.register()
        assert registrar.contacts() == users
        phones.deregister()
        assert registrar.contacts() == []


@pytest.mark.wall
@pytest.mark.real("asterisk", "sipp")
def test_phones_that_refresh_outlive_their_expires(
    asterisk: StartAsterisk, sipp_phones: MakeSippPhones
) -> None:
    pbx = asterisk([Extension("1001"), Extension("1002")])
    phones = sipp_phones(["1001", "1002"], pbx, expires=2)
    phones.keep_registered(refresh=0.5)
    until(lambda: len(pbx.contacts()) == 2)

    with pytest.raises(ServerError):
        until(lambda: len(pbx.contacts()) < 2, 4)

    phones.kill9()
    until(lambda: pbx.contacts() == [], 6)


@pytest.mark.real("asterisk", "kamailio")
def test_a_scripted_phone_binds_and_unbinds_several_contacts(
    registrar: Asterisk | Kamailio, loopback: Loopback
) -> None:
    address = loopback.address()
    contacts = [f"{address}:{port}" for port in (6001, 6002, 6003)]
    with ScriptedPhone("1001", "secret", registrar.address, address=address) as phone:
        assert phone.register(30, contacts).startswith("SIP/2.0 200 ")
        assert registrar.contacts() == ["1001"] * 3
        assert phone.deregister(contacts[:2]).startswith("SIP/2.0 200 ")
        assert registrar.contacts() == ["1001"]


@pytest.mark.real("asterisk", "baresip")
def test_asterisk_tells_the_monitor_of_contacts_and_of_nothing_else(
    asterisk: StartAsterisk, baresip: StartBaresip
) -> None:
    pbx = asterisk([Extension("1001", callerid="Reception")])
    text = ami(pbx, pbx.user, pbx.secret, "Event: FullyBooted")
    assert "Authentication accepted" in text

    with socket.create_connection((pbx.address, pbx.ami_port), 10) as connection:
        login = f"Action: Login\r\nUsername: {pbx.user}\r\nSecret: {pbx.secret}\r\n\r\n"
        connection.sendall(login.encode())
        baresip("1001", pbx)
        text = ""
        while "ContactStatus: " not in text:
            text += connection.recv(65536).decode()
    assert "TestEvent" not in text
    assert "ChallengeSent" not in text


@pytest.mark.real("asterisk")
def test_asterisk_refuses_what_its_users_may_not(asterisk: StartAsterisk) -> None:
    pbx = asterisk()
    show = "PJSIPShowContacts"

    assert "No Contacts found" in ami(pbx, pbx.user, pbx.secret, "found", show)
    denied = ami(pbx, "norights", "norightspw", "denied", show)
    assert "Permission denied" in denied
    for user, secret in (("denied", "deniedpw"), (pbx.user, "wrong"), ("nobody", "x")):
        assert "Authentication failed" in ami(pbx, user, secret, "failed")


@pytest.mark.real("asterisk", "baresip")
def test_a_restart_keeps_contacts_unless_the_astdb_is_wiped(
    asterisk: StartAsterisk, baresip: StartBaresip
) -> None:
    pbx = asterisk([Extension("1001")])
    baresip("1001", pbx)

    pbx.restart()
    assert pbx.contacts() == ["1001"]
    pbx.restart(killed=True)
    assert pbx.contacts() == ["1001"]
    pbx.restart(wiped=True)
    assert pbx.contacts() == []


@pytest.mark.real("asterisk", "sipsak")
def test_a_frozen_asterisk_accepts_and_says_nothing(asterisk: StartAsterisk) -> None:
    pbx = asterisk()
    pbx.freeze()
    with socket.create_connection((pbx.address, pbx.ami_port), 2) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
    assert options(pbx.uri) == ""

    pbx.thaw()

    assert "Asterisk Call Manager" in ami(pbx, pbx.user, pbx.secret, "Manager")


@pytest.mark.real("asterisk", "sipsak")
def test_asterisk_answers_the_watcher_and_challenges_others(
    asterisk: StartAsterisk, loopback: Loopback
) -> None:
    assert options(asterisk().uri) == "200 OK"
    stranger = asterisk(watcher=loopback.address())
    assert options(stranger.uri, "tcp") == "401 Unauthorized"


@pytest.mark.real("asterisk", "sipp")
def test_a_trunk_has_a_permanent_contact_and_no_binding(
    asterisk: StartAsterisk, answering: StartAnswering
) -> None:
    provider = answering(200, port=5060)
    contact = f"sip:{provider.address}:{provider.port}"
    pbx = asterisk(trunks=[Trunk("twilio", contact, qualify_frequency=1)])

    until(lambda: "Avail" in pbx.cli("pjsip show contacts"), 5, "the trunk answers")

    shown = pbx.cli("database show registrar")
    assert "0 results found" in shown


@pytest.mark.real("kamailio", "sipsak")
def test_kamailio_answers_for_itself_and_480_for_the_unregistered(
    kamailio: StartKamailio,
) -> None:
    registrar = kamailio({"2001": "secret"})

    assert options(registrar.uri) == "200 OK"
    assert options(f"sip:2001@{registrar.address}") == "480 Temporarily Unavailable"
    registrar.mode("503")
    assert options(registrar.uri) == "503 Service Unavailable"
    registrar.mode("drop")
    assert options(registrar.uri) == ""
    registrar.mode("normal")
    assert options(registrar.uri, "tcp") == "200 OK"


@pytest.mark.real("kamailio", "baresip")
def test_kamailio_forgets_its_contacts_at_a_restart(
    kamailio: StartKamailio, baresip: StartBaresip
) -> None:
    registrar = kamailio({"2001": "secret"})
    baresip("2001", registrar)
    with pytest.raises(ServerError, match="AOR not found"):
        registrar.rpc("ul.lookup", "location", "nosuch")

    registrar.restart(killed=True)

    assert registrar.contacts() == []


@pytest.mark.wall
@pytest.mark.real("kamailio", "baresip")
def test_kamailio_with_keepalive_notes_the_last_answer(
    kamailio: StartKamailio, baresip: StartBaresip
) -> None:
    registrar = kamailio({"2001": "secret"}, keepalive=True)
    baresip("2001", registrar)

    def roundtrip() -> int:
        info = registrar.rpc("ul.lookup", "location", "2001")
        return int(info["Contacts"][0]["Contact"]["KA-Roundtrip"])

    until(lambda: roundtrip() > 0, 6, "a keep-alive was answered")


@pytest.mark.real("sipp", "sipsak")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    "line", ["200 OK", "404 Not Found", "486 Busy Here", "603 Decline"]
)
def test_sipp_answers_options_with_the_code_asked_for(
    answering: StartAnswering, transport: str, line: str
) -> None:
    target = answering(int(line[:3]), port=5060, transport=transport)

    for _ in range(2):
        assert options(f"sip:x@{target.address}", transport) == line


@pytest.mark.real("prometheus", "promtool")
def test_promtool_runs() -> None:
    done = subprocess.run(
        require("promtool")("check", "metrics"),
        input=b"# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.real("postfix")
def test_postfix_delivers_what_it_accepted(postfix: StartPostfix) -> None:
    refusal = "check_recipient_access inline:{gone@example.com=REJECT}, permit"
    server = postfix(settings={"smtpd_recipient_restrictions": refusal})
    people = ["oncall@example.com", "gone@example.com"]

    with smtplib.SMTP(server.address, server.port) as client:
        refused = client.sendmail("pbx@example.com", people, "Subject: hi\r\n\r\nx\r\n")

    assert set(refused) == {"gone@example.com"}
    until(lambda: len(server.messages()) == 1, 5, "delivery")
    (message,) = server.messages()
    assert message["Subject"] == "hi"
    assert message["Delivered-To"] == "oncall@example.com"


@pytest.mark.real("postfix")
def test_postfix_speaks_starttls(postfix: StartPostfix, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("mail.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "chain.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = {
        "smtpd_tls_chain_files": tmp_path / "chain.pem",
        "smtpd_tls_security_level": "encrypt",
    }
    server = postfix(settings=settings)

    with smtplib.SMTP(server.address, server.port) as client:
        client._host = "mail.example.com"  # type: ignore[attr-defined]
        client.starttls(context=context)
        client.sendmail("a@example.com", ["b@example.com"], "Subject: hi\r\n\r\nx\r\n")

    until(server.messages, 5, "delivery")


def test_every_address_is_another(loopback: Loopback) -> None:
    other = Loopback()
    given = [loopback.address() for _ in range(3)] + [other.address() for _ in range(3)]
    other.close()
    assert len(set(given)) == 6
    assert free_port(given[0]) > 0
