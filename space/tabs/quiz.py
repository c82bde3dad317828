"""Real or generated? Visitors guess for 10 or 22 pictures of faces, and learn at once whether they were right."""

import html
import os
import secrets
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from maskhub.data.portraits import NAME as PORTRAITS
from maskhub.data.sources import open_source
from maskhub.errors import MaskHubError
from maskhub.evaluation.quiz import PICTURES, draw_quiz
from maskhub.evaluation.survey import Survey
from space import model, photos

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Quiz"
LENGTHS = [("10 pictures", 10), (f"{PICTURES} pictures", PICTURES)]
WHAT = {
    "mask": "A mask was put on this face.",
    "unmask": "A mask was taken off this face.",
    "cycle": "The lower half of this face was redrawn.",
}
ABOUT = """Half of these pictures are photos. In the other half, the network has redrawn part of the face. Can you tell
which? Answers are stored without your name, to measure how good the network is."""
HIDDEN = gr.update(visible=False)


@dataclass(frozen=True)
class Asked:
    """A question without its pixels, which are in files."""

    real: bool
    direction: str
    masked: bool
    key: str
    path: str
    before: str


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            here.about = gr.Markdown(ABOUT, elem_classes="note")
            here.length = gr.Radio(LENGTHS, value=10, show_label=False, container=False, elem_id="quiz-length")
            here.picture = gr.Image(
                type="filepath", interactive=False, buttons=[], show_label=False, height=320, visible=False,
                elem_id="quiz-picture", label="Real or redrawn?",
            )  # fmt: skip
            choice = {"variant": "primary", "min_width": 120, "visible": False}
            with gr.Row(elem_classes="pair"):
                here.real = gr.Button("It's a photo", elem_id="quiz-real", **choice)
                here.made = gr.Button("It was redrawn", elem_id="quiz-made", **choice)
            here.begin = gr.Button("Start", variant="primary", elem_id="quiz-begin")
            here.status = photos.line("quiz-status")
        with gr.Column(min_width=300):
            here.verdict = photos.line("quiz-verdict")
            here.compared = photos.before_and_after("quiz-compared", visible=False)
            here.next = gr.Button("Next picture", variant="primary", visible=False, elem_id="quiz-next")
            here.crowd = gr.HTML(elem_id="quiz-crowd")
            here.share = gr.Textbox(
                label="Tell others", visible=False, interactive=False, buttons=["copy"], lines=2, elem_id="quiz-share"
            )
            here.gallery = gr.Gallery(
                label="All pictures", columns=5, height="auto", interactive=False, buttons=[], visible=False,
                allow_preview=False, elem_id="quiz-answers", elem_classes="strip",
            )  # fmt: skip
    # the solution stays on the server, and is deleted no later than its files
    here.playing = gr.State(time_to_live=3000)
    return here


def wire(here, pipe):
    """Connect the buttons to the handlers, which all update the same components."""
    shown = [
        here.playing, here.picture, here.real, here.made, here.begin, here.length, here.status, here.verdict,
        here.compared, here.next, here.crowd, here.share, here.gallery,
    ]  # fmt: skip
    event = {"show_progress_on": here.picture, "concurrency_id": "model", "api_visibility": "private"}
    here.begin.click(partial(begin, pipe), here.length, shown, **event)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    for button, said in ((here.real, True), (here.made, False)):
        button.click(partial(answer, said), here.playing, shown, **quiet).then(
            None, js=photos.scroll_to("quiz-verdict", "none"), api_visibility="private"
        )
    here.next.click(following, here.playing, shown, **quiet).then(
        None, js=photos.scroll_to("quiz-picture", "none"), api_visibility="private"
    )


def begin(pipe, length):
    """Start a round and show its first picture."""
    seed = secrets.randbelow(2**31)
    try:
        name, pictures = _photos(seed, length)
        quiz = draw_quiz(pictures, pipe, seed, length)
    except MaskHubError as error:
        return _page(None, status=photos.problem(error))
    questions = []
    for number, q in enumerate(quiz.questions, 1):
        path = photos.save_png(q.picture, f"quiz-{number:02d}")  # a name that gives nothing away
        before = path if q.real else photos.save_png(q.before, f"quiz-{number:02d}", "before")
        questions.append(Asked(q.real, q.direction, q.masked, q.key, path, before))
    playing = {"visit": secrets.token_hex(8), "seed": seed, "photos": name, "questions": questions, "said": []}
    return _question(playing)


def answer(said, playing):
    """Record an answer, and say whether it was right."""
    if playing is None:
        return _over()
    if len(playing["said"]) >= len(playing["questions"]):  # a second click
        return (gr.skip(),) * 13
    asked, number = playing["questions"][len(playing["said"])], len(playing["said"]) + 1
    playing = playing | {"said": [*playing["said"], said]}
    last = number == len(playing["questions"])
    truth = "This is the photo as it was taken." if asked.real else WHAT[asked.direction]
    right = asked.real == said
    verdict = photos.done(f"Right! {truth}") if right else photos.notice([f"Wrong. {truth}"])
    compared = HIDDEN if asked.real else gr.update(value=(asked.before, asked.path), slider_position=50, visible=True)
    button = gr.update(visible=True, value="See your score" if last else "Next picture")
    picture = gr.update(value=asked.path, visible=True)
    return _page(playing, picture, status=_progress(playing, number), verdict=verdict, compared=compared, more=button)


def following(playing):
    """The next picture, or the outcome."""
    if playing is None:
        return _over()
    return _end(playing) if len(playing["said"]) == len(playing["questions"]) else _question(playing)


def _question(playing):
    number = len(playing["said"])
    picture = gr.update(value=playing["questions"][number].path, visible=True)
    return _page(playing, picture, asking=True, status=_progress(playing, number + 1))


def _progress(playing, number):
    score = f", {_right(playing)} right so far" if playing["said"] else ""
    return photos.done(f"Picture {number} of {len(playing['questions'])}{score}")


def _right(playing):
    return sum(q.real == said for q, said in zip(playing["questions"], playing["said"], strict=False))


def _page(playing, picture=HIDDEN, asking=False, status="", verdict="", compared=HIDDEN, more=HIDDEN, **end):
    """The values of all components in the order of :func:`wire`."""
    answers = gr.update(visible=asking)
    begin = HIDDEN if playing else gr.update(visible=True, value="Play again" if end else "Start")
    length = gr.update(visible=not playing)
    crowd, share, gallery = end.get("crowd", ""), end.get("share", HIDDEN), end.get("gallery", HIDDEN)
    return (
        playing, picture, answers, answers, begin, length, status, verdict, compared, more, crowd, share, gallery,
    )  # fmt: skip


def _over():
    return _page(None, status=photos.problem("this round is over: start a new one."))


def _end(playing):
    """The score, the scores of all visitors, a text to share, and the pictures with their solution."""
    questions, said = playing["questions"], playing["said"]
    right, survey, trouble, crowd = _right(playing), Survey(), "", ""
    try:
        survey.record(playing["visit"], playing["seed"], questions, said, _model(), playing["photos"])
        crowd = _crowd(survey, len(questions), right)
    except MaskHubError:
        trouble = " Your answers could not be stored."
    deceived = sum(not q.real and answer for q, answer in zip(questions, said, strict=True))
    made = sum(not q.real for q in questions)
    score = f"{right} of {len(questions)} right. You took {deceived} of {made} redrawn faces for photos.{trouble}"
    share = f"I got {right} of {len(questions)} faces right: photo, or redrawn by maskhub? Try the maskhub quiz."
    pictures = [
        (q.path, f"{'✓' if q.real == answer else '✗'} {'photo' if q.real else 'redrawn'}")
        for q, answer in zip(questions, said, strict=True)
    ]
    return _page(
        None,
        status=photos.done(score),
        crowd=crowd,
        share=gr.update(value=share, visible=True),
        gallery=gr.update(value=pictures, visible=True),
    )


def _crowd(survey, length, own):
    """The distribution of the scores of all rounds of this length, as bars, with one's own marked."""
    rows = survey.rows()
    lengths = Counter(row["visit"] for row in rows)
    scores = survey.scores([row for row in rows if lengths[row["visit"]] == length])
    rounds, top = sum(scores.counts), max(scores.counts, default=1)
    bars = "".join(
        f"<li{' class=own' if score == own else ''}>"
        f'<span class="column" style="height:{100 * count / top:.0f}%"></span><span>{score}</span></li>'
        for score, count in enumerate(scores.counts)
    )
    what = f"{rounds} round{'s' if rounds != 1 else ''} of {length} pictures, {scores.mean.value:.1f} right on average"
    summary = html.escape(f"Scores of all visitors: {what}. Yours is {own}.")
    return f'<div class="scores"><p>{summary}</p><ol aria-hidden="true">{bars}</ol></div>'


def _photos(seed, length):
    """The name of ``MASKHUB_QUIZ`` or of the built-in portraits, and its pictures in an order set by the seed."""
    spec = os.environ.get("MASKHUB_QUIZ", "").strip() or PORTRAITS
    pictures = (picture for _, picture in open_source(spec).walk(range(8 * length), seed))
    return (Path(spec).name if Path(spec).expanduser().is_dir() else spec), pictures


def _model():
    name = model.name()
    return (Path(name).name if Path(name).is_dir() else name) if name else "bundled"
