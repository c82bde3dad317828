"""The app, put together from its tabs. A new tab is a new file in ``space/tabs`` and its name in :data:`TABS`."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import Font
from starlette.middleware import Middleware

from maskhub.errors import ConfigError, MaskHubError, first_line
from space import model, rooms, temporary
from space.gate import Gate, allowed_hosts
from space.guarded import GuardedBlocks
from space.proxies import without_proxies
from space.tabs import cycle, dataset, quiz, reimage, train, translate, video, wear, webcam

__all__ = ["TABS", "build", "launch", "main"]

TABS = (translate, wear, webcam, video, cycle, dataset, train, reimage, quiz)

MAX_FILE_SIZE = "20mb"

HEAD = """# maskhub
Face masks put on and taken off by neural networks that learnt from photos."""

FOOT = """**Limits.** A face without its mask is an invention that fits the rest, never the person's own, and no
evidence of what anyone looks like. Small, turned or covered faces may be missed.

**Privacy.** Photos are worked on here alone, used for nothing else, and deleted within the hour; but what you bring in
the *Dataset* tab stays, for all to see, until you delete it.

Example: the astronaut Eileen Collins, NASA, public domain."""

THEME = gr.themes.Soft(
    primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=Font("sans-serif"), font_mono=Font("monospace")
).set(
    # dark enough for white letters, and subdued text that can still be read (WCAG AA)
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    block_label_text_color="*primary_800",
    block_title_text_color="*primary_800",
    body_background_fill="*neutral_50",
    block_border_width="1px",
    block_border_color="*neutral_200",
    checkbox_border_color="*neutral_400",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
)


def build(pipe):
    """The app for a pipeline, as ``gr.Blocks``."""
    with GuardedBlocks(title="maskhub", analytics_enabled=False) as demo:
        gr.Markdown(HEAD, elem_id="head")
        with gr.Tabs():
            for tab in TABS:
                with gr.Tab(tab.TITLE, id=tab.TITLE.lower()):
                    tab.build(pipe)
        gr.Markdown(FOOT, elem_id="foot")
    # the model is the bottleneck, and one photo already keeps every core busy
    return demo.queue(default_concurrency_limit=1, max_size=32, api_open=False)


def launch(demo, bounds=None):
    """Begin to serve the app where ``GRADIO_SERVER_NAME`` and ``GRADIO_SERVER_PORT`` say; on a Space, for everyone.

    Args:
        demo: ``gr.Blocks``. bounds: :class:`~space.gate.Bounds` of what visitors may send.

    Raises:
        ConfigError: the port is not one, or taken; or the page can't be reached from this machine itself.
    """
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
            f"the app can't be served on {place}: it is taken, or no address of this machine. "
            "Set GRADIO_SERVER_PORT or GRADIO_SERVER_NAME."
        ) from error
    except ImportError as error:  # httpx, of a proxy that it can't use
        raise ConfigError(f"the app can't be shared: {first_line(error)}.") from error
    except ValueError as error:
        if "localhost is not accessible" not in str(error):
            raise ConfigError(f"the app can't be served: {first_line(error)}.") from error
        raise ConfigError(
            f"the app does not answer at {demo.local_url}: a proxy or firewall stands in between, or this machine is "
            "too busy just now. Try again."
        ) from error
    print(f"maskhub is at {demo.local_url}", flush=True)


def _serve(demo, host, port, gate):
    demo.launch(
        server_name=host,
        server_port=int(port) if port else None,
        theme=THEME,
        css_paths=Path(__file__).parent / "style.css",
        footer_links=["api"],
        max_file_size=MAX_FILE_SIZE,
        # a history of runs in the browser would keep the photos
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        quiet=True,
        prevent_thread_lock=True,
        # pages whose state is kept: each takes half a megabyte
        state_session_capacity=500,
        app_kwargs={"middleware": [gate]},
    )


def main():
    """Start the app; returns the exit code."""
    # a plain `kill` and a Space's stop clean up as Ctrl-C does
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
