"""`/docs`: Swagger UI from this machine. Nothing is asked of another one, and no script runs that is not ours."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from rules.errors import NotFoundError

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>TCU telematics backend</title>
<link rel="icon" href="/docs/favicon.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "public, max-age=3600"}


def _package() -> Path:
    """Return where the package keeps Swagger UI; it is not imported, since only its files are wanted."""
    found = find_spec("fastapi_offline")
    assert found is not None  # noqa: S101 - a dependency of ours
    assert found.origin is not None  # noqa: S101 - it is a package of files
    return Path(found.origin).parent / "static"


_STATIC = _package()


@router.get("/docs")
async def get_page() -> Response:
    """Return the page."""
    return Response(_PAGE, media_type="text/html", headers=_HEADERS)


@router.get("/docs/start.js")
async def get_start() -> Response:
    """Return what begins the page: in a file of its own, so that no script need stand in the page."""
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


@router.get("/docs/{name}")
async def get_file(name: str) -> FileResponse:
    """Return a file of Swagger UI."""
    if name not in _FILES:
        raise NotFoundError("there is no such file")
    return FileResponse(_STATIC / name, headers=_HEADERS)
