"""Shared code of the tabs for visitors' data: the home folder, the visitor's key, and lists that stay up to date.

Listen to a dropdown's ``change``, not its ``input``: that comes twice for a choice, once when it is only opened, and
not at all when several choices are cleared. A handler must then leave the value as it is unless it has to differ
(:func:`updated`), or the answer undoes what the visitor chose meanwhile.
"""

import functools

import gradio as gr
from gradio.context import Context

from maskhub.errors import MaskHubError
from maskhub.service.datasets import ALL, BUILT_IN
from maskhub.service.home import Home, owns
from maskhub.service.jobs import Jobs
from maskhub.service.presets import Presets
from maskhub.service.supervisor import Supervisor
from space import photos

__all__ = [
    "Choice", "ask", "dataset_choices", "jobs", "key_box", "model_choices", "offered", "on_open", "on_show", "once",
    "presets", "problem_of", "quiet", "supervise", "updated", "words",
]  # fmt: skip

once = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
"""Arguments of events that are fast and not part of the API, and that a double click must not repeat."""
ask = {**once, "trigger_mode": "multiple"}
"""Arguments of events whose ``js`` asks before each."""
quiet = {**once, "trigger_mode": "always_last"}
"""Arguments of events that show something: one that happens while another is pending follows it."""


class Choice(gr.Dropdown):
    """A dropdown whose choices change, such as those of jobs, datasets and models; its handlers check the choice.
    gradio would compare it with the choices of the session's last answer, which may be older than what the page shows,
    and then refuse every further request with it."""

    is_template = True  # in the browser it is a plain Dropdown

    def preprocess(self, payload):
        """The chosen value or, with ``multiselect``, the list of them, all of which may be gone; or None."""
        return payload


@functools.cache
def jobs():
    """The jobs, datasets and models of this app's home; ConfigError if ``MASKHUB_HOME`` can't be written to."""
    return Jobs(Home())


@functools.cache
def presets():
    """The :class:`~maskhub.service.presets.Presets` of this app's jobs."""
    return Presets(jobs())


def supervise():
    """Start to run the jobs; returns the :class:`~maskhub.service.supervisor.Supervisor`."""
    return Supervisor(jobs()).start()


def key_box():
    """A hidden box for the visitor's key: random, stored by the browser; its hash is stored with their data.

    It is not a password: everyone who uses the same browser has it.
    """
    key = gr.Textbox(visible=False, label="key")
    key.filled = Context.root_block.load(None, None, key, js="() => maskhub.key", api_visibility="private")
    return key


def on_show(key, fn, inputs, outputs):
    """Call ``fn`` when the page is loaded, and whenever the current tab is opened."""
    key.filled.then(fn, inputs, outputs, **quiet)
    on_open(fn, inputs, outputs)


def on_open(fn, inputs, outputs):
    """Call ``fn`` whenever the current tab is opened."""
    Context.block.select(fn, inputs, outputs, **quiet)


def offered(choices, before, fallback):
    """Update a dropdown's choices, and keep the chosen value if it still exists: the update and the chosen value."""
    value = before if before in [value for _, value in choices] else fallback
    return updated(choices, before, value), value


def updated(choices, before, value):
    """Update a dropdown's choices, and its value only if that differs from the one ``before``."""
    return gr.update(choices=choices) if value == before else gr.update(choices=choices, value=value)


def problem_of(act, *given):
    """Do something; returns the problem line, which is empty unless that raises a MaskHubError."""
    try:
        act(*given)
    except MaskHubError as error:
        return photos.problem(error)
    return ""


def dataset_choices(key=""):
    """Datasets for a dropdown, with the visitor's marked as theirs."""
    brought = [
        (f"{entry.name} ({sum(entry.counts.values())}{', yours' if owns(key, entry.facts) else ''})", entry.name)
        for entry in jobs().datasets.list()
    ]
    return [*brought, ("All datasets together", ALL), *((words, spec) for spec, words in BUILT_IN.items())]


def model_choices(key="", kind="generator", attributes=None):
    """The models of the registry for a dropdown, with their attributes; only those that have ``attributes``."""
    return [(_described(entry, key), entry.name) for entry in jobs().models.list(kind, attributes)]


def _described(entry, key):
    what = [words(entry.attributes)] if entry.kind == "generator" else ["chooses by " + next(iter(entry.attributes))]
    what += ["the default, of all datasets"] * (entry.facts.get("dataset") == ALL and not entry.attributes)
    return f"{entry.name} – {', '.join(what)}{' (yours)' if owns(key, entry.facts) else ''}"


def words(attributes):
    """Attributes as text."""
    return ", ".join(f"{key} {value}" for key, value in attributes.items()) or "no attributes"
