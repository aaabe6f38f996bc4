"""The JSON API: one module for each group of routes, each with an `add_<group>`."""

from __future__ import annotations

from fastapi import FastAPI

from sipwatch.people import People
from sipwatch.web.api.answers import add_refusals
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.api.docs import add_docs
from sipwatch.web.api.incidents import add_incidents
from sipwatch.web.api.operations import add_operations
from sipwatch.web.api.points import add_points
from sipwatch.web.api.reasons import add_reasons
from sipwatch.web.api.silences import add_silences
from sipwatch.web.api.status import add_status
from sipwatch.web.api.watched import add_watched


def add_api(app: FastAPI, daemon: Daemon, people: People | None) -> None:
    """All of it; who may do what is asked of each request (`sipwatch.web.access`)."""
    add_refusals(app)
    add_status(app, daemon)
    # Before what is watched: /accounts/{name}/register is no account.
    add_operations(app, daemon)
    add_watched(app, daemon)
    add_incidents(app, daemon, people)
    add_reasons(app, daemon)
    add_points(app, daemon)
    if people is not None:
        add_silences(app, people)
    add_docs(app)
