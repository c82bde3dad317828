"""Read films: their properties, their packets on one continuous time line, and their frames upright in BT.709.

with open_film("clip.mp4") as container:
    stream, upright = video_stream(container, "clip.mp4"), UprightFrames()
    for packet in packets(container, [stream], "clip.mp4"):
        for frame in packet.decode():
            pixels = upright(frame)            # uint8 RGB, H×W×3
"""

import contextlib
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter

from maskhub.errors import VideoError, first_line
from maskhub.film_file import open_film

__all__ = ["EXACT", "FilmFacts", "UprightFrames", "film_facts", "packets", "video_stream"]

MAX_PIXELS = 8192 * 4320
"""Largest number of pixels in a frame."""
EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
"""Flags for the conversion to RGB and back; FFmpeg's faster default darkens every frame by 1 of 255."""
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""PQ and HLG."""
BACKWARD, FORWARD = 0.1, 10.0
"""Seconds by which a packet may precede or follow the last one of its stream; beyond that the clock was reset. As in
ffmpeg, the forward limit only applies to transport and program streams: a screen recording may pause."""
CLOCK, WRAP = Fraction(1, 90000), 2**33
"""Of transport and program streams: the time unit, and after how many units the clock wraps around."""


@dataclass(frozen=True)
class FilmFacts:
    """The properties of a film's file: ``width`` and ``height`` of the upright frame in pixels; duration in ``seconds``
    and approximate number of ``frames``, 0 if unknown; whether it has ``sound``; whether its frames are stored
    ``sideways``, with width and height swapped; and whether their colours (HDR or BT.2020) are ``converted`` to BT.709.
    """

    width: int
    height: int
    seconds: float
    frames: int
    sound: bool
    sideways: bool = False
    converted: bool = False


def film_facts(source):
    """The :class:`FilmFacts` of a film; :class:`VideoError` if it can't be read, or has no video."""
    with open_film(source) as container:
        stream = video_stream(container, source)
        seconds = container.duration / av.time_base if container.duration else 0.0
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        frames = stream.frames or round(seconds * float(stream.average_rate or 0))
        frame = _first_frame(container, stream, source)
        sideways = _swaps_axes(_orientation(frame))
        sides = (stream.height, stream.width) if sideways else (stream.width, stream.height)
        return FilmFacts(*sides, seconds, frames, bool(container.streams.audio), sideways, _beyond_bt709(frame))


class UprightFrames:
    """Converts decoded frames to uint8 RGB, H×W×3: upright, in BT.709 colours.

    HDR (PQ, HLG) is tone-mapped and BT.2020 converted to the smaller gamut by FFmpeg's colour management. Its tables
    take some seconds at the first such frame, so use one object for a whole film.
    """

    def __init__(self):
        self._reformatter = VideoReformatter()
        self._orientations = {}

    def __call__(self, frame):
        options = {}
        if _beyond_bt709(frame):
            options = {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
        rgb = self._reformatter.reformat(frame, format="rgb24", interpolation=EXACT, **options)
        # once its matrix is read, a frame lives until the garbage collector runs
        if frame.rotation not in self._orientations:
            self._orientations[frame.rotation] = _orientation(frame)
        return _applied(self._orientations[frame.rotation], rgb.to_ndarray())


def video_stream(container, source):
    """The first video stream, cover pictures not counted; VideoError without one, or if its frames are too large."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            if not 0 < stream.width * stream.height <= MAX_PIXELS:
                raise VideoError(f"{source} is {stream.width}×{stream.height}: empty or too large.")
            return stream
    what = "it only has sound" if container.streams.audio else "nothing in it moves"
    raise VideoError(f"there is no video in {source}: {what}.")


def packets(container, streams, source):
    """The packets of some streams in file order, with timestamps on one line that never goes back; :class:`VideoError`
    if the file is damaged or cut short."""
    timeline = _Timeline(broadcast=bool(container.format.flags & av.format.Flags.ts_discont.value))
    try:
        for packet in container.demux(streams):
            timeline.place(packet)
            yield packet
    except av.FFmpegError as error:
        raise VideoError(f"{source} is damaged or cut short ({first_line(error.strerror or error)}).") from error


class _Timeline:
    """Shifts packets in time where a film's clock jumps, as at the joints of joined recordings.

    All streams jump by the same amount, but not after the same packet: the last video packets of one recording may come
    after the first audio packets of the next. So each stream keeps its shift until the newest one fits its packets
    better.

    Args:
        broadcast: whether it is a transport or program stream: its clock has 33 bits and may start anywhere, and a
            large step forward is a jump too.
    """

    def __init__(self, broadcast):
        self.broadcast = broadcast
        self.clock = self.newest = None
        self.shifts, self.last, self.ends = {}, {}, {}

    def place(self, packet):
        """Shift one packet; packets without a time, such as the last, empty one, stay as they are."""
        base, number = packet.time_base, packet.stream_index
        start = packet.dts if packet.dts is not None else packet.pts
        if start is None or not base:
            return
        if self.newest is None:
            self.newest = -start * base if self.broadcast else 0
        self.clock = self._unwrapped(start, self.clock, base)
        shift = self.shifts[number] = self._shift(number, self.clock * base)
        placed = self.clock + round(shift / base)
        if packet.pts is not None:
            packet.pts = placed + self._unwrapped(packet.pts, start, base) - start
        if packet.dts is not None:
            packet.dts = placed
        length = packet.duration * base if packet.duration else max(placed * base - self.last.get(number, 0), 0)
        self.last[number] = placed * base
        self.ends[number] = self.last[number] + min(length, 1)

    def _unwrapped(self, ticks, near, base):
        if not self.broadcast or near is None or base != CLOCK:
            return ticks
        return ticks - round((ticks - near) / WRAP) * WRAP

    def _shift(self, number, seconds):
        if number not in self.last:
            return self.newest
        forward = FORWARD if self.broadcast else float("inf")
        for shift in (self.shifts[number], self.newest):
            if -BACKWARD <= seconds + shift - self.last[number] <= forward:
                return shift
        self.newest = max(self.ends.values()) - seconds  # continue where everything so far has ended
        return self.newest


def _first_frame(container, stream, source):
    for packet in packets(container, [stream], source):
        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                return frame
    raise VideoError(f"{source} is damaged: not one of its frames can be read.")


def _beyond_bt709(frame):
    return frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020


def _orientation(frame):
    """How a frame must be turned and mirrored to be upright, from its display matrix: int 2×2 of a quarter turn or a
    reflection. The pixel (x, y) moves to this times (x, y), plus a translation."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return np.eye(2, dtype=int)
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    given = np.array([[a, c], [b, d]])
    return max(_ORIENTATIONS, key=lambda turn: float((turn * given).sum()))  # the closest one


def _swaps_axes(orientation):
    return orientation[0, 0] == 0


def _applied(orientation, pixels):
    if _swaps_axes(orientation):
        pixels = pixels.swapaxes(0, 1)
    across, down = orientation.sum(1)
    return np.ascontiguousarray(pixels[::down, ::across])


_ORIENTATIONS = [np.array(turn) for i in (1, -1) for j in (1, -1) for turn in ([[i, 0], [0, j]], [[0, i], [j, 0]])]
"""The eight orientations of a frame; identity first, which is the result for a meaningless matrix (all zeros)."""
