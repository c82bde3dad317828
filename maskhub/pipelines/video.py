"""Translate films from file to file: every frame translated, sound and frame times kept.

    work = Film("clip.mp4", "out.mp4", FrameTranslator(pipe, "unmask"), tag=pipe.provenance("unmask"))
    for done in work:                          # frames done so far, of about work.total
        ...
    work.report                                # what was written

Frames are read, translated and written one after another, so memory use does not depend on the film's length. While one
frame is written, threads translate the next and track the faces of later ones. A frame waits for up to a second, until
faces that were found later have been followed back to it (:mod:`maskhub.faces.lookback`). Each frame keeps its time,
whether the frame rate is constant or not. A film that a phone recorded sideways is turned upright. Sound is copied if
the new container supports it, otherwise re-encoded. Titles, locations and all other tags of the source are dropped, and
so are subtitles. The film is written to a temporary file and renamed at the end, so that an interrupted run leaves
nothing.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

from maskhub.errors import ConfigError, VideoError, first_line
from maskhub.faces.lookback import TrackedFrame, looked_back
from maskhub.files import written_file
from maskhub.film_file import film_url, open_film
from maskhub.pipelines.film_reading import EXACT, UprightFrames, film_facts, packets, video_stream
from maskhub.pipelines.film_sound import Sound

__all__ = ["WRITTEN", "Film", "FilmReport"]

WRITTEN = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
"""Suffixes that can be written: container, video codec, and codec for sound that can't be copied."""
OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "crf": "24", "b": "0", "row-mt": "1"},
}
LIMITED, BT709, SPACES = 1, 1, (1, 5, 6)
"""FFmpeg's codes for colours from 16 to 235, for BT.709, and for it and the two kinds of BT.601."""
AHEAD = 2
"""Frames by which reading and tracking, and translating, may each be ahead of the next step."""
_END = object()


@dataclass
class FilmReport:
    """A summary of a written film: number of frames and of those with a tracked face, damaged packets that were
    skipped, and sound: ``"none"``, ``"copied"`` or ``"re-encoded"``. The sides are even, so an odd one has grown by one
    pixel."""

    frames: int = 0
    with_faces: int = 0
    damaged: int = 0
    sound: str = "none"
    width: int = 0
    height: int = 0


class Film:
    """The translation of one film; iterate over it to do it.

    Args:
        source: the file to read.
        target: the file to write; one of :data:`WRITTEN`.
        translator: a :class:`~maskhub.pipelines.live.FrameTranslator`, or an object with its ``follow`` and
            ``translate``. The two methods run in two threads, each in the frames' order.
        tag: a :class:`~maskhub.provenance.Provenance` for the container's metadata, or None.
        most_side: frames whose longer side is larger, in pixels, are scaled down to it before they are translated.

    Attributes:
        total: approximate number of frames; 0 if unknown.
        report: :class:`FilmReport`, complete once the iteration has ended.

    Raises:
        VideoError: the source can't be read, at the start or midway, or the target can't be written.
        ConfigError: a target with another suffix, or the source itself.
    """

    def __init__(self, source, target, translator, tag=None, most_side=None):
        self.source, self.target, self.translator, self.tag = Path(source), Path(target), translator, tag
        if self.target.suffix.lower() not in WRITTEN:
            raise ConfigError(f"{target} can't be written: a film's suffix must be one of {', '.join(WRITTEN)}.")
        if self.target.exists() and self.target.resolve() == self.source.resolve():
            raise ConfigError("input and output are the same file. Choose another name for the output.")
        self.facts = _scaled(film_facts(source), most_side)
        self.total, self.report = self.facts.frames, FilmReport()

    def __iter__(self):
        kind = WRITTEN[self.target.suffix.lower()][0]
        # index at the front, so that a browser can start to play while loading
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        with written_file(self.target) as temporary:
            try:
                with (
                    open_film(self.source) as reader,
                    av.open(film_url(temporary), "w", format=kind, options=options) as writer,
                ):
                    if self.tag is not None:
                        writer.metadata.update(self.tag.video_metadata())
                    yield from self._translate(reader, writer)
            except av.FFmpegError as error:
                if isinstance(error, OSError):  # disk full or the like
                    raise
                raise VideoError(f"{self.target} could not be made: {first_line(error)}.") from error
            if not self.report.frames:
                raise VideoError(f"{self.source} is damaged: not one of its frames can be read.")

    def _translate(self, reader, writer):
        stream = video_stream(reader, self.source)
        stream.thread_type = "AUTO"
        kind, _, codec = WRITTEN[self.target.suffix.lower()]
        sounds = {sound.index: Sound(sound, self.source, writer, kind, codec) for sound in reader.streams.audio}
        if sounds:
            self.report.sound = "copied" if all(sound.copied for sound in sounds.values()) else "re-encoded"
        pictures = _Pictures(stream, self.facts, writer, self.target)
        self.report.width, self.report.height = pictures.size
        read = self._read(packets(reader, [stream, *reader.streams.audio], self.source), pictures)
        with closing(_ahead(self._made(_ahead(looked_back(read))))) as made:
            for place, pixels in made:
                if pixels is None:
                    self.report.damaged += sounds[place.stream.index].take(place)
                    continue
                pictures.write(pixels, place)
                self.report.frames += 1
                yield self.report.frames
        pictures.end()
        for sound in sounds.values():
            sound.finish()

    def _read(self, packets, pictures):
        """The film's pieces in order: (a packet of sound, None), or (a frame's time in units of the stream, its
        :class:`~maskhub.faces.lookback.TrackedFrame`)."""
        upright = UprightFrames()
        for packet in packets:
            if packet.stream.type != "video":  # the last, empty packets have no stream_index
                yield packet, None
                continue
            for frame in self._decoded(packet):
                time, pixels = pictures.place(frame), pictures.fitted(upright(frame))
                seconds = float(time * pictures.base)
                yield time, TrackedFrame(pixels, seconds, *self.translator.follow(pixels, seconds))

    def _made(self, pieces):
        """The same pieces with translated frames: (a packet of sound, None), or (a frame's time, its pixels)."""
        with closing(pieces):
            for place, frame in pieces:
                if frame is not None:
                    self.report.with_faces += bool(frame.tracks)
                    frame = self.translator.translate(frame.pixels, frame.tracks, frame.step)
                yield place, frame

    def _decoded(self, packet):
        try:
            return packet.decode()
        except av.FFmpegError:
            self.report.damaged += 1
            return []


def _scaled(facts, most_side):
    """The :class:`~maskhub.pipelines.film_reading.FilmFacts` of a film scaled down to a longer side."""
    scale = most_side / max(facts.width, facts.height) if most_side else 1
    if scale >= 1:
        return facts
    return replace(facts, width=max(2, round(facts.width * scale)), height=max(2, round(facts.height * scale)))


def _ahead(items):
    """The items of a generator, computed in another thread, :data:`AHEAD` of them in advance."""
    with closing(items), ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, _END) for _ in range(AHEAD))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, items, _END))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)


class _Pictures:
    """The video stream being written."""

    def __init__(self, source, facts, writer, target):
        codec = WRITTEN[target.suffix.lower()][1]
        self.rate = source.average_rate or source.guessed_rate or Fraction(25)
        self.base = source.time_base or 1 / self.rate
        # chroma subsampling needs even sides
        self.size = facts.width + facts.width % 2, facts.height + facts.height % 2
        self.writer, self.last = writer, None
        self.stream = writer.add_stream(codec, rate=self.rate, options=OPTIONS[codec])
        self.stream.width, self.stream.height = self.size
        self.stream.pix_fmt = "yuv420p"
        self.stream.time_base = self.base
        context, before = self.stream.codec_context, source.codec_context
        context.time_base = self.base
        ratio = source.sample_aspect_ratio
        if ratio and ratio != 1:
            context.sample_aspect_ratio = 1 / ratio if facts.sideways else ratio
        context.color_range = LIMITED
        self.space = int(before.colorspace) if int(before.colorspace) in SPACES else None
        if facts.converted:
            self.space = context.colorspace = BT709
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        elif self.space:  # same tags as the source; what it leaves unset stays unset
            context.colorspace = self.space
            context.color_primaries, context.color_trc = before.color_primaries, before.color_trc

    def place(self, frame):
        """The frame's time in units of ``base``; one without a time, or with one that has passed, follows directly."""
        if self.last is None:
            self.last = frame.pts or 0
        elif frame.pts is None:
            self.last += max(1, round(1 / (self.rate * self.base)))
        else:
            self.last = max(frame.pts, self.last + 1)
        return self.last

    def fitted(self, pixels):
        """A frame in the film's size: it may be larger than allowed, or change its size midway."""
        width, height = self.size
        if pixels.shape[0] - height in (0, -1) and pixels.shape[1] - width in (0, -1):
            return pixels
        return cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA)

    def write(self, pixels, time):
        pixels, (width, height) = self.fitted(pixels), self.size
        below, right = height - pixels.shape[0], width - pixels.shape[1]
        if below or right:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        made = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        made = made.reformat(format="yuv420p", dst_colorspace=self.space, interpolation=EXACT)
        made.pts, made.time_base = time, self.base
        self.writer.mux(self.stream.encode(made))

    def end(self):
        self.writer.mux(self.stream.encode(None))
