"""Options that several commands have, and where what they lead to is by default."""

from __future__ import annotations

from typing import Any

import click

CONFIG = "/etc/sipwatch/sipwatch.yaml"
SOCKET = "/run/sipwatch/api.sock"
CAPTURE = "/run/sipwatch-capture/capture.sock"

config = click.option(
    "-c", "--config", default=CONFIG, show_default=True, help="Configuration file."
)
json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
socket = click.option(
    "--socket", default=SOCKET, show_default=True, help="The daemon's Unix socket."
)


def offer(name: str) -> Any:
    """Completes an argument by that function of completing.py, imported by Tab only."""

    def complete(context: Any, parameter: Any, begun: str) -> Any:
        from sipwatch.commands import completing

        return getattr(completing, name)(context, parameter, begun)

    return complete


def of_a_user(command: Any) -> Any:
    """Options of commands that ask a registrar as somebody."""
    return of_somebody(_TIMEOUT(command))


def of_somebody(command: Any) -> Any:
    """The same, where the timeout is another one."""
    for option in reversed(_USER):
        command = option(command)
    return command


_TIMEOUT = click.option(
    "--timeout", default="10s", show_default=True, help="A request."
)
_USER = (
    click.option("-u", "--user", help="User of the address of record."),
    click.option("--auth-user", help="User of the digest, where it is another."),
    click.option("--password-file", metavar="FILE", help="Read the password there."),
    click.option("--password-env", metavar="NAME", help="Or in this variable."),
    click.option("--ca-file", metavar="FILE", help="Trust these CAs."),
)
