"""The status page: what an on-call looks at, rendered here and kept live by events.

What is shown comes from sipwatch.views and is worded here; nothing of a page looks into
the daemon. A page is whole without JavaScript; with it, what changes is exchanged in
place. Everything is escaped by the templates, or by what writes the grid.
"""

from __future__ import annotations

from fastapi import FastAPI

from sipwatch.people import People
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.events import Follows
from sipwatch.web.pages.acts import add_acts
from sipwatch.web.pages.incidents import add_incidents
from sipwatch.web.pages.overview import add_overview
from sipwatch.web.pages.refused import add_refused
from sipwatch.web.pages.search import add_search
from sipwatch.web.pages.shell import load
from sipwatch.web.pages.statics import add_static
from sipwatch.web.pages.subjects import add_subjects


def add_pages(
    app: FastAPI, daemon: Daemon, people: People, feed: Follows | None
) -> None:
    """All pages, and what changes something by their buttons; they follow `feed`."""
    app.state.feed = feed
    load()
    add_static(app)
    add_overview(app, daemon)
    add_acts(app, daemon, people)  # before the pages whose paths end anyhow
    add_subjects(app, daemon)
    add_incidents(app, daemon)
    add_search(app, daemon)
    add_refused(app, daemon)
