"""What is watched: lists by the page, and one of each in full."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import Response

from sipwatch.views import (
    accounts,
    certificates,
    extensions,
    registrars,
    registrations,
    schedules,
    sites,
    targets,
)
from sipwatch.views.paging import LIMIT, LONGEST, MOST, Page, cut
from sipwatch.web.access import operates
from sipwatch.web.api.answers import Json, documented, refused, router
from sipwatch.web.api.daemon import Daemon

WORD = 256  # characters of what is searched or named

Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")]
Cursor = Annotated[
    str,
    Query(max_length=LONGEST, description="`next` of the page before; empty: begin."),
]
Word = Annotated[str, Query(max_length=WORD)]
Search = Annotated[
    str, Query(max_length=WORD, description="Part of a name, title or address.")
]


def add_watched(app: FastAPI, daemon: Daemon) -> None:
    """Everything by its kind."""
    api = router()
    _add_extensions(api, daemon)
    _add_targets(api, daemon)
    _add_registrars(api, daemon)
    _add_accounts(api, daemon)
    _add_places(api, daemon)
    app.include_router(api, tags=["watched"])


def _add_extensions(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/extensions", responses=documented(Page[extensions.ExtensionRow], 422))
    async def listed(
        registrar: Word = "",
        site: Word = "",
        state: Literal[extensions.ExtensionState, ""] = "",
        search: Search = "",
        limit: Limit = LIMIT,
        cursor: Cursor = "",
    ) -> Response:
        """Extensions, by registrar and AOR."""
        with refused():
            found = await extensions.listed(
                daemon,
                registrar=registrar,
                site=site,
                state=state,
                search=search,
                limit=limit,
                cursor=cursor,
            )
        return Json(found)

    @api.get(
        "/extensions/{key:path}",
        responses=documented(extensions.OneExtension, 404, 409, 422),
    )
    async def one(key: str, request: Request) -> Response:
        """An extension by its key or its AOR, with bindings, habit and cause."""
        with refused():
            return Json(extensions.one(daemon, key, whole=operates(request)))


def _add_targets(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/targets", responses=documented(Page[targets.TargetRow], 422))
    async def listed(
        role: Literal["trunk", "pbx", "phone", ""] = "",
        site: Word = "",
        state: Literal[targets.TargetState, ""] = "",
        search: Search = "",
        limit: Limit = LIMIT,
        cursor: Cursor = "",
    ) -> Response:
        """Targets, by key."""
        with refused():
            found = await targets.listed(
                daemon,
                role=role,
                site=site,
                state=state,
                search=search,
                limit=limit,
                cursor=cursor,
            )
        return Json(found)

    @api.get(
        "/targets/{key:path}", responses=documented(targets.OneTarget, 404, 409, 422)
    )
    async def one(key: str, request: Request) -> Response:
        """A target by its key or name, with its addresses and last outcomes."""
        with refused():
            return Json(targets.one(daemon, key, whole=operates(request)))


def _add_registrars(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/registrars", responses=documented(Page[registrars.RegistrarRow], 422))
    async def listed(limit: Limit = LIMIT, cursor: Cursor = "") -> Response:
        """Registrars, by name."""
        with refused():
            return Json(cut(registrars.listed(daemon), limit, cursor))

    @api.get(
        "/registrars/{name:path}",
        responses=documented(registrars.RegistrarRow, 404, 422),
    )
    async def one(name: str) -> Response:
        """A registrar by its name."""
        with refused():
            return Json(registrars.one(daemon, name))

    @api.get(
        "/registrations", responses=documented(Page[registrations.RegistrationRow], 422)
    )
    async def kept(
        registrar: Word = "",
        state: Literal[registrations.RegistrationState, ""] = "",
        search: Search = "",
        limit: Limit = LIMIT,
        cursor: Cursor = "",
    ) -> Response:
        """What PBXs register elsewhere, by registrar and name."""
        with refused():
            found = registrations.listed(
                daemon,
                registrar=registrar,
                state=state,
                search=search,
                limit=limit,
                cursor=cursor,
            )
        return Json(found)


def _add_accounts(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/accounts", responses=documented(Page[accounts.AccountRow], 422))
    async def listed(limit: Limit = LIMIT, cursor: Cursor = "") -> Response:
        """Accounts that are tested with a REGISTER of ours, by name."""
        with refused():
            return Json(cut(accounts.listed(daemon), limit, cursor))

    @api.get(
        "/accounts/{name:path}", responses=documented(accounts.OneAccount, 404, 422)
    )
    async def one(name: str) -> Response:
        """An account by its name, with its last test."""
        with refused():
            return Json(accounts.one(daemon, name))


def _add_places(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/sites", responses=documented(Page[sites.SiteRow], 422))
    async def places(limit: Limit = LIMIT, cursor: Cursor = "") -> Response:
        """Sites, by name; the one without a name is all that belongs to none."""
        with refused():
            rows = await sites.listed(daemon)
            return Json(cut(rows, limit, cursor, by=lambda row: f"site:{row['name']}"))

    @api.get(
        "/certificates", responses=documented(list[certificates.CertificateRow], 422)
    )
    async def ending(limit: Limit = LIMIT) -> Response:
        """Certificates, those that end first; one row for each address."""
        return Json(certificates.listed(daemon, limit))

    @api.get("/schedules", responses=documented(schedules.Schedules))
    async def hours() -> Response:
        """Schedules and maintenance windows, and whether they are open."""
        return Json(schedules.both(daemon))
