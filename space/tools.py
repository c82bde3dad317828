"""The endpoints as tools: mask detection, descriptions of the parameters, and the MCP server for agents.

The other endpoints belong to their tabs. ``gradio_client`` reaches all of them by name, agents by the Model Context
Protocol at ``/gradio_api/mcp/``; both pass the same checks as visitors (:mod:`space.guarded`, :mod:`space.gate`).
"""

import inspect

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from maskhub.errors import MaskHubError
from maskhub.extras import installed
from maskhub.faces.detect import detect
from maskhub.faces.photo import split_alpha
from maskhub.masks.detector import MASKED, mask_presences
from maskhub.masks.styles import STYLES, WORN
from space import photos

__all__ = ["build", "can_serve_agents", "describe", "endpoint"]

PHOTO = (
    "The photo: its content as data:image/jpeg;base64,..., or the path or address of a file that was uploaded to this "
    "app (POST /gradio_api/upload). Other addresses are not fetched."
)
PARAMETERS = {
    "photo": PHOTO,
    "direction": "What the methods do: unmask, mask, or cycle (there and back).",
    "start": "Direction of the first translation: mask or unmask.",
    "style": f"The mask: {', '.join(STYLES)}, or random.",
    "colour": "A colour of that style, such as blue, white or black, or random.",
    "worn": f"How it is worn: {', '.join(WORN)}, or random.",
    "everyone": "Whether all faces get a mask, or only the largest one.",
    "seed": "The same whole number gives the same masks.",
}
"""What a parameter means, in every endpoint that has it."""


def build():
    """Add the endpoint ``detect`` to the app; returns its input, an empty photo."""
    found, photo = gr.JSON(visible=False, label="faces"), photos.PhotoInput(visible=False, label="photo")
    about = (
        "Find the faces of a photo, largest first, and whether each wears a mask. box is left, top, width and height "
        f"in pixels; presence is the detector's confidence from 0 to 1, masked from {MASKED} on."
    )
    endpoint(detected, photo, found, "detect", about)
    return photo


def endpoint(handler, inputs, outputs, name, about):
    """Offer a handler, which may raise a :class:`MaskHubError`, to scripts and agents under this name."""
    gr.Button(visible=False).click(
        handler, inputs, outputs, concurrency_id="model", api_name=name, api_description=about
    )


def detected(photo):
    """The faces of an upload, as JSON."""
    pixels = np.asarray(split_alpha(photos.read(photo))[0])
    faces = detect(pixels)
    presences = mask_presences([(pixels, face) for face in faces])
    return [
        {"box": [round(value, 1) for value in face.box], "presence": round(presence, 3), "masked": presence >= MASKED}
        for face, presence in zip(faces, presences, strict=True)
    ]


def describe(demo, photo):
    """Name and document the endpoints of an app as tools: gradio takes both from their handlers.

    They take the input ``photo`` instead of a tab's, which may hold an example: a call without a photo is an error.
    """
    for block_fn in demo.fns.values():
        if block_fn.fn is not None and block_fn.api_visibility == "public":
            block_fn.inputs = [photo if isinstance(block, photos.PhotoInput) else block for block in block_fn.inputs]
            block_fn.fn = _tool(block_fn.fn, block_fn.api_name, block_fn.api_description)


def _tool(handler, name, about):
    signature = inspect.signature(handler)

    def tool(*given, **named):
        try:
            return handler(*given, **named)
        except MaskHubError as error:  # an option of the command line is a parameter here
            raise gr.Error(photos.words(error).removeprefix("--"), print_exception=False) from error

    lines = [f"    {parameter}: {PARAMETERS[parameter]}" for parameter in signature.parameters]
    tool.__name__, tool.__signature__ = name, signature
    tool.__doc__ = "\n".join([about, "", "Args:", *lines])
    return tool


def can_serve_agents():
    """Prepare gradio's MCP server; False without the package mcp. Spaces have it."""
    if not installed("mcp"):
        return False
    from gradio import mcp

    # photos that agents send as text become files there, to be deleted like all others
    mcp.DEFAULT_TEMP_DIR = get_upload_folder()
    mcp.GradioMCPServer.pop_returned_state = staticmethod(_without_state)
    return True


def _without_state(outputs, values):
    """The values of all outputs but states: gradio 6.31 gives those of several outputs as one list within the list."""
    if len(outputs) > 1 and len(values) == 1:
        values = values[0]
    return [value for output, value in zip(outputs, values, strict=True) if not isinstance(output, gr.State)]
