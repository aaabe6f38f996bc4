"""The manual page, made of the commands themselves.

`python -m sipwatch.commands.manual` prints it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import click

from sipwatch import __version__
from sipwatch.cli import main

# man(7): what opens each part; the text between is of cli.py.
_BEFORE = """\
.SH NAME
sipwatch \\- watches phones, trunks and registrations of a PBX; tells the on-call first
.SH SYNOPSIS
.B sipwatch
.I command
.RI [ options ]
.RI [ arguments ]
.SH DESCRIPTION
.B sipwatch
asks trunks, registrars and phones by SIP OPTIONS, follows who is registered at
Asterisk, FreeSWITCH, Kamailio, OpenSIPS or any SIP registrar, decides by rules what is
a problem, names its cause, and tells people.
.PP
.B sipwatch run
is the daemon. The other commands ask it over its Unix socket (root, or the group
sipwatch), or ask the network themselves.
.SH COMMANDS
"""
_AFTER = """\
.SH EXIT STATUS
0: it is well. 1: something is wrong, or nothing was found. 2: it is down, was refused,
or the configuration is wrong. 3: wrong use, or no daemon answers. Where a command has a
finer meaning, its description says so.
.SH FILES
.TP
.I /etc/sipwatch/sipwatch.yaml
The configuration; every key is explained in
.IR /etc/sipwatch/sipwatch.example.yaml .
.TP
.I /etc/sipwatch/secrets/
Secrets that the configuration names by !secret, a file each.
.TP
.I /var/lib/sipwatch/sipwatch.db
States, incidents, history and what is still to be told; SQLite.
.TP
.I /run/sipwatch/api.sock
Where the daemon answers the other commands.
.SH SIGNALS
.TP
.B SIGHUP
The daemon reads its configuration again: all of it is taken, or none of it with the
reason in the log.
.TP
.BR SIGTERM ", " SIGINT
It ends within two seconds; what is not yet told is told after the next start.
.SH ENVIRONMENT
.TP
.B NO_COLOR
Tables are printed without colours.
.SH SEE ALSO
.BR systemctl (1),
.BR tcpdump (8)
"""


def page() -> str:
    """The page in man(7) macros; the same for the same version."""
    head = f'.TH SIPWATCH 1 "" "sipwatch {__version__}" "User Commands"\n'
    context = click.Context(main, info_name="sipwatch")
    return head + _BEFORE + "".join(_commands(main, context)) + _AFTER


def _commands(group: click.Group, above: click.Context) -> Iterator[str]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, parent=above, info_name=name)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
        else:
            yield from _command(command, context)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    pieces = [p for p in command.collect_usage_pieces(context) if p != "[OPTIONS]"]
    yield f".SS {_text(context.command_path.removeprefix('sipwatch '))}\n"
    said = " ".join([context.command_path, "[options]", *pieces])
    yield f".nf\n.B {_text(said)}\n.fi\n"
    for paragraph in re.split(r"\n\s*\n", (command.help or "").replace("\b", "")):
        yield f".PP\n{_text(' '.join(paragraph.split()))}\n"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            options, meaning = record
            yield f".TP\n.B {_text(options)}\n{_text(meaning)}\n"


def _text(said: str) -> str:
    """Text that troff prints as it is: no escapes, and no request at its beginning."""
    escaped = said.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(page())
