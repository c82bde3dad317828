from dataclasses import replace

import cv2
import numpy as np
import pytest
from films import film

from maskhub.faces import lookback
from maskhub.faces.followed import Track
from maskhub.faces.lookback import TrackedFrame, looked_back
from maskhub.faces.track import FaceTracker


def tracked(tracker, frames, rate=25):
    """The frames and their tracks."""
    return [TrackedFrame(frame, number / rate, tracker(frame, number / rate)) for number, frame in enumerate(frames)]


def completed(frames, **limits):
    """Whether each of the frames is there in its order, and the tracks of each after looking back."""
    out = [frame for _, frame in looked_back(((None, frame) for frame in frames), **limits)]
    assert [id(frame) for frame in out] == [id(frame) for frame in frames]
    return [frame.tracks for frame in out]


def described(tracks):
    return [[(track.number, track.new) for track in found] for found in tracks]


def blind(tracker, count):
    """Let a tracker search the first ``count`` frames in vain."""
    found, searched = tracker._detect_new.faces, []
    tracker._detect_new.faces = lambda view, turn: [] if len(searched) < count else found(view, turn)
    call = tracker.__class__.__call__

    def following(frame, seconds):
        tracks = call(tracker, frame, seconds)
        searched.append(frame)
        return tracks

    return following


def test_a_face_that_is_found_late_is_tracked_from_the_first_frame(astronaut):
    frames = list(film(astronaut, 14, across=2))
    before = tracked(blind(FaceTracker(), 7), frames)
    late = [not frame.tracks for frame in before].index(False)
    assert late >= 7
    found = before[late].tracks[0].face.points
    after = completed(before)
    assert described(after) == [[(0, True)]] + [[(0, False)]] * 13
    assert [track.detected for (track,) in after].index(True) == late
    for number, (track,) in enumerate(after):  # the camera moves by two pixels a frame
        expected = found + np.float32([2 * (late - number), 0])
        assert np.linalg.norm(track.face.points - expected, axis=1).mean() < 0.8


@pytest.fixture
def newcomer(astronaut):
    """Frames with one face, from the sixth on with a second one."""
    one = next(film(astronaut, 1))
    one[:, 200:] = 90
    two = one.copy()
    two[100:220, 200:320] = cv2.resize(one, None, fx=0.5, fy=0.5)[:, 20:140]
    return [one] * 6 + [two] * 12


def test_a_newcomer_is_tracked_from_the_frame_in_which_it_appears(newcomer):
    before = tracked(FaceTracker(), newcomer)
    assert [len(frame.tracks) for frame in before].index(2) > 6
    after = completed(before)
    assert described(after) == [[(0, number == 0)] for number in range(6)] + [
        [(0, False), (1, number == 6)] for number in range(6, 18)
    ]


def test_faces_are_not_followed_back_beyond_a_cut(astronaut):
    frames = list(film(astronaut, 12))
    before = [255 - frame[:, ::-1] for frame in frames[:6]]
    after = completed(tracked(blind(FaceTracker(), 9), before + frames[6:]))
    assert described(after) == [[]] * 6 + [[(0, True)]] + [[(0, False)]] * 5


def test_a_pause_ends_the_looking_back(astronaut):
    frames = tracked(blind(FaceTracker(), 7), film(astronaut, 12))
    for frame in frames[:4]:
        frame.seconds -= 5
    assert [len(tracks) for tracks in completed(frames, seconds=60)] == [0] * 4 + [1] * 8


def test_a_wrong_place_is_replaced(astronaut):
    frames = tracked(FaceTracker(), film(astronaut, 12))
    (right,) = frames[8].tracks
    left, top, width, height = right.face.box
    shifted = replace(
        right.face, box=(left + width / 4, top, width, height), points=right.face.points + np.float32([width / 4, 0])
    )
    for number, frame in enumerate(frames[:8]):
        frame.tracks = [Track(0, shifted if number > 2 else right.face, number == 0, True)]
    frames[8].tracks = [replace(right, new=True)]
    after = completed(frames)
    assert described(after) == [[(0, True)]] + [[(0, False)]] * 11
    assert all(np.abs(track.face.points - right.face.points).max() < 1 for (track,) in after)


@pytest.mark.parametrize("number", [0, 1])
def test_another_face_keeps_its_place_and_its_number(astronaut, number):
    """Neither a number that another face has, nor a place where one is tracked under another number, is taken."""
    frames = tracked(FaceTracker(), film(astronaut, 12))
    (right,) = frames[8].tracks
    other = right if number else replace(right, face=replace(right.face, box=(0.0, 0.0, 20.0, 20.0)))
    for frame in frames[:8]:
        frame.tracks = [replace(other, number=0, new=False)]
    for frame in frames[8:]:
        frame.tracks = [replace(right, number=number, new=frame is frames[8])]
    assert described(completed(frames)) == [[(0, False)]] * 8 + [[(number, True)]] + [[(number, False)]] * 3


def test_frames_wait_for_a_second_or_less_if_they_are_large(astronaut):
    frames = tracked(blind(FaceTracker(), 16), film(astronaut, 20), rate=10)
    found = [bool(tracks) for tracks in completed(frames)].index(True)
    late = [frame.tracks[0].detected if frame.tracks else False for frame in frames].index(True)
    assert late >= 16 and found == late - 11  # 1.0 seconds before the last frame without the face
    frames = tracked(blind(FaceTracker(), 16), film(astronaut, 20), rate=10)
    tracks = completed(frames, most_bytes=4 * frames[0].pixels.nbytes)
    assert [bool(found) for found in tracks].index(True) == late - 4


def test_pieces_keep_their_order_and_what_reads_them_is_closed(astronaut):
    frames, closed = tracked(FaceTracker(), film(astronaut, 6)), []

    def pieces():
        try:
            yield "sound 0", None
            for number, frame in enumerate(frames):
                yield number, frame
                yield f"sound {number + 1}", None
        finally:
            closed.append(True)

    names = [name for name, _ in looked_back(pieces(), seconds=0.05)]
    assert names == ["sound 0", *(name for number in range(6) for name in (number, f"sound {number + 1}"))]
    steps = looked_back(pieces())
    assert next(steps) == ("sound 0", None)
    steps.close()
    assert closed == [True, True]


def test_sound_that_goes_on_after_the_last_frame_does_not_pile_up(astronaut, monkeypatch):
    monkeypatch.setattr(lookback, "MOST_OTHERS", 10)
    (frame,), read = tracked(FaceTracker(), film(astronaut, 1)), []

    def pieces():
        yield "picture", frame
        for number in range(100):
            read.append(number)
            yield number, None

    for number, (name, _) in enumerate(looked_back(pieces())):
        assert name == (number - 1 if number else "picture")
        assert len(read) <= number + 11
