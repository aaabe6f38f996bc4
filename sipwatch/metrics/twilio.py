"""The series of Twilio: by error code and kind of answer, both of which are few."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.metrics.exposition import Family, label
from sipwatch.sources import Sources


def families(sources: Sources) -> Iterator[Family]:
    """In the order in which they are to be rendered; none where it is not used."""
    if sources.config.twilio is None:
        return
    yield Family(
        "sipwatch_twilio_readable",
        "gauge",
        "Whether the alerts of the account can be read.",
        [f"sipwatch_twilio_readable {int(not sources.twilio.error)}\n"],
    )
    yield Family(
        "sipwatch_twilio_alerts_total",
        "counter",
        "Alerts that count, by Twilio's error code.",
        _alerts(sources),
    )
    if sources.config.twiml is not None:
        yield Family(
            "sipwatch_twiml_answers_total",
            "counter",
            "Calls that were told what to do, by what that is.",
            _answers(sources),
        )


def _alerts(sources: Sources) -> Iterator[str]:
    for code, count in sorted(sources.twilio.alerts.items()):
        yield f'sipwatch_twilio_alerts_total{{code="{code}"}} {count}\n'


def _answers(sources: Sources) -> Iterator[str]:
    for answer, count in sorted(sources.twilio.answers.items()):
        yield f'sipwatch_twiml_answers_total{{answer="{label(answer)}"}} {count}\n'
