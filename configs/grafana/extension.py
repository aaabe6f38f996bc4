"""Extensions of a registrar: one by one, and as a crowd."""

from configs.grafana.frame import Board, Panel, of, total

_AT = 'registrar=~"$registrar"'
_CHOSEN = (_AT, 'extension=~"$extension"')
_NAME = "{{registrar}} {{extension}}"
_DETAIL = "Needs `extension` in `web.metrics.detail`."

BOARD = Board(
    uid="sipwatch-extension",
    title="sipwatch / Extension",
    description="Who is registered where, since when, and who answers.",
    choices={
        "registrar": "sipwatch_registrar_up",
        "extension": "sipwatch_extension_registered",
    },
    rows={
        "Registrar": (
            Panel(
                "Extensions by state",
                "All extensions of the registrar.",
                {"{{state}}": total(of("sipwatch_registrar_extensions", _AT), "state")},
                shown="pile",
            ),
            Panel(
                "Not as the policy wants it",
                "Registrations outside `expiry`, by how, and refreshes that are later "
                "than their habit.",
                {
                    "{{breach}}": total(
                        of("sipwatch_registrar_extensions_outside_policy", _AT),
                        "breach",
                    ),
                    "refresh overdue": total(
                        of("sipwatch_registrar_extensions_overdue", _AT)
                    ),
                },
            ),
        ),
        "Extensions": (
            Panel(
                "Registered",
                "1 while an extension has a binding. Choose a few of them above.",
                {_NAME: of("sipwatch_extension_registered", *_CHOSEN)},
                shown="states",
                span=24,
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Unregistered for",
                f"Time since an extension has no binding. {_DETAIL}",
                {
                    _NAME: "(time() - "
                    + of("sipwatch_extension_state_since_timestamp_seconds", *_CHOSEN)
                    + ") and "
                    + of("sipwatch_extension_registered", *_CHOSEN)
                    + " == 0"
                },
                unit="s",
                bad=120,
            ),
            Panel(
                "In its state for",
                f"Time since an extension came into its state. {_DETAIL}",
                {
                    _NAME: "time() - "
                    + of("sipwatch_extension_state_since_timestamp_seconds", *_CHOSEN)
                },
                unit="s",
            ),
            Panel(
                "Answers the PBX",
                f"1 while a contact answers the PBX's qualify, or ours. {_DETAIL}",
                {_NAME: of("sipwatch_extension_reachable", *_CHOSEN)},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Contacts",
                f"How many contacts an extension has registered. {_DETAIL}",
                {_NAME: of("sipwatch_extension_contacts", *_CHOSEN)},
            ),
            Panel(
                "Round trip to the phone",
                "Time to the answer of the quickest contact to the PBX, or to us.",
                {_NAME: of("sipwatch_extension_rtt_seconds", *_CHOSEN)},
                unit="s",
                span=24,
            ),
        ),
    },
)
