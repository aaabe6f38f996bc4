"""Our static files: their address names their content, so they may be kept for ever."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request, Response

from sipwatch.web.pages.shell import STATIC, static_file

FOREVER = "public, max-age=31536000, immutable"
NOT_MODIFIED = 304


def add_static(app: FastAPI) -> None:
    """Serve them to everybody: a page that asks who one is has a look as well."""

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request, v: str = "") -> Response:
        if name not in STATIC:
            raise HTTPException(404, "there is no such file")
        data, tag = static_file(name)
        kept = FOREVER if v == tag else "no-cache"
        headers = {"ETag": f'"{tag}"', "Cache-Control": kept}
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(data, headers=headers, media_type=STATIC[name])
