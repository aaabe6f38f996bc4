"""Every command, as its own --help tells it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from sipwatch.cli import main

INTRO = """\
# Commands

`sipwatch COMMAND --help` says the same. `--json` prints what is meant for programs.
What is about the running daemon asks it through its Unix socket, and needs no token:
root and the group `sipwatch` may.
"""
WIDTH = 84


def walk(
    command: click.Command, above: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by their whole names."""
    name = f"{above} {command.name}".strip()
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from walk(one, name)
    elif not command.hidden:
        yield name, command


def every() -> list[tuple[str, click.Command]]:
    """All commands of `sipwatch`."""
    found: list[tuple[str, click.Command]] = []
    for one in main.commands.values():
        found += walk(one, "sipwatch")
    return found


def help_of(name: str, command: click.Command) -> str:
    """What `--help` prints."""
    at = click.Context(
        command,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(at)


def page() -> str:
    """The page of all commands."""
    parts = [INTRO]
    for name, command in every():
        parts.append(f"\n## {name}\n\n```text\n{help_of(name, command)}\n```\n")
    return "".join(parts)
