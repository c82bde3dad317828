"""A generator trained on a dataset: launched in the background, watched, ended; and the models that came of it."""

import html
import time

import gradio as gr
import pandas as pd

from maskhub.data.labelled import parse_attributes
from maskhub.errors import ConfigError, MaskHubError
from maskhub.image_file import open_image
from maskhub.service.datasets import attribute_choices
from maskhub.service.jobs import Request, max_steps
from space import photos, rooms
from space.share import share

__all__ = ["TITLE", "build"]

TITLE = "Train"
ABOUT = """Jobs run one at a time, others wait their turn. You may close this page: they go on, also over a restart of
the app. What is trained is **seen and tried by everyone** here. A generator guarantees the attributes that all its
training pictures share, so choose few, and what stays visible above a mask is best: skin tone, hair."""
NEW = ("A new one", "")
STATES = {"queued": "waits its turn", "running": "training", "finished": "done", "failed": "failed",
          "cancelled": "cancelled"}  # fmt: skip
MEANS = {"real": "real faces", "fake": "generated faces", "combined": "generator through discriminator"}
SERIES = {"real": "#2a78d6", "fake": "#e34948", "combined": "#3f9b46"}
NOTIFY = """async (wanted) => {
  if (!wanted) return [false, ''];
  const here = 'Notification' in window;
  const may = here && (await Notification.requestPermission()) === 'granted';
  return [may, may ? '' : here ? 'refused' : 'unknown'];
}"""
REFUSED = {
    "unknown": "this browser shows no notices: give a webhook under More options.",
    "refused": "this browser does not let the page show notices: allow them in its settings, or give a webhook under "
    "More options. Within huggingface.co a Space may not ask: open it in a tab of its own.",
}
TELL = """(text, wanted) => {
  if (!text || !wanted || !('Notification' in window) || Notification.permission !== 'granted') return;
  try {
    new Notification('maskhub', { body: text.slice(text.indexOf('|') + 1), tag: text });
  } catch (error) {
    console.info('no notices here but those of the page', error);  // Chromium on Android
  }
}"""


def build(pipe):
    """The tab; it needs no pipeline."""
    gr.Markdown("Train a generator of faces on a dataset, then re-image covered faces with it in the next tab.")
    key = rooms.key_box()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            dataset = gr.Dropdown(
                rooms.dataset_choices(), value="builtin:pixel-faces", label="Learn from", elem_id="train-dataset"
            )
            attributes = gr.Dropdown(
                [], multiselect=True, label="Only faces with (what it then guarantees)", elem_id="train-attributes"
            )
            count = gr.HTML(elem_id="train-count", elem_classes="count")
            with gr.Row(elem_classes="pair"):
                start = gr.Dropdown([NEW], value="", label="Start from", elem_id="train-start", min_width=120)
                name = gr.Textbox(
                    label="Call it", placeholder="a name is made up", max_lines=1, elem_id="train-name", min_width=120
                )
            steps = gr.Slider(
                50, min(10_000, max_steps()), value=min(1000, max_steps()), step=50, label="Steps",
                elem_id="train-steps",
            )  # fmt: skip
            with gr.Accordion("More options", open=False):
                with gr.Row(elem_classes="pair"):
                    architecture = gr.Dropdown(["dense", "dcgan"], value="dense", label="Network", min_width=110)
                    resolution = gr.Dropdown([32, 64, 128], value=32, label="Pixels", min_width=90)
                with gr.Row(elem_classes="pair"):
                    batch = gr.Number(32, precision=0, label="Batch", minimum=2, maximum=128, min_width=90)
                    rate = gr.Number(2e-4, label="Learning rate", min_width=110)
                    seed = gr.Number(0, precision=0, label="Seed", minimum=0, min_width=80)
                webhook = gr.Textbox(
                    label="Webhook, told when it is done (JSON POST)", placeholder="https://example.org/hook",
                    max_lines=1, elem_id="train-webhook",
                )  # fmt: skip
            notify = gr.Checkbox(
                False, label="Tell me in this browser when it is done", container=False, elem_id="train-notify"
            )
            launch = gr.Button("Train", variant="primary", elem_id="train")
            problem = photos.line("train-problem")
            gr.Markdown(ABOUT, elem_classes="note")
        with gr.Column(scale=3, min_width=300):
            job = gr.Dropdown([], label="Job", elem_id="train-job", allow_custom_value=False)
            progress = gr.HTML(elem_id="train-progress", elem_classes="line")
            gr.HTML(_legend())
            with gr.Row():
                accuracy = _plot("Accuracy", "train-accuracy", [0, 1])
                loss = _plot("Loss", "train-loss", [0, None])
            samples = gr.Image(
                label="What it makes so far", format="png", interactive=False, buttons=["fullscreen"], visible=False,
                elem_id="train-samples", elem_classes="faces",
            )  # fmt: skip
            with gr.Row(elem_classes="pair"):
                cancel = gr.Button("Cancel this job", variant="stop", visible=False, elem_id="train-cancel")
                forget = gr.Button("Delete this job", visible=False, elem_id="train-forget")
    gr.Markdown("### Models\nWhat has been trained here, by anyone; try them in the next tab.")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            model = gr.Dropdown([], label="Model", elem_id="model")
            about = gr.HTML(elem_id="model-about")
            drop = gr.Button("Delete this model", variant="stop", visible=False, elem_id="model-delete")
            share("model", model, lambda name: rooms.jobs().models.get(name or "-").path)
        with gr.Column(scale=3, min_width=300):
            sheet = gr.Image(
                label="Faces that it makes", format="png", interactive=False, visible=False, buttons=["fullscreen"],
                elem_id="model-sheet", elem_classes="faces",
            )  # fmt: skip
    timer = gr.Timer(1.5, active=False)
    seen, notice = gr.State({}), gr.Textbox(visible="hidden", elem_id="train-notice", label="notice")
    refused = gr.Textbox(visible=False, label="why there are no notices")

    def offer(dataset, attributes, start, key):
        datasets, dataset = rooms.offered(rooms.dataset_choices(key), dataset, "builtin:pixel-faces")
        models, _ = rooms.offered([NEW, *rooms.model_choices(key)], start, "")
        try:
            faces = rooms.jobs().datasets.faces(dataset, "train")
            there = attribute_choices(faces)
            chosen = [text for text in attributes if text in there]
            fit = len(rooms.jobs().datasets.faces(dataset, "train", parse_attributes(chosen)))
        except MaskHubError:
            there, chosen, fit = [], [], 0
        return (
            datasets,
            gr.update(choices=there) if chosen == attributes else gr.update(choices=there, value=chosen),
            f"<p>{fit:,} training {'picture' if fit == 1 else 'pictures'}</p>", models,
        )  # fmt: skip

    def begin(dataset, attributes, start, name, steps, architecture, resolution, batch, rate, seed, webhook, key):
        try:
            numbers = {"batch_size": int(batch or 0), "learning_rate": float(rate or 0), "seed": int(seed or 0)}
            request = Request(
                dataset, parse_attributes(attributes), name, start, int(steps), architecture, int(resolution),
                webhook=webhook, **numbers,
            )  # fmt: skip
            made = rooms.jobs().submit(request, key)
        except MaskHubError as error:
            return photos.problem(error), gr.skip(), gr.skip(), gr.skip()
        return "", gr.update(choices=_jobs(key), value=made.id), "", gr.Timer(active=True)

    def watch(id, key, seen):
        """What is to be seen of a job now; pictures only where they are new."""
        everything = {entry.id: entry for entry in rooms.jobs().list()}
        entry = everything.get(id)
        active = any(other.active for other in everything.values())
        told = [
            f"{entry.ended}|{_told(entry)}"
            for entry in everything.values()
            if not entry.active and seen.get(entry.id) in ("queued", "running") and entry.belongs_to(key)
        ]
        states = {other.id: other.state for other in everything.values()}
        notice = told[-1] if told else gr.skip()
        jobs = gr.update(choices=_jobs(key), value=id if entry else None)
        if entry is None:
            hidden, none = gr.update(visible=False), gr.update(value=None, visible=False)
            plots = [None, None, none]
            return jobs, "", *plots, hidden, hidden, gr.Timer(active=active), states | {"": None}, notice
        own = entry.belongs_to(key)
        now = rooms.jobs().progress(id)
        fresh = (id, now.line.get("step"), str(now.samples))
        if seen.get("") == fresh:
            plots = [gr.skip(), gr.skip(), gr.skip()]
        else:
            lines = rooms.jobs().metrics(id)
            plots = [*(_series(lines, what) if lines else None for what in ("accuracy", "loss")), _picture(now.samples)]
        if not entry.active and seen.get(id) == entry.state and seen.get("") == fresh:
            jobs = gr.skip()
        return (
            jobs, _progress(entry, now, everything.values()), *plots,
            gr.update(visible=own and entry.active, interactive=not entry.cancel),
            gr.update(visible=own and not entry.active), gr.Timer(active=active), states | {"": fresh}, notice,
        )  # fmt: skip

    def act(what, id, key):
        try:
            getattr(rooms.jobs(), what)(id, key)
        except MaskHubError as error:
            return photos.problem(error)
        return ""

    def present(name, key):
        """One model, and the list of all."""
        entries = {entry.name: entry for entry in rooms.jobs().models.list("generator")}
        entry = entries.get(name) or next(iter(entries.values()), None)
        if entry is None:
            none = "<p class='note'>None yet: train one above.</p>"
            return (
                gr.update(choices=[], value=None),
                none,
                gr.update(value=None, visible=False),
                gr.update(visible=False),
            )
        return (
            gr.update(choices=rooms.model_choices(key), value=entry.name), _card(entry),
            _picture(entry.path / "samples.png"),
            gr.update(visible=rooms.mine(entry.facts, key)),
        )  # fmt: skip

    def drop_model(name, key):
        if not name:  # thought better of it
            return gr.skip()
        return act("remove_model", name, key)

    quiet = rooms.quiet
    offered, asked = [dataset, attributes, count, start], [dataset, attributes, start, key]
    seeing = [job, progress, accuracy, loss, samples, cancel, forget, timer, seen, notice]
    shown = [model, about, sheet, drop]
    newest = lambda id: id or next((entry.id for entry in rooms.jobs().list()), None)  # noqa: E731

    def look(id, key, seen):
        return watch(newest(id), key, seen | {"": None})  # all of it, whatever was sent before

    rooms.on_show(key, offer, asked, offered)
    rooms.on_show(key, look, [job, key, seen], seeing)
    rooms.on_show(key, present, [model, key], shown)
    for component in (dataset, attributes):
        component.input(offer, asked, offered, **quiet)
    options = [dataset, attributes, start, name, steps, architecture, resolution, batch, rate, seed, webhook, key]
    launch.click(begin, options, [problem, job, name, timer], **quiet).then(
        watch, [job, key, seen], seeing, **quiet
    ).then(None, js=photos.scroll_to("train-job", "train-problem"), api_visibility="private")
    notify.input(None, notify, [notify, refused], js=NOTIFY, api_visibility="private").then(
        lambda why: photos.problem(ConfigError(REFUSED[why])) if why in REFUSED else "", refused, problem, **quiet
    )
    timer.tick(watch, [job, key, seen], seeing, trigger_mode="once", **quiet)
    job.input(watch, [job, key, seen], seeing, **quiet)
    notice.change(None, [notice, notify], None, js=TELL, api_visibility="private")
    # through the queue, without which nothing pops up
    notice.change(_toast, notice, None, show_progress="hidden", api_visibility="private").then(
        present, [model, key], shown, **quiet
    ).then(offer, asked, offered, **quiet)
    for button, what in ((cancel, "cancel"), (forget, "remove")):
        button.click(lambda id, key, what=what: act(what, id, key), [job, key], problem, **quiet).then(
            look, [job, key, seen], seeing, **quiet
        )
    model.input(present, [model, key], shown, **quiet)
    ask = "(name, key) => confirm(`Delete the model ${name} for good?`) ? [name, key] : [null, key]"
    drop.click(drop_model, [model, key], problem, js=ask, **quiet).then(present, [model, key], shown, **quiet)


def _plot(title, elem_id, limits):
    return gr.LinePlot(
        x="step", y=title.lower(), color="series", color_map=SERIES, y_lim=limits,
        x_title="step", y_title=" ", color_title=" ", label=title, height=220, min_width=240, elem_id=elem_id,
        buttons=[], tooltip="all",
    )  # fmt: skip


def _legend():
    parts = [f'<span><i style="background: {colour}"></i>{MEANS[name]}</span>' for name, colour in SERIES.items()]
    return f'<div class="legend">{"".join(parts)}</div>'


def _series(lines, what):
    """A table for a plot, of at most 300 steps."""
    lines = lines[:: max(1, len(lines) // 300)]
    rows = [
        (line["step"], line[f"{what}_{name}"], name) for line in lines for name in SERIES if f"{what}_{name}" in line
    ]
    # with types, since a plot takes the columns of an empty table for names
    return pd.DataFrame(rows, columns=["step", what, "series"]).astype({"step": float, what: float, "series": str})


def _picture(path):
    """An update of an image, which is hidden where there is no such file."""
    try:
        with open_image(path or "") as image:
            return gr.update(value=image.convert("RGB"), visible=True)
    except OSError:
        return gr.update(value=None, visible=False)


def _jobs(key):
    now = time.time()
    return [
        (
            " · ".join(
                [entry.name, STATES[entry.state], _ago(now - entry.created), *["yours"] * entry.belongs_to(key)]
            ),
            entry.id,
        )
        for entry in rooms.jobs().list()
    ]


def _ago(seconds):
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {name}{'s' * (number != 1)} ago"
    return "just now"


def _progress(job, now, jobs):
    """Bar and figures of a job."""
    said = {
        "queued": f"Waits its turn: {sum(j.active and j.created < job.created for j in jobs)} before it.",
        "running": f"Step {now.step:,} of {now.total:,}" if now.step else "Starting …",
        "finished": f"Done: {now.total:,} steps. The model is called {job.model}.",
        "failed": f"Failed at step {now.step:,}: {job.message}",
        "cancelled": f"Cancelled at step {now.step:,}.",
    }[job.state]
    if job.state == "running":
        if job.cancel:
            said = "Ending with the step at hand …"
        elif now.line:
            names = ("loss_real", "loss_fake", "loss_combined")
            figures = " · ".join(f"{name[5:]} {now.line[name]:.2f}" for name in names if name in now.line)
            said += f" · {now.line['images_per_second']:,.0f} images/s · losses: {figures}"
        if job.attempts > 1 or job.last_step:
            said += f" · interrupted at step {job.last_step:,}, gone on from the last checkpoint"
    if job.webhook_problem:
        said += f" ({job.webhook_problem}.)"
    kind = "problem" if job.state == "failed" else "done"
    return photos.bar(now.share, job.name) + f'<p class="{kind}" data-state="{job.state}">{html.escape(said)}</p>'


def _told(job):
    words = {"finished": f"The model {job.name} is done.", "failed": f"Training {job.name} failed: {job.message}"}
    return words.get(job.state, f"Training {job.name} was cancelled.")


def _toast(text):
    if text:
        gr.Info(html.escape(text.split("|", 1)[1]), duration=None, title="maskhub")  # until somebody has seen it


def _card(entry):
    """What is known of a model, as a table."""
    facts = entry.facts
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts["created"])) if "created" in facts else ""
    rows = {
        "Guarantees": rooms.words(entry.attributes),
        "Learnt from": facts.get("dataset", ""),
        "Started from": facts.get("init_from", ""),
        "Steps": f"{facts['steps']:,}" if "steps" in facts else "",
        "Pixels": str(entry.resolution),
        "Trained": made,
    }
    cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items() if text)
    return f'<table class="facts">{cells}</table>'
