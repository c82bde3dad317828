"""Real or generated? Visitors classify 22 pictures of faces; their answers are the survey."""

import os
import secrets
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from maskhub.data.sources import open_source
from maskhub.errors import MaskHubError
from maskhub.evaluation.quiz import PICTURES, draw_quiz
from maskhub.evaluation.survey import Survey
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Quiz"
MADE = {"mask": "mask put on", "unmask": "mask taken off", "cycle": "round trip"}
BUILT_IN = "built-in"
SMALL = (
    "**This is a try-out, not a survey.** There {photos} here, shown repeatedly with changed brightness and rotation, "
    "so you may recognise them. To use a folder of face photos or a dataset on the Hub, start the app with "
    "`MASKHUB_QUIZ=folder python app.py`. A fair round needs at least 22 photos; with 11 unmasked and 11 masked faces "
    "it tests masks put on and taken off."
)
ONE_KIND = (
    "The photos here show {kind} faces only, so the generated ones are round trips: the network translated them "
    "to the other kind and back."
)


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`."""
    wire(layout(), pipe)


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown(
        f"Can you tell? {PICTURES} pictures, half of them photos, half made by the neural network. Answers are stored "
        "anonymously; the share of wrong ones shows how good the network is."
    )
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            here.picture = gr.Image(
                type="filepath",
                interactive=False,
                buttons=[],
                show_label=False,
                height=320,
                elem_id="quiz-picture",
                placeholder="Press Begin",
            )
            choice = {"variant": "primary", "min_width": 120, "visible": False}
            with gr.Row(elem_classes="pair"):
                here.real = gr.Button("It's real", elem_id="quiz-real", **choice)
                here.made = gr.Button("It's made", elem_id="quiz-made", **choice)
            here.begin = gr.Button("Begin", variant="primary", elem_id="quiz-begin")
            here.status = photos.line("quiz-status")
        with gr.Column(min_width=300):
            here.about = gr.Markdown(elem_id="quiz-about", elem_classes="note")
            here.gallery = gr.Gallery(
                label="What they were",
                columns=4,
                height="auto",
                object_fit="contain",
                interactive=False,
                buttons=[],
                visible=False,
                elem_id="quiz-answers",
            )
            here.crowd = gr.Markdown(elem_id="quiz-crowd")
    # the solution stays on the server, and is deleted no later than its files
    here.playing = gr.State(time_to_live=3000)
    return here


def wire(here, pipe):
    """Connect the buttons to the handlers, which all update the same components."""
    shown = [here.playing, here.picture, here.real, here.made, here.begin, here.status]
    shown += [here.about, here.gallery, here.crowd]
    event = {"show_progress_on": here.picture, "concurrency_id": "model", "api_visibility": "private"}
    here.begin.click(partial(begin, pipe), None, shown, **event)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    for button, said in ((here.real, True), (here.made, False)):
        button.click(partial(answer, said), here.playing, shown, **quiet).then(
            None, js=photos.scroll_to("quiz-status", "none"), api_visibility="private"
        )


def begin(pipe):
    """Start a round and show its first picture."""
    seed = secrets.randbelow(2**31)
    try:
        name, pictures = _photos(seed)
        quiz = draw_quiz(pictures, pipe, seed)
    except MaskHubError as error:
        return None, None, *_buttons(False), photos.problem(error), "", gr.update(value=None, visible=False), ""
    paths = [photos.save_png(q.picture, f"quiz-{number:02d}") for number, q in enumerate(quiz.questions, 1)]
    notes = []
    if quiz.photos < PICTURES:
        notes.append(SMALL.format(photos="is one photo" if quiz.photos == 1 else f"are {quiz.photos} photos"))
    if len(quiz.kinds) == 1:
        notes.append(ONE_KIND.format(kind=quiz.kinds[0]))
    questions = [
        _Asked(q.real, q.direction, q.masked, q.key, path) for q, path in zip(quiz.questions, paths, strict=True)
    ]
    playing = {"visit": secrets.token_hex(8), "seed": seed, "photos": name, "questions": questions, "said": []}
    about, gone = "\n\n".join(notes), gr.update(value=None, visible=False)
    return playing, paths[0], *_buttons(True), photos.done(f"Picture 1 of {len(paths)}"), about, gone, ""


def answer(said, playing):
    """Record an answer, and show the next picture or the outcome."""
    if playing is None:
        over = photos.problem("this round is over: start a new one.")
        return None, None, *_buttons(False), over, gr.skip(), gr.skip(), ""
    questions = playing["questions"]
    playing = playing | {"said": [*playing["said"], said]}
    number = len(playing["said"])
    if number < len(questions):
        progress = photos.done(f"Picture {number + 1} of {len(questions)}")
        return playing, questions[number].path, *_buttons(True), progress, gr.skip(), gr.skip(), gr.skip()
    score, gallery, crowd = _end(playing)
    return None, None, *_buttons(False, again=True), photos.done(score), gr.skip(), gallery, crowd


def _end(playing):
    """The visitor's score, the pictures with their solution, and the results of all visitors."""
    questions, said = playing["questions"], playing["said"]
    survey, trouble = Survey(), ""
    try:
        survey.record(playing["visit"], playing["seed"], questions, said, _model(), playing["photos"])
        crowd = _crowd(survey.figures())
    except MaskHubError:
        crowd, trouble = "", " Your answers could not be stored."
    right = sum(q.real == answer for q, answer in zip(questions, said, strict=True))
    fooled = sum(not q.real and answer for q, answer in zip(questions, said, strict=True))
    made = sum(not q.real for q in questions)
    score = f"{right} of {len(questions)} right; {fooled} of {made} made ones fooled you.{trouble}"
    pictures = [
        (q.path, f"{'✓' if q.real == answer else '✗'} {'Real' if q.real else 'Made'}")
        for q, answer in zip(questions, said, strict=True)
    ]
    return score, gr.update(value=pictures, visible=True), crowd


def _crowd(figures):
    """A table of the results of all visitors so far."""
    rounds = int(figures.pop("rounds").value)
    lines = [
        f"**All visitors so far** ({rounds} round{'s' if rounds != 1 else ''})",
        "",
        "| | share | 95 % | answers |",
    ]
    lines.append("|---|---|---|---|")
    for name, figure in figures.items():
        if figure.value is not None:
            for direction, words in MADE.items():
                name = name.removesuffix(f", {direction}") + (f", {words}" if name.endswith(f", {direction}") else "")
            low, high = (100 * end for end in figure.interval)
            lines.append(f"| {name} | {100 * figure.value:.0f} % | {low:.0f} to {high:.0f} | {figure.n} |")
    lines += ["", "*fooled*: a made picture taken for real. *real doubted*: a photo taken for made."]
    return "\n".join(lines)


def _photos(seed):
    """The photos of ``MASKHUB_QUIZ`` or the examples: their name, and the pictures in an order set by the seed."""
    spec = os.environ.get("MASKHUB_QUIZ", "").strip()
    if spec:
        pictures = (picture for _, picture in open_source(spec).walk(range(8 * PICTURES), seed))
        return (Path(spec).name if Path(spec).expanduser().is_dir() else spec), pictures
    return BUILT_IN, (photos.read(path) for path in photos.EXAMPLES)


def _model():
    name = os.environ.get("MASKHUB_MODEL", "").strip()
    return (Path(name).name if Path(name).is_dir() else name) or "bundled"


def _buttons(asking, again=False):
    return (
        gr.update(visible=asking),
        gr.update(visible=asking),
        gr.update(visible=not asking, value="Again" if again else "Begin"),
    )


class _Asked:
    """A question without its pixels, which are in a file."""

    def __init__(self, real, direction, masked, key, path):
        self.real, self.direction, self.masked, self.key, self.path = real, direction, masked, key, path
