"""Trunks and other targets: what OPTIONS, certificates and Twilio tell of them."""

from configs.grafana.frame import Board, Panel, grown, of, per_second, total

_CHOSEN = 'target=~"$target"'
_OUTCOMES = per_second("sipwatch_options_probes_total", _CHOSEN)
_PROBES = total(_OUTCOMES, "target")
_LOST = total(
    per_second("sipwatch_options_probes_total", _CHOSEN, 'outcome="down"'), "target"
)
_AGAIN = total(per_second("sipwatch_options_retransmits_total", _CHOSEN), "target")
_DEGRADED = total(of("sipwatch_target_state", _CHOSEN, 'state="degraded"'), "target")
_DOWN = total(of("sipwatch_target_state", _CHOSEN, 'state="down"'), "target")
_ENDS = of("sipwatch_target_certificate_not_after_timestamp_seconds", _CHOSEN)

BOARD = Board(
    uid="sipwatch-trunk",
    title="sipwatch / Trunk",
    description="A trunk over time: its state and why, its round trips, its losses.",
    choices={"target": "sipwatch_target_state"},
    rows={
        "State": (
            Panel(
                "Addresses",
                "1 while an address answers OPTIONS as a healthy one does.",
                {
                    "{{target}} {{address}} {{transport}}": of(
                        "sipwatch_target_up", _CHOSEN
                    )
                },
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "State",
                "0 up, 1 degraded, 2 down; of several addresses by the verdict that "
                "is configured.",
                {"{{target}}": f"{_DEGRADED} + 2 * {_DOWN}"},
                shown="states",
                bad=1,
                most=2,
            ),
            Panel(
                "Why it is not up",
                "The cause, while a target is not up.",
                {
                    "{{target}} {{cause}}": total(
                        of("sipwatch_target_cause", _CHOSEN), "target, cause"
                    )
                },
                shown="states",
                bad=1,
                most=1,
            ),
            Panel(
                "Failures in a row",
                "OPTIONS in a row without a healthy enough answer; three are an "
                "incident.",
                {"{{target}}": of("sipwatch_options_consecutive_failures", _CHOSEN)},
            ),
        ),
        "Answers": (
            Panel(
                "Round trip",
                "Time to the last answer to OPTIONS, of several addresses the slowest.",
                {"{{target}}": of("sipwatch_options_rtt_seconds", _CHOSEN)},
                unit="s",
                bad=0.5,
            ),
            Panel(
                "OPTIONS by outcome",
                "OPTIONS that have ended, a second.",
                {"{{outcome}}": total(_OUTCOMES, "outcome")},
                unit="reqps",
                shown="pile",
            ),
            Panel(
                "Loss",
                "The share of OPTIONS without an answer.",
                {"{{target}}": f"{_LOST} / {_PROBES}"},
                unit="percentunit",
                most=1,
            ),
            Panel(
                "Retransmissions",
                "OPTIONS sent again, of each one that has ended. Over 0.3 packets are "
                "lost on the way.",
                {"{{target}}": f"{_AGAIN} / {_PROBES}"},
                bad=0.3,
            ),
        ),
        "Certificates": (
            Panel(
                "Certificates",
                "Time until the certificate that an address shows ends.",
                {"{{target}} {{address}}": f"{_ENDS} - time()"},
                unit="s",
                bad=1209600,
                low=True,
                span=24,
            ),
        ),
        "Twilio": (
            Panel(
                "Alerts can be read",
                "1 while Twilio's alerts of the account can be read.",
                {"readable": of("sipwatch_twilio_readable")},
                shown="states",
                span=8,
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Alerts",
                "Twilio's alerts that count, by error code.",
                {"{{code}}": total(grown("sipwatch_twilio_alerts_total"), "code")},
                shown="pile",
                span=8,
            ),
            Panel(
                "Calls told what to do",
                "Answers to Twilio's question where a call goes.",
                {"{{answer}}": total(grown("sipwatch_twiml_answers_total"), "answer")},
                shown="pile",
                span=8,
            ),
        ),
    },
)
