"""The swap of one configuration for another, while the daemon goes on."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from checks.observation import Subject
from sipwatch.config.crosscheck import notices
from sipwatch.config.settings import Config, Diff, WebSettings, timetables
from sipwatch.peers import marks
from sipwatch.plan import Plan

if TYPE_CHECKING:
    from sipwatch.daemon import Daemon

log = logging.getLogger(__name__)


def swap(daemon: Daemon, config: Config, plan: Plan, change: Diff) -> None:
    """The one moment between the old configuration and the new one."""
    old, daemon.config, now = daemon.config, config, daemon.clock.now()
    daemon.flow.flush()
    # Before anybody leaves them: an empty site is not one whose phones are back.
    for site in daemon.topology.drop(change.named("sites", change.removed)):
        daemon.alarms.unwatch(site, now)
    targets = daemon.options.replace(plan.targets)
    for subject in targets.removed:
        daemon.alarms.unwatch(subject, now)
    daemon.options.set_marks(marks(plan.rules))
    _swap_registrars(daemon, config, plan, change, now)
    daemon.alarms.muting.replace(*timetables(config))
    daemon.alarms.replace(
        plan.rules, config.routes, config.group, list(config.notifiers), now
    )
    tested = _swap_accounts(daemon, config, change, now)
    _swap_topology(daemon, config, change)
    asked = [*targets.added, *targets.changed, *tested]
    daemon.touched.begin(now, change.summary(), asked)
    for name in change.named("notifiers", change.changed | change.added):
        daemon.couriers.hire(name, config.notifiers[name])
        daemon.alarms.retry(name, now)
    daemon.rollups.renew()
    daemon.twilio.replace(config.twilio, now)
    daemon.heartbeat.replace(config.heartbeat)
    if config.heartbeat is None:
        daemon.alarms.unwatch(daemon.heartbeat.subject, now)
    daemon.plan_self_tests()
    daemon.flow.flush()
    daemon.couriers.wake()
    _swap_doors(daemon, old.web, config)
    _warn(old, config)


def _swap_registrars(
    daemon: Daemon, config: Config, plan: Plan, change: Diff, now: float
) -> None:
    """Follow those that are there now, as they are configured now."""
    for name in change.named("registrars", change.removed):
        for subject in daemon.followings.unfollow(name):
            daemon.alarms.unwatch(subject, now)
    for name in change.named("registrars", change.changed):
        daemon.followings.renew(name, config.registrars[name], plan.listed[name])
    for name in change.named("registrars", change.added):
        daemon.followings.follow(name, config.registrars[name], plan.listed[name])


def _swap_topology(daemon: Daemon, config: Config, change: Diff) -> None:
    """Sites, our own network, and what depends on what."""
    daemon.options.tell_where()
    touched = change.added | change.changed | change.removed
    if change.named("sites", touched):
        daemon.followings.relocate()
    if "vantage" in touched:
        daemon.outlook.renew(config.vantage)
    daemon.link()


def _swap_accounts(
    daemon: Daemon, config: Config, change: Diff, now: float
) -> list[Subject]:
    """Test those at once that are new or other than before; who they are."""
    daemon.accounts.allow()
    for name in change.named("accounts", change.removed):
        daemon.alarms.unwatch(daemon.accounts.unwatch(name), now)
    changed = change.named("accounts", change.changed)
    added = change.named("accounts", change.added)
    for name in changed:
        daemon.accounts.renew(name, config.accounts[name])
    for name in added:
        daemon.accounts.watch(name, config.accounts[name])
    daemon.accounts.tick()
    return [daemon.accounts[name].subject for name in (*changed, *added)]


def _swap_doors(daemon: Daemon, old: WebSettings, config: Config) -> None:
    """Users, tokens and the certificate, which may be another in the same file."""
    try:
        daemon.doors.replace(config.web)
    except (OSError, ValueError) as error:
        log.error("reload: the old certificate stays: %s", error)
    if (old.users, old.tokens) != (config.web.users, config.web.tokens):
        daemon.feed.backlog.dismiss()  # who follows may not be let in any more


def _warn(old: Config, config: Config) -> None:
    """Say what is doubtful in the new configuration, and what of it must wait."""
    for line in notices(config):
        log.warning("%s", line)
    for section in ("web", "database", "resolver"):
        if _fixed(old, section) != _fixed(config, section):
            log.warning("reload: %s changes with the next restart", section)


def _fixed(config: Config, section: str) -> object:
    """What of a section is not swapped."""
    if section != "web":
        return getattr(config, section)
    with_tls = config.web.tls is not None
    return replace(config.web, users={}, tokens={}, tls=None), with_tls
