"""What Prometheus reads, by its own parser and promtool."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerting.incident import Outcome
from alerting.outbox import Delays
from checks.observation import Cause, Kind, Observation, Scope, State, Subject
from checks.registrations.expiry import Breach
from sipwatch.metrics import scrape
from sipwatch.metrics.exposition import RENDERINGS, Family, label
from tests.servers import require
from tests.sipwatch.watching import START, Watching, rendered

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


METRICS = """
target_up target_state target_cause options_rtt_seconds options_probes_total
options_duration_seconds_count options_duration_seconds_sum
options_consecutive_failures options_retransmits_total
target_certificate_not_after_timestamp_seconds
extension_registered extension_reachable extension_contacts extension_rtt_seconds
extension_state_since_timestamp_seconds registrar_up registrar_extensions
registrar_extensions_outside_policy registrar_extensions_overdue
registration_up
unavailable_total incidents incidents_opened_total notifications_total outbox_pending
outbox_oldest_seconds detection_delay_seconds_count detection_delay_seconds_sum
delivery_delay_seconds_count delivery_delay_seconds_sum scheduler_lag_seconds
receive_buffer_drops_total config_last_reload_successful build_info
notifier_up notifier_last_success_timestamp_seconds
capture_up capture_packets_total capture_dropped_total
evidence_kept evidence_missed_total
passive_responses_total passive_reasons_total
heartbeat_beats_total heartbeat_last_success_timestamp_seconds
"""


def samples(text: bytes) -> Samples:
    """Each sample once; a second one of the same name and labels is an error."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


async def told(site: Watching, name: str) -> dict[str, float]:
    """The samples of one metric; its labels' values as a word."""
    text = await rendered(scrape.exposition(site))
    return {
        " ".join(value for _, value in labels): value
        for (found, labels), value in samples(text).items()
        if found == f"sipwatch_{name}"
    }


def courier(accepted: int = 3, failed: int = 1) -> Any:
    outcomes = {Outcome.ACCEPTED: accepted, Outcome.TRANSIENT: failed}
    delays = Delays()
    delays.add(11.0)
    return SimpleNamespace(outcomes=outcomes, delays=delays, accepted_at=START - 60)


def busy(site: Watching) -> Watching:
    """A site with something in every metric."""
    hq = site.registrar("hq", {"1001": True, "1002": False, "1003": True}, rtt=0.012)
    site.registers(hq, {"provider": State.OK})
    site.registrar("lab", {"2001@lab.example.com": True}, type="kamailio")
    twilio = site.target("twilio", "203.0.113.9")
    site.over_tls(twilio, "203.0.113.9:5061", START + 61 * 86400)
    site.answer(twilio, rtt=0.038)
    site.silence(site.target("pbx", "203.0.113.5:5080", role="pbx"), times=4)
    for index in site.targets("phones.txt", ["203.0.113.20", "203.0.113.21"]):
        site.answer(index)
    site.couriers["oncall"] = courier()
    site.heartbeat = SimpleNamespace(
        settings=(), beats={"accepted": 9, "failed": 1, "held": 0}, succeeded_at=START
    )
    site.passing = SimpleNamespace(
        up=True,
        packets=90,
        dropped=1,
        responses={("INVITE", "480"): 12},
        reasons={("Q.850", "20"): 7},
    )
    site.until(START + 200)
    return site


# --- as a whole -----------------------------------------------------------------------


async def test_promtool_finds_nothing_to_mend(site: Watching) -> None:
    site.show("trunk", "pbx", "phone", "extension")
    text = await rendered(scrape.exposition(busy(site)))
    promtool = require("promtool")
    run = await asyncio.to_thread(
        subprocess.run,
        [*promtool.argv, "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, b"")


async def test_every_metric_is_there_and_parses(site: Watching) -> None:
    site.show("trunk", "pbx", "extension")
    text = await rendered(scrape.exposition(busy(site)))
    names = {name for name, _ in samples(text)}
    shown = {n.removeprefix("sipwatch_") for n in names if n.startswith("sipwatch_")}
    assert {n for n in shown if not n.endswith("_bucket")} == set(METRICS.split())
    assert "process_cpu_seconds_total" in names


async def test_gzip_holds_the_same_text(site: Watching) -> None:
    site.registrar("hq", {str(n): True for n in range(1000, 4000)})
    exposition = scrape.exposition(site)
    packed = await rendered(exposition, gzip=True)
    bare = await rendered(exposition)
    told = [t for t in gzip.decompress(packed).splitlines() if b"process" not in t]
    assert told == [t for t in bare.splitlines() if b"process" not in t]
    assert len(packed) < len(bare) / 10


async def test_a_third_rendering_is_refused_until_one_has_ended(
    site: Watching,
) -> None:
    exposition = scrape.exposition(busy(site))
    first, *_ = under_way = [exposition.render(gzip=False) for _ in range(RENDERINGS)]
    assert None not in under_way
    assert exposition.render(gzip=False) is None
    assert b"".join([piece async for piece in first or ()])  # type: ignore[union-attr]
    assert exposition.render(gzip=False) is not None


async def test_readers_that_went_away_do_not_lock_others_out() -> None:
    now = 0.0
    exposition = scrape.Exposition(lambda: b"", lambda: (), clock=lambda: now)
    abandoned = [exposition.render(gzip=False) for _ in range(RENDERINGS)]
    now = 61.0
    assert exposition.render(gzip=False) is not None
    assert None not in abandoned


async def test_a_family_without_samples_has_no_head() -> None:
    families = [
        Family("sipwatch_a", "gauge", "A.", ["", ""]),
        Family("sipwatch_b", "gauge", "B.", ["", "sipwatch_b 1\n", "sipwatch_b 2\n"]),
    ]
    exposition = scrape.Exposition(lambda: b"", lambda: families)
    assert await rendered(exposition) == (
        b"# HELP sipwatch_b B.\n# TYPE sipwatch_b gauge\nsipwatch_b 1\nsipwatch_b 2\n"
    )


# --- targets --------------------------------------------------------------------------


async def test_a_phone_tells_up_and_rtt_a_trunk_tells_all(site: Watching) -> None:
    busy(site)
    assert await told(site, "target_up") == {
        "203.0.113.9:5061 twilio tls": 1.0,
        "203.0.113.5:5080 pbx udp": 0.0,
        "203.0.113.20:5060 203.0.113.20 udp": 1.0,
        "203.0.113.21:5060 203.0.113.21 udp": 1.0,
    }
    rtt = await told(site, "options_rtt_seconds")
    assert rtt == pytest.approx(
        {"twilio": 0.038, "203.0.113.20": 0.0004, "203.0.113.21": 0.0004}
    )
    assert await told(site, "target_state") == {
        "up twilio": 1.0,
        "degraded twilio": 0.0,
        "down twilio": 0.0,
        "up pbx": 0.0,
        "degraded pbx": 0.0,
        "down pbx": 1.0,
    }
    assert await told(site, "options_probes_total") == {
        "up twilio": 1.0,
        "degraded twilio": 0.0,
        "down twilio": 0.0,
        "up pbx": 0.0,
        "degraded pbx": 0.0,
        "down pbx": 4.0,
    }
    failures = await told(site, "options_consecutive_failures")
    assert failures == {"twilio": 0.0, "pbx": 4.0}
    again = await told(site, "options_retransmits_total")
    assert again == {"twilio": 0.0, "pbx": 12.0}
    ends = await told(site, "target_certificate_not_after_timestamp_seconds")
    [(where, end)] = ends.items()
    assert where.endswith(":5061 twilio")
    assert end == START + 61 * 86400


async def test_a_degraded_answer_is_not_up(site: Watching) -> None:
    site.answer(site.target("pbx", "203.0.113.5", role="pbx"), code=480)
    assert await told(site, "target_up") == {"203.0.113.5:5060 pbx udp": 0.0}
    assert (await told(site, "target_state"))["degraded pbx"] == 1.0
    assert (await told(site, "options_probes_total"))["degraded pbx"] == 1.0


async def test_a_target_not_asked_yet_has_no_sample(site: Watching) -> None:
    site.target("twilio", "203.0.113.9")
    assert await told(site, "target_up") == {}
    assert await told(site, "target_state") == {}
    assert await told(site, "options_rtt_seconds") == {}
    assert (await told(site, "options_probes_total"))["up twilio"] == 0.0


async def test_the_last_rtt_of_a_target_that_is_silent_is_not_told(
    site: Watching,
) -> None:
    twilio = site.target("twilio", "203.0.113.9")
    site.answer(twilio)
    site.silence(twilio)
    assert await told(site, "options_rtt_seconds") == {}
    assert await told(site, "target_up") == {"203.0.113.9:5060 twilio udp": 1.0}


async def test_the_same_line_in_two_files_has_two_names(site: Watching) -> None:
    for file in ("a.txt", "b.txt"):
        for index in site.targets(file, ["203.0.113.20"]):
            site.answer(index)
    assert set(await told(site, "options_rtt_seconds")) == {
        "203.0.113.20",
        "b.txt/203.0.113.20",
    }


async def test_a_target_below_a_site_that_is_down_has_no_sample(
    site: Watching,
) -> None:
    lyon = Subject(Kind.REGISTRAR, "lyon", Scope("lyon"))
    index = site.target("twilio", "203.0.113.9")
    subject = site.options.judge.subjects[index]
    assert subject is not None
    subject.scope.parent = lyon
    site.answer(index)
    assert await told(site, "target_up") != {}
    site.observe(Observation(lyon, State.UNREADABLE, START, START))
    assert await told(site, "target_up") == {}
    assert await told(site, "target_state") == {}


async def test_answers_are_counted_by_role(site: Watching) -> None:
    busy(site)
    counts = await told(site, "options_duration_seconds_count")
    assert counts == {"trunk": 1.0, "pbx": 0.0, "phone": 2.0}
    buckets = await told(site, "options_duration_seconds_bucket")
    assert buckets["0.001 phone"] == 2.0
    assert buckets["0.025 trunk"] == 0.0
    assert buckets["0.05 trunk"] == buckets["+Inf trunk"] == 1.0


# --- registrars and extensions --------------------------------------------------------


async def test_extensions_tell_whether_they_are_registered(site: Watching) -> None:
    busy(site)
    assert await told(site, "extension_registered") == {
        "1001 hq": 1.0,
        "1002 hq": 0.0,
        "1003 hq": 1.0,
        "2001@lab.example.com lab": 1.0,
    }
    assert await told(site, "extension_rtt_seconds") == {
        "1001 hq": 0.012,
        "1003 hq": 0.012,
    }
    assert await told(site, "registrar_up") == {"hq asterisk": 1.0, "lab kamailio": 1.0}
    assert await told(site, "registrar_extensions") == {
        "hq registered": 2.0,
        "hq unreachable": 0.0,
        "hq unregistered": 0.0,
        "hq never_registered": 1.0,
        "lab registered": 1.0,
        "lab unreachable": 0.0,
        "lab unregistered": 0.0,
        "lab never_registered": 0.0,
    }
    assert await told(site, "extension_contacts") == {}  # detail


async def test_extensions_in_detail(site: Watching) -> None:
    site.show("extension")
    site.wall_skew = 3600.0
    site.clock.measure()
    busy(site)
    contacts = await told(site, "extension_contacts")
    assert contacts["1001 hq"] == 1.0
    assert contacts["1002 hq"] == 0.0
    reachable = await told(site, "extension_reachable")
    assert reachable == {"1001 hq": 1.0, "1003 hq": 1.0}
    since = await told(site, "extension_state_since_timestamp_seconds")
    assert since["1001 hq"] == START + 3600


async def test_who_is_outside_the_policy_and_who_is_overdue_is_counted(
    site: Watching,
) -> None:
    judge = site.registrar("hq", {str(n): True for n in range(1000, 1400)})
    for breach, overdue, aor in (
        (Breach.LONG, True, "1000"),
        (Breach.LONG | Breach.LATE, False, "1001"),
        (Breach.LONG | Breach.UNNAMED, False, "1399"),
    ):
        extension = judge.extensions[aor]
        extension.breach, extension.overdue = breach, overdue
    assert await told(site, "registrar_extensions_outside_policy") == {
        "too_short hq": 0.0,
        "too_long hq": 3.0,
        "late hq": 1.0,
    }
    assert await told(site, "registrar_extensions_overdue") == {"hq": 1.0}
    site.observe(*judge.lost("hq:5038", Cause.TIMEOUT, "silent", START + 1))
    assert await told(site, "registrar_extensions_overdue") == {}


async def test_what_an_unreadable_registrar_held_is_unknown_not_zero(
    site: Watching,
) -> None:
    judge = site.registrar("hq", {"1001": True, "1002": False})
    site.registrar("lab", {"2001": True})
    cause = Cause.CONNECTION_REFUSED
    site.observe(*judge.lost("hq:5038", cause, "refused", START + 1))
    assert await told(site, "extension_registered") == {"2001 lab": 1.0}
    assert set(await told(site, "registrar_extensions")) == {
        f"lab {state}"
        for state in ("registered", "unreachable", "unregistered", "never_registered")
    }
    assert await told(site, "registrar_up") == {"hq asterisk": 0.0, "lab asterisk": 1.0}


async def test_a_registrar_not_read_yet_has_no_sample(site: Watching) -> None:
    judge = site.registrar("hq")
    fresh = type(judge)("new", judge.settings, judge.subject, START, listed=())
    site.judges["new"] = fresh
    assert await told(site, "registrar_up") == {"hq asterisk": 1.0}


HOSTILE = ['a"b', "back\\slash", "new\nline", "{}", "é", "x" * 500, "\ud800", "\x00"]


async def test_hostile_names_stay_labels_that_are_bounded_and_apart(
    site: Watching,
) -> None:
    other = ["x" * 500 + "y", "\ud801", "\x01"]
    site.registrar("hq", dict.fromkeys([*HOSTILE, *other], True))
    shown = await told(site, "extension_registered")
    assert len(shown) == len(HOSTILE) + len(other)
    assert {'a"b hq', "back\\slash hq", "{} hq", "é hq"} <= set(shown)
    assert all(len(name) < 300 and name.isprintable() for name in shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1001", "1001"),
        ('say "hi"', r"say \"hi\""),
        ("a\\b", r"a\\b"),
        ("x" * 256, "x" * 256),
    ],
)
def test_label_values_are_escaped(value: str, shown: str) -> None:
    assert label(value) == shown


def addresses(network: str) -> list[str]:
    return [f"{network}.{n // 250}.{n % 250}" for n in range(2000)]


async def test_what_changes_while_a_rendering_waits_neither_breaks_nor_doubles_it(
    site: Watching,
) -> None:
    judge = site.registrar("hq", {str(n): True for n in range(5000)})
    indexes = site.targets("phones.txt", addresses("10.1"))
    for index in indexes:
        site.answer(index)
    pieces = scrape.families(site)
    text: list[str] = []
    for number, family in enumerate(pieces):
        for piece in family.pieces:
            text.append(piece)
            if number == 0 and len(text) == 10:
                # What was there goes, and others come in its place.
                site._targets = []
                site.targets("new.txt", addresses("10.2"))
        if family.name == "sipwatch_extension_registered":
            judge.extensions.clear()
            site.read(judge, {str(n): True for n in range(2500, 9000)})
    shown = samples("".join(text).encode())
    names = [
        dict(labels)["target"] for (_, labels) in shown if dict(labels).get("address")
    ]
    assert all(name.startswith("10.1.") for name in names)
    assert 0 < len(names) < 2000


# --- incidents, notifications, ourselves ----------------------------------------------


async def test_incidents_are_counted_by_rule_and_go_back_to_zero(
    site: Watching,
) -> None:
    trunk = site.target("twilio", "203.0.113.9")
    site.answer(trunk)
    for step in range(6):
        site.now = START + 15 * step
        site.silence(trunk)
    site.until(START + 100)
    key = "OptionsFailing critical firing"
    shown = await told(site, "incidents")
    assert shown[key] == 1.0
    assert shown["OptionsFailing critical acknowledged"] == 0.0
    site.alarms.acknowledge(site.alarms.incidents[0].id, "night shift", site.now)
    shown = await told(site, "incidents")
    assert (shown[key], shown["OptionsFailing critical acknowledged"]) == (0.0, 1.0)
    for _ in range(3):
        site.answer(trunk)
    site.until(START + 200)
    assert (await told(site, "incidents"))[
        "OptionsFailing critical acknowledged"
    ] == 0.0
    opened = await told(site, "incidents_opened_total")
    assert opened["OptionsFailing critical"] == 1.0
    assert opened["ExtensionUnregistered warning"] == 0.0
    assert (await told(site, "detection_delay_seconds_count"))[""] == 1.0
    assert 60 <= (await told(site, "detection_delay_seconds_sum"))[""] <= 75


async def test_the_outbox_tells_how_much_is_owed_and_since_when(
    site: Watching,
) -> None:
    assert await told(site, "outbox_pending") == {"": 0.0}
    assert await told(site, "outbox_oldest_seconds") == {"": 0.0}
    trunk = site.target("twilio", "203.0.113.9")
    site.answer(trunk)
    for step in range(6):
        site.now = START + 15 * step
        site.silence(trunk)
    opened = site.alarms.incidents[0].opened_at
    site.until(opened + 40)
    assert await told(site, "outbox_pending") == {"": 1.0}
    assert await told(site, "outbox_oldest_seconds") == {"": 40.0}


async def test_notifications_are_counted_by_outcome(site: Watching) -> None:
    site.couriers["oncall"] = courier(accepted=3, failed=1)
    assert await told(site, "notifications_total") == {
        "oncall accepted": 3.0,
        "oncall transient": 1.0,
    }
    assert await told(site, "delivery_delay_seconds_sum") == {"oncall": 11.0}
    buckets = await told(site, "delivery_delay_seconds_bucket")
    assert (buckets["5.0 oncall"], buckets["15.0 oncall"]) == (0.0, 1.0)


async def test_notifiers_tell_whether_they_work_and_when_they_last_did(
    site: Watching,
) -> None:
    site.couriers["oncall"], site.couriers["pager"] = courier(), courier()
    site.couriers["pager"].accepted_at = None
    site.alarms.fared("oncall", Outcome.PERMANENT, START, "535")
    assert await told(site, "notifier_up") == {"oncall": 0.0, "pager": 1.0}
    last = "notifier_last_success_timestamp_seconds"
    assert await told(site, last) == {"oncall": START - 60}


async def test_sipwatch_tells_of_itself(site: Watching) -> None:
    site.reload_ok = False
    site.selfwatch.lag = 0.25
    assert await told(site, "scheduler_lag_seconds") == {"": 0.25}
    assert await told(site, "config_last_reload_successful") == {"": 0.0}
    assert await told(site, "receive_buffer_drops_total") == {"": 0.0}
    assert list((await told(site, "build_info")).values()) == [1.0]
