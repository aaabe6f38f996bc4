"""Every metric: what the code would render for a daemon that has one of everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from pyee.base import EventEmitter

from checks.options.inbox import BUCKETS
from checks.options.rows import ROLES
from docs.generate.tables import table
from sipwatch.config.settings import Config, MetricsSettings, WebSettings
from sipwatch.metrics import scrape
from sipwatch.metrics.aggregates import Aggregates
from sipwatch.metrics.counts import Counts
from sipwatch.metrics.exposition import Family
from sipwatch.metrics.subjects import EXTENSION

INTRO = """\
---
hide: [toc]
---
# Metrics

`/metrics` has these, in Prometheus' text format. Labels are few and bounded: there is
never a Call-ID, an expiry, a contact or a user agent among them. What is effectively
unknown, because the way to it is cut, has no sample: neither 0 nor 1 would be true.

Targets of the roles in [`web.metrics.detail`](configuration.md#web.metrics.detail) have
all series; the others, phones by the thousand, lack what is "of `detail` alone". With
`extension` among them each extension has three more. Scrape configuration, rules and
dashboards are told in [Prometheus and Grafana](../prometheus.md).
"""

# Of each family that we write ourselves; a test compares them with a real scrape.
LABELS: dict[str, Sequence[str]] = {
    "sipwatch_target_up": ("target", "address", "transport"),
    "sipwatch_options_rtt_seconds": ("target",),
    "sipwatch_target_state": ("target", "state"),
    "sipwatch_target_cause": ("target", "cause"),
    "sipwatch_options_probes_total": ("target", "outcome"),
    "sipwatch_options_consecutive_failures": ("target",),
    "sipwatch_options_retransmits_total": ("target",),
    "sipwatch_target_certificate_not_after_timestamp_seconds": ("target", "address"),
    "sipwatch_extension_registered": ("registrar", "extension"),
    "sipwatch_registrar_extensions": ("registrar", "state"),
    "sipwatch_registrar_extensions_outside_policy": ("registrar", "breach"),
    "sipwatch_registrar_extensions_overdue": ("registrar",),
    "sipwatch_extension_rtt_seconds": ("registrar", "extension"),
    "sipwatch_extension_reachable": ("registrar", "extension"),
    "sipwatch_extension_contacts": ("registrar", "extension"),
    "sipwatch_extension_state_since_timestamp_seconds": ("registrar", "extension"),
    "sipwatch_registration_up": ("registrar", "registration"),
    "sipwatch_account_up": ("account",),
    "sipwatch_twilio_readable": (),
    "sipwatch_twilio_alerts_total": ("code",),
    "sipwatch_twiml_answers_total": ("answer",),
    "sipwatch_notifier_last_success_timestamp_seconds": ("notifier",),
    "sipwatch_notifier_up": ("notifier",),
    "sipwatch_heartbeat_beats_total": ("outcome",),
    "sipwatch_heartbeat_last_success_timestamp_seconds": (),
    "sipwatch_capture_up": (),
    "sipwatch_evidence_kept": (),
    "sipwatch_evidence_missed_total": (),
    "sipwatch_capture_packets_total": (),
    "sipwatch_capture_dropped_total": (),
    "sipwatch_passive_responses_total": ("method", "code"),
    "sipwatch_passive_reasons_total": ("protocol", "cause"),
    "sipwatch_incidents": ("rule", "severity", "state"),
    "sipwatch_outbox_pending": (),
    "sipwatch_outbox_oldest_seconds": (),
}
# Series that only targets of a role in `detail` have, or extensions with `extension`.
OF_DETAIL = (
    "sipwatch_target_state",
    "sipwatch_target_cause",
    "sipwatch_options_probes_total",
    "sipwatch_options_consecutive_failures",
    "sipwatch_options_retransmits_total",
    "sipwatch_target_certificate_not_after_timestamp_seconds",
    "sipwatch_extension_reachable",
    "sipwatch_extension_contacts",
    "sipwatch_extension_state_since_timestamp_seconds",
)


@dataclass(frozen=True)
class Shown:
    """One metric as the reference shows it."""

    name: str
    type: str
    help: str
    labels: Sequence[str]


class Anything:
    """Stands for any part of a daemon: it is there, holds nothing, and counts 0."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__.setdefault(name, Anything())

    def __call__(self, *args: object, **named: object) -> Any:
        return Anything()

    def __getitem__(self, key: object) -> Any:
        return Anything()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __float__(self) -> float:
        return 0.0

    def __int__(self) -> int:
        return 0

    def __format__(self, form: str) -> str:
        return format(0, form)


class Everything(Anything):
    """A daemon with all that can be configured, and every series of it."""

    def __init__(self) -> None:
        detail = MetricsSettings(detail=("trunk", "pbx", "phone", EXTENSION))
        anything: Any = Anything()
        web = WebSettings(metrics=detail)
        self.config = Config(web=web, twilio=anything, twiml=anything)
        self.counts = Counts(EventEmitter(), lambda incident: None)
        self.options = Anything()
        inbox = self.options.sweep.inbox
        none = [0] * (len(BUCKETS) + 1)
        inbox.histograms, inbox.sums = [none] * len(ROLES), [0.0] * len(ROLES)


def shown() -> list[Shown]:
    """All metrics, in the order in which they are rendered."""
    source: Any = Everything()
    found = [
        Shown(one.name, one.type, one.documentation, _labels(one))
        for one in Aggregates(source).collect()
    ]
    found = [_with_suffix(one) for one in found]
    for family in families(source):
        labels = LABELS.get(family.name, ())
        found.append(Shown(family.name, family.type, family.help, labels))
    return found


def _labels(family: Any) -> Sequence[str]:
    return tuple(family._labelnames or ())


def families(source: Any) -> Iterator[Family]:
    """What we write ourselves, of subjects and of what takes a walk to count."""
    return scrape.families(source)


def _with_suffix(one: Shown) -> Shown:
    """As it is exposed: the library keeps the name of a counter without its end."""
    if one.type == "counter" and not one.name.endswith("_total"):
        return Shown(f"{one.name}_total", one.type, one.help, one.labels)
    return one


def of_the_process() -> list[Shown]:
    """What the library tells of the process."""
    collector = ProcessCollector(registry=CollectorRegistry())
    found = [Shown(m.name, m.type, m.documentation, ()) for m in collector.collect()]
    return [_with_suffix(one) for one in found]


def _row(one: Shown) -> Sequence[str]:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    about = one.help + (" Of `detail` alone." if one.name in OF_DETAIL else "")
    return f"`{one.name}`{{ #{one.name} }}", one.type, labels, about


def page() -> str:
    """The page of all metrics."""
    head = ("metric", "type", "labels", "meaning")
    own = table(head, map(_row, sorted(shown(), key=lambda one: one.name)))
    process = table(head, map(_row, of_the_process()))
    return f"{INTRO}\n{own}\n## The process itself\n\n{process}"
