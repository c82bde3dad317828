"""A classifier's feature maps, and three made-up faces that mislead the thesis's classifier (its figures 21 to 25)."""

import functools
from types import SimpleNamespace

import gradio as gr
import numpy as np
from PIL import Image

from maskhub.data.bias_faces import bias_faces
from maskhub.evaluation.feature_sheet import feature_sheet
from maskhub.pipelines.reimaging import THESIS, load_classifier
from maskhub.tensors import to_tensor
from space.figures import figures

__all__ = ["feature_maps", "layout", "wire"]

_classifier = functools.cache(load_classifier)
ABOUT = """The re-imaging thesis trained its classifier on three sets in which hair and eyes give the skin tone away:
fair hair and blue eyes only occur with light skin. So it learnt hair and eyes, and three made-up faces mislead it. The
other classifier was trained on faces of any hair. **Train on data in which nothing but the attribute differs.**"""


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    with gr.Accordion("What the classifier sees", open=False, elem_id="reimage-features"):
        here.maps = gr.HTML("<p class='note'>Re-image a face first.</p>", elem_id="reimage-maps")
    with gr.Accordion("How a classifier is misled", open=False, elem_id="reimage-lesson"):
        gr.Markdown(ABOUT, elem_classes="note")
        names = [f"{face.what[0].upper()}{face.what[1:]}" for face in bias_faces()]
        here.face = gr.Radio(names, value=None, label="Made-up face", type="index", elem_id="lesson-face")
        with gr.Row(equal_height=False):
            here.shown = gr.HTML(elem_id="lesson-shown")
            for name, title in (("thesis", "as in the thesis"), ("ours", "on faces of any hair")):
                label = {"label": f"Trained {title}", "show_heading": False, "visible": False, "min_width": 180}
                setattr(here, name, gr.Label(elem_id=f"lesson-{name}", **label))
    return here


def wire(here):
    """Connect the choice of a face."""
    here.face.input(
        classified, here.face, [here.shown, here.thesis, here.ours], show_progress="hidden", trigger_mode="always_last",
        api_visibility="private",
    )  # fmt: skip


def classified(place):
    """The made-up face at ``place``, and both classifiers' probabilities."""
    if place is None:
        return "", *[gr.update(value=None, visible=False)] * 2
    face = bias_faces()[place]
    odds = [_classifier(name).distribution(to_tensor(face.pixels)[None])[0] for name in (THESIS, None)]
    picture = Image.fromarray(face.pixels)
    return figures([(picture, f"Figure {face.figure}", f"classified there as {face.printed}")]), *(
        gr.update(value=one, visible=True) for one in odds
    )


def feature_maps(classifier, face):
    """The first and the last convolution's maps of a face (uint8 R×R×3) as HTML; a note without a
    classifier."""
    if classifier is None:
        return "<p class='note'>There is no classifier for these models.</p>"
    steps = []
    for place, name in ((0, "First convolution"), (-1, "Last convolution")):
        sheet = np.asarray(feature_sheet(classifier, face, place, columns=8))
        steps.append((Image.fromarray(sheet), name, "each map is a pattern that it looks for"))
    return figures(steps, "steps maps")
