"""The browser edition: the site of ``web/``, served with the app, and its camera as a component for other tabs.

It computes on the visitor's device. The app serves it if it has been built (docs/web.md), or links to a static Space.
"""

import json
import os
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from maskhub.errors import ConfigError

__all__ = ["address", "camera", "folder", "routes"]

PLACE = "/browser"
BUILT = Path(__file__).resolve().parent.parent / "web" / "dist"
ISOLATED = [
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers that let the site's page use several threads."""


def folder():
    """The built site: ``web/dist``, or the folder in ``MASKHUB_WEB_DIST``; None if it has not been built."""
    place = Path(os.environ.get("MASKHUB_WEB_DIST") or BUILT)
    return place if (place / "index.html").is_file() else None


def address():
    """The URL of the browser edition: ``MASKHUB_WEB_URL``, or its path in this app; None if it has not been built.
    ConfigError if ``MASKHUB_WEB_URL`` is not a web address."""
    url = os.environ.get("MASKHUB_WEB_URL", "").strip()
    if url and not url.startswith(("https://", "http://")):
        raise ConfigError(f"MASKHUB_WEB_URL is {url!r}; it must be an address that begins with https://.")
    return url or (f"{PLACE}/" if folder() else None)


def routes():
    """Starlette's routes for the site; none if it has not been built."""
    return [Mount(PLACE, _Site(directory=folder(), html=True))] if folder() else []


class _Site(StaticFiles):
    """Files with the headers of a static Space."""

    async def __call__(self, scope, receive, send):
        async def isolated(message):
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *ISOLATED]}
            await send(message)

        await super().__call__(scope, receive, isolated)


def camera(**options):
    """The camera that computes in the visitor's browser, as ``gr.HTML`` with these options; None without a site."""
    if folder() is None:
        return None
    import gradio as gr  # imported here: space.deploy only needs the folder

    module = json.dumps(f"{PLACE}/camera.js")
    return gr.HTML(
        html_template='<div class="browser-camera"></div>',
        js_on_load=f"""
            const place = element.querySelector('.browser-camera');
            import((window.gradio_config?.root ?? '') + {module}).then(({{ mount }}) => mount(place));
        """,
        **options,
    )
