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

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "sipwatch.service"
EXPOSURE = 1.2  # of systemd-analyze security, at most


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


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there, since verify looks for it."""
    path = tmp_path / "sipwatch.service"
    text = UNIT.read_text().replace("/opt/sipwatch/bin/sipwatch run", "/bin/true run")
    path.write_text(text)
    return path


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_exposed_as_little_as_promised(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"exposure level for sipwatch.service: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= EXPOSURE


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
        "etc/systemd/system/sipwatch.service",
        "usr/lib/sysusers.d/sipwatch.conf",
        "usr/lib/tmpfiles.d/sipwatch.conf",
        "etc/sipwatch/sipwatch.example.yaml",
        "etc/sipwatch/sipwatch.schema.json",
        "etc/sipwatch/sipwatch.yaml",
    ):
        assert (installed / path).is_file(), path
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
