"""Swap the masks of a photo, compare before and after, choose another look for a face, and take the result along."""

import time
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np
from PIL import ImageDraw, ImageFont

from maskhub.errors import MaskHubError, PhotoError
from maskhub.faces import align
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import open_image
from maskhub.pipelines.outline import outline
from space import photos, swap, takeaway, tools, verdict
from space.outlook import reading_order

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Photo"
ABOUT = {
    "mask": "Put a mask on every face of a photo.",
    "unmask": "Take the masks off the faces of a photo. What appears under them is invented.",
    "auto": "Take masks off where they are worn, and put them on all other faces.",
}
ENDPOINTS = {"mask": "mask", "unmask": "unmask", "auto": "swap"}
FACE, LEAD = 112, 2
"""Side of the thumbnails of faces in pixels, and how far left of the first face the slider starts, in per cent."""
MOST = 1000
"""Faces that may be chosen from."""
HIDDEN = gr.update(visible=False)
COLOURS = ["random", "blue", "white", "black", "grey", "green", "pink", "red", "navy"]
GONE = PhotoError("this result has been deleted: press Swap masks again.")


def layout(pipe):
    """Place the components; returns them by name. The page opens with the first example, swapped."""
    here, first = SimpleNamespace(), _first(pipe)
    with gr.Row(equal_height=False, elem_classes="workbench"):
        with gr.Column(min_width=300):
            here.photo = photos.photo_input("photo-photo", 340, first["before"])
            with gr.Row(elem_classes="pair"):
                here.upload = gr.Button("Upload a photo", elem_id="upload", min_width=110)
                here.swap = gr.Button("Swap masks", variant="primary", elem_id="swap", min_width=110)
            with gr.Row(elem_classes="pair"):
                here.mask = gr.Button("Put masks on", elem_id="mask", min_width=110)
                here.unmask = gr.Button("Take masks off", elem_id="unmask", min_width=110)
            here.problem = photos.line("photo-problem")
            here.examples = photos.examples("photo-examples")
            gr.Markdown(photos.LIMITS, elem_classes="note")
        with gr.Column(min_width=300):
            here.slider = photos.before_and_after("photo-result", pair(first, False), first["position"])
            here.status = photos.line("photo-status", first["said"])
            here.instead = gr.Button(visible=False, variant="primary", elem_id="photo-instead")
            _take(here, first["after"])
            here.faces = gr.Gallery(
                _thumbnails(first), label="Click a face to change its look", elem_id="photo-faces",
                columns=6, height="auto", allow_preview=False, interactive=False, buttons=[], elem_classes="strip",
            )  # fmt: skip
            with gr.Column(visible=False) as here.choice:
                here.looks = gr.Gallery(
                    label="Looks", columns=4, height="auto", allow_preview=False, interactive=False, buttons=[],
                    elem_id="photo-looks", elem_classes="strip",
                )  # fmt: skip
                with gr.Row(elem_classes="pair") as here.drawn:
                    here.colour = gr.Dropdown(
                        [(name.capitalize() if name != "random" else "Any colour", name) for name in COLOURS],
                        show_label=False, container=False, elem_id="photo-colour", min_width=110, label="Colour",
                    )  # fmt: skip
                    here.more = gr.Button("Other masks", elem_id="photo-more", min_width=110)
    # deleted no later than its files
    here.result, here.seen = gr.State(first, time_to_live=3000), gr.State((here.photo.value["path"],))
    here.chosen = gr.State({"face": 0, "seed": 0, "looks": []})
    return here


def _take(here, after):
    """What to do with the result."""
    with gr.Row(equal_height=True, elem_classes="pair"):
        here.kind = gr.Dropdown(
            takeaway.KINDS, value="same", show_label=False, container=False, label="Format", elem_id="photo-format",
            min_width=110,
        )  # fmt: skip
        here.download = gr.DownloadButton(_label(after), after, elem_id="photo-download", min_width=110)
    with gr.Row(equal_height=True, elem_classes="pair tools"):
        here.copy = gr.Button("Copy", size="sm", elem_id="photo-copy", min_width=70)
        here.onward = gr.Button("Use as photo", size="sm", elem_id="photo-onward", min_width=100)
        here.outlined = gr.Checkbox(label="Outline", elem_id="outline", min_width=120, container=False)


def _results(here):
    """The components that :func:`show` updates after the problem line, in the order of :func:`_shown`."""
    return [
        here.status, here.slider, here.instead, here.download, here.faces, here.choice, here.result,
    ]  # fmt: skip


def wire(here, pipe):
    """Connect the buttons, the faces and their looks, and the API's endpoints to the handlers."""
    results = _results(here)
    into = [here.problem, *results, here.seen]
    private = {"concurrency_id": "model", "trigger_mode": "always_last", "api_visibility": "private"}
    options, scroll = [here.photo, here.seen, here.outlined, here.kind], ("photo-result", "photo-problem")
    swap = [here.swap.click, photos.on_example(here.examples, here.photo).then]
    for direction, events in {"auto": swap, "mask": [here.mask.click], "unmask": [here.unmask.click]}.items():
        photos.on_run(events, partial(show, pipe, direction), options, into, here.slider, scroll)
    here.upload.click(None, js="() => maskhub.choose('#photo-photo')", api_visibility="private")
    here.instead.click(
        partial(show_instead, pipe), [here.result, here.outlined, here.kind], [here.problem, *results],
        show_progress_on=here.slider, **private,
    ).then(None, js=photos.scroll_to(*scroll), api_visibility="private")  # fmt: skip
    photos.watch(here.photo, here.problem, results, CLEARED, here.seen)
    here.outlined.input(pair, [here.result, here.outlined], here.slider, show_progress="hidden", **private)
    here.kind.change(
        partial(download, pipe), [here.result, here.kind], [here.problem, here.download], show_progress="hidden",
        **private,
    )  # fmt: skip
    here.onward.click(_after, here.result, [here.problem, here.photo], show_progress="hidden", **private)
    here.copy.click(None, None, here.problem, js="() => maskhub.copy('#photo-result')", api_visibility="private")
    _wire_choices(here, pipe)
    _wire_api(pipe)


def _wire_choices(here, pipe):
    """Connect the faces and their looks."""
    private = {"concurrency_id": "model", "api_visibility": "private"}
    quiet = {"show_progress": "hidden", "trigger_mode": "always_last", **private}
    offered = [here.problem, here.choice, here.looks, here.drawn, here.chosen]
    looking = (partial(looks, pipe), [here.result, here.chosen, here.colour], offered)
    picked = here.faces.select(_face, here.chosen, here.chosen, **quiet | {"trigger_mode": "multiple"})
    picked.then(*looking, **quiet)
    here.more.click(_more, here.chosen, here.chosen, **quiet).then(*looking, **quiet)
    here.colour.change(*looking, **quiet)

    def choosing(result, chosen, outlined, kind, event: gr.SelectData = None):
        return choose(pipe, result, chosen, outlined, kind, photos.picked(event, len(chosen["looks"])))

    given = [here.result, here.chosen, here.outlined, here.kind]
    changed = [here.problem, here.status, here.slider, here.download, here.faces, here.result]
    here.looks.select(choosing, given, changed, show_progress_on=here.slider, trigger_mode="multiple", **private)


def _wire_api(pipe):
    """The endpoints for scripts, with a photo of their own: that of the page begins with an example."""
    photo = photos.PhotoInput(type="filepath", visible=False, label="Your photo")
    picture = gr.Image(type="filepath", format="png", visible=False, label="result")
    for direction, about in ABOUT.items():
        tools.endpoint(partial(translated, pipe, direction), photo, picture, ENDPOINTS[direction], about)


def show(pipe, direction, path, outlined, kind, force=False):
    """Translate an upload: a problem, or the values of :func:`_results`."""
    try:
        result = run(pipe, path, direction, force=force)
        file = _file(pipe, result, kind)
    except MaskHubError as error:
        return photos.problem(error), *CLEARED
    return "", *_shown(result, outlined, file)


def show_instead(pipe, result, outlined, kind):
    """The run that the last one suggested."""
    if not result or not result["instead"]:
        return photos.problem(GONE), *CLEARED
    _, direction, force = result["instead"]
    return show(pipe, direction, result["path"], outlined, kind, force)


def run(pipe, path, direction, choices=None, force=False):
    """Translate an upload; returns everything that the page needs to know, as a dict without pictures."""
    start, photo = time.perf_counter(), photos.read(path)
    made = swap.translate(pipe, photo, direction, choices, force)
    seconds = time.perf_counter() - start
    tell = photos.done if verdict.clean(made.faces) else lambda text: photos.notice([text])
    lefts = [face.box[0] for face in made.faces if face.changed] or [0]
    return {
        "path": path, "direction": direction, "force": force, "choices": choices or {},
        "before": photos.viewable(path, photo),
        "after": photos.save_like(made.image, path, photos.SUFFIX[direction], photo),
        "shape": made.region.shape, "region": np.packbits(made.region),
        "faces": [(face.said, face.matrix * (FACE / pipe.config.resolution), face.box) for face in made.faces],
        "order": reading_order([face.box for face in made.faces]),
        "said": tell(verdict.sentence(made.faces, seconds)),
        "instead": verdict.helps(made.faces, direction),
        "position": max(0, min(95, 100 * min(lefts) / photo.width - LEAD)),
    }  # fmt: skip


def _shown(result, outlined, file):
    """The values of :func:`_results`."""
    slider = gr.update(value=pair(result, outlined), slider_position=result["position"])
    instead = gr.update(value=result["instead"][0], visible=True) if result["instead"] else HIDDEN
    thumbnails = gr.update(value=_thumbnails(result), selected_index=None, visible=True)
    return result["said"], slider, instead, _ready(file), thumbnails, HIDDEN, result


def _ready(file):
    return gr.update(value=file, label=_label(file), interactive=True)


def _label(file):
    return "Download both" if takeaway.is_pair(file) else f"Download {file.rpartition('.')[2].upper()}"


CLEARED = (
    "", None, HIDDEN, gr.update(value=None, interactive=False), gr.update(value=None, visible=False), HIDDEN, None,
)  # fmt: skip
"""The values of :func:`_results` without a result."""


def _first(pipe):
    """The result that the page opens with."""
    return run(pipe, next(iter(photos.EXAMPLES.values())), "auto")


def _thumbnails(result):
    """A numbered picture of each face in the result."""
    pixels = np.asarray(split_alpha(open_photo(result["after"]))[0])
    faces = [result["faces"][index] for index in result["order"]]
    return [
        (align.crop(pixels, matrix, FACE), f"{number}: {said}" if len(faces) > 1 else said)
        for number, (said, matrix, _) in enumerate(faces, 1)
    ]


def looks(pipe, result, chosen, colour):
    """The looks of the chosen face: a problem, their gallery, and what belongs to it."""
    if not result or chosen["face"] >= len(result["order"]):
        return photos.problem(GONE), HIDDEN, None, HIDDEN, chosen
    face = result["order"][chosen["face"]]
    try:
        photo, how = photos.read(result["path"]), (result["direction"], colour, chosen["seed"], result["force"])
        found = swap.options(pipe, photo, face, *how)
    except MaskHubError as error:
        return photos.problem(error), HIDDEN, None, HIDDEN, chosen
    title = f"Looks of face {chosen['face'] + 1}" if len(result["faces"]) > 1 else "Looks"
    pictures = [(crop, words) for crop, words, _ in found]
    drawn = any(choice.startswith("rule ") for _, _, choice in found)
    chosen = chosen | {"looks": [choice for _, _, choice in found]}
    gallery = gr.update(value=pictures, label=title, selected_index=None)
    return "", gr.update(visible=True), gallery, gr.update(visible=drawn), chosen


def choose(pipe, result, chosen, outlined, kind, index):
    """Give the chosen face the look that was clicked."""
    if not result:
        return photos.problem(GONE), *(gr.skip(),) * 5
    face = result["order"][chosen["face"]]
    choices = result["choices"] | {face: chosen["looks"][index]}
    try:
        result = run(pipe, result["path"], result["direction"], choices, result["force"])
        file = _file(pipe, result, kind)
    except MaskHubError as error:
        return photos.problem(error), *(gr.skip(),) * 5
    said, slider, _, ready, faces, _, result = _shown(result, outlined, file)
    return "", said, gr.update(value=slider["value"]), ready, gr.update(value=faces["value"]), result


def _face(chosen, event: gr.SelectData = None):
    return chosen | {"face": photos.picked(event, MOST), "seed": 0}


def _more(chosen):
    return chosen | {"seed": chosen["seed"] + 1}


def _after(result):
    return ("", result["after"]) if result else (photos.problem(GONE), gr.skip())


def download(pipe, result, kind):
    """The file to download in another format: a problem, and the button."""
    if not result:
        return "", gr.skip()
    try:
        return "", _ready(_file(pipe, result, kind))
    except MaskHubError as error:
        return photos.problem(error), gr.update(interactive=False)


def _file(pipe, result, kind):
    """The result as a file of a kind in :data:`space.takeaway.KINDS`."""
    before, after = result["before"], result["after"]
    if kind == "pair":
        return takeaway.side_by_side(before, after)
    if kind == "gif":
        return takeaway.animation(before, after)
    if kind == "same" or after.endswith(".png"):
        return after
    # again, since the JPEG has lost some of it
    photo = photos.read(result["path"])
    made = swap.translate(pipe, photo, result["direction"], result["choices"], result["force"])
    return photos.save_png(made.image, result["path"], photos.SUFFIX[result["direction"]], photo)


def translated(pipe, direction, photo):
    """The API's result: the file of the translated photo."""
    image = photos.read(photo)
    return photos.save_png(pipe(image, direction), photo, photos.SUFFIX[direction], like=image)


def pair(result, outlined):
    """The slider's two pictures."""
    if result is None:
        return None
    after = result["after"]
    if outlined:
        height, width = result["shape"]
        region = np.unpackbits(result["region"], count=height * width).reshape(height, width)
        with open_image(after) as image:
            lined = outline(image, region)
        boxes = [result["faces"][index][2] for index in result["order"]]
        after = photos.save_like(_numbered(lined, boxes), after, "outlined", lined)
    return result["before"], after


def _numbered(image, boxes):
    """Draw each face's number at its corner, if there are several."""
    size = max(14, round(0.045 * min(image.size)))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for number, (left, top, _, _) in enumerate(boxes if len(boxes) > 1 else (), 1):
        style = {"fill": "white", "stroke_fill": (20, 20, 20), "stroke_width": max(1, size // 8)}
        draw.text((max(left, 0), max(top, 0)), str(number), font=font, **style)
    return image
