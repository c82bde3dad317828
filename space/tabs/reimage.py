"""Re-image a covered face and show the four steps: raw, smoothed, clipping, result."""

import functools
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
from PIL import Image

from maskhub.errors import CheckpointError, MaskHubError, PhotoError
from maskhub.pipelines.reimaging import BUNDLED, ReimagingPipeline
from space import lesson, photos, rooms
from space.figures import figures, magnified

__all__ = ["TITLE", "build"]

TITLE = "Re-image"
CLASSIFIER = "by the classifier"
COVERED = "builtin:pixel-faces/covered"
BUILT_IN = [
    ("Pixel faces, covered", COVERED),
    ("Pixel faces of the thesis's sets, covered", "builtin:pixel-faces/covered/uniform"),
]
SHOWN = 75
WHERE = [
    ("Find it by colour", "auto"),
    ("Find it by contrast", "contrast"),
    ("Mask detector (photos)", "learned"),
    ("The lower half of the face", "lower"),
]
ABOUT = """The covering is detected, and a classifier chooses the generator for the attributes of the face. The
generator makes many faces; the one that best matches the visible part is smoothed (K-means), cut to the covered pixels,
inserted, and adapted to the skin tone. All other pixels stay unchanged. **What appears is invented**: it is no evidence
of what anyone looks like. Uploaded faces are not stored."""


def build(pipe):
    """The tab; it uses separate models."""
    wire(layout())


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Choose a covered face, and see step by step how a generator fills in what is covered.")
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
            hidden = {"visible": False, "show_heading": False, "min_width": 200}
            with gr.Row(equal_height=False):
                here.distribution = gr.Label(label="Classifier", elem_id="reimage-distribution", **hidden)
                here.fit = gr.Label(label="How well each model fits", elem_id="reimage-fit", **hidden)
            here.samples = gr.Gallery(
                show_label=False, columns=8, height="auto", object_fit="contain", format="png", interactive=False,
                allow_preview=False, buttons=[], visible=False, elem_id="reimage-samples", elem_classes="faces scored",
            )  # fmt: skip
            here.lesson = lesson.layout()
            here.download = gr.DownloadButton("Download PNG", visible=False, elem_id="reimage-download")
    here.picked = gr.State(None)  # dataset, file name
    here.sample = gr.State(0)  # which of the generated faces is used
    here.seen = gr.State(())
    return here


def _choices_of_face(here):
    here.source = gr.Dropdown(BUILT_IN, value=COVERED, label="Test faces from", elem_id="reimage-source")
    here.gallery = gr.Gallery(
        show_label=False, columns=6, height=330, object_fit="contain", format="png", interactive=False,
        allow_preview=False, buttons=[], elem_id="reimage-faces", elem_classes="faces",
    )  # fmt: skip
    with gr.Accordion("Or upload a face", open=False, elem_id="reimage-upload"):
        here.photo = photos.photo_input("reimage-photo", height=240)
        gr.Markdown("Use a square picture filled by the face; others are cropped to the centre.", elem_classes="note")


def _choices_of_model(here):
    here.model = gr.Dropdown([], label="Model", elem_id="reimage-model")
    here.where = gr.Dropdown(WHERE, value="auto", label="Covering", elem_id="reimage-where")
    with gr.Accordion("More options", open=False):
        here.count = gr.Slider(16, 2048, value=512, step=16, label="Generated faces to choose from")
        here.refine = gr.Slider(0, 200, value=0, step=10, label="Steps of latent optimisation")
        here.colours = gr.Slider(0, 32, value=16, step=1, label="Colours of the smoothing (0: none)")


def wire(here):
    """Connect the components to the handlers."""
    quiet = rooms.quiet
    rooms.on_show(here.key, offer, [here.source, here.model, here.key], [here.source, here.model])
    here.key.filled.then(show_faces, here.source, [here.gallery, here.picked], **quiet)
    here.source.input(show_faces, here.source, [here.gallery, here.picked], **quiet)
    into = [here.problem, here.steps, here.status, here.distribution, here.fit, here.samples, here.lesson.maps]
    into += [here.download, here.seen]
    options = [here.photo, here.seen, here.picked, here.model, here.where, here.count, here.refine, here.colours]
    options += [here.sample]
    event = {"show_progress_on": here.steps, "concurrency_id": "reimage", "api_visibility": "private"}
    event |= {"trigger_mode": "always_last"}
    scroll = {"js": photos.scroll_to("reimage-steps", "reimage-problem"), "api_visibility": "private"}
    select = quiet | {"trigger_mode": "multiple"}
    chosen = here.gallery.select(pick, here.source, here.picked, **select).then(lambda: None, None, here.photo, **quiet)
    first = (lambda: 0, None, here.sample)
    for start in (chosen.then(*first, **quiet), here.run.click(*first, **quiet)):
        start.then(photos.about(reimage), options, into, **event).then(None, **scroll)
    here.samples.select(sampled, None, here.sample, **select).then(photos.about(reimage), options, into, **event)
    lesson.wire(here.lesson)
    photos.watch(here.photo, here.problem, [], (), here.seen, line="reimage", warned=lambda photo: [])


def offer(source, model, key):
    """The current test sets and models."""
    sources = list(BUILT_IN)
    sources += [(entry.name, entry.name) for entry in rooms.jobs().datasets.list() if entry.counts["test"]]
    models = _choices(key)
    first = next((value for _, value in models), None)
    return rooms.offered(sources, source, COVERED)[0], rooms.offered(models, model, first)[0]


def show_faces(source):
    """The gallery of a test set, without a selection."""
    pictures = []
    for face in _test_faces(source):
        try:
            pictures.append((magnified(face.image, 128), None))
        except MaskHubError:
            continue
    return gr.update(value=pictures, selected_index=None), None


def pick(source, event: gr.SelectData):
    """Dataset and file name of the face that was clicked."""
    faces = _test_faces(source)
    there = isinstance(event.index, int) and 0 <= event.index < len(faces)
    return (source, faces[event.index].name) if there else None


def sampled(event: gr.SelectData):
    """Which of the generated faces was clicked."""
    return event.index if isinstance(event.index, int) else 0


def reimage(path, picked, model, where, count, refine, colours, sample=0):
    """Re-image a face: problem, steps, status, both distributions, other generated faces, feature maps, download."""
    start, hidden = time.perf_counter(), gr.update(visible=False)
    try:
        face, name = _face(picked, path)
        done, readable, classifier = _run(face, model, where, int(count), int(refine), int(colours), int(sample))
    except MaskHubError as error:
        return photos.problem(error), _nothing(), "", hidden, hidden, hidden, gr.skip(), hidden
    said = f"By {readable.get(done.models[0], done.models[0])}, {time.perf_counter() - start:.1f} s."
    said += "" if done.distributions[0] or model != CLASSIFIER else " There is no classifier, so all models were tried."
    odds, scores = done.distributions[0], done.scores[0]
    return (
        "", figures(_steps(face, done, int(count), int(colours), int(sample))),
        photos.done(said + " What was covered is invented. Choose another face below if it fits better."),
        gr.update(value=odds or None, visible=bool(odds)),
        gr.update(value={readable.get(k, k): v for k, v in scores.items()}, visible=len(scores) > 1),
        _others(done, sample), lesson.feature_maps(classifier, np.asarray(done.faces[0])),
        gr.update(value=photos.save_png(done.result[0], name, "re-imaged"), visible=True),
    )  # fmt: skip


def _others(done, sample):
    """The generated faces that fit best, with their scores; unchanged while one of them is chosen."""
    if sample:
        return gr.skip()
    pictures = [
        (magnified(face, 128), f"{error:.0f} off")
        for face, error in zip(done.candidates[0], done.candidate_errors[0], strict=True)
    ]
    return gr.update(value=pictures, visible=len(pictures) > 1, selected_index=0)


def _steps(face, done, count, colours, sample):
    """The five pictures, each with its title and a line."""
    return [
        (
            face if max(face.size) <= 128 else done.faces[0],
            "Covered",
            f"{done.regions[0].mean():.0%} of it is replaced",
        ),
        (done.raw[0], "1 Raw", f"{_nth(sample)} of {count:,}, off by {done.errors[0]:.0f} of 255"),
        (done.smoothed[0], "2 Smoothed", f"{colours} colours" if colours else "not smoothed"),
        (done.clipping[0], "3 Clipping", "what covers the face"),
        (done.result[0], "4 Result", "adapted to the skin tone"),
    ]


def _nth(sample):
    return "the best" if not sample else f"number {sample + 1}"


def _choices(key):
    """The models for a dropdown: the classifier's choice, the bundled models and those of the registry."""
    brought = [(label, name) for label, name in rooms.model_choices(key)]
    bundled = [
        (f"{name} – {rooms.words(attributes)} (built in)", f"bundled/{name}") for name, attributes in _bundled_models()
    ]
    every = [("Choose by the classifier", CLASSIFIER)] if bundled or brought else []
    return every + brought + bundled


def _bundled_models():
    return list(_bundled().models.items()) if (BUNDLED / "model_index.json").is_file() else []


@functools.lru_cache(maxsize=1)
def _bundled():
    return ReimagingPipeline.bundled()


@functools.lru_cache(maxsize=16)
def _loaded(path, stamp):
    return ReimagingPipeline.from_pretrained(path)


_LOADING = threading.Lock()


def _generator(name):
    """The generator of a model of the registry, with its resolution and attributes."""
    entry = rooms.jobs().models.get(name)
    with _LOADING:
        made = _loaded(str(entry.path), Path(entry.path / "model_index.json").stat().st_mtime_ns)
    return next(iter(made.generators.values())), made.config.resolution, entry.attributes


def _pipeline(model):
    """The pipeline for a face, the chosen generator, and the display names of its generators."""
    bundled = _bundled() if (BUNDLED / "model_index.json").is_file() else None
    if model and model.startswith("bundled/") and bundled:
        wanted = model.removeprefix("bundled/")
        return bundled, wanted, {wanted: wanted}
    if model != CLASSIFIER:
        generator, resolution, attributes = _generator(model or "-")
        made = ReimagingPipeline(_classifier({model: attributes}, resolution, bundled), resolution=resolution)
        made.add(model, generator, attributes)
        return made, model, {}
    names = [entry.name for entry in rooms.jobs().models.list("generator")]
    if bundled is None and not names:
        raise CheckpointError("there is no model yet: train one in the Train tab.")
    resolution = bundled.config.resolution if bundled else _generator(names[0])[1]
    parts, readable = {}, {}
    for name in names:
        generator, own, attributes = _generator(name)
        if own == resolution:
            parts[name] = (generator, attributes)
    for name, attributes in _bundled_models():
        parts[f"built-in.{name}"] = (bundled.generators[name], attributes)
        readable[f"built-in.{name}"] = f"{name} (built in)"
    classifier = _classifier({name: attributes for name, (_, attributes) in parts.items()}, resolution, bundled)
    made = ReimagingPipeline(classifier=classifier, resolution=resolution)
    for name, (generator, attributes) in parts.items():
        made.add(name, generator, attributes)
    return made, None, readable


def _classifier(models, resolution, bundled):
    """The classifier that knows the attributes of most of these models: a visitor's, or the bundled one."""
    given = bundled.classifier if bundled and bundled.config.resolution == resolution else None
    return rooms.jobs().models.classifier_for(models, resolution, given) or given


def _run(face, model, where, count, refine, colours, sample):
    pipeline, name, readable = _pipeline(model)
    region, covering = None, where
    if where == "lower":
        region, covering = np.zeros((face.height, face.width), bool), "auto"
        top, bottom, left = round(0.55 * face.height), round(0.85 * face.height), round(0.22 * face.width)
        region[top:bottom, left : face.width - left] = True
    done = pipeline(
        face, region, covering=covering, model=name, candidates=count, refine_steps=refine, smooth_colours=colours,
        sample=sample,
    )  # fmt: skip
    return done, readable, pipeline.classifier


def _test_faces(source):
    try:
        return rooms.jobs().datasets.faces(source, "test")[:SHOWN]
    except MaskHubError:
        return []


def _face(picked, path):
    """The chosen face, a square RGB picture, and its file name."""
    if path:
        return _square(photos.read(path)), path
    if picked is None:
        raise PhotoError("choose a face first, or upload one.")
    source, name = picked
    face = next((face for face in _test_faces(source) if face.name == name), None)
    if face is None:
        raise PhotoError("this face has been deleted: choose another one.")
    return _square(face.image), name


def _square(photo):
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    square = photo.convert("RGB").crop((left, top, left + side, top + side))
    return square if side <= 512 else square.resize((512, 512), Image.Resampling.LANCZOS)


def _nothing():
    return '<div class="steps empty"><p>Choose a face: the four steps appear here.</p></div>'
