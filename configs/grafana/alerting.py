"""On-call: what was found, how soon, and whether people were told."""

from configs.grafana.frame import Board, Panel, grown, of, per_second, quantile, total

_SENT = "sipwatch_notifications_total"
_DETECTED = "sipwatch_detection_delay_seconds"
_TOLD = "sipwatch_delivery_delay_seconds"
_INVITES = 'method="INVITE"'

BOARD = Board(
    uid="sipwatch-alerting",
    title="sipwatch / On-call and alerting",
    description="Incidents, how soon they were found, and whether people were told.",
    rows={
        "Incidents": (
            Panel(
                "Open incidents",
                "By rule and severity; acknowledged: somebody has taken them.",
                {
                    "{{severity}} {{rule}} {{state}}": total(
                        of("sipwatch_incidents"), "severity, rule, state"
                    )
                },
            ),
            Panel(
                "Opened",
                "Incidents as they opened, also those that came again.",
                {
                    "{{severity}} {{rule}}": total(
                        grown("sipwatch_incidents_opened_total"), "severity, rule"
                    )
                },
                shown="pile",
            ),
            Panel(
                "Who cannot be called, by cause",
                "Incidents as they opened, by the cause that was found.",
                {"{{cause}}": total(grown("sipwatch_unavailable_total"), "cause")},
                shown="pile",
            ),
            Panel(
                "Detection delay",
                "From the moment that it happened to the incident: half and 95 of 100 "
                "stay below.",
                {
                    "median": quantile(0.5, _DETECTED),
                    "95 %": quantile(0.95, _DETECTED),
                },
                unit="s",
            ),
        ),
        "People are told": (
            Panel(
                "Notifiers",
                "0 for a notifier that is known to fail.",
                {"{{notifier}}": of("sipwatch_notifier_up")},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Notifications by outcome",
                "Attempts at a notification.",
                {"{{notifier}} {{outcome}}": total(grown(_SENT), "notifier, outcome")},
                shown="pile",
            ),
            Panel(
                "Delivery delay",
                "From the opening or closing of an incident to a notifier's "
                "acceptance: 95 of 100 stay below.",
                {"{{notifier}}": quantile(0.95, _TOLD, "notifier")},
                unit="s",
            ),
            Panel(
                "Since the last success",
                "Time since a notifier last took something, a self-test too.",
                {
                    "{{notifier}}": "time() - "
                    + of("sipwatch_notifier_last_success_timestamp_seconds")
                },
                unit="s",
            ),
            Panel(
                "Still to be told",
                "What some notifier should know of an incident and does not yet.",
                {"pending": of("sipwatch_outbox_pending")},
            ),
            Panel(
                "The oldest of it",
                "For how long it has been due.",
                {"oldest": of("sipwatch_outbox_oldest_seconds")},
                unit="s",
                bad=300,
            ),
        ),
        "Heartbeat": (
            Panel(
                "Beats by outcome",
                "Beats to the dead-man's switch; held: not sent, as not all is well.",
                {
                    "{{outcome}}": total(
                        grown("sipwatch_heartbeat_beats_total"), "outcome"
                    )
                },
                shown="pile",
            ),
            Panel(
                "Since the last beat",
                "Time since a beat last arrived.",
                {
                    "age": "time() - "
                    + of("sipwatch_heartbeat_last_success_timestamp_seconds")
                },
                unit="s",
            ),
        ),
        "Calls": (
            Panel(
                "Responses on the network",
                "Responses to INVITE that the capture service saw, by code.",
                {
                    "{{code}}": total(
                        per_second("sipwatch_passive_responses_total", _INVITES), "code"
                    )
                },
                unit="reqps",
                shown="pile",
            ),
            Panel(
                "Reasons on the network",
                "Reason headers that the capture service saw.",
                {
                    "{{protocol}} {{cause}}": total(
                        per_second("sipwatch_passive_reasons_total"), "protocol, cause"
                    )
                },
                unit="reqps",
                shown="pile",
            ),
        ),
    },
)
