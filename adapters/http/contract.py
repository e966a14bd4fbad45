"""The contract of this gateway, served: as OpenAPI and AsyncAPI, as a page, and as short text.

All of it is made at the start from the documents in `specs/`, which people write and tests hold
against the program.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import yaml
from aiohttp import web

from adapters.http.contract_page import page, policy
from adapters.http.contract_text import short_text


class Contract:
    """Answers `GET /openapi.json`, `/asyncapi.json`, `/docs` and `/llms.txt`."""

    def __init__(self) -> None:
        document, speech = load("openapi"), load("asyncapi")
        self._openapi = _compact(document)
        self._asyncapi = _compact(speech)
        self._page = page(document, speech)
        self._policy = policy(self._page)
        self._text = short_text(document)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/openapi.json", self.openapi)
        app.router.add_get("/asyncapi.json", self.asyncapi)
        app.router.add_get("/docs", self.docs)
        app.router.add_get("/llms.txt", self.llms)

    async def openapi(self, request: web.Request) -> web.Response:
        return web.Response(text=self._openapi, content_type="application/json")

    async def asyncapi(self, request: web.Request) -> web.Response:
        return web.Response(text=self._asyncapi, content_type="application/json")

    async def docs(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._policy},
        )

    async def llms(self, request: web.Request) -> web.Response:
        return web.Response(text=self._text, content_type="text/plain", charset="utf-8")


@cache
def load(name: str) -> dict[str, Any]:
    """The document `openapi` or `asyncapi`; shared, so not to be changed.

    `specs` lies in the repository's root, and is a package so that it is installed with the rest.
    """
    text = (resources.files("specs") / f"{name}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=_loader())  # noqa: S506 (both loaders are the safe ones)
    return document


def _loader() -> type[Any]:
    """The safe loader, in C where the library was built with it: 30 ms instead of a second."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
