"""The list of trained models, below the training jobs."""

import gradio as gr

from maskhub.service.home import owns
from space import job_display, rooms
from space.share import share

__all__ = ["drop_model", "layout", "present", "wire"]


def layout(here):
    """Place the components into ``here``."""
    gr.Markdown("## Models\nAll models that were trained here; try them in the next tab.")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            here.search = rooms.Choice([], multiselect=True, label="Models with", elem_id="model-search")
            here.model = rooms.Choice([], label="Model", elem_id="model")
            here.about = gr.HTML(elem_id="model-about")
            here.drop = gr.Button("Delete this model", variant="stop", visible=False, elem_id="model-delete")
            with gr.Row(elem_classes="pair", visible=False) as here.choosing:
                here.choice = rooms.Choice([], label="Choose among models by", elem_id="train-choice", min_width=120)
                here.choose = gr.Button("Train a classifier", elem_id="train-classifier", min_width=120)
            share("model", here.model, lambda name: rooms.jobs().models.get(name or "-").path)
        with gr.Column(scale=3, min_width=300):
            here.sheet = gr.Image(
                label="Generated faces", format="png", interactive=False, visible=False, buttons=["fullscreen"],
                elem_id="model-sheet", elem_classes="faces",
            )  # fmt: skip


def wire(here):
    """Connect the components to the handlers; returns inputs and outputs of :func:`present`."""
    shown = [here.model, here.about, here.sheet, here.drop, here.search, here.choosing, here.choice]
    presented = [here.model, here.search, here.choice, here.key], shown
    rooms.on_show(here.key, present, *presented)
    here.model.change(present, *presented, **rooms.quiet)
    here.search.change(present, *presented, **rooms.quiet)
    ask = "(name, key) => confirm(`Delete the model ${name} for good?`) ? [name, key] : [null, key]"
    dropped = here.drop.click(drop_model, [here.model, here.key], here.problem, js=ask, **rooms.ask)
    dropped.then(present, *presented, **rooms.quiet)
    return presented


def drop_model(name, key):
    """Delete a model; returns the problem line."""
    return rooms.problem_of(rooms.jobs().remove_model, name, key) if name else gr.skip()  # None: not confirmed


def present(name, wanted, choice, key):
    """One model, the list of those with the ``wanted`` attributes, and by what a classifier could choose among them."""
    models = rooms.jobs().models
    generators, choices = models.list("generator"), sorted(models.choices())
    values = sorted({f"{key}={value}" for entry in generators for key, value in entry.attributes.items()})
    left = [text for text in wanted or [] if text in values]
    attributes = dict(text.split("=", 1) for text in left)
    found = {entry.name: entry for entry in models.list("generator" if left else None, attributes)}
    other = choice if choice in choices else next(iter(choices), None)
    more = rooms.updated(values, wanted or [], left), gr.update(visible=bool(choices))
    more += (rooms.updated(choices, choice, other),)
    entry = found.get(name) or next(iter(found.values()), None)
    if entry is None:
        why = "No model has all of these attributes." if left else "There is no model yet: train one above."
        hidden = gr.update(value=None, visible=False)
        return rooms.updated([], name, None), f"<p class='note'>{why}</p>", hidden, gr.update(visible=False), *more
    return (
        rooms.updated(rooms.model_choices(key, "generator" if left else None, attributes), name, entry.name),
        job_display.card(entry), job_display.image_update(entry.path / "samples.png"),
        gr.update(visible=owns(key, entry.facts)), *more,
    )  # fmt: skip
