"""The Quiz tab without a browser: a round from begin to end, where its photos come from, and what goes wrong."""

import pytest
from PIL import Image

from maskhub.evaluation.quiz import PICTURES
from maskhub.evaluation.survey import Survey
from space.tabs import quiz

STATUS, VERDICT, COMPARED, CROWD, SHARE, GALLERY = 6, 7, 8, 10, 11, 12


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Answers and pictures go to a folder of the test's own; nothing is set in the environment."""
    for name in ("MASKHUB_QUIZ", "MASKHUB_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def finished(playing, said):
    """The page after a whole round of the same answer, and the verdicts on the way."""
    verdicts = []
    for _ in playing["questions"]:
        page = quiz.answer(said, playing)
        verdicts.append(page[VERDICT])
        assert (page[COMPARED].get("value") is None) == page[0]["questions"][len(verdicts) - 1].real
        page = quiz.following(page[0])
        playing = page[0]
    return page, verdicts


def test_a_round_of_the_built_in_portraits(place, tiny_pipeline):
    playing, picture, *_ = page = quiz.begin(tiny_pipeline, PICTURES)
    assert "Picture 1 of 22" in page[STATUS] and page[CROWD] == ""
    with Image.open(picture["value"]) as image:
        assert image.size == (256, 256)
    assert picture["value"].endswith("quiz-01.png")  # a name that gives nothing away
    assert not Survey().path.exists()
    assert quiz.answer(True, quiz.answer(True, playing)[0])[0]["said"] == [True, True]
    page, verdicts = finished(playing, True)
    assert page[0] is None and "11 of 22 right. You took 11 of 11 redrawn faces for photos." in page[STATUS]
    assert sum("Right! This is the photo" in verdict for verdict in verdicts) == 11
    assert sum("Wrong. The lower half of this face was redrawn." in verdict for verdict in verdicts) == 11
    captions = [caption for _, caption in page[GALLERY]["value"]]
    assert captions.count("✓ photo") == 11 and captions.count("✗ redrawn") == 11
    assert "1 round of 22 pictures, 11.0 right on average. Yours is 11." in page[CROWD]
    assert page[CROWD].count("<li") == 23 and "class=own" in page[CROWD] and "11 of 22" in page[SHARE]["value"]
    rows = Survey().rows()
    assert len(rows) == 22 and {(row["photos"], row["model"]) for row in rows} == {("builtin:portraits", "bundled")}


def test_scores_are_compared_with_rounds_of_the_same_length(place, tiny_pipeline):
    finished(quiz.begin(tiny_pipeline, PICTURES)[0], False)
    page, _ = finished(quiz.begin(tiny_pipeline, 10)[0], True)
    assert "1 round of 10 pictures, 5.0 right" in page[CROWD] and page[CROWD].count("<li") == 11
    page, _ = finished(quiz.begin(tiny_pipeline, 10)[0], True)
    assert "2 rounds of 10 pictures" in page[CROWD]


def test_photos_of_ones_own(place, astronaut, tiny_pipeline, monkeypatch):
    (place / "faces").mkdir()
    for number in range(3):
        astronaut.rotate(3 * number).save(place / "faces" / f"{number}.png")
    monkeypatch.setenv("MASKHUB_QUIZ", str(place / "faces"))
    assert quiz.begin(tiny_pipeline, 10)[0]["photos"] == "faces"


def test_what_goes_wrong_is_one_line(place, tiny_pipeline, monkeypatch):
    monkeypatch.setenv("MASKHUB_QUIZ", str(place / "nowhere"))
    page = quiz.begin(tiny_pipeline, 10)
    assert page[0] is None and 'role="alert"' in page[STATUS] and "nowhere" in page[STATUS]
    for page in (quiz.answer(True, None), quiz.following(None)):
        assert "This round is over" in page[STATUS]


def test_answers_that_cannot_be_kept_spoil_nothing(place, tiny_pipeline, monkeypatch):
    (place / "home").write_text("in the way")
    page, _ = finished(quiz.begin(tiny_pipeline, 10)[0], False)
    assert "5 of 10 right. You took 0 of 5 redrawn faces for photos. Your answers could not be stored." in page[STATUS]
    assert len(page[GALLERY]["value"]) == 10 and page[CROWD] == ""
