"""Show small pictures enlarged with sharp pixels, on a checkerboard where they are transparent."""

import base64
import html
import io

from PIL import Image

__all__ = ["figures", "magnified"]

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


def figures(steps, elem_class="steps"):
    """Pictures side by side, each with a title and a line of text.

    Args:
        steps: list of (``PIL.Image``, title, line).

    Returns:
        HTML with the pictures embedded as PNG.
    """
    parts = []
    for image, title, line in steps:
        crisp = " crisp" if max(image.size) <= SMALL else ""
        parts.append(
            f'<figure><img class="{image.mode.lower()}{crisp}" alt="{html.escape(title)}" src="{_data(image)}">'
            f"<figcaption><b>{html.escape(title)}</b><span>{html.escape(line)}</span></figcaption></figure>"
        )
    return f'<div class="{elem_class}">{"".join(parts)}</div>'


def _data(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
