"""The app with all its tabs. To add a tab, add a file to ``space/tabs`` and its name to :data:`TABS`."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import Font
from starlette.middleware import Middleware

from maskhub.errors import ConfigError, MaskHubError, first_line
from space import model, rooms, tabs, temporary, tools
from space.gate import Gate, allowed_hosts
from space.guarded import GuardedBlocks
from space.links import links, meta, routes
from space.proxies import without_proxies
from space.tabs import compare, cycle, dataset, drawn, photo, quiz, reimage, train, video, webcam
from space.zero import lent

__all__ = ["LAB", "TABS", "build", "launch", "main"]

TABS, LAB = (photo, drawn, webcam, video, compare, quiz), (cycle, dataset, train, reimage)
"""The tabs for visitors, and those of the Lab."""
LIVE_TABS = (webcam, video)
"""Tabs that call the network for each frame."""
PHOTO_TABS = (photo, drawn, compare, cycle)
"""Tabs that share a photo."""

MAX_FILE_SIZE = "200mb"
"""Limit of one file. Photos are also limited by pixels, films by length, data sets by their own rules."""

HERE = Path(__file__).parent

WORDS = {"audio.record": "Start", "common.loading": "Loading"}
"""Replacements for some of gradio's labels: a camera that shows a live result does not record."""

HEAD = """# maskhub
Take face masks off photos, or put them on."""

FOOT = """**Limits.** What appears under a mask is invented: it is not the person's real face, and not evidence of what
anyone looks like. Small, turned or covered faces may be missed.

**Privacy.** Photos are only processed here, used for nothing else, and deleted within an hour. Your browser keeps the
last photo until you close its tab, so that it survives a restart of the app. But pictures that you upload in the
*Dataset* tab stay visible to everyone until you delete them.

Examples: astronaut Eileen Collins, NASA, public domain; all others DeBruine and Jones, *Face Research Lab London Set*,
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), some with masks drawn by maskhub."""

THEME = gr.themes.Soft(
    primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=Font("sans-serif"), font_mono=Font("monospace")
).set(
    # enough contrast for white text and subdued text (WCAG AA)
    color_accent="*primary_700",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    block_label_background_fill_dark="*primary_700",
    block_title_background_fill_dark="*primary_700",
    block_label_text_color="*primary_800",
    block_title_text_color="*primary_800",
    body_background_fill="*neutral_50",
    block_border_width="1px",
    block_border_color="*neutral_200",
    checkbox_border_color="*neutral_400",
    checkbox_label_background_fill_selected="*primary_700",
    checkbox_label_background_fill_selected_dark="*primary_700",
    checkbox_label_text_color_selected="white",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
)


def build(pipe):
    """The app for a pipeline, as ``gr.Blocks``."""
    with GuardedBlocks(title="maskhub", analytics_enabled=False) as demo:
        with gr.Row(elem_id="head"):
            gr.Markdown(HEAD, elem_id="title")
            gr.HTML(links(), elem_id="about", container=False)
        built = {}
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for tab in TABS:
                _tab(tab, pipe, built)
            with gr.Tab("Lab", id="lab", elem_id="tab-lab"), gr.Tabs(elem_id="lab", overflow_behavior="wrap"):
                for tab in LAB:
                    _tab(tab, pipe, built)
        gr.Markdown(FOOT, elem_id="foot")
        _connect(demo, built)
        _lead_on(built)
        photo_of_call = tools.build()
    tools.describe(demo, photo_of_call)
    # one photo already keeps all cores busy
    return demo.queue(default_concurrency_limit=1, max_size=32, api_open=False)


def _tab(tab, pipe, built):
    with gr.Tab(tab.TITLE, id=name_of(tab), elem_id=f"tab-{name_of(tab)}") as place:
        built[tab] = place, tabs.build(tab, pipe if tab in LIVE_TABS else lent(pipe))


def name_of(tab):
    """A tab's name in the page's address."""
    return tab.TITLE.lower().replace(" ", "-")


def _connect(demo, built):
    """Open the tab that the address names, and carry the photo from tab to tab."""
    quiet = rooms.quiet
    demo.load(None, js=f"() => maskhub.open({[name_of(tab) for tab in LAB]})", **quiet)
    for tab, (place, here) in built.items():
        place.select(None, js=f"() => maskhub.address('{name_of(tab)}')", **quiet)
        place.select(lambda live=tab is webcam: gr.Timer(active=live), None, built[webcam][1].timer, **quiet)
        if tab not in PHOTO_TABS:
            continue
        if tab is photo:
            demo.load(None, here.photo, here.photo, js="(shown) => maskhub.restored(shown)", **quiet)
        place.select(None, here.photo, here.photo, js="(own) => maskhub.last(own)", **quiet)
        here.photo.input(None, here.photo, js="(photo) => { maskhub.keep(photo); }", **quiet)


def _lead_on(built):
    """From a trained model to its first face, and from a face that no model knows to the Photo tab."""
    training, faces, first = built[train][1], built[reimage][1], built[photo][1]
    given = [faces.source, faces.gallery, faces.picked, faces.model, faces.photo, faces.where]
    given += [faces.brush, faces.sample, faces.filled]
    trying = training.use.click(reimage.tried, [training.job, training.key], given, **rooms.quiet)
    shown = trying.then(None, js="() => document.querySelector('#tab-re-image-button').click()", **rooms.quiet)
    reimage.run_on(faces, shown.then)
    left = faces.away.click(reimage.away, [faces.photo, faces.picked], [faces.problem, first.photo], **rooms.quiet)
    script = "(photo) => { maskhub.keep(photo); document.querySelector('#tab-photo-button').click(); }"
    left.then(None, first.photo, js=script, **rooms.quiet)


def launch(demo, bounds=None):
    """Serve the app, ``gr.Blocks``, at ``GRADIO_SERVER_NAME`` and ``GRADIO_SERVER_PORT``; on a Space, for everyone.
    ``bounds`` are the :class:`~space.gate.Bounds` of what visitors may send. ConfigError if the port is invalid or
    taken, or the page can't be reached from this machine."""
    port = os.environ.get("GRADIO_SERVER_PORT")
    if port and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise ConfigError(f"GRADIO_SERVER_PORT is {port!r}; it must be a number from 1 to 65535.")
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    gate = Middleware(Gate, hosts=allowed_hosts(host, shared), bounds=bounds)
    try:
        with nullcontext() if shared else without_proxies():
            _serve(demo, host, port, gate)
    except OSError as error:
        place = f"{host}, port {port or '7860 and the next hundred'}"
        raise ConfigError(
            f"the app can't be served on {place}: the port is taken, or the address is not of this machine. "
            "Set GRADIO_SERVER_PORT or GRADIO_SERVER_NAME."
        ) from error
    except ImportError as error:  # from httpx, for a proxy that it can't use
        raise ConfigError(f"the app can't be shared: {first_line(error)}.") from error
    except ValueError as error:
        if "localhost is not accessible" not in str(error):
            raise ConfigError(f"the app can't be served: {first_line(error)}.") from error
        raise ConfigError(
            f"the app does not answer at {demo.local_url}: a proxy or firewall may block it, or this machine is "
            "too busy. Try again."
        ) from error
    print(f"maskhub is at {demo.local_url}", flush=True)


def _serve(demo, host, port, gate):
    demo.launch(
        server_name=host,
        server_port=int(port) if port else None,
        theme=THEME,
        css_paths=HERE / "style.css",
        head=f"{meta()}\n<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        favicon_path=HERE / "favicon.png",
        footer_links=["api"],
        i18n=gr.I18n(en=WORDS),
        max_file_size=MAX_FILE_SIZE,
        # no history of runs in the browser, which would keep photos
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=tools.can_serve_agents(),
        quiet=True,
        prevent_thread_lock=True,
        # number of pages whose state is kept, half a megabyte each
        state_session_capacity=500,
        app_kwargs={"middleware": [gate], "routes": routes()},
    )


def main():
    """Start the app; returns the exit code."""
    # `kill` and stopping the Space clean up like Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with temporary.photo_folder() as folder:
            demo = build(model.load())
            launch(demo)
            temporary.keep_clean(demo, folder)
            rooms.supervise()
            demo.block_thread()
    except MaskHubError as error:
        print(f"maskhub: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0
