"""A simulated site that a real daemon sees, for those who look at it over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from checks.observation import State
from sipwatch.daemon import Daemon
from sipwatch.demo.site import Site
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket
from tests.end_to_end.watch import Watch
from tests.servers import eventually


@asynccontextmanager
async def seen(
    folder: Path,
    watched: str,
    rows: Callable[[Site], list[str]],
    *,
    phones: int,
    expires: int,
    **more: object,
) -> AsyncIterator[tuple[Daemon, Site]]:
    """A daemon that has read everything once, and all is well.

    `watched` has places for registrar, trunk, names and what else is given; `rows` are
    those of the file of names, which begin with extension, name and site.
    """
    site = Site(phones, expires=expires)
    await site.start()
    names = folder / "names.csv"
    names.write_text("\n".join(["extension,name,site", *rows(site), ""]))
    places = {"registrar": site.registrar.address, "trunk": site.trunk.address}
    watch = Watch(folder, watched.format(names=names, **places, **more))
    await watch.start()
    try:
        daemon = watch.daemon
        judge = daemon.judges["hq"]

        def read() -> bool:
            registered = judge.counts().get(State.REGISTERED)
            return daemon.ready and registered == phones

        await eventually(read, 30, "all phones")
        yield daemon, site
    finally:
        await watch.stop()
        site.close()


@asynccontextmanager
async def served(daemon: Daemon, **rights: Any) -> AsyncIterator[int]:
    """Its pages and API on a port of loopback."""
    sock = tcp_socket("127.0.0.1:0")
    listener = Listener(application(daemon, people=daemon.people, **rights), sock)
    listener.start()
    yield sock.getsockname()[1]
    await listener.close()


async def incident_of(daemon: Daemon, key: str) -> int:
    """The number of the incident of a subject, once it is open."""

    def found() -> list[int]:
        return [i.id for i in daemon.alarms.incidents if i.subject.key == key]

    numbers = await eventually(found, 40, f"an incident of {key}")
    assert isinstance(numbers, list)
    number: int = numbers[0]
    return number
