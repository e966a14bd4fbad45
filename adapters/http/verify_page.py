"""The page that verifies bills in a browser: one file, which loads nothing and can be saved."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from aiohttp import web

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./verify\.mjs";\n', re.MULTILINE)
_SCRIPT = re.compile(r'<script type="module">(.*)</script>', re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class VerifyPage:
    """Answers `GET /verify`. The page may run its own script and reach nothing, by its policy."""

    def __init__(self) -> None:
        self._page = compose()
        script, style = _SCRIPT.search(self._page), _STYLE.search(self._page)
        assert script is not None, "the page has one script"  # noqa: S101 (it is our own file)
        assert style is not None, "the page has one style"  # noqa: S101 (it is our own file)
        self._policy = (
            f"default-src 'none'; script-src '{_hash(script[1])}'; style-src '{_hash(style[1])}'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/verify", self.show)

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._policy},
        )


def compose() -> str:
    """The page with the verifier inside it: from a saved file, a browser loads no other."""
    folder = resources.files("adapters.http") / "verifier"
    page = (folder / "index.html").read_text(encoding="utf-8")
    verifier = (folder / "verify.mjs").read_text(encoding="utf-8")
    inlined = re.sub(r"^export ", "", verifier, flags=re.MULTILINE)
    # A function, since the verifier's own backslashes are no references.
    composed, count = _IMPORT.subn(lambda _: inlined, page)
    assert count == 1, "the page imports the verifier once"  # noqa: S101 (it is our own file)
    return composed


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
