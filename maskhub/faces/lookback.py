"""Follow faces back to the frames before they were found.

    tracked = (TrackedFrame(pixels, seconds, tracker(pixels, seconds)) for pixels, seconds in film)
    for frame in (frame for _, frame in looked_back((None, frame) for frame in tracked)):
        frame.tracks                           # also of faces that the tracker found up to a second later

The tracker searches every tenth frame, or every third if there is no face. Until then, a face that has appeared isn't
tracked, and one that is hard to find may take longer or be tracked in a wrong place at first. In a film from a file the
frames can wait. When a face is found, or placed again, optical flow follows it back through them: to the frame where it
appeared, to one in which it was already tracked in that place, or to the last cut.
"""

from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from maskhub.faces.face import iou
from maskhub.faces.followed import Followed, Track, apart_on_face
from maskhub.faces.track import PAUSE, SAME, is_cut, thumbnail

__all__ = ["TrackedFrame", "looked_back"]

SECONDS, MOST_BYTES = 1.0, 192 * 2**20
"""For how long frames wait, and how much memory they may take: 32 frames at 1920×1080, 8 at 3840×2160."""
MOST_OTHERS = 4096
"""Number of other pieces, such as packets of sound (about 50 a second), that may wait behind frames: a film's sound may
go on long after its last frame."""
AGREES = 0.04
"""Mean distance of two places of a face, in widths of it, up to which they are the same."""


@dataclass
class TrackedFrame:
    """A frame of a film.

    Attributes:
        pixels: uint8 RGB H×W×3.
        seconds: its time.
        tracks: the :class:`~maskhub.faces.track.Track` of each of its faces, largest first.
        step: seconds since the previous frame, as the translator counts them.
    """

    pixels: np.ndarray
    seconds: float
    tracks: list[Track]
    step: float = 1 / 30


def looked_back(pieces, seconds=SECONDS, most_bytes=MOST_BYTES):
    """Yield a film's pieces in their order, the tracks of its frames completed by faces that were found later.

    ``pieces`` is a generator of pairs of anything and a :class:`TrackedFrame` or None. Frames are held back for
    ``seconds``, or for less if they take more than ``most_bytes`` of memory or :data:`MOST_OTHERS` other pieces wait.
    """
    waiting, frames, size = deque(), deque(), 0
    with closing(pieces):
        for piece in pieces:
            waiting.append(piece)
            frame = piece[1]
            if frame is not None:
                frames.append(frame)
                size += frame.pixels.nbytes
                _look_back(list(frames))
                while len(frames) > 1 and (size > most_bytes or frame.seconds - frames[0].seconds > seconds):
                    size -= frames.popleft().pixels.nbytes
            elif len(waiting) - len(frames) > MOST_OTHERS:
                frames.clear()
                size = 0
            while waiting and not (frames and waiting[0][1] is frames[0]):
                yield waiting.popleft()
    yield from waiting


def _look_back(frames):
    """Follow the new faces of the last frame back through those before it."""
    *earlier, last = frames
    for track in [track for track in last.tracks if track.new]:
        followed, now, oldest, known = Followed(track.number, last.pixels, track.face), last, None, False
        followed.track(last.step, searched=True)  # the filter starts here
        for frame in reversed(earlier):
            if not 0 <= now.seconds - frame.seconds <= PAUSE or is_cut(*map(thumbnail, (frame.pixels, now.pixels))):
                break
            if not followed.follow(frame.pixels):
                break
            back = replace(followed.track(now.step, searched=False), new=False)
            others = [one for one in frame.tracks if one.number == back.number or _same(one, back)]
            if any(one.number != back.number or not _same(one, back) for one in others):
                break  # another face's number, or tracked under another number
            known = any(apart_on_face(one.face, back.face) < AGREES for one in others)
            if known:
                break
            _put(frame, back)
            now, oldest = frame, back
        if oldest is not None:
            _put(last, replace(track, new=False))
            if not known:
                _put(now, replace(oldest, new=True))


def _same(one, other):
    return iou(one.face.box, other.face.box) >= SAME


def _put(frame, track):
    """Add a track to a frame, in the place of the one with its number."""
    tracks = [one for one in frame.tracks if one.number != track.number] + [track]
    frame.tracks = sorted(tracks, key=lambda one: -one.face.area)
