"""The Quiz tab without a browser: a round from begin to end, where its photos come from, and what goes wrong."""

import pytest
from PIL import Image

from maskhub.evaluation.quiz import PICTURES
from maskhub.evaluation.survey import Survey
from space.tabs import quiz


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Answers and pictures go to a folder of the test's own; nothing is set in the environment."""
    for name in ("MASKHUB_QUIZ", "MASKHUB_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def answered(playing, number, said):
    """The outcome of giving the first ``number`` answers."""
    for _ in range(number):
        outcome = quiz.answer(said, playing)
        playing = outcome[0] or playing
    return outcome


def test_a_round_on_a_bare_machine(place, tiny_pipeline):
    playing, picture, *_, status, about, gallery, crowd = quiz.begin(tiny_pipeline)
    assert "Picture 1 of 22" in status and crowd == "" and gallery["value"] is None
    assert "try-out, not a survey" in about and "There is one photo here" in about and "MASKHUB_QUIZ" in about
    assert "unmasked faces only" in about
    with Image.open(picture) as image:
        assert image.size == (256, 256)
    assert picture.endswith("quiz-01.png")  # a name that gives nothing away
    assert not Survey().path.exists()
    outcome = answered(playing, PICTURES, True)
    assert outcome[0] is None and "11 of 22 right; 11 of 11 made ones fooled you." in outcome[5]
    captions = [caption for _, caption in outcome[7]["value"]]
    assert captions.count("✓ Real") == 11 and captions.count("✗ Made") == 11
    assert "(1 round)" in outcome[8] and "| fooled by bundled, round trip | 100 % | 74 to 100 | 11 |" in outcome[8]
    rows = Survey().rows()
    assert len(rows) == 22 and {(row["photos"], row["model"]) for row in rows} == {("built-in", "bundled")}


def test_photos_of_ones_own(place, astronaut, tiny_pipeline, monkeypatch):
    (place / "faces").mkdir()
    for number in range(3):
        astronaut.rotate(3 * number).save(place / "faces" / f"{number}.png")
    monkeypatch.setenv("MASKHUB_QUIZ", str(place / "faces"))
    playing, *_, about, _, _ = quiz.begin(tiny_pipeline)
    assert playing["photos"] == "faces" and "There are 3 photos here" in about


def test_what_goes_wrong_is_one_line(place, tiny_pipeline, monkeypatch):
    monkeypatch.setenv("MASKHUB_QUIZ", str(place / "nowhere"))
    playing, picture, *_, status, _, _, _ = quiz.begin(tiny_pipeline)
    assert playing is None and picture is None and 'role="alert"' in status and "nowhere" in status
    assert "This round is over" in quiz.answer(True, None)[5]


def test_answers_that_cannot_be_kept_spoil_nothing(place, tiny_pipeline, monkeypatch):
    (place / "home").write_text("in the way")
    playing = quiz.begin(tiny_pipeline)[0]
    outcome = answered(playing, PICTURES, False)
    assert "11 of 22 right; 0 of 11 made ones fooled you. Your answers could not be stored." in outcome[5]
    assert len(outcome[7]["value"]) == 22 and outcome[8] == ""
