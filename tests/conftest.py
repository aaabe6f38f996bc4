"""Fixtures that start real servers and phones on loopback addresses of their own.

Each is a function that starts one more; all that a test started ends with the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import require
from tests.servers.alertmanager import Alertmanager
from tests.servers.asterisk import Asterisk, Extension, Registration, Trunk
from tests.servers.kamailio import Kamailio
from tests.servers.loopback import Loopback
from tests.servers.phones import Answering, Baresip, SippPhones
from tests.servers.smtp import Postfix, unfit

StartAsterisk = Callable[..., Asterisk]
StartKamailio = Callable[..., Kamailio]
StartBaresip = Callable[..., Baresip]
MakeSippPhones = Callable[..., SippPhones]
StartAnswering = Callable[..., Answering]
StartPostfix = Callable[..., Postfix]
StartAlertmanager = Callable[..., Alertmanager]

# An example that takes long says that the machine is busy, and nothing of the code.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


WAITING = 3  # workers that wait for the wall clock, while the others compute
WAITS = 15.0  # s; of a test marked wall that does not say how long


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits is begun first: groups are, and these are as long as each other."""
    waits = []
    for item in items:
        marker = item.get_closest_marker("wall")
        if marker and not item.get_closest_marker("soak"):
            waits.append((marker.args[0] if marker.args else WAITS, item))
    taken = [0.0] * WAITING
    for seconds, item in sorted(waits, key=lambda one: -one[0]):
        group = taken.index(min(taken))
        taken[group] += seconds
        item.add_marker(pytest.mark.xdist_group(f"wall-{group}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked real("asterisk", ...) needs these programs."""
    for marker in item.iter_markers("real"):
        for name in marker.args:
            require(name)


@pytest.fixture(scope="session")
def loopback() -> Iterator[Loopback]:
    """Addresses of this worker: `loopback.address()` is a new one each time."""
    addresses = Loopback()
    yield addresses
    addresses.close()


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Ends what the test started, the last first: phones before their PBX."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[str], Path]:
    """A new folder in the test's own for each server."""

    def folder(name: str) -> Path:
        return tmp_path / f"{name}-{len(list(tmp_path.glob(f'{name}-*'))) + 1}"

    return folder


@pytest.fixture
def asterisk(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> StartAsterisk:
    """asterisk([Extension("1001")], [Trunk(...)], **options): a booted Asterisk."""

    def start(
        extensions: Sequence[Extension] = (),
        trunks: Sequence[Trunk | Registration] = (),
        **options: Any,
    ) -> Asterisk:
        address = options.pop("address", None) or loopback.address()
        pbx = Asterisk(folders("asterisk"), address, extensions, trunks, **options)
        servers.callback(pbx.close)
        return pbx.start()

    return start


@pytest.fixture
def kamailio(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> StartKamailio:
    """kamailio({"2001": "secret"}, **options): a running Kamailio."""

    def start(users: Mapping[str, str] | None = None, **options: Any) -> Kamailio:
        address = options.pop("address", None) or loopback.address()
        registrar = Kamailio(folders("kamailio"), address, users, **options)
        servers.callback(registrar.close)
        return registrar.start()

    return start


@pytest.fixture
def baresip(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> StartBaresip:
    """baresip("1001", registrar, **options): a real phone, registered."""

    def start(
        user: str,
        registrar: Asterisk | Kamailio,
        password: str = "secret",
        *,
        registers: bool = True,
        **options: Any,
    ) -> Baresip:
        phone = Baresip(
            folders("baresip"),
            f"{user}@{registrar.address}",
            password,
            registrar.address,
            address=options.pop("address", None) or loopback.address(),
            **options,
        )
        servers.callback(phone.kill9)
        return phone.start(registers=registers)

    return start


@pytest.fixture
def sipp_phones(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> MakeSippPhones:
    """sipp_phones(["1001", ...], registrar, **options): phones not yet registered."""

    def make(
        users: Sequence[str],
        registrar: Asterisk | Kamailio,
        password: str = "secret",
        **options: Any,
    ) -> SippPhones:
        phones = SippPhones(
            folders("sipp"),
            users,
            password,
            f"{registrar.address}:{registrar.sip_port}",
            address=options.pop("address", None) or loopback.address(),
            **options,
        )
        servers.callback(phones.stop)
        return phones

    return make


@pytest.fixture
def answering(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> StartAnswering:
    """answering(486, **options): something that answers every OPTIONS with this."""

    def start(code: int = 200, reason: str = "", **options: Any) -> Answering:
        address = options.pop("address", None) or loopback.address()
        target = Answering(
            folders("answering"), code, reason, address=address, **options
        )
        servers.callback(target.stop)
        return target.start()

    return start


@pytest.fixture
def postfix(servers: ExitStack, loopback: Loopback) -> StartPostfix:
    """postfix(settings={...}): an SMTP server that delivers; needs root."""
    if why := unfit():
        pytest.skip(why)

    def start(**options: Any) -> Postfix:
        server = Postfix(options.pop("address", None) or loopback.address(), **options)
        servers.callback(server.close)
        return server.start()

    return start


@pytest.fixture
def alertmanager(
    servers: ExitStack, loopback: Loopback, folders: Callable[[str], Path]
) -> StartAlertmanager:
    """alertmanager(receiver="http://..."): a running Alertmanager."""

    def start(*arguments: Any, **options: Any) -> Alertmanager:
        address = options.pop("address", None) or loopback.address()
        server = Alertmanager(folders("alertmanager"), address, *arguments, **options)
        servers.callback(server.close)
        return server.start()

    return start
