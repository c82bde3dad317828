"""Train a generator on a dataset in the background: start, watch and stop jobs."""

from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import gradio as gr

from maskhub.data.labelled import parse_attributes
from maskhub.errors import MaskHubError
from maskhub.service.datasets import attribute_choices
from maskhub.service.jobs import FEWEST, Request, max_steps
from maskhub.service.mail import mail_server
from maskhub.service.presets import NAMES
from maskhub.service.supervisor import max_hours
from space import job_display, photos, rooms, trained
from space.figures import thumbnail
from space.notices import NOTIFY, TELL, toast, why_no_notices

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Train"
ABOUT = """Jobs run one at a time; the others wait. You may close this page: jobs keep running, even if the app
restarts. Trained models can be **seen and used by everyone** here. A generator guarantees the attributes that all its
training pictures share, so choose only a few, preferably ones that stay visible above a mask: skin tone, hair."""
NEW = ("A new model", "")
OWN = "My own settings"
NUMBERS = ("max_steps", "architecture", "resolution", "batch_size", "learning_rate")
TIMED = ("architecture", "resolution", "batch_size", "max_steps")
INSTEAD = """(job, instead) => {
  const [before, after] = instead.split('|');
  return (job || '') === before ? after || null : job;
}"""
"""Watch another job instead of one, unless the visitor has chosen meanwhile: only the browser knows that for sure."""
SHOWN = 8
"""Matching pictures that are shown."""
CLASSIFIER_STEPS = 400
"""Steps of a classifier, unless the form has fewer: on such small faces it is then done."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Train a generator of faces on a dataset, then re-image covered faces with it in the next tab.")
    here.key = rooms.key_box()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            _form(here)
        with gr.Column(scale=3, min_width=300):
            _job(here)
    trained.layout(here)
    here.timer = gr.Timer(1.5, active=False)
    # seen: job → state that this page has shown; "" → step that it has shown
    here.seen, here.notice = gr.State({}), gr.Textbox(visible="hidden", elem_id="train-notice", label="notice")
    here.instead = gr.Textbox(visible="hidden", elem_id="train-instead", label="the job to watch instead")
    here.refused = gr.Textbox(visible=False, label="why there are no notifications")
    return here


def _form(here):
    """The form of a new job."""
    here.dataset = rooms.Choice(
        rooms.dataset_choices(), value="builtin:pixel-faces", label="Train on", elem_id="train-dataset"
    )
    here.attributes = rooms.Choice([], multiselect=True, label="Train only on faces with …", elem_id="train-attributes")
    here.count = gr.HTML(elem_id="train-count", elem_classes="count")
    here.length = gr.Radio(_lengths(), value=NAMES[0], label="How long", elem_id="train-length")
    here.time = gr.HTML(elem_id="train-time", elem_classes="count")
    here.launch = gr.Button("Train", variant="primary", elem_id="train")
    here.problem = photos.line("train-problem")
    most, quick = max_steps(), rooms.presets().all("builtin:pixel-faces")[NAMES[0]]
    with gr.Accordion("More options", open=False):
        with gr.Row(elem_classes="pair"):
            here.start = rooms.Choice([NEW], value="", label="Start from", elem_id="train-start", min_width=120)
            here.name = gr.Textbox(
                label="Model name", placeholder="chosen automatically", max_lines=1, elem_id="train-name", min_width=120
            )
        here.steps = gr.Slider(
            min(50, most), most, value=quick["max_steps"], step=min(50, most), label="Steps", elem_id="train-steps"
        )
        with gr.Row(elem_classes="pair"):
            here.architecture = gr.Dropdown(
                ["dense", "dcgan"], value=quick["architecture"], label="Network", min_width=110
            )
            here.resolution = gr.Dropdown([32, 64, 128], value=quick["resolution"], label="Pixels", min_width=90)
        with gr.Row(elem_classes="pair"):
            here.batch = gr.Number(
                quick["batch_size"], precision=0, label="Batch", minimum=2, maximum=128, min_width=90
            )
            here.rate = gr.Number(quick["learning_rate"], label="Learning rate", min_width=110)
            here.seed = gr.Number(0, precision=0, label="Seed", minimum=0, min_width=80)
        here.webhook = gr.Textbox(
            label="Webhook for the end of the job (JSON POST)", placeholder="https://example.org/hook",
            max_lines=1, elem_id="train-webhook",
        )  # fmt: skip
        here.email = gr.Textbox(
            label="E-mail address for the end of the job (not stored after that)", placeholder="name@example.org",
            max_lines=1, elem_id="train-email", visible=mail_server() is not None,
        )  # fmt: skip
    here.notify = gr.Checkbox(
        False, label="Notify me in this browser when it is done", container=False, elem_id="train-notify"
    )
    gr.Markdown(ABOUT, elem_classes="note")


def _job(here):
    """The progress of a job."""
    here.job = rooms.Choice([], label="Job", elem_id="train-job")
    here.progress = gr.HTML(elem_id="train-progress", elem_classes="line")
    here.use = gr.Button("Try it now", variant="primary", visible=False, elem_id="train-try")
    gr.HTML(job_display.legend())
    with gr.Row():
        here.accuracy = job_display.plot("Accuracy", "train-accuracy", [0, 1])
        here.loss = job_display.plot("Loss", "train-loss", [0, None])
    here.samples = gr.Image(
        label="Current samples", format="png", interactive=False, buttons=["fullscreen"], visible=False,
        elem_id="train-samples", elem_classes="faces",
    )  # fmt: skip
    with gr.Row(elem_classes="pair"):
        here.keep = gr.Button("Stop and keep the model", visible=False, elem_id="train-keep")
        here.cancel = gr.Button("Cancel this job", variant="stop", visible=False, elem_id="train-cancel")
        here.forget = gr.Button("Delete this job", visible=False, elem_id="train-forget")


def wire(here, pipe):
    """Connect the form, the watched job and the trained models to their handlers."""
    _wire_form(here)
    _wire_jobs(here, trained.wire(here))


def _wire_form(here):
    """The form: keep its choices up to date, and start jobs."""
    offered, asked = _offer(here)
    rooms.on_show(here.key, offer, asked, offered)
    numbers = [here.steps, here.architecture, here.resolution, here.batch, here.rate]
    timed = ([here.length, here.dataset, here.start, *numbers], [here.length, here.time])
    rooms.on_show(here.key, estimate, *timed)
    for component in (here.dataset, here.attributes):
        component.change(offer, asked, offered, **rooms.quiet)
    for event in (here.dataset.change, here.length.input):
        event(preset, [here.length, here.dataset], numbers, **rooms.quiet).then(estimate, *timed, **rooms.quiet)
    here.start.change(estimate, *timed, **rooms.quiet)
    for component in numbers:  # not change, which a preset triggers too
        chosen = component.input(changed, [here.length, here.dataset, *numbers], here.length, **rooms.quiet)
        chosen.then(estimate, *timed, **rooms.quiet)
    options = [here.dataset, here.attributes, here.start, here.name, *numbers, here.seed, here.webhook, here.email]
    options += [here.key]
    started = [here.problem, here.job, here.name, here.timer]
    chosen = [here.choice, here.steps, here.webhook, here.email, here.key]
    for button, act, given in ((here.launch, begin, options), (here.choose, begin_classifier, chosen)):
        begun = button.click(act, given, started, **rooms.once).then(watch, *_watched(here), **rooms.quiet)
        begun.then(None, js=photos.scroll_to("train-job", "train-problem"), api_visibility="private")
    asked_browser = here.notify.input(
        None, here.notify, [here.notify, here.refused], js=NOTIFY, api_visibility="private"
    )
    asked_browser.then(why_no_notices, here.refused, here.problem, **rooms.quiet)


def _wire_jobs(here, presented):
    """The watched job, and notifications of jobs that end; ``presented``: of :func:`space.trained.wire`."""
    watched, looked = _watched(here), (look, *_watched(here))
    rooms.on_show(here.key, *looked)
    here.timer.tick(watch, *watched, **rooms.once)
    here.job.change(watch, *watched, **rooms.quiet)
    here.instead.change(None, [here.job, here.instead], here.job, js=INSTEAD, api_visibility="private")
    jobs = rooms.jobs()
    acts = (here.keep, partial(jobs.cancel, keep=True)), (here.cancel, jobs.cancel), (here.forget, jobs.remove)
    for button, act in acts:
        clicked = button.click(partial(rooms.problem_of, act), [here.job, here.key], here.problem, **rooms.once)
        clicked.then(*looked, **rooms.quiet)
    here.notice.change(None, [here.notice, here.notify], None, js=TELL, api_visibility="private")
    # through the queue: gradio shows notifications only for queued events
    told = here.notice.change(toast, here.notice, None, show_progress="hidden", api_visibility="private")
    offered, asked = _offer(here)
    told.then(trained.present, *presented, **rooms.quiet).then(offer, asked, offered, **rooms.quiet)


def _offer(here):
    """Outputs and inputs of :func:`offer`."""
    offered = [here.dataset, here.attributes, here.count, here.start]
    return offered, [here.dataset, here.attributes, here.start, here.key]


def _watched(here):
    """Inputs and outputs of :func:`watch`."""
    shown = [here.job, here.progress, here.accuracy, here.loss, here.samples, here.keep, here.cancel, here.forget]
    shown += [here.use, here.timer]
    return [here.job, here.key, here.seen], [*shown, here.seen, here.notice, here.instead]


def offer(dataset, attributes, start, key):
    """The current choices of the form, and the number of matching pictures."""
    datasets, dataset = rooms.offered(rooms.dataset_choices(key), dataset, "builtin:pixel-faces")
    models, _ = rooms.offered([NEW, *rooms.model_choices(key)], start, "")
    try:
        every = rooms.jobs().datasets.faces(dataset, "train")
        there = attribute_choices(every)
        chosen = [text for text in attributes if text in there]
        fit = rooms.jobs().datasets.faces(dataset, "train", parse_attributes(chosen))
    except MaskHubError:
        there, chosen, every, fit = [], [], [], []
    return datasets, rooms.updated(there, attributes, chosen), _matching(every, fit), models


def _matching(every, fit):
    """How many training pictures match, with a few of them."""
    some = f"{len(fit):,} of {len(every):,}" if len(fit) < len(every) else f"{len(fit):,}"
    said = f"{some} training {'picture' if len(every) == 1 else 'pictures'}"
    said += f": training needs at least {FEWEST}" if len(fit) < FEWEST else ""
    pictures = []
    for face in fit[:: max(1, len(fit) // SHOWN)][:SHOWN]:
        with suppress(MaskHubError):  # just deleted
            pictures.append(thumbnail(face.image, face.name))
    return f'<p>{said}</p><div class="some">{"".join(pictures)}</div>'


def _lengths(times=None):
    """The choices of how long to train, with the time of each if it is known."""
    return [(f"{name} ({times[name]})" if times else name, name) for name in NAMES] + [(OWN, OWN)]


def preset(length, dataset):
    """The numbers of a preset: steps, network, pixels, batch and learning rate."""
    if length not in NAMES:
        return (gr.skip(),) * 5
    return tuple(rooms.presets().all(dataset)[length][name] for name in NUMBERS)


def changed(length, dataset, *numbers):
    """:data:`OWN` if the numbers are not those of the preset: this is also called when a dropdown was only opened."""
    known = rooms.presets().all(dataset).get(length)
    return gr.skip() if known is None or numbers == tuple(known[name] for name in NUMBERS) else OWN


def estimate(length, dataset, start, steps, architecture, resolution, batch, rate):
    """The presets with their times, and how long training will take with the settings of the form."""
    presets = rooms.presets()
    if start:  # the network of the model
        return gr.update(choices=_lengths()), ""
    known = presets.all(dataset)
    times = {name: job_display.span(presets.seconds(*(known[name][key] for key in TIMED))) for name in NAMES}
    seconds = presets.seconds(architecture, resolution, int(batch or 0), int(steps))
    said = f"{int(steps):,} steps: {job_display.span(seconds)} of training on this machine."
    if seconds > 3600 * max_hours():
        said += f" After {max_hours():g} h, the limit here, it stops with what it has learnt."
    return gr.update(choices=_lengths(times)), f"<p>{said}</p>"


def begin(dataset, attributes, start, name, steps, architecture, resolution, batch, rate, seed, webhook, email, key):
    """Start a job: a problem, the job to watch, the cleared name and the timer."""
    numbers = {"batch_size": int(batch or 0), "learning_rate": float(rate or 0), "seed": int(seed or 0)}
    try:
        attributes = parse_attributes(attributes)
    except MaskHubError as error:
        return photos.problem(error), gr.skip(), gr.skip(), gr.skip()
    return _submitted(
        Request(
            dataset, attributes, name, start, int(steps), architecture, int(resolution), webhook=webhook, email=email,
            **numbers,
        ),
        key,
    )  # fmt: skip


def begin_classifier(attribute, steps, webhook, email, key):
    """Start to train a classifier that chooses among the models by an attribute; returns the same."""
    steps = min(int(steps), CLASSIFIER_STEPS)
    return _submitted(Request(attribute=attribute or "-", max_steps=steps, webhook=webhook, email=email), key)


def _submitted(request, key):
    try:
        made = rooms.jobs().submit(request, key)
    except MaskHubError as error:
        return photos.problem(error), gr.skip(), gr.skip(), gr.skip()
    return "", gr.update(choices=job_display.job_choices(key), value=made.id), "", gr.Timer(active=True)


def look(id, key, seen):
    """Everything about a job, whatever this page has already shown; by default the visitor's own that is running, else
    their newest, else the newest of all."""
    jobs = rooms.jobs().list()
    own = [job for job in jobs if job.belongs_to(key)]
    first = next(iter([job for job in own if job.active] or own or jobs), None)
    *shown, instead = watch(id or (first and first.id), key, seen | {"": None})
    return *shown, instead if id or not first else f"|{first.id}"


def watch(id, key, seen):
    """The current state of a job; plots and pictures only if they are new. The choice of the job is left to
    :data:`INSTEAD`, since the visitor may have chosen another one meanwhile."""
    everything = {entry.id: entry for entry in rooms.jobs().list()}
    entry, choices = everything.get(id), job_display.job_choices(key)
    states = {other.id: other.state for other in everything.values()}
    timer = gr.Timer(active=any(other.active for other in everything.values()))
    ended = [
        f"{other.ended}|{job_display.outcome(other)}"
        for other in everything.values()
        if not other.active and seen.get(other.id) in ("queued", "running") and other.belongs_to(key)
    ]
    notice = ended[-1] if ended else gr.skip()
    if entry is None:
        plots, instead = (_plots([]), f"{id}|") if id else ([gr.skip()] * 2, gr.skip())
        nothing = [*plots, gr.update(value=None, visible=False), *[gr.update(visible=False)] * 4]
        return gr.update(choices=choices), "", *nothing, timer, states | {"": None}, notice, instead
    now = rooms.jobs().progress(id)
    fresh = (id, now.line.get("step"), str(now.samples))
    known = seen.get("") == fresh
    unchanged = known and not entry.active and seen.get(id) == entry.state
    own, usable = entry.belongs_to(key), entry.kind == "generator" and bool(entry.model)
    return (
        gr.skip() if unchanged else gr.update(choices=choices),
        job_display.progress(entry, now, everything.values()), *_pictures(id, now, known),
        gr.update(visible=own and entry.state == "running", interactive=not entry.cancel and now.step > 0),
        gr.update(visible=own and entry.active, interactive=not entry.cancel),
        gr.update(visible=own and not entry.active),
        gr.update(visible=usable and (rooms.jobs().models.root / entry.model).is_dir()),
        timer, states | {"": fresh}, notice, gr.skip(),
    )  # fmt: skip


def _pictures(id, now, known):
    """Updates of both plots and of the samples."""
    if known:
        return gr.skip(), gr.skip(), gr.skip()
    return *_plots(rooms.jobs().metrics(id)), job_display.image_update(now.samples)


def _plots(lines):
    """The values of both plots; empty tables without lines, since gradio's script fails where a plot is taken away."""
    return [job_display.series(lines, what) for what in ("accuracy", "loss")]
