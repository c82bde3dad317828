"""Input and output of photos: components, messages, and the PNG to view and download."""

import html
import tempfile
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from maskhub.errors import PhotoError, WriteError
from maskhub.faces.photo import open_photo, rgb_profile
from maskhub.image_file import open_image
from maskhub.provenance import save_options

__all__ = [
    "EXAMPLES",
    "PhotoInput",
    "about",
    "bar",
    "before_and_after",
    "done",
    "examples",
    "line",
    "photo_input",
    "problem",
    "read",
    "save_png",
    "scroll_to",
    "viewable",
    "watch",
    "words",
]

EXAMPLES = [str(path) for path in sorted((Path(__file__).parent / "examples").glob("*.jpg"))]
ORIENTATION = 274


class PhotoInput(gr.Image):
    """An image input that passes on the file itself.

    ``gr.Image`` opens the file first, and only says "Error" if it can't read it.
    """

    is_template = True  # in the browser it is a plain Image

    def preprocess(self, payload):
        """The path of the upload, or ``None``."""
        return payload.path if payload else None


def photo_input(elem_id, height):
    """An upload, webcam and clipboard input for photos."""
    return PhotoInput(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        buttons=["fullscreen"],
        label="Your photo",
        placeholder="Drop a photo here\nor click to choose one",
        elem_id=elem_id,
        height=height,
    )


def before_and_after(elem_id):
    """The slider between a photo and its result."""
    return gr.ImageSlider(
        label="Before and after",
        type="filepath",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id=elem_id,
        max_height=400,
    )


def examples(image):
    """Thumbnails that put an example photo into ``image``."""
    return gr.Examples(EXAMPLES, image, label="Or try an example", api_visibility="private")


def watch(image, note, results, cleared, seen, line="model"):
    """For each new photo, clear the old results and report at once if it can't be read.

    A button that is pressed immediately may arrive before the event of its photo, since browsers use several
    connections. So ``seen`` has the photos whose results are shown, and these are not cleared.

    Args:
        image: input from :func:`photo_input`.
        note: the :func:`line` for problems.
        results: components to clear.
        cleared: values that clear them.
        seen: ``gr.State(())`` with the files of the shown results, which the buttons' events set by :func:`about`.
        line: ``concurrency_id`` of the buttons' events, so that none of them runs in between.
    """

    def changed(path, seen):
        if path is None:
            # the note may explain why the photo was cleared
            return gr.skip(), gr.skip(), *cleared, ()
        try:
            shown = viewable(path, read(path))
        except PhotoError as error:
            return None, problem(error), *cleared, (path,)
        told = (gr.skip(),) * (1 + len(results)) if path in seen else ("", *cleared)
        return gr.skip() if shown == path else shown, *told, (path, shown)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    image.change(changed, [image, seen], [image, note, *results, seen], concurrency_id=line, **quiet)
    image.clear(lambda: "", None, note, queue=False, **quiet)


def about(show):
    """Wrap ``show(path, …)`` as ``(path, seen, …)``, which also returns ``seen`` for :func:`watch`."""

    def shown(path, seen, *options):
        return *show(path, *options), seen if path in seen else (path,)

    return shown


def read(path):
    """Open an uploaded photo like ``open_photo``.

    Raises:
        PhotoError: there is no upload, or it is not a photo; worded for visitors.
    """
    if not path:
        raise PhotoError("There is no photo yet: upload one, take one, or choose the example.")
    try:
        return open_photo(path)
    except PhotoError as error:
        raise PhotoError(str(error).replace(str(path), f"“{Path(path).name}”")) from error


def words(error):
    """The message of a maskhub error as a sentence."""
    text = str(error)
    return text[:1].upper() + text[1:]


def line(elem_id):
    """A line of text from :func:`done` or :func:`problem`, which takes no space when it is empty."""
    return gr.HTML(elem_id=elem_id, elem_classes="line")


def done(text):
    """A success message for a :func:`line`."""
    return f'<p class="done" role="status">{html.escape(text)}</p>'


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
    """JavaScript that scrolls to a result, which may be out of view on a phone, unless there was a problem."""
    return (
        f"() => {{ if (!document.querySelector('#{problem} .problem')) document.querySelector('#{result}')"
        ".scrollIntoView({ behavior: 'smooth', block: 'nearest' }) }"
    )


def viewable(path, photo):
    """A file that browsers display like ``photo``: the upload itself if possible, else a PNG."""
    with open_image(path) as image:
        turned = image.format != "JPEG" and image.getexif().get(ORIENTATION, 1) != 1
        moves = getattr(image, "is_animated", False)
        if image.format in ("JPEG", "PNG", "WEBP") and image.mode in ("RGB", "RGBA", "L") and not (turned or moves):
            return path
    return save_png(photo, path)


def save_png(image, path, suffix=None, like=None):
    """Write a PNG named after the upload, where gradio deletes it later, with provenance but without location.

    Args:
        image: image to write.
        path: path of the upload.
        suffix: suffix of the file name.
        like: photo whose colour profile also applies to ``image`` (``image`` itself by default).

    Returns:
        the path.

    Raises:
        WriteError: the disk is full.
    """
    name = Path(path).stem[:80] + (f"-{suffix}" if suffix else "")
    target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / f"{name}.png"
    options = save_options(image, "PNG")
    try:
        # level 1 takes a quarter of the time for a few per cent more bytes
        image.save(target, compress_level=1, icc_profile=rgb_profile(like or image), **options)
    except OSError as error:  # no fsync: it is deleted within an hour
        raise WriteError("there is no room for the result at the moment. Try again later.") from error
    return str(target)
