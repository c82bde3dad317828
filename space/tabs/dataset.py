"""Visitors' pictures of faces: upload them as files or zip, and browse them by split, model and attribute."""

import html
from collections import Counter
from types import SimpleNamespace

import gradio as gr

from maskhub.data.labelled import split_attributes
from maskhub.errors import MaskHubError, SourceError
from maskhub.service.datasets import ALL, BUILT_IN, SPLITS, attribute_choices
from maskhub.service.home import owns
from maskhub.service.limits import Limits
from maskhub.service.uploads import receive
from space import photos, rooms
from space.figures import magnified
from space.share import share

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Dataset"
PAGE = 60
LIMITS = Limits()
SPLIT_CHOICES = [("Training", "train"), ("Test", "test")]
FILES = ["image", ".zip", ".csv", ".jsonl"]
ABOUT = """What you upload here can be **seen by everyone** who uses this app, until you delete it here, from this
browser. Only upload pictures that you may publish. They are stored as PNG of at most 512 pixels a side, without
location, time or camera."""
HOW = f"""**Formats.** JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF and GIF, as files or in a zip, up to
{LIMITS.file // 2**20} MB per file, {LIMITS.unpacked // 2**20} MB unpacked and {LIMITS.files:,} pictures at once. A
`metadata.csv` with a column `file_name` sets the attributes of each picture; folders named `train` and `test` in a zip
are the splits. Files that are refused are listed with the reason; all others are added."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Upload pictures of faces, browse all datasets, then train on them in the next tab.")
    here.key, here.page = rooms.key_box(), gr.State(0)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            _form(here)
        with gr.Column(scale=3, min_width=300):
            _browser(here)
            share("dataset", here.dataset, _folder)
    return here


def _form(here):
    """The upload form."""
    here.files = gr.File(
        file_count="multiple", file_types=FILES, label="Pictures, or a zip file", height=170,
        elem_id="dataset-files",
    )  # fmt: skip
    with gr.Row(elem_classes="pair"):
        here.name = gr.Textbox(
            label="Add to dataset", placeholder="my-faces", max_lines=1, elem_id="dataset-name", min_width=120
        )
        here.split = gr.Dropdown(SPLIT_CHOICES, value="train", label="Use for", elem_id="dataset-as", min_width=110)
    here.attributes = gr.Textbox(
        label="Attributes of all of them", placeholder="tone=light, place=Dayton, OH", max_lines=1,
        elem_id="dataset-attributes",
    )  # fmt: skip
    here.cut = gr.Checkbox(
        True, label="Cut the face out of each photo, as the networks need it", container=False, elem_id="dataset-cut"
    )
    here.bring = gr.Button("Upload", variant="primary", elem_id="dataset-bring")
    here.problem, here.status = photos.line("dataset-problem"), photos.line("dataset-status")
    here.refused = gr.HTML(elem_id="dataset-refused", elem_classes="line")
    gr.Markdown(ABOUT, elem_classes="note")
    gr.Markdown(HOW, elem_classes="note")


def _browser(here):
    """The browser of all pictures."""
    with gr.Row(elem_classes="pair"):
        here.dataset = rooms.Choice(
            rooms.dataset_choices(), value="builtin:pixel-faces", label="Dataset", elem_id="browse-dataset",
            min_width=120,
        )  # fmt: skip
        here.part = gr.Dropdown(
            [("Both", ""), *SPLIT_CHOICES], value="", label="Split", elem_id="browse-split", min_width=100
        )
    with gr.Row(elem_classes="pair"):
        here.model = rooms.Choice([("Any", "")], value="", label="Fits model", elem_id="browse-model", min_width=120)
        here.wanted = rooms.Choice([], multiselect=True, label="Attributes", elem_id="browse-attributes", min_width=120)
    here.gallery = gr.Gallery(
        show_label=False, columns=6, height="auto", object_fit="contain", format="png", interactive=False,
        buttons=["download"], elem_id="browse", elem_classes="faces",
    )  # fmt: skip
    with gr.Row(equal_height=True, elem_classes="pair"):
        here.before = gr.Button("Back", size="sm", elem_id="browse-before", min_width=80)
        here.count = gr.HTML(elem_id="browse-count", elem_classes="count")
        here.after = gr.Button("More", size="sm", elem_id="browse-after", min_width=80)
    with gr.Row():
        here.delete = gr.Button("Delete this dataset", variant="stop", visible=False, elem_id="dataset-delete")


def wire(here, pipe):
    """Connect the components to the handlers. Every change ends in :func:`offer` and :func:`look`."""
    filters = [here.dataset, here.part, here.model, here.wanted]
    offered, asked = [here.dataset, here.model, here.wanted, here.delete], [*filters, here.key]
    looking = (look, [*filters, here.page], [here.gallery, here.count, here.before, here.after, here.page])

    def chain(event):
        event.then(offer, asked, offered, **rooms.quiet).then(*looking, **rooms.quiet)

    rooms.on_show(here.key, offer, asked, offered)
    rooms.on_open(*looking)  # not for visitors who never come here: it writes a page of pictures
    heard = {"api_visibility": "private", "concurrency_id": "uploads", "show_progress_on": here.files}
    given = [here.files, here.name, here.split, here.attributes, here.cut, here.key]
    chain(here.bring.click(take, given, [here.problem, here.status, here.refused, here.files, here.dataset], **heard))
    ask = "(name, key) => confirm(`Delete ${name} for good?`) ? [name, key] : [null, key]"
    removed = [here.problem, here.status, here.dataset]
    chain(here.delete.click(remove, [here.dataset, here.key], removed, js=ask, **rooms.ask))
    for filter in (here.dataset, here.part, here.model):
        chain(filter.change(lambda: 0, None, here.page, **rooms.quiet))
    here.wanted.change(lambda: 0, None, here.page, **rooms.quiet).then(*looking, **rooms.quiet)
    for button, step in ((here.before, -1), (here.after, 1)):
        turned = button.click(lambda page, step=step: page + step, here.page, here.page, **rooms.quiet)
        turned.then(*looking, **rooms.quiet)


def look(dataset, part, model, wanted, page):
    """One page of the filtered pictures: gallery, count, both buttons and the page."""
    faces = _faces(dataset, part, model, wanted)
    pages = max(1, -(-len(faces) // PAGE))
    page = min(max(0, page), pages - 1)
    here, pictures = faces[page * PAGE : (page + 1) * PAGE], []
    for face in here:
        try:
            pictures.append((magnified(face.image), _caption(face)))
        except MaskHubError:  # just deleted
            continue
    place = f", {page * PAGE + 1}–{page * PAGE + len(here)}" if pages > 1 else ""
    text = f"{len(faces):,} {'picture' if len(faces) == 1 else 'pictures'}{place}{_where(faces)}"
    return (
        gr.update(value=pictures, selected_index=None), f"<p>{text}</p>", gr.update(interactive=page > 0),
        gr.update(interactive=page < pages - 1), page,
    )  # fmt: skip


def offer(dataset, part, model, wanted, key):
    """The current choices, and the actions for the chosen dataset."""
    datasets, dataset = rooms.offered(rooms.dataset_choices(key), dataset, "builtin:pixel-faces")
    models, model = rooms.offered([("Any", ""), *rooms.model_choices(key)], model, "")
    there = attribute_choices(_faces(dataset, part, model, []))
    own = any(owns(key, entry.facts) for entry in rooms.jobs().datasets.list() if entry.name == dataset)
    left = [text for text in wanted if text in there]
    return datasets, models, rooms.updated(there, wanted, left), gr.update(visible=own)


def take(files, name, split, attributes, cut, key):
    """Add files to a dataset: problem, status, refused files, the cleared input and the dataset to show."""
    try:
        given = split_attributes(attributes)
        report = receive(rooms.jobs().home, files or [], name, split, given, key, cut=cut)
    except MaskHubError as error:
        return photos.problem(error), "", "", gr.skip(), gr.skip()
    if not report.count:
        nothing = photos.problem(SourceError("no picture could be added: see below."))
        return nothing, "", _refused(report.refused), None, gr.skip()
    added = " and ".join(f"{n} {word}" for word, n in zip(("training", "test"), report.added.values(), strict=True))
    said = photos.done(f"Added to {name.strip()}: {added} pictures.")
    chosen = gr.update(value=name.strip(), choices=rooms.dataset_choices(key))
    return "", said + _faceless(report), _refused(report.refused), None, chosen


def remove(dataset, key):
    """Delete a dataset of the visitor: problem, status, and the dataset to show next."""
    if not dataset:  # not confirmed
        return gr.skip(), gr.skip(), gr.skip()
    try:
        rooms.jobs().datasets.remove(dataset, key)
    except MaskHubError as error:
        return photos.problem(error), "", gr.skip()
    return "", photos.done(f"{dataset} is deleted."), "builtin:pixel-faces"


def _faces(dataset, part, model, wanted):
    """The filtered faces; none if the dataset is gone."""
    try:
        attributes = {}
        for text in wanted or []:
            key, _, value = text.partition("=")
            attributes.setdefault(key, []).append(value)
        if model:
            attributes |= rooms.jobs().models.get(model).attributes
        return rooms.jobs().datasets.faces(dataset, part if part in SPLITS else None, attributes)
    except MaskHubError:
        return []


def _where(faces):
    """The datasets of the faces with their numbers, if there are several."""
    counts = Counter(face.dataset for face in faces)
    named = ", ".join(f"{count:,} in {html.escape(BUILT_IN.get(name, name))}" for name, count in counts.most_common(8))
    return f": {named}" if len(counts) > 1 else ""


def _caption(face):
    known = ", ".join(f"{key} {value}" for key, value in face.columns.items())
    return f"{face.name} · {face.split}{' · ' + known if known else ''}"


def _refused(refused):
    if not refused:
        return ""
    items = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(why)}</li>" for name, why in refused[:50])
    more = f"<li>and {len(refused) - 50:,} more</li>" if len(refused) > 50 else ""
    return f'<div class="refused"><p>Refused: {len(refused):,}</p><ul>{items}{more}</ul></div>'


def _faceless(report):
    """A notice about the photos in which no face was found."""
    names, count = report.faceless, len(report.faceless)
    if not names:
        return ""
    listed = f"{', '.join(names[:8])}{', …' if count > 8 else ''}"
    which = f"{count:,} of these pictures" if report.count > 1 else "this picture"
    return photos.notice([f"No face was found in {which}: {listed}. For drawn faces this does not matter."])


def _folder(name):
    if name == ALL:
        raise SourceError("choose one dataset: all of them together can't be shared.")
    if name and name.startswith("builtin:"):
        raise SourceError("the built-in faces are drawn by code: `maskhub dataset draw` writes them as a folder.")
    return rooms.jobs().datasets.get(name).folder
