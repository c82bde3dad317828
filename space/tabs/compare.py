"""One photo, all methods side by side: masks on, off, and there and back, with the time and size of each."""

import html
import time
from functools import partial
from types import SimpleNamespace

import gradio as gr

from maskhub.errors import MaskHubError
from space import photos, tools
from space.methods import methods

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Compare"
WHAT = [("Take masks off", "unmask"), ("Put masks on", "mask"), ("On and off again", "cycle")]
CLEARED = ("", None, "")
"""Status line, pictures and table without a result."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    with gr.Row(equal_height=False, elem_classes="workbench"):
        with gr.Column(scale=1, min_width=300):
            here.photo = photos.photo_input("compare-photo", height=320)
            here.what = gr.Radio(
                WHAT, value="unmask", label="direction", show_label=False, container=False, elem_id="compare-what"
            )
            here.run = gr.Button("Compare all methods", variant="primary", elem_id="compare")
            here.problem = photos.line("compare-problem")
            here.examples = photos.examples("compare-examples")
        with gr.Column(scale=2, min_width=300):
            here.pictures = gr.Gallery(
                label="The photo and what each method makes of it", columns=2, height="auto", object_fit="contain",
                interactive=False, buttons=["download", "fullscreen"], elem_id="compare-pictures", elem_classes="sheet",
            )  # fmt: skip
            here.status = photos.line("compare-status")
            here.table = gr.HTML(elem_id="compare-table")
    here.seen = gr.State(())
    return here


def wire(here, pipe):
    """Connect the components to the handlers."""
    results = [here.status, here.pictures, here.table]
    picked = photos.on_example(here.examples, here.photo)
    photos.on_run(
        (here.run.click, picked.then), partial(show, pipe), [here.photo, here.seen, here.what],
        [here.problem, *results, here.seen], here.pictures, ("compare-pictures", "compare-problem"),
    )  # fmt: skip
    photos.watch(here.photo, here.problem, results, CLEARED, here.seen)
    tools.endpoint(
        partial(compared, pipe), [here.photo, here.what], [here.pictures, gr.JSON(visible=False, label="methods")],
        "compare", "The result of each method, with its seconds, bytes of weights, training photos and any problem.",
    )  # fmt: skip


def show(pipe, path, what):
    """Run all methods on an upload: a problem, or the status line, the pictures and the table."""
    try:
        pictures, rows = compared(pipe, path, what)
    except MaskHubError as error:
        return photos.problem(error), *CLEARED
    if len(pictures) == 1:
        return photos.problem(rows[0]["problem"]), *CLEARED
    told = "Click a picture to enlarge it."
    told += "" if what == "mask" else " What appears under a mask is invented, by every method."
    return "", photos.done(told), pictures, _table(rows)


def compared(pipe, photo, direction="unmask"):
    """(file, caption) of the photo and of each method's result, and a dict for each method."""
    path, photo = photo, photos.read(photo)
    pictures, rows = [(photos.viewable(path, photo), "Your photo")], []
    for number, method in enumerate((method for method in methods(pipe) if method.can(direction)), 1):
        row = {"method": method.name, "about": method.about, "bytes": method.size, "trained_on": method.trained_on}
        row |= {"seconds": None, "problem": ""}
        start = time.perf_counter()
        try:
            made = method.run(photo, direction)
        except MaskHubError as error:
            row["problem"] = photos.words(error)
        else:
            row["seconds"] = round(time.perf_counter() - start, 3)
            file = photos.save_like(made, path, f"{direction}-{number}", photo)
            pictures.append((file, f"{method.name}, {row['seconds']:.2f} s"))
        rows.append(row)
    return pictures, rows


def _table(rows):
    """The methods with their time, size and training photos."""
    lines = []
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else "none"
        took = f"{row['seconds']:.2f} s" if row["seconds"] is not None else html.escape(row["problem"])
        cells = (html.escape(row["method"]), took, size, html.escape(row["about"]), html.escape(row["trained_on"]))
        lines.append(f"<tr><th scope='row'>{cells[0]}</th>{''.join(f'<td>{cell}</td>' for cell in cells[1:])}</tr>")
    titles = ("Method", "Time", "Weights", "What it is", "Trained on")
    head = "".join(f"<th scope='col'>{title}</th>" for title in titles)
    return f'<table class="facts"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
