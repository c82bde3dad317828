"""Show small pictures enlarged with sharp pixels, on a checkerboard where they are transparent."""

import html

from PIL import Image

from maskhub.image_file import data_url, encoded

__all__ = ["brush", "figures", "magnified", "thumbnail"]

SMALL = 128
"""Pictures up to this side are shown with sharp pixels."""


def magnified(image, side=256):
    """A picture for a gallery: small ones enlarged with sharp pixels, large ones scaled down."""
    if max(image.size) < SMALL:
        factor = max(1, side // max(image.size))
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    shown = image.copy()
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    return shown


def figures(steps, elem_class="steps", crisp=True):
    """Pictures side by side, as HTML with the pictures embedded as PNG: ``steps`` is a list of (``PIL.Image``, title,
    line of text). With ``crisp``, small pictures have sharp pixels."""
    parts = []
    for image, title, line in steps:
        sharp = " crisp" if crisp and max(image.size) <= SMALL else ""
        parts.append(
            f'<figure><img class="{image.mode.lower()}{sharp}" alt="{html.escape(title)}" src="{_data(image)}">'
            f"<figcaption><b>{html.escape(title)}</b><span>{html.escape(line)}</span></figcaption></figure>"
        )
    return f'<div class="{elem_class}">{"".join(parts)}</div>'


def thumbnail(image, name, side=64):
    """A small picture as HTML."""
    return f'<img alt="{html.escape(name)}" src="{_data(magnified(image, side))}">'


def brush(image):
    """A picture to paint on; ``maskhub.painting()`` in ``page.js`` reads what is painted."""
    return (
        f'<div class="brush"><img alt="The face" src="{_data(magnified(image))}">'
        '<canvas width="64" height="64" role="img" aria-label="What is replaced"></canvas></div>'
        '<p class="note">Paint over what should be replaced, then press Re-image. '
        '<button type="button" class="repaint">Start over</button></p>'
    )


def _data(image):
    return data_url(encoded(image), "png")
