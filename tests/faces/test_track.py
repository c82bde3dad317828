from dataclasses import replace

import cv2
import numpy as np
import pytest

from maskhub.faces import followed
from maskhub.faces import track as tracking
from maskhub.faces.detect import detect
from maskhub.faces.smooth import OneEuro, Steady
from maskhub.faces.track import FaceTracker
from maskhub.faces.yunet import YuNet

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def film(astronaut):
    """320×240 frames with the astronaut's head, moving by a given number of pixels per frame, with camera noise."""
    photo = cv2.resize(np.asarray(astronaut), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)

    def frames(count, across=0.0, noise=2.0, seed=0):
        rng = np.random.default_rng(seed)
        for number in range(count):
            matrix = np.float64([[1, 0, across * number - 40], [0, 1, 0]])
            frame = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
            yield np.clip(np.rint(frame + rng.normal(0, noise, frame.shape)), 0, 255).astype(np.uint8)

    return frames


@pytest.fixture
def counted(monkeypatch):
    """A tracker, and the list of its searches: "known", or whether a frame without a known face was turned."""
    tracker, searches = FaceTracker(), []
    known, new = tracker._detect.faces, tracker._detect_new.faces
    tracker._detect.faces = lambda view, turn=None: searches.append("known") or known(view, turn)
    tracker._detect_new.faces = lambda view, turn: searches.append(turn) or new(view, turn)
    return tracker, searches


def points_of(tracker, frames):
    tracks = [tracker(frame) for frame in frames]
    assert all(len(found) == 1 for found in tracks)
    return np.array([found[0].face.points for found in tracks])


def test_a_still_face_does_not_tremble_and_is_rarely_searched(film, counted):
    tracker, searches = counted
    points = points_of(tracker, film(31))
    assert len(searches) == 4
    assert np.abs(np.diff(points, axis=0)).max() < 0.05
    detected = [tracker._detect(frame)[0].points for frame in film(8)]
    assert np.abs(np.diff(detected, axis=0)).mean() > 5 * np.abs(np.diff(points, axis=0)).mean()


def test_a_face_that_moves_is_followed(film):
    points = points_of(FaceTracker(), film(30, across=2.5))
    gone = points[20:, :, 0] - points[10:20, :, 0]
    assert np.abs(gone.mean() - 25) < 0.5
    # it does not lag behind, and the points stay where they are on the face, which is 80 pixels wide
    assert np.linalg.norm(points - points[0] - np.arange(30)[:, None, None] * (2.5, 0), axis=2).max() < 0.6


def test_a_face_that_leaves_vanishes_and_comes_back_with_its_number(film):
    tracker, empty = FaceTracker(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frame = next(film(1))
    for _ in range(3):
        assert [track.number for track in tracker(frame)] == [0]
    assert tracker(empty) == []
    assert [(track.number, track.new) for track in tracker(frame)] == [(0, True)]
    assert [(track.number, track.new) for track in tracker(frame)] == [(0, False)]


def test_a_covered_face_is_given_up_at_once(film):
    tracker = FaceTracker()
    frames = list(film(6))
    for frame in frames[:4]:
        (found,) = tracker(frame)
    left, top, width, height = map(int, found.face.box)
    hidden = frames[4].copy()
    hidden[max(top - 10, 0) : top + height + 10, left - 10 : left + width + 10] = (120, 110, 100)
    assert tracker(hidden) == []


@pytest.fixture
def newcomer(film):
    """A frame with one face, and the same with a second one."""
    one = next(film(1))
    two = one.copy()
    half = cv2.resize(one, None, fx=0.5, fy=0.5)
    two[:, 200:] = 90
    two[100 : 100 + 120, 200:320] = half[:, 20:140]
    alone = two.copy()
    alone[100:220, 200:320] = 90
    return alone, two


def test_a_second_face_is_seen_at_the_next_search_and_the_first_keeps_its_number(newcomer):
    tracker, (alone, two) = FaceTracker(), newcomer
    for _ in range(3):
        assert [track.number for track in tracker(alone)] == [0]
    seen = [[track.number for track in tracker(two)] for _ in range(12)]
    assert seen[-1] == [0, 1] and all(numbers[0] == 0 for numbers in seen)


def test_a_face_is_not_tracked_twice_after_it_has_passed_in_front_of_another(astronaut):
    head = cv2.resize(np.asarray(astronaut)[20:240, 130:330], (120, 132))
    behind = cv2.convertScaleAbs(head[:, ::-1], alpha=0.8)
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (270, 480, 3), np.uint8), (0, 0), 4)
    background, tracker = cv2.normalize(noise, None, 60, 180, cv2.NORM_MINMAX), FaceTracker()
    for number in range(45):
        frame, left = background.copy(), 350 - 7 * number
        frame[60:192, 10 + 7 * number :][:, :120] = head
        frame[60:192, left : left + 120] = behind
        tracks = tracker(frame)
    assert sorted(round(track.face.box[0]) // 100 for track in tracks) == [0, 3]


@pytest.mark.parametrize(("max_side", "runs"), [(640, 1), (320, 2)])
def test_yunet_runs_again_for_a_new_face_only_on_a_larger_frame(newcomer, monkeypatch, max_side, runs):
    tracker, sides = FaceTracker(every=1, max_side=max_side), []
    tracker(newcomer[0])
    run = YuNet.detect

    def detect(net, image, margin=(0, 0)):
        sides.append(image.shape[1] + 2 * margin[0])
        return run(net, image, margin)

    monkeypatch.setattr(YuNet, "detect", detect)
    tracks = tracker(newcomer[1])
    assert [track.number for track in tracks] == [0, 1]
    assert sum(side >= 320 for side in sides) == runs


def test_a_cut_is_seen(film, counted):
    tracker, searches = counted
    frame = next(film(1))
    tracker(frame), tracker(frame)
    (found,) = tracker(255 - frame[:, ::-1]) or [None]
    assert len(searches) == 2
    assert found is None or found.new


def test_time_counts(film, counted):
    tracker, searches = counted
    frame = next(film(1))
    tracker(frame, 0.0), tracker(frame, 0.3)
    assert len(searches) == 1
    tracker(frame, 0.6)  # half a second after the last search
    assert len(searches) == 2
    (found,) = tracker(frame, 0.1)  # time goes back
    assert len(searches) == 3 and found.new


def test_frames_without_faces_are_searched_now_and_then(counted):
    tracker, searches = counted
    empty = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    assert [tracker(empty) for _ in range(7)] == [[]] * 7
    assert len(searches) == 1 + 6 // tracking.EVERY_EMPTY
    assert searches == [True] + [False] * (len(searches) - 1)  # searching all eight orientations would cost too much
    for _ in range(12):
        tracker(empty)
    assert searches.count(True) == 2


@pytest.mark.parametrize("degrees", [60, 90, 120, 180, -90])
def test_a_lying_face_is_followed_the_right_way_up(astronaut, degrees):
    upright = detect(np.asarray(astronaut))[0]
    tracker = FaceTracker()
    for number in range(12):
        matrix = cv2.getRotationMatrix2D((223, 115), -degrees - 0.5 * number, 0.9)
        matrix[:, 2] += (160 - 223 + number, 120 - 115)
        frame = cv2.warpAffine(np.asarray(astronaut), matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        expected = cv2.transform(upright.points[None].astype(float), matrix)[0]
        (found,) = tracker(frame)
        assert np.linalg.norm(found.face.points - expected, axis=1).mean() < 0.1 * upright.box[2]


@pytest.mark.parametrize("landmarks", [True, False])
def test_a_face_does_not_turn_over_between_two_frames(film, monkeypatch, landmarks):
    if not landmarks:
        for module in (tracking, followed):
            monkeypatch.setattr(module, "settled", lambda frame, face: None)
    tracker, frames = FaceTracker(every=1), list(film(5))
    for frame in frames[:2]:
        (before,) = tracker(frame)
    score = before.face.score
    flipped = replace(before.face, points=before.face.points[[1, 0, 2, 4, 3]], sides=None, score=score)
    tracker._detect.faces = lambda view, turn=None: [flipped]
    assert abs(tracker(frames[2])[0].face.roll - before.face.roll) < 5
    # unless the detector is surer, as when it was wrong at first, and there are no landmarks
    flipped = replace(flipped, score=score + 2 * followed.SURER)
    turned = abs(tracker(frames[3])[0].face.roll - before.face.roll)
    assert turned < 5 if landmarks else turned > 90


@pytest.mark.parametrize("degrees", [15, -20, 25, -30])
@pytest.mark.parametrize("right", [-6, 0, 6])
def test_a_fast_turn_is_followed_without_lag(astronaut, degrees, right):
    tracker, photo, at = FaceTracker(), np.asarray(astronaut), []
    for number in range(9):
        matrix = cv2.getRotationMatrix2D((223, 115), -degrees * 3 * np.sin(number / 3), 0.9)
        matrix[:, 2] += (160 - 223 + right, 120 - 115)
        frame = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        (found,) = tracker(frame, number / 15)
        at.append(cv2.transform(found.face.points[None].astype(float), cv2.invertAffineTransform(matrix))[0])
    assert np.linalg.norm(at - at[0], axis=2).mean(1).max() < 1.5  # of 90 pixels


def test_a_wrong_detection_in_one_frame_moves_nothing(film):
    tracker, frames = FaceTracker(every=2), list(film(12))
    points = points_of(tracker, frames[:6])
    left, top, width, height = tracker(frames[6])[0].face.box
    right = tracker._detect.faces
    wrong = replace(tracker._detect(frames[6])[0], box=(left + 0.3 * width, top, width, height))
    wrong = replace(wrong, points=wrong.points + np.float32([0.3 * width, 0]))
    tracker._detect.faces = lambda view, turn=None: [wrong]
    for frame in frames[7:9]:
        assert np.abs(tracker(frame)[0].face.points - points[-1]).max() < 0.3
    tracker._detect.faces = right


@pytest.fixture
def by_points(film, monkeypatch):
    """A tracker without landmarks that searches each frame, a frame, and where the detector finds its face."""
    for module in (tracking, followed):
        monkeypatch.setattr(module, "settled", lambda frame, face: None)
    tracker, frame = FaceTracker(every=1), next(film(1))
    (found,) = tracker(frame)

    def see(by, scale=1.0):
        width = found.face.box[2]
        points, middle = found.face.points, found.face.points.mean(0)
        points = (points - middle) * scale + middle + np.float32([by * width, 0])
        monkeypatch.setattr(
            tracker, "_detected_upright", lambda frame, face: replace(found.face, points=points, sides=None)
        )
        (track,) = tracker(frame)
        return float(np.linalg.norm(track.face.points - found.face.points, axis=1).mean()) / width

    return see


def test_a_first_detection_that_two_others_contradict_moves_nothing(by_points):
    assert max(by_points(0.25, 1.2), *(by_points(0) for _ in range(6))) < 0.01


def test_a_confirmed_face_follows_two_detections_that_agree_slowly(by_points):
    assert max(by_points(0), by_points(0), by_points(0.25)) < 0.01
    assert by_points(0.25, 1.2) < 0.03  # a large correction is spread over several frames
    moved = [by_points(0.25, 1.2) for _ in range(30)]
    assert moved == sorted(moved) and 0.2 < moved[-1] < 0.35


def test_one_euro_is_steady_at_rest_and_quick_in_motion():
    rng = np.random.default_rng(0)
    rest, steady = OneEuro(), []
    for noise in rng.normal(0, 0.2, (200, 2, 2)):
        steady.append(rest(noise, 1 / 30, size=100))
    assert np.std(steady[50:]) < 0.07
    motion = OneEuro()
    for number in range(60):
        value = motion(np.full((2, 2), 5.0 * number), 1 / 30, size=100)
    assert 5 * 59 - 3 < value[0, 0] <= 5 * 59
    still = OneEuro()
    assert np.array_equal(still(np.ones((2, 2)), 1 / 30), np.ones((2, 2)))


def test_noise_is_smoothed_out_of_a_position_and_motion_is_not():
    rng, sides = np.random.default_rng(0), np.array([[0.0, 0.0], [100.0, 0.0]])
    rest = Steady()
    steady = [rest(noise, 1 / 30, sides) for noise in rng.normal(0, 0.1, (200, 7, 2))]
    assert np.std(steady[50:]) < 0.05
    motion = Steady()
    for number in range(20):
        value = motion(np.full((7, 2), 0.5 * number), 1 / 30, sides)
    assert 9.5 - 0.4 < value[0, 0] <= 9.5
