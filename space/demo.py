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
from space import model, rooms, temporary
from space.gate import Gate, allowed_hosts
from space.guarded import GuardedBlocks
from space.proxies import without_proxies
from space.tabs import cycle, dataset, quiz, reimage, train, translate, video, wear, webcam

__all__ = ["TABS", "build", "launch", "main"]

TABS = (translate, wear, webcam, video, cycle, dataset, train, reimage, quiz)

MAX_FILE_SIZE = "20mb"

HEAD = """# maskhub
Put face masks on photos and take them off, with neural networks."""

FOOT = """**Limits.** What appears under a mask is invented: it is not the person's real face, and no evidence of what
anyone looks like. Small, turned or covered faces may be missed.

**Privacy.** Photos are only processed here, used for nothing else, and deleted within an hour. But pictures that you
upload in the *Dataset* tab stay visible to everyone until you delete them.

Example: the astronaut Eileen Collins, NASA, public domain."""

THEME = gr.themes.Soft(
    primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=Font("sans-serif"), font_mono=Font("monospace")
).set(
    # enough contrast for white text and subdued text (WCAG AA)
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
    # one photo already keeps all cores busy
    return demo.queue(default_concurrency_limit=1, max_size=32, api_open=False)


def launch(demo, bounds=None):
    """Start to serve the app at ``GRADIO_SERVER_NAME`` and ``GRADIO_SERVER_PORT``; on a Space, for everyone.

    Args:
        demo: ``gr.Blocks``. bounds: :class:`~space.gate.Bounds` of what visitors may send.

    Raises:
        ConfigError: the port is invalid or taken, or the page can't be reached from this machine.
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
        css_paths=Path(__file__).parent / "style.css",
        footer_links=["api"],
        max_file_size=MAX_FILE_SIZE,
        # no history of runs in the browser, which would keep photos
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        quiet=True,
        prevent_thread_lock=True,
        # number of pages whose state is kept, half a megabyte each
        state_session_capacity=500,
        app_kwargs={"middleware": [gate]},
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
