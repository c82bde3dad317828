"""The links of the page's head, and the pages that the app serves itself: the model card and the papers."""

import html
import os
from pathlib import Path

from gradio.utils import get_space
from markdown_it import MarkdownIt
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from space import browser_edition

__all__ = ["links", "meta", "routes"]

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "model-card": ("Model card", ROOT / "maskhub" / "weights" / "light-256" / "README.md"),
    "papers": ("Papers", ROOT / "docs" / "papers.md"),
}
ABOUT = "Take face masks off photos or put them on, in the browser: photos, webcam and films."
STYLE = """:root { color-scheme: light dark; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif; }
a { color: #0f766e; } @media (prefers-color-scheme: dark) { a { color: #5eead4; } }
table { border-collapse: collapse; display: block; overflow-x: auto; } img { max-width: 100%; }
th, td { padding: 0.25rem 0.6rem; border: 1px solid #8888; text-align: left; vertical-align: top; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8888; }"""


def links():
    """The links as HTML: the app's own pages, the browser edition, and the code if the app runs on a Space."""
    found = [(title, f"/{name}") for name, (title, path) in PAGES.items() if path.is_file()]
    edition, space = browser_edition.address(), get_space()
    if edition:
        found.append(("In your browser", edition))
    if space:
        found.append(("Code", f"https://huggingface.co/spaces/{space}/tree/main"))
    items = (f'<a href="{html.escape(address)}" target="_blank">{title}</a>' for title, address in found)
    return f'<nav id="links" aria-label="About maskhub">{"".join(items)}</nav>'


def meta():
    """The head's tags for previews in chats and networks."""
    host = os.environ.get("SPACE_HOST")
    tags = {"og:title": "maskhub", "og:description": ABOUT, "og:type": "website", "twitter:card": "summary_large_image"}
    if host:  # previews need a full address
        tags |= {"og:url": f"https://{host}/", "og:image": f"https://{host}/preview.jpg"}
    lines = [f'<meta property="{name}" content="{html.escape(text)}">' for name, text in tags.items()]
    return "\n".join([f'<meta name="description" content="{ABOUT}">', *lines])


def routes():
    """Starlette's routes for :data:`PAGES`, the preview's picture and the browser edition."""

    async def preview(request):
        return FileResponse(Path(__file__).parent / "preview.jpg")

    found = [Route(f"/{name}", _page(title, path)) for name, (title, path) in PAGES.items() if path.is_file()]
    return [*found, Route("/preview.jpg", preview), *browser_edition.routes()]


def _page(title, path):
    async def answer(request):
        text = path.read_text(encoding="utf-8")
        if text.startswith("---\n"):  # a card's metadata
            text = text.partition("\n---\n")[2]
        # no raw HTML: a card may come from anywhere
        body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} – maskhub</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
            f"<body><main>{body}</main></body></html>"
        )

    return answer
