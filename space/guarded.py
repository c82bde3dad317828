"""A ``gr.Blocks`` for untrusted visitors: handlers only get uploaded files, and every job has a time limit.

gradio runs every event of every endpoint (queued or not, named or not, streamed or not) through ``process_api`` and
``preprocess_data``. So all checks are made here, not in the components.
"""

import asyncio
import stat
import sys
import traceback
import weakref
from pathlib import Path
from urllib.parse import unquote

import anyio.to_thread
import gradio as gr
from gradio.utils import get_upload_folder

from maskhub.errors import MaskHubError, PhotoError, first_line
from space.fair_queue import FairQueue
from space.photos import words

__all__ = ["TIME_LIMITS", "GuardedBlocks", "own_file", "own_files"]

TIME_LIMITS = {"model": 180, "reimage": 300, "uploads": 900, "video": 1800, "share": 1800, "webcam": 30, None: 60}
"""Time limits of a job in seconds by ``concurrency_id``; None: all others. A camera's job is one frame."""
MAX_DEPTH = 32
"""Maximum nesting of lists and objects in a request; the app's requests have four levels."""
KINDS = {
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}
"""JSON's types in words."""
NOT_UPLOADED = "This file was not uploaded here. Upload it first."


class GuardedBlocks(gr.Blocks):
    """See the module; ``time_limits`` are like :data:`TIME_LIMITS`."""

    def __init__(self, *args, time_limits=TIME_LIMITS, **kwargs):
        super().__init__(*args, **kwargs)
        self.time_limits = time_limits
        self._deadlines = weakref.WeakKeyDictionary()  # for generators the limit covers all steps

    def queue(self, *args, **kwargs):
        """As in gradio, with a :class:`~space.fair_queue.FairQueue`."""
        super().queue(*args, **kwargs)
        plain = self._queue
        self._queue = FairQueue(
            live_updates=plain.live_updates,
            concurrency_count=plain.max_thread_count,
            update_intervals=plain.update_intervals,
            max_size=plain.max_size,
            blocks=self,
            default_concurrency_limit=plain.default_concurrency_limit,
        )
        return self

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """Convert a request's JSON for the handlers; bad requests get a one-line error."""
        try:
            inputs = own_files(inputs)
            fitting = [_fitting(block, value) for block, value in zip(block_fn.inputs, inputs, strict=False)]
            return await super().preprocess_data(block_fn, fitting, state, explicit_call)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:  # gradio and pydantic raise many kinds of errors, whose texts name paths
            raise gr.Error(
                "This request does not fit the endpoint: see its API page.", print_exception=False
            ) from error

    async def process_api(self, block_fn, inputs, state=None, request=None, iterator=None, **kwargs):
        """Run one job, or the next step of one.

        Python can't kill threads. A job that exceeds its limit is abandoned: the visitor gets an error, its place in
        the queue and in the thread pool is freed, and its thread keeps running.
        """
        event = kwargs.get("event_data")
        if event is not None:  # gradio expects what its own page sends
            sent = own_files(event._data)
            event._data = {"index": None, "value": None} | (sent if isinstance(sent, dict) else {})
        loop = asyncio.get_running_loop()
        limit = self.time_limits.get(block_fn.concurrency_id, self.time_limits[None])
        deadline = self._deadlines.get(iterator) if iterator is not None else None
        deadline = deadline or loop.time() + limit
        job = loop.create_task(super().process_api(block_fn, inputs, state, request, iterator, **kwargs))
        try:
            done, _ = await asyncio.wait({job}, timeout=max(0, deadline - loop.time()))
        except asyncio.CancelledError:
            # the thread finishes its step first, as in gradio
            done, _ = await asyncio.wait({job}, timeout=max(0, deadline - loop.time()))
            if not done:
                self._abandon(job, block_fn, limit)
            elif not job.cancelled():
                job.exception()  # retrieved, so that asyncio does not complain
            raise
        if not done:
            self._abandon(job, block_fn, limit)
            raise gr.Error(f"This took longer than {limit:g} seconds and was stopped.", print_exception=False)
        try:
            output = job.result()
        except gr.Error as error:
            error.print_exception = False  # gradio's own refusals would fill the log with tracebacks
            raise
        except MaskHubError as error:  # not handled by the handler
            raise gr.Error(words(error), print_exception=False) from error
        except Exception as error:  # a bug, or one of gradio's handlers, which trust their input
            _note(f"{_name(block_fn)} failed: {type(error).__name__}: {first_line(error)} ({_place(error)})")
            raise gr.Error("Something went wrong. The error has been logged.", print_exception=False) from error
        if output.get("iterator") is not None:
            self._deadlines[output["iterator"]] = deadline
        return output

    def _abandon(self, job, block_fn, limit):
        limiter = self.limiter or anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens += 1

        def ended(job):
            limiter.total_tokens -= 1
            if not job.cancelled():
                job.exception()

        job.add_done_callback(ended)
        _note(f"{_name(block_fn)} took longer than {limit:g} seconds: abandoned")


def _name(block_fn):
    return block_fn.api_name or getattr(block_fn.fn, "__name__", "a job")


def _place(error):
    """The last three frames of an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return ", ".join(f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in frames)


def _note(text):
    print(f"maskhub: {text}", file=sys.stderr, flush=True)


def _fitting(block, value):
    """The value for a component's handler, since gradio passes on JSON of any type. If the component could not have
    sent it, a gr.Error names the component and what it accepts."""
    wanted, fits = "", True
    if isinstance(block, gr.Textbox):
        value = "" if value is None else value
        wanted, fits = "text", isinstance(value, str)
    elif isinstance(block, gr.Checkbox):
        wanted, fits = "true or false", isinstance(value, bool)
    elif isinstance(block, (gr.Number, gr.Slider)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53
        wanted, fits = "a number", number or (value is None and isinstance(block, gr.Number))
    elif isinstance(block, gr.Dropdown) and block.multiselect:
        value = value or []
        wanted, fits = "a list of texts", isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif isinstance(block, gr.Dropdown):
        value = None if value == [] else value
        choices = [choice for _, choice in block.choices]
        numbers = any(isinstance(choice, (int, float)) for choice in choices)
        wanted, fits = "one choice", value is None or isinstance(value, (str, int, float) if numbers else str)
    elif isinstance(block, gr.Radio):
        choices = [choice for _, choice in block.choices]
        wanted, fits = f"one of {', '.join(map(str, choices))}", value in choices
    if not fits:
        name = getattr(block, "label", None) or block.get_block_name()
        kind = KINDS.get(type(value), "that")
        kind = f"{kind} out of range" if kind == wanted else repr(value[:40]) if isinstance(value, str) else kind
        raise gr.Error(f"“{name}” must be {wanted}, not {kind}.", print_exception=False)
    return value


def own_files(data):
    """A request's JSON with all paths resolved and checked.

    A file is an object with a ``path``, at any depth. Its ``url`` is dropped unless it holds the file itself
    (``data:``, a camera's frame), so that nothing fetches it. gr.Error if a path is not an uploaded file, whether it
    exists or not, or the request is nested too deeply.
    """
    return _checked(data, 0)


def _checked(data, depth):
    if depth > MAX_DEPTH:
        raise gr.Error("This request is nested too deeply.", print_exception=False)
    if isinstance(data, (list, tuple)):
        return [_checked(item, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    checked = {key: _checked(value, depth + 1) for key, value in data.items()}
    url, path = checked.get("url"), checked.get("path")
    if "url" in checked and not (isinstance(url, str) and url.startswith("data:")):
        checked["url"] = None
    if path is not None and path != "":
        try:
            checked["path"] = own_file(path)
        except PhotoError as error:
            raise gr.Error(NOT_UPLOADED, print_exception=False) from error
    return checked


def own_file(path):
    """The resolved path of a regular file in the app's upload folder, as text. gradio's own URL of such a file is
    accepted too; nothing is fetched. PhotoError for any other path, with the same text whether it exists or not."""
    try:
        if path.startswith(("http://", "https://")):
            path = unquote(path.partition("/gradio_api/file=")[2])
        folder = Path(get_upload_folder()).resolve()
        resolved = Path(path).resolve()
        if resolved.is_relative_to(folder) and stat.S_ISREG(resolved.lstat().st_mode):
            return str(resolved)
    except (AttributeError, OSError, ValueError, TypeError, RuntimeError):
        pass  # too long, null bytes, not text, loops of links
    raise PhotoError(NOT_UPLOADED)
