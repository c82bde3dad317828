"""Re-image a covered face and show the four steps: raw, smoothed, clipping, result."""

import time
from types import SimpleNamespace

import gradio as gr
import numpy as np

from maskhub.errors import MaskHubError, PhotoError
from maskhub.provenance import Provenance, mark
from space import lesson, photos, rooms
from space.coverings import WAYS, covered, from_photo, subject
from space.figures import brush, figures, magnified
from space.reimage_models import CLASSIFIER, choices, knows_photos, pipeline_of

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Re-image"
COVERED = "builtin:pixel-faces/covered"
PORTRAITS = "builtin:portraits/masked"
BUILT_IN = [
    ("Pixel faces, covered", COVERED),
    ("Pixel faces of the thesis's sets, covered", "builtin:pixel-faces/covered/uniform"),
    ("Portraits, masked", PORTRAITS),
    ("Portraits without a mask", "builtin:portraits"),
]
SHOWN = 75
PHOTO_STEPS = 40
"""Steps of latent optimisation for photos: no sample comes close enough to one."""
FAR = {"photo": 50, "drawn": 70}
"""Difference of the best generated face from the visible pixels, of 255, from which a face is unlike those that a model
knows: docs/reimaging.md has the figures."""
ROUGH = " These small models make rough faces: the Photo tab takes masks off photos much better."
ABOUT = """The covering is found, drawn or painted, and a classifier chooses the generator for the attributes of the
face. The generator makes many faces; the one that best matches the visible part is smoothed (K-means), cut to the
covered pixels, inserted, and adapted to the skin tone. All other pixels stay unchanged. **What appears is invented**:
it is not evidence of what anyone looks like. Uploaded faces are not stored."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Choose a face, and see step by step how a generator fills in what is covered.")
    here.key = rooms.key_box()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            _choices_of_face(here)
            _choices_of_model(here)
            here.run = gr.Button("Re-image", variant="primary", elem_id="reimage")
            here.problem = photos.line("reimage-problem")
            gr.Markdown(ABOUT, elem_classes="note")
        with gr.Column(scale=3, min_width=300):
            here.steps = gr.HTML(_nothing(), elem_id="reimage-steps")
            here.status = photos.line("reimage-status")
            here.away = gr.Button("Open it in Photo", variant="primary", visible=False, elem_id="reimage-away")
            hidden = {"visible": False, "show_heading": False, "min_width": 200}
            with gr.Row(equal_height=False):
                here.distribution = gr.Label(label="Classifier", elem_id="reimage-distribution", **hidden)
                here.fit = gr.Label(label="How well each model fits", elem_id="reimage-fit", **hidden)
            here.samples = gr.Gallery(
                show_label=False, columns=8, height="auto", object_fit="contain", format="png", interactive=False,
                allow_preview=False, buttons=[], visible=False, elem_id="reimage-samples", elem_classes="strip",
            )  # fmt: skip
            here.lesson = lesson.layout()
            here.download = gr.DownloadButton("Download PNG", visible=False, elem_id="reimage-download")
    here.picked = gr.State(None)  # dataset, file name
    here.sample = gr.State(0)  # which of the generated faces is used
    here.seen = gr.State(())
    here.filled = gr.State(False)  # the gallery of faces
    return here


def _choices_of_face(here):
    here.source = rooms.Choice(BUILT_IN, value=COVERED, label="Test faces from", elem_id="reimage-source")
    here.gallery = gr.Gallery(
        show_label=False, columns=6, height=330, object_fit="contain", format="png", interactive=False,
        allow_preview=False, buttons=[], elem_id="reimage-faces", elem_classes="faces",
    )  # fmt: skip
    with gr.Accordion("Or upload a face", open=False, elem_id="reimage-upload"):
        here.photo = photos.photo_input("reimage-photo", height=240)
        gr.Markdown("The largest face is cut out of a photo. Drawn faces should fill a square.", elem_classes="note")


def _choices_of_model(here):
    here.model = rooms.Choice([], label="Model", elem_id="reimage-model")
    here.where = gr.Dropdown(WAYS, value="auto", label="Covering", elem_id="reimage-where")
    here.brush = gr.HTML(visible=False, elem_id="reimage-brush")
    here.painted = gr.Textbox(visible=False, label="painted")  # filled as a run starts
    with gr.Accordion("More options", open=False):
        here.count = gr.Slider(16, 2048, value=512, step=16, label="Generated faces to choose from")
        here.refine = gr.Slider(0, 200, value=0, step=10, label="Steps of latent optimisation (photos: 40 if 0)")
        here.colours = gr.Slider(
            0, 32, value=16, step=1, label="Colours of the smoothing (0: none; photos are not smoothed)"
        )


def wire(here, pipe):
    """Connect the components to the handlers."""
    quiet = rooms.quiet
    rooms.on_show(here.key, offer, [here.source, here.model, here.key], [here.source, here.model])
    rooms.on_open(first_faces, [here.filled, here.source], [here.gallery, here.picked, here.filled])
    here.source.change(show_faces, [here.source, here.picked], [here.gallery, here.picked], **quiet)
    first = (lambda: 0, None, here.sample)
    painting = (canvas, [here.photo, here.picked, here.where], here.brush)
    select = quiet | {"trigger_mode": "multiple"}
    chosen = here.gallery.select(pick, here.source, here.picked, **select).then(lambda: None, None, here.photo, **quiet)
    shown = chosen.then(*painting, **quiet)
    for changed in (here.where.change, here.photo.change):
        changed(*painting, **quiet)
    for start in (shown.then(*first, **quiet), here.run.click(*first, **quiet)):
        run_on(here, start.then)
    run_on(here, here.samples.select(sampled, None, here.sample, **select).then, scroll=False)
    lesson.wire(here.lesson)
    photos.watch(here.photo, here.problem, [], (), here.seen, line="reimage", warned=lambda photo: [])


def run_on(here, event, scroll=True):
    """Re-image after an event."""
    into = [here.problem, here.steps, here.status, here.distribution, here.fit, here.samples, here.lesson.maps]
    into += [here.download, here.away, here.seen]
    options = [here.photo, here.seen, here.picked, here.model, here.where, here.count, here.refine, here.colours]
    options += [here.sample, here.painted]
    shown = {"show_progress_on": here.steps, "concurrency_id": "reimage", "api_visibility": "private"}
    shown |= {"js": "(...given) => [...given.slice(0, -1), maskhub.painting()]"}
    ran = event(photos.about(reimage), options, into, trigger_mode="always_last", **shown)
    if scroll:
        ran.then(None, js=photos.scroll_to("reimage-steps", "reimage-problem"), api_visibility="private")


def offer(source, model, key):
    """The current test sets and models."""
    sources = list(BUILT_IN)
    sources += [(entry.name, entry.name) for entry in rooms.jobs().datasets.list()]
    models = choices(key)
    first = next((value for _, value in models), None)
    return rooms.offered(sources, source, COVERED)[0], rooms.offered(models, model, first)[0]


def show_faces(source, picked=None):
    """The gallery of a test set, without a selection; nothing changes while a face ``picked`` from it is shown."""
    if picked and picked[0] == source:
        return gr.skip(), gr.skip()
    pictures = []
    for face in _faces_of(source):
        try:
            pictures.append((magnified(face.image, 128), None))
        except MaskHubError:
            continue
    return gr.update(value=pictures, selected_index=None), None


def first_faces(filled, source):
    """:func:`show_faces` when the tab is opened for the first time; later the chosen face stays."""
    return (gr.skip(), gr.skip(), True) if filled else (*show_faces(source), True)


def pick(source, event: gr.SelectData):
    """Dataset and file name of the face that was clicked."""
    faces = _faces_of(source)
    there = isinstance(event.index, int) and 0 <= event.index < len(faces)
    return (source, faces[event.index].name) if there else None


def sampled(event: gr.SelectData):
    """Which of the generated faces was clicked."""
    return event.index if isinstance(event.index, int) else 0


def canvas(path, picked, where):
    """The face to paint on, if the visitor wants to paint."""
    if where != "paint":
        return gr.update(visible=False)
    try:
        return gr.update(value=brush(_subject(picked, path).image), visible=True)
    except MaskHubError:
        return gr.update(value="<p class='note'>Choose a face to paint on.</p>", visible=True)


def tried(id, key):
    """Try the model of a job on the first face that it fits: values of dataset, gallery, face, model, photo, covering,
    brush and sample, and that the gallery is filled."""
    job = rooms.jobs().get(id)
    faces = {"*": COVERED, "builtin:portraits": PORTRAITS}
    source = faces.get(job.dataset, COVERED if job.dataset.startswith("builtin:pixel") else job.dataset)
    fitting = _faces_of(source, job.attributes) or _faces_of(source)
    picked = (source, fitting[0].name) if fitting else None
    offered, models = offer(source, job.model, key)
    chosen = offered | {"value": source}, show_faces(source)[0], picked, models | {"value": job.model}
    return *chosen, None, "auto", gr.update(visible=False), 0, True


def away(path, picked):
    """The face's photo for the Photo tab: a problem, and its file."""
    try:
        given = path or photos.save_png(_subject(picked, None).image, picked[1])
    except MaskHubError as error:
        return photos.problem(error), gr.skip()
    return "", given


def reimage(path, picked, model, where, count, refine, colours, sample, painted):
    """Re-image a face: problem, steps, status, both distributions, other generated faces, feature maps, download and
    the way to Photo."""
    start, hidden = time.perf_counter(), gr.update(visible=False)
    try:
        whole = _subject(picked, path)
        given, region, found = covered(whole, where, painted)
        steps = int(refine) or given.photo * PHOTO_STEPS
        done, by = _run(given, region, model, int(count), steps, int(colours), int(sample))
    except MaskHubError as error:
        return photos.problem(error), _nothing(), "", hidden, hidden, hidden, gr.skip(), hidden, hidden
    said = f"By {by.shown.get(done.models[0], done.models[0])}, {time.perf_counter() - start:.1f} s."
    if model == CLASSIFIER and not given.photo and not done.distributions[0]:
        said += " There is no classifier, so all models were tried."
    said += f" Could not be loaded, so left out: {', '.join(by.broken)}." if by.broken else ""
    said += "" if found else " No covering was found, so mouth and nose were covered for you."
    of = "found" if steps else f"of {int(count):,}"
    far = done.candidate_errors[0][0] > FAR["photo" if given.photo else "drawn"]
    far |= knows_photos(model) and not given.photo  # a search comes near any smooth picture
    odds, scores = done.distributions[0], done.scores[0]
    return (
        "", figures(_steps(whole, given, done, of, int(colours), int(sample)), crisp=not given.photo),
        _verdict(said, far, given.photo), gr.update(value=odds or None, visible=bool(odds)),
        gr.update(value={by.shown.get(k, k): v for k, v in scores.items()}, visible=len(scores) > 1),
        _others(done, sample), lesson.feature_maps(by.pipeline.classifier, np.asarray(done.faces[0])),
        gr.update(value=_saved(given, region, done), visible=True),
        gr.update(visible=given.photo),
    )  # fmt: skip


def _saved(given, region, done):
    """The file of the result; in its photo, if the face was cut out of one."""
    whole = mark(given.in_its_photo(done.result[0], region), Provenance("unmask", done.models[0] or "maskhub"))
    return photos.save_png(whole, given.name, "re-imaged", like=given.origin and given.origin[0])


def _verdict(said, far, photo):
    """The status line, which warns of a face that is unlike those that the model makes."""
    if not far:
        said += " What was covered is invented. Choose another face below if it fits better."
        return photos.done(said + ROUGH if photo else said)
    why = (
        "This face is unlike anything that the model makes, so the result is poor: the model was trained on other "
        "faces, or too briefly."
    )
    return photos.notice([said, why, *["The Photo tab takes masks off photos."] * photo])


def _others(done, sample):
    """The generated faces that fit best, with their scores; unchanged while one of them is chosen."""
    if sample:
        return gr.skip()
    pictures = [
        (magnified(face, 128), f"{error:.0f} off")
        for face, error in zip(done.candidates[0], done.candidate_errors[0], strict=True)
    ]
    return gr.update(value=pictures, visible=len(pictures) > 1, selected_index=0)


def _steps(whole, given, done, of, colours, sample):
    """The pictures of the steps, each with its title and a line; a face that was covered for the visitor at the end."""
    small = max(given.image.size) <= 128
    smoothed = "not smoothed: a photo" if given.photo else f"{colours} colours" if colours else "not smoothed"
    face = given.image if small or given.photo else done.faces[0]
    steps = [
        (face, "Covered", f"{done.regions[0].mean():.0%} of it is replaced"),
        (done.raw[0], "1 Raw", f"{_nth(sample)} {of}, off by {done.errors[0]:.0f} of 255"),
        (done.smoothed[0], "2 Smoothed", smoothed),
        (done.clipping[0], "3 Clipping", "what covers the face"),
        (done.result[0], "4 Result", "adapted to the skin tone"),
    ]  # fmt: skip
    return steps if given is whole else [*steps, (whole.image, "True face", "before it was covered")]


def _nth(sample):
    return "the best" if not sample else f"number {sample + 1}"


def _run(given, region, model, count, steps, colours, sample):
    by = pipeline_of(model, given)
    options = {"smooth_colours": 0, "tone": "poisson"} if given.photo else {"smooth_colours": colours}
    options |= {"model": by.generator, "candidates": count, "refine_steps": steps, "sample": sample}
    return by.pipeline(given.image, region, **options), by


def _faces_of(source, attributes=None):
    """The test faces of a dataset, or the training faces if it has no others."""
    try:
        datasets = rooms.jobs().datasets
        return (datasets.faces(source, "test", attributes) or datasets.faces(source, "train", attributes))[:SHOWN]
    except MaskHubError:
        return []


def _subject(picked, path):
    """The chosen face, as :class:`~space.coverings.Subject`."""
    if path:
        return from_photo(photos.read(path), path)
    if picked is None:
        raise PhotoError("choose a face first, or upload one.")
    source, name = picked
    face = next((face for face in _faces_of(source) if face.name == name), None)
    if face is None:
        raise PhotoError("this face has been deleted: choose another one.")
    return subject(face.image, name)


def _nothing():
    return '<div class="steps empty"><p>Choose a face: the four steps appear here.</p></div>'
