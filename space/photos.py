"""Input and output of photos: components, messages, and the files to view and download."""

import html
import shutil
import tempfile
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from maskhub.data.photo_file import encode_photo
from maskhub.errors import PhotoError, WriteError
from maskhub.faces.photo import JPEG, MAX_PIXELS, kept_info, open_photo, orientation, rgb_profile
from maskhub.image_file import KINDS, encoded, open_image
from maskhub.provenance import mark, save_options
from space.outlook import outlook

__all__ = [
    "CLIP", "EXAMPLES", "SUFFIX", "PhotoInput", "about", "bar", "before_and_after", "done", "example", "examples",
    "line", "notice", "on_example", "on_run", "photo_input", "picked", "problem", "read", "save_gif", "save_jpeg",
    "save_like", "save_png", "scroll_to", "viewable", "watch", "words",
]  # fmt: skip

FOLDER = Path(__file__).parent / "examples"
EXAMPLES = {
    name: str(FOLDER / file)
    for name, file in {
        "Masked": "masked.jpg",
        "Group": "group.jpg",
        "No mask": "astronaut.jpg",
        "Patterned": "cloth.jpg",
        "Tilted": "tilted.jpg",
    }.items()
}
CLIP = str(FOLDER / "clip.mp4")
LIMITS = f"{KINDS}, up to 200 MB and {MAX_PIXELS // 1_000_000} megapixels."
SUFFIX = {"mask": "masked", "unmask": "unmasked", "auto": "swapped"}
"""Direction → what is added to the name of a result's file."""
LOSSY = (".heic", ".heif", ".avif")


class PhotoInput(gr.Image):
    """An image input that passes on the file itself.

    ``gr.Image`` opens the file first, and only says "Error" if it can't read it.
    """

    is_template = True  # in the browser it is a plain Image

    def preprocess(self, payload):
        """The path of the upload, or ``None``."""
        return payload.path if payload else None


def photo_input(elem_id, height, value=None):
    """An upload, webcam and clipboard input for photos."""
    return PhotoInput(
        value, type="filepath", image_mode=None, sources=["upload", "webcam", "clipboard"], buttons=["fullscreen"],
        label="Your photo", placeholder="Drop a photo here\nor click to choose one", height=height,
        elem_id=elem_id, elem_classes="photo",
    )  # fmt: skip


def before_and_after(elem_id, value=None, position=50, **options):
    """The slider between a photo and its result."""
    return gr.ImageSlider(
        value, label="Before and after", type="filepath", format="png", interactive=False, buttons=["fullscreen"],
        max_height=400, slider_position=position, elem_id=elem_id, elem_classes="compared", **options,
    )  # fmt: skip


def examples(elem_id):
    """Thumbnails of the example photos, for ``.select`` with :func:`example`."""
    return gr.Gallery(
        [(path, name) for name, path in EXAMPLES.items()], label="Or try an example", columns=len(EXAMPLES),
        height="auto", object_fit="cover", allow_preview=False, interactive=False, buttons=[],
        elem_id=elem_id, elem_classes="examples",
    )  # fmt: skip


def on_run(events, show, inputs, outputs, progress, scroll):
    """For each of ``events``, event listeners such as ``button.click``, run ``show`` on the photo, as :func:`about`
    wraps it, then scroll to its result.

    ``inputs`` and ``outputs`` are those of the wrapped handler, ``progress`` the components that show the progress,
    ``scroll`` the arguments of :func:`scroll_to`.
    """
    private = {"api_visibility": "private"}
    for event in events:
        done = event(
            about(show), inputs, outputs, show_progress_on=progress, concurrency_id="model", trigger_mode="always_last",
            **private,
        )  # fmt: skip
        done.then(None, js=scroll_to(*scroll), **private)


def on_example(gallery, photo):
    """Copy the clicked example of :func:`examples` to a photo input, from which it follows the visitor from tab to tab;
    returns the event, for ``.then``."""
    private = {"show_progress": "hidden", "api_visibility": "private"}
    chosen = gallery.select(example, None, photo, concurrency_id="model", trigger_mode="multiple", **private)
    chosen.then(None, photo, js="(photo) => { maskhub.keep(photo); }", queue=False, **private)
    return chosen


def example(event: gr.SelectData = None):
    """A visitor's own copy of the example that was clicked."""
    source = list(EXAMPLES.values())[picked(event, len(EXAMPLES))]
    target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / Path(source).name
    return shutil.copyfile(source, target)


def picked(event, count):
    """The index in a ``gr.SelectData``, which a script may have written; PhotoError unless it is below ``count``."""
    index = getattr(event, "index", None)
    if not isinstance(index, int) or not 0 <= index < count:
        raise PhotoError("there is no choice with this number.")
    return index


def watch(image, note, results, cleared, seen, line="model", warned=outlook):
    """For each new photo, clear the old results and say at once if it can't be read or will turn out poor.

    A button that is pressed immediately may arrive before the event of its photo, since browsers use several
    connections. So ``seen`` has the photos whose results are shown, and these are not cleared.

    Args:
        image, note: input from :func:`photo_input`, and the :func:`line` for problems.
        results, cleared: components to clear, and the values that clear them.
        seen: ``gr.State(())`` with the files of the shown results, which the buttons' events set by :func:`about`.
        line: ``concurrency_id`` of the buttons' events, so that none of them runs in between.
        warned: photo → list of sentences about it.
    """

    def changed(path, seen):
        if path is None:
            # the note may explain why the photo was cleared
            return gr.skip(), gr.skip(), *cleared, ()
        try:
            photo = read(path)
            shown = viewable(path, photo)
        except PhotoError as error:
            return None, problem(error), *cleared, (path,)
        told = (
            (gr.skip(),) * (1 + len(results)) if path in seen else (notice([*moving(path), *warned(photo)]), *cleared)
        )
        return gr.skip() if shown == path else shown, *told, (path, shown)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    image.change(changed, [image, seen], [image, note, *results, seen], concurrency_id=line, **quiet)
    # the × of the visitor, not a photo that was refused: its message stays
    image.input(None, [image, note], note, js="(photo, note) => photo ? note : ''", queue=False, **quiet)


def about(show):
    """Wrap ``show(path, …)`` as ``(path, seen, …)``, which also returns ``seen`` for :func:`watch`."""

    def shown(path, seen, *options):
        return *show(path, *options), seen if path in seen else (path,)

    return shown


def read(path):
    """Open an uploaded photo like ``open_photo``; without an upload, or for anything else, a PhotoError says so."""
    if not path:
        raise PhotoError("There is no photo yet: upload one, take one, or choose an example.")
    try:
        return open_photo(path)
    except PhotoError as error:
        raise PhotoError(str(error).replace(str(path), f"“{Path(path).name}”")) from error


def words(error):
    """The message of a maskhub error as a sentence."""
    text = str(error)
    return text[:1].upper() + text[1:]


def line(elem_id, value=""):
    """A line of text from :func:`done` or :func:`problem`, which takes no space when it is empty."""
    return gr.HTML(value, elem_id=elem_id, elem_classes="line")


def done(text):
    """A success message for a :func:`line`."""
    return f'<p class="done" role="status">{html.escape(text)}</p>'


def notice(sentences):
    """A warning for a :func:`line`, empty without sentences."""
    text = html.escape(" ".join(sentences))
    return f'<p class="notice" role="status">{text}</p>' if text else ""


def bar(share, label):
    """A progress bar, 0 to 1; ``label`` is for screen readers."""
    return (
        f'<div class="bar" role="progressbar" aria-valuenow="{100 * share:.0f}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="{html.escape(label)}"><span style="width: {100 * share:.1f}%"></span></div>'
    )


def problem(error):
    """An error message for a :func:`line`; screen readers announce it."""
    return f'<p class="problem" role="alert">{html.escape(words(error))}</p>'


def scroll_to(result, problem):
    """JavaScript that scrolls to a result, which may be out of view on a phone, unless there was a problem, or the
    visitor has turned to something else by now."""
    return f"() => {{ maskhub.scroll('{result}', '{problem}') }}"


def moving(path):
    """What to say about an animation: a list of sentences."""
    with open_image(path) as image:
        try:
            frames = getattr(image, "n_frames", 1) if image.format in ("GIF", "WEBP", "AVIF") else 1
        except Exception:  # a GIF that is cut short after its first picture raises errors of many types
            return ["This is an animation, and damaged: only its first picture is used."]
    return [f"This is an animation of {frames} pictures: only the first one is used."] if frames > 1 else []


def viewable(path, photo):
    """A file that browsers display like ``photo``: the upload itself if possible, else a copy."""
    with open_image(path) as image:
        if image.format in ("JPEG", "PNG", "WEBP") and image.mode in ("RGB", "RGBA", "L"):
            turned = image.format != "JPEG" and orientation(image) != 1
            if not turned and not getattr(image, "is_animated", False):
                return path
    return save_like(photo, path, None, photo)


def save_like(image, path, suffix, like):
    """Write a result in the format of its photo: a JPEG for JPEG (of the same quality), HEIC and AVIF, else a PNG.

    Arguments, result and errors as for :func:`save_png`.
    """
    lossy = like.info.get(JPEG) or Path(path).suffix.lower() in LOSSY
    return save_jpeg(image, path, suffix, like) if lossy else save_png(image, path, suffix, like)


def save_jpeg(image, path, suffix=None, like=None):
    """Write a JPEG; arguments, result and errors as for :func:`save_png`."""
    image.info |= kept_info(like or image)
    return _written(path, suffix, "jpg", lambda target: encode_photo(image, target))


def save_png(image, path, suffix=None, like=None):
    """Write a PNG named after the upload at ``path``, with this ``suffix``, where gradio deletes it later, with
    provenance but without location; returns its path. The colour profile is that of the photo ``like``, by default of
    ``image`` itself. WriteError if the disk is full."""
    # level 1 takes a quarter of the time for a few per cent more bytes
    options = {"icc_profile": rgb_profile(like or image), "compress_level": 1}
    return _written(path, suffix, "png", lambda target: encoded(image, **save_options(image, "PNG"), **options))


def save_gif(frames, path, suffix, milliseconds, tag):
    """Write an animation that repeats; arguments, result and errors as for :func:`save_png`."""
    options = {"save_all": True, "append_images": frames[1:], "duration": milliseconds, "loop": 0, "optimize": False}
    first = mark(frames[0], tag)
    return _written(path, suffix, "gif", lambda target: encoded(first, "GIF", **save_options(first, "GIF"), **options))


def _written(path, suffix, ending, encode):
    name = Path(path).stem[:80] + (f"-{suffix}" if suffix else "")
    target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / f"{name}.{ending}"
    data = encode(target)
    try:
        target.write_bytes(data)
    except OSError as error:  # no fsync: it is deleted within an hour
        raise WriteError("there is no room for the result at the moment. Try again later.") from error
    return str(target)
