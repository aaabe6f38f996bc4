"""The site at a glance."""

from configs.grafana.frame import Board, Panel, grown, of, quantile, total

_EXTENSIONS = "sipwatch_registrar_extensions"
_TARGETS = of("sipwatch_target_up")

BOARD = Board(
    uid="sipwatch-overview",
    title="sipwatch / Overview",
    description="Whether the site can be called, and what is wrong with it.",
    rows={
        "Now": (
            Panel(
                "Critical incidents",
                "Open critical incidents; each of them was told.",
                {"open": total(of("sipwatch_incidents", 'severity="critical"'))},
                shown="value",
                span=4,
                bad=1,
            ),
            Panel(
                "Warnings",
                "Open incidents that are warnings.",
                {"open": total(of("sipwatch_incidents", 'severity="warning"'))},
                shown="value",
                span=4,
                bad=1,
            ),
            Panel(
                "Registered extensions",
                "Extensions that have a binding at their registrar.",
                {
                    "registered": total(
                        of(_EXTENSIONS, 'state=~"registered|unreachable"')
                    )
                },
                shown="value",
                span=4,
            ),
            Panel(
                "Unregistered extensions",
                "Extensions that were registered and are not.",
                {"lost": total(of(_EXTENSIONS, 'state="unregistered"'))},
                shown="value",
                span=4,
                bad=1,
            ),
            Panel(
                "Addresses down",
                "Addresses of trunks, registrars and phones that do not answer "
                "OPTIONS as a healthy one does.",
                {"down": f"count({_TARGETS}) - sum({_TARGETS})"},
                shown="value",
                span=4,
                bad=1,
            ),
            Panel(
                "Registrars readable",
                "Of the registrars that are seen, how many can be read. One that "
                "cannot be read tells nothing of its extensions.",
                {"readable": f"avg({of('sipwatch_registrar_up')})"},
                unit="percentunit",
                shown="value",
                span=4,
                bad=1,
                low=True,
            ),
        ),
        "Extensions and targets": (
            Panel(
                "Extensions by state",
                "All extensions of the readable registrars.",
                {"{{state}}": total(of(_EXTENSIONS), "state")},
                shown="pile",
            ),
            Panel(
                "Registered by registrar",
                "A step down is a loss of many at once.",
                {
                    "{{registrar}}": total(
                        of(_EXTENSIONS, 'state=~"registered|unreachable"'), "registrar"
                    )
                },
            ),
            Panel(
                "Registrars",
                "1 while a registrar can be read.",
                {"{{registrar}}": of("sipwatch_registrar_up")},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Time to answers to OPTIONS",
                "What 95 of 100 answers stay below, by role of who was asked.",
                {
                    "{{role}}": quantile(
                        0.95, "sipwatch_options_duration_seconds", "role"
                    )
                },
                unit="s",
            ),
        ),
        "Incidents": (
            Panel(
                "Open incidents by rule",
                "With those that somebody has acknowledged.",
                {"{{rule}}": total(of("sipwatch_incidents"), "rule")},
                shown="pile",
            ),
            Panel(
                "Who cannot be called, by cause",
                "Incidents as they opened, by the cause that was found.",
                {"{{cause}}": total(grown("sipwatch_unavailable_total"), "cause")},
                shown="pile",
            ),
        ),
        "Registrations elsewhere": (
            Panel(
                "Registrations of the PBX",
                "1 while a registration that the PBX keeps at another server stands.",
                {"{{registrar}} {{registration}}": of("sipwatch_registration_up")},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Accounts",
                "1 while our own REGISTER with an account is accepted.",
                {"{{account}}": of("sipwatch_account_up")},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
        ),
    },
)
