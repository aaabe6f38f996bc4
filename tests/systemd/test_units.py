"""The unit, its user and folders, and the installer, on a machine left alone."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.options import datagrams
from sipwatch.capture import listening
from sipwatch.capture.protocol import SOCKET
from sipwatch.commands.flags import CAPTURE as CAPTURE_SOCKET

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "sipwatch.service"
CAPTURE = ROOT / "systemd" / "sipwatch-capture.service"
EXPOSURE = {"sipwatch": 1.2, "sipwatch-capture": 1.6}  # systemd-analyze security


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze; a test without it skips, but not in CI."""
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing")
        pytest.skip("systemd-analyze is missing")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture(params=[UNIT, CAPTURE], ids=lambda path: path.stem)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each unit with a program that is there, since verify looks for it."""
    path = tmp_path / request.param.name
    text = request.param.read_text()
    path.write_text(text.replace("/opt/sipwatch/bin/sipwatch ", "/bin/true "))
    return path


def settings(unit: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_exposed_as_little_as_promised(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= EXPOSURE[unit.stem]


def test_the_unit_keeps_what_the_daemon_lives_by() -> None:
    found = settings()
    assert found["Type"] == ["notify"]
    assert found["WatchdogSec"] == ["30"]
    assert found["Restart"] == ["always"]
    assert found["User"] == found["StateDirectory"] == found["RuntimeDirectory"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert found["CapabilityBoundingSet"] == [""]
    families = found["RestrictAddressFamilies"][0].split()
    assert set(families) == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert found["LoadCredential"] == ["secrets:/etc/sipwatch/secrets"]


def test_the_unit_starts_what_the_installer_puts_there() -> None:
    (start,) = settings()["ExecStart"]
    assert start == "/opt/sipwatch/bin/sipwatch run -c /etc/sipwatch/sipwatch.yaml"


def test_the_capture_unit_may_listen_and_nothing_else() -> None:
    found = settings(CAPTURE)
    assert found["AmbientCapabilities"] == found["CapabilityBoundingSet"]
    assert found["CapabilityBoundingSet"] == ["CAP_NET_RAW"]
    assert found["User"] == ["sipwatch-capture"]
    assert found["Group"] == settings()["Group"]  # the daemon may open its socket
    (start,) = found["ExecStart"]
    assert start == "/opt/sipwatch/bin/sipwatch capture --for sipwatch"
    (folder,) = found["RuntimeDirectory"]
    assert f"/run/{folder}/capture.sock" == CAPTURE_SOCKET == SOCKET
    same = ("ProtectSystem", "ProtectHome", "PrivateTmp", "SystemCallFilter")
    assert {key: found[key] for key in same} == {key: settings()[key] for key in same}


def test_both_users_are_made() -> None:
    users = (ROOT / "systemd" / "sipwatch.sysusers").read_text()
    for unit in UNIT, CAPTURE:
        (user,) = settings(unit)["User"]
        assert re.search(rf"^u {user} ", users, re.MULTILINE)


def test_the_kernel_may_hold_what_sockets_ask_for() -> None:
    lines = (ROOT / "systemd" / "sipwatch.sysctl").read_text().splitlines()
    (said,) = (line for line in lines if not line.startswith("#"))
    name, _, most = said.partition(" = ")
    assert name == "net.core.rmem_max"
    assert int(most) == listening.BUFFER == datagrams.RECEIVE_BUFFER


def test_the_installer_makes_nobodys_larger_buffer_less() -> None:
    """It compares with what its file asks for."""
    script = (ROOT / "systemd" / "install.sh").read_text()
    assert f'"$(cat $limit)" -lt {listening.BUFFER} ]' in script


def run_installer(destination: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"DESTDIR": str(destination), "PYTHON": sys.executable}
    return subprocess.run(
        [str(ROOT / "systemd" / "install.sh")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    destination = tmp_path_factory.mktemp("destination")
    done = run_installer(destination)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Installed below {destination}.\n"
    yield destination
    shutil.rmtree(destination)


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("install")
def test_the_installer_puts_everything_in_its_place(installed: Path) -> None:
    for path in (
        "opt/sipwatch/bin/sipwatch",
        "opt/sipwatch/share/doc/sipwatch/README.md",
        "opt/sipwatch/share/doc/sipwatch/docs/pbx/asterisk.md",
        "etc/systemd/system/sipwatch.service",
        "etc/systemd/system/sipwatch-capture.service",
        "usr/lib/sysusers.d/sipwatch.conf",
        "usr/lib/tmpfiles.d/sipwatch.conf",
        "usr/lib/sysctl.d/50-sipwatch.conf",
        "etc/sipwatch/sipwatch.example.yaml",
        "etc/sipwatch/sipwatch.schema.json",
        "etc/sipwatch/sipwatch.yaml",
        "usr/local/share/man/man1/sipwatch.1",
        "usr/share/bash-completion/completions/sipwatch",
    ):
        assert (installed / path).is_file(), path
        assert (installed / path).stat().st_size > 0, path
    link = installed / "usr/local/bin/sipwatch"
    assert os.readlink(link) == "/opt/sipwatch/bin/sipwatch"
    mode = stat.S_IMODE((installed / "etc/sipwatch/secrets").stat().st_mode)
    assert mode == 0o700


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("install")
def test_an_installed_program_does_not_need_the_checkout(installed: Path) -> None:
    script = (installed / "opt/sipwatch/bin/sipwatch").read_text()
    assert script.startswith("#!/opt/sipwatch/bin/python\n")
    python = installed / "opt/sipwatch/bin/python"
    code = "import sipwatch, checks, alerting; print(*map(str, alerting.__path__))"
    done = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.startswith(str(installed / "opt/sipwatch/lib"))


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("install")
def test_installing_again_keeps_the_configuration(installed: Path) -> None:
    mine = installed / "etc/sipwatch/sipwatch.yaml"
    mine.write_text("targets: {}\n")
    program = installed / "opt/sipwatch/lib"
    (module,) = program.glob("python3*/site-packages/sipwatch/__init__.py")
    module.write_text("of an older version")
    done = run_installer(installed)
    assert done.returncode == 0, done.stderr
    assert mine.read_text() == "targets: {}\n"
    assert module.read_text() == (ROOT / "sipwatch/__init__.py").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may install")
def test_the_installer_says_that_it_needs_root() -> None:
    environ = {k: v for k, v in os.environ.items() if k != "DESTDIR"}
    done = subprocess.run(
        [str(ROOT / "systemd" / "install.sh")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "needs root" in done.stderr
