"""The command line: thin, and quick to start, since probes run it from monitoring.

Each command imports what it needs when it runs. A user's own mistake is one line on
stderr, never a traceback: exit status 2 for a wrong configuration, 3 for wrong use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from sipwatch import __version__
from sipwatch.commands import flags
from sipwatch.commands.piping import piped


class Commands(click.Group):
    """All commands; who stops reading what one prints is told nothing of it."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run one."""
        with piped():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read what stands before the command's name."""
        with _wrong_use():
            return super().make_context(*args, **kwargs)

    def invoke(self, context: click.Context) -> Any:
        """Read what stands behind it, and run it."""
        with _wrong_use():
            return super().invoke(context)


@contextmanager
def _wrong_use() -> Iterator[None]:
    """Status 3, as monitoring plugins have it: 2 says that something is down."""
    try:
        yield
    except click.UsageError as error:
        error.exit_code = 3  # type: ignore[misc]  # of this one, not of all
        raise


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="sipwatch %(version)s")
def main() -> None:
    """Watches phones, trunks and registrations of a PBX; tells the on-call first."""


@main.command()
@flags.config
@click.option("--log-json", is_flag=True, help="Log lines as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is only of interest.")
def run(config: str, log_json: bool, verbose: bool) -> None:
    """Run the daemon in the foreground."""
    from sipwatch import process

    sys.exit(process.run(config, log_json=log_json, verbose=verbose))


@main.command("check-config")
@flags.config
@click.option("--schema", is_flag=True, help="Print the JSON Schema for editors.")
@click.option("--online", is_flag=True, help="Look at the account at Twilio as well.")
@flags.json
def check_config(config: str, schema: bool, online: bool, as_json: bool) -> None:
    """Check a configuration; every error at once, with its place.

    With --online, and `twilio:` in it, also whether the SIP Domains exist, take
    registrations, know the users, and let our address in: exit status 1 if not.
    --json prints what was found there.
    """
    import json

    from sipwatch.config import load as configuration

    if schema:
        print(json.dumps(configuration.schema(), indent=2))
        return
    problems = configuration.check(config)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        plural = "" if len(problems) == 1 else "s"
        print(f"{len(problems)} error{plural}", file=sys.stderr)
        sys.exit(2)
    loaded = configuration.load(config)
    for notice in configuration.notices(loaded):
        print(f"note: {notice}", file=sys.stderr)
    if online:
        from sipwatch.commands import online as at_twilio

        sys.exit(at_twilio.run(loaded, as_json=as_json))
    print(f"{config}: well")


@main.command()
@click.argument("uris", nargs=-1, metavar="URI...")
@click.option("--targets", metavar="FILE", help="One SIP URI or host:port a line.")
@click.option("--timeout", default="5s", show_default=True, help="For each target.")
@click.option("--from", "from_uri", metavar="URI", help="From, where one is asked for.")
@click.option("--user-agent", help="User-Agent to show.")
@click.option("--source", metavar="IP", help="Address to send from.")
@click.option("--ca-file", metavar="FILE", help="Trust these CAs, not the system's.")
@click.option(
    "--nameserver", metavar="IP[:PORT]", help="Ask this one, not the system's."
)
@click.option("--healthy", metavar="CODES", help="Healthy answers: 2xx,401,404.")
@click.option("-v", "--verbose", is_flag=True, help="Show the SIP exchange.")
@flags.json
def probe(**options: Any) -> None:
    """Send OPTIONS to one or many SIP URIs and say what answers.

    Exit status as monitoring plugins have it: 0 all up, 1 degraded, 2 down, 3 wrong
    use. With many targets a line a target, with one also performance data.
    """
    from sipwatch.commands import probing

    sys.exit(probing.run(**options))


@main.command()
@click.argument(
    "account",
    required=False,
    metavar="[ACCOUNT | SIP-URI]",
    shell_complete=flags.offer("accounts"),
)
@flags.of_a_user
@click.option("--aor", metavar="AOR", help="Address of record: user@domain.")
@click.option("--proxy", metavar="SIP-URI", help="Send it there instead.")
@click.option("--bind", is_flag=True, help="Register a test contact, and remove it.")
@click.option("--dedicated", is_flag=True, help="No phone uses it: needed by --bind.")
@click.option("--expires", default="60s", show_default=True, help="What --bind asks.")
@click.option("--user-agent", help="User-Agent to show.")
@click.option("--source", metavar="IP", help="Address to send from.")
@click.option("--local", is_flag=True, help="Test here, not in the daemon.")
@click.option("-v", "--verbose", is_flag=True, help="Show the SIP exchange.")
@flags.config
@flags.socket
@flags.json
def register(**options: Any) -> None:
    """Register as a phone would, and say what is wrong and what to do.

    A configured ACCOUNT, or all of them, is tested by the daemon; a SIP-URI from here,
    as -u USER, whose password is read from a file, a variable or the terminal. Without
    --bind it only asks for the bindings, which changes nothing. Exit status: 0 ok,
    1 in use or not removed, 2 refused or no answer, 3 wrong use.
    """
    from sipwatch.commands import registering

    sys.exit(registering.run(**options))


@main.command()
@click.argument("aor", shell_complete=flags.offer("subjects"))
@click.option("--registrar", metavar="SIP-URI", help="Ask this one, from here.")
@flags.of_a_user
@flags.socket
@flags.json
def bindings(**options: Any) -> None:
    """Show the contacts that are registered for an address of record.

    They are what the daemon's registrars hold, and what the registrar of an account
    of the daemon answers now. Exit status: 0 some, 1 none, 2 no answer, 3 wrong use.
    """
    from sipwatch.commands import registering

    sys.exit(registering.bindings(**options))


@main.command()
@click.argument(
    "subject",
    metavar="EXTENSION | TARGET | ACCOUNT | SIP-URI",
    default="",
    shell_complete=flags.offer("subjects"),
)
@click.option("--pcap", metavar="FILE", help="Read a capture instead.")
@click.option("--call", is_flag=True, help="Also call it, and end that at once.")
@click.option("--from", "from_uri", metavar="URI", help="Caller, where one is asked.")
@flags.of_somebody
@click.option("--timeout", default="5s", show_default=True, help="For each question.")
@click.option("--user-agent", help="User-Agent to show.")
@click.option("--source", metavar="IP", help="Address to send from.")
@click.option("--local", is_flag=True, help="Look from here, not from the daemon.")
@flags.config
@flags.socket
@flags.json
def diagnose(**options: Any) -> None:
    """Say why it answers 480: every rung from the name to the phone.

    What is configured is looked at by the daemon: an extension (1001), a target, an
    account, a registrar (hq), what that registers elsewhere (registration:hq/trunk). A
    SIP-URI, or a user at a host, is looked at from here; -u USER tries its credentials
    too. --call makes the phone ring for a moment: use it by hand only.
    --pcap tells what failed in a file of tcpdump or Wireshark, of all or of SUBJECT.
    Exit status: 0 nothing is wrong, 1 something is, 2 nothing is there, 3 wrong use.
    """
    from sipwatch.commands import diagnose

    sys.exit(diagnose.run(**options))


@main.command()
@click.option("-w", "--watch", is_flag=True, help="Keep it up to date; end by Ctrl-C.")
@flags.socket
@flags.json
def status(watch: bool, socket: str, as_json: bool) -> None:
    """Show what the running daemon sees.

    Exit status: 0 nothing is wrong, 1 incidents are open that are more than an info,
    3 no daemon answers.
    """
    from sipwatch.commands import looking

    if watch and not as_json:
        sys.exit(looking.watch(socket))
    sys.exit(looking.run(socket, as_json=as_json))


@main.command()
@click.argument("search", default="")
@click.option(
    "--state",
    default="open",
    show_default=True,
    type=click.Choice(("open", "firing", "acknowledged", "resolved", "all")),
    help="Open is firing or acknowledged.",
)
@click.option(
    "--severity",
    type=click.Choice(("info", "warning", "critical")),
    help="Those of this one.",
)
@click.option("--rule", metavar="NAME", help="Those of this rule.")
@click.option("--registrar", metavar="NAME", help="Those of this registrar.")
@click.option("--site", metavar="NAME", help="Those of this site.")
@click.option("--since", metavar="24h", default="", help="Opened no longer ago.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Rows."
)
@flags.socket
@flags.json
def incidents(since: str, socket: str, as_json: bool, **filters: Any) -> None:
    """List the incidents, the newest first; of SEARCH, those that it is in.

    --state resolved, or all, lists those that are over too. Exit status: 0 listed,
    3 no daemon answers, or wrong use.
    """
    from sipwatch.commands import listing

    sys.exit(listing.run(socket, filters, since, as_json=as_json))


@main.command()
@click.argument("registrar", default="", shell_complete=flags.offer("registrars"))
@flags.socket
@flags.json
def audit(registrar: str, socket: str, as_json: bool) -> None:
    """Show how phones register: Expires granted, refresh point, who is overdue."""
    from sipwatch.commands import auditing

    sys.exit(auditing.run(socket, registrar, as_json=as_json))


@main.command()
@click.argument("subject", shell_complete=flags.offer("subjects"))
@click.option("--registrar", metavar="NAME", default="", help="Where it is several.")
@flags.socket
@flags.json
def history(subject: str, registrar: str, socket: str, as_json: bool) -> None:
    """Show what changed of a phone, a target, a registration or a registrar.

    SUBJECT is its name (1001) or its key (extension:hq/1001). Of a phone these are its
    state, contacts, addresses and user agents; the latest change is the last line.
    """
    from sipwatch.commands import history

    sys.exit(history.run(socket, subject, registrar, as_json=as_json))


@main.command()
@click.argument(
    "what",
    metavar="INCIDENT | SUBJECT",
    shell_complete=flags.offer("incident_or_subject"),
)
@click.option("--registrar", metavar="NAME", default="", help="Where it is several.")
@flags.socket
@flags.json
def explain(what: str, registrar: str, socket: str, as_json: bool) -> None:
    """Say why there is an alarm, or why there is none.

    INCIDENT is the number in the last line of a mail: its rule, what was observed,
    considered and suppressed, the routes, every attempt to tell it. SUBJECT is a name
    (1001) or a key (extension:hq/1001). Exit status: 0 explained, 3 nothing known.
    """
    from sipwatch.commands import explaining

    sys.exit(explaining.run(socket, what, registrar, as_json=as_json))


@main.command()
@click.argument("incident", type=int, shell_complete=flags.offer("incidents"))
@click.option("-o", "--output", metavar="FILE", help="Write the pcapng there.")
@click.option("--text", is_flag=True, help="Show the messages, one below the other.")
@flags.socket
@flags.json
def evidence(**options: Any) -> None:
    """Show or save what was on the wire when an incident opened.

    Passwords, digest answers and media keys are overwritten in it. Wireshark opens the
    file. Exit status: 0 there is evidence, 3 there is none, or it cannot be had.
    """
    from sipwatch.commands import evidence

    sys.exit(evidence.run(**options))


@main.command()
@click.argument(
    "incidents",
    nargs=-1,
    type=int,
    required=True,
    metavar="INCIDENT...",
    shell_complete=flags.offer("incidents"),
)
@click.option("--by", default="", metavar="NAME", help="Who takes it; default: you.")
@click.option("--note", default="", help="What you do about it.")
@flags.socket
@flags.json
def ack(incidents: tuple[int, ...], **options: Any) -> None:
    """Take open incidents: they are not repeated, nor escalated, any more.

    INCIDENT is the number in the last line of a mail.
    """
    from sipwatch.commands import silencing

    sys.exit(silencing.acknowledge(options.pop("socket"), incidents, **options))


@main.group()
def silence() -> None:
    """Say what nobody wants to hear of for a while."""


@silence.command("add")
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@click.option("--reason", required=True, help="For those who wonder later.")
@click.option("--for", "lasts", default="", metavar="2h", help="How long it lasts.")
@click.option("--until", "ends", default="", metavar="TIME", help="Or until when.")
@click.option("--from", "starts", default="", metavar="TIME", help="Default: now.")
@click.option("--by", "author", default="", metavar="NAME", help="Default: you.")
@flags.socket
@flags.json
def silence_add(matchers: tuple[str, ...], **options: Any) -> None:
    """Silence what fits all of the matchers.

    MATCHER is site=lyon, extension=1001, severity!=critical, or with a pattern
    extension=~"20*". What fires meanwhile is told at the end, if it is still so; what
    was told before is told as over. TIME is 14:00, or "2026-03-07 20:00".
    """
    from sipwatch.commands import silencing

    sys.exit(silencing.add(options.pop("socket"), matchers, **options))


@silence.command("list")
@click.option("--all", "ended", is_flag=True, help="Also those that are over.")
@flags.socket
@flags.json
def silence_list(socket: str, ended: bool, as_json: bool) -> None:
    """Show the silences, and the maintenance that is under way."""
    from sipwatch.commands import silencing

    sys.exit(silencing.show(socket, ended=ended, as_json=as_json))


@silence.command("remove")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@flags.socket
@flags.json
def silence_remove(ids: tuple[str, ...], socket: str, as_json: bool) -> None:
    """End silences before their time."""
    from sipwatch.commands import silencing

    sys.exit(silencing.remove(socket, ids, as_json=as_json))


@main.command()
@click.option("--html", "as_html", is_flag=True, help="HTML instead of Markdown.")
@click.option("-o", "--output", default="", metavar="FILE", help="Write it there.")
@flags.socket
@flags.json
def runbook(socket: str, output: str, as_html: bool, as_json: bool) -> None:
    """Print one page of every PBX, trunk, account and device.

    Where each is, who may use it and where the secret is kept (never what it is),
    when somebody is told and who, and what the last verification found. The key
    `runbook` of the configuration names a file that is kept up to date.
    """
    from sipwatch.commands import runbook

    sys.exit(runbook.run(socket, output, as_html=as_html, as_json=as_json))


@main.command()
@flags.json
def password(as_json: bool) -> None:
    """Print the hash of a password, for `web.users` of the configuration.

    It is asked for twice at a terminal, or read from standard input. Exit status: 0, or
    3 where none was given.
    """
    from sipwatch.commands import password

    sys.exit(password.run(as_json=as_json))


@main.command("test-notify")
@click.argument(
    "notifiers",
    nargs=-1,
    metavar="[NOTIFIER]...",
    shell_complete=flags.offer("notifiers"),
)
@click.option("--route", "routes", type=int, multiple=True, help="The Nth of `routes`.")
@click.option("--all", "every", is_flag=True, help="All routes, and who is on them.")
@flags.socket
@flags.json
def test_notify(
    notifiers: tuple[str, ...],
    routes: tuple[int, ...],
    every: bool,
    socket: str,
    as_json: bool,
) -> None:
    """Have the daemon send a test by each notifier, or by those named.

    With --route or --all to each notifier of these routes, those of the steps of its
    ladder included. Exit status: 0 all took it, 2 not all, 3 no daemon or wrong use.
    """
    from sipwatch.commands import testing

    if (routes or every) and notifiers:
        print("name notifiers or routes, not both", file=sys.stderr)
        sys.exit(3)
    if routes or every:
        sys.exit(testing.routes(socket, () if every else routes, as_json=as_json))
    sys.exit(testing.notifiers(socket, notifiers, as_json=as_json))


@main.command()
@click.option("-i", "--interface", "names", multiple=True, help="Default: all.")
@click.option("--ports", default="5060", show_default=True, help="5060,5080")
@click.option("--size", default="128M", show_default=True, help="Of the ring.")
@click.option("--packets", default=250_000, show_default=True, help="In the ring.")
@click.option("--buffer", default="4M", show_default=True, help="Of the kernel.")
@click.option(
    "--socket", default=flags.CAPTURE, show_default=True, help="Where it answers."
)
@click.option("--group", default="", help="Of that socket.")
@click.option("--for", "users", multiple=True, help="Users who may ask, beside root.")
def capture(names: tuple[str, ...], **options: Any) -> None:
    """Listen for SIP and keep the last of it, for the daemon to ask for.

    It needs CAP_NET_RAW and nothing else, and is meant to run as a service of its own
    (sipwatch-capture.service). SIP over TLS cannot be read by anybody in between.
    """
    from sipwatch.capture import process

    sys.exit(process.run(names, **options))


@main.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what a shell reads to complete commands, incidents and names.

    For bash: sipwatch completion bash > /etc/bash_completion.d/sipwatch; the installer
    has done that. For zsh put it as _sipwatch into a folder of $fpath, for fish into
    ~/.config/fish/completions/sipwatch.fish.
    """
    from sipwatch.commands import completing

    print(completing.script(main, shell))


@main.command()
@click.option("--seconds", type=float, help="Stop by itself after so many seconds.")
@click.option("--address", default="127.0.0.1", help="Loopback address to play on.")
def demo(seconds: float | None, address: str) -> None:
    """Watch a simulated site in which a phone dies and a trunk stops answering."""
    from sipwatch.demo import show

    sys.exit(show.run(seconds, address))
