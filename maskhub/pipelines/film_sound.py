"""Transfer sound from film to film: copied if the new container supports it, otherwise re-encoded."""

import contextlib
import io
import math
from fractions import Fraction

import av

from maskhub.errors import VideoError, first_line
from maskhub.film_file import open_film

__all__ = ["Sound"]

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Number of channels → the layout name that encoders use."""
STEP = Fraction(1, 1000)
"""Smallest distance in seconds of copied packets: the time unit of the coarsest container."""


class Sound:
    """One audio stream, ``av.AudioStream``, of the film at ``path``, for the ``av.container.OutputContainer`` of a film
    of this ``kind``, the name of its format; ``copied`` says whether its packets are copied as they are. Else it is
    encoded by ``codec``; VideoError if the container can't store this sound in any form."""

    def __init__(self, source, path, writer, kind, codec):
        self.source, self.writer, self.kind = source, writer, kind
        self.name = source.codec_context.name if source.codec_context else "unknown"
        # an MP4 may contain PCM, but hardly any player supports it
        self.copied = not (kind == "mp4" and self.name.startswith("pcm_")) and _copies(path, source.index, kind)
        if self.copied:
            self.stream = writer.add_stream_from_template(source)
        else:
            options = self._encoding(codec)
            self.stream = writer.add_stream(codec, **options)
        self.resampler, self.written = None, False
        self.end = None  # earliest time of the next packet: in ticks if copied, in seconds if encoded

    def take(self, packet):
        """Write a packet; returns how many were damaged. :class:`VideoError` if the container rejects it."""
        with self._named_errors():
            return self._copy(packet) if self.copied else self._encode(packet)

    def finish(self):
        """Write what is left in the encoder."""
        if not self.copied:
            with self._named_errors():
                self._flush()
                self.writer.mux(self.stream.encode(None))

    def _copy(self, packet):
        if packet.dts is None or not packet.size:  # the empty packet at the end
            return 0
        if self.end is not None:
            packet.dts = max(packet.dts, self.end)
        self.end = packet.dts + max(1, round(STEP / packet.time_base))
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        packet.stream = self.stream
        try:
            self.writer.mux(packet)
        except (av.InvalidDataError, av.PatchWelcomeError):  # the muxer reads its header, which is damaged
            if not self.written:
                raise
            return 1
        self.written = True
        return 0

    def _encode(self, packet):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return 1
        for frame in frames:
            if self.end is not None:  # encoders reject times that go back
                end = math.floor(self.end / frame.time_base)
                frame.pts = end if frame.pts is None else max(frame.pts, end)
            if frame.pts is not None:
                self.end = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
            self._resampled(frame)
        return 0

    def _resampled(self, frame):
        given = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self.resampler is None or self.resampler[0] != given:  # some films change format midway
            self._flush()
            context = self.stream.codec_context
            self.resampler = given, av.AudioResampler(context.format, context.layout, context.sample_rate)
        for part in self.resampler[1].resample(frame):
            self.writer.mux(self.stream.encode(part))

    def _flush(self):
        if self.resampler:
            for part in self.resampler[1].resample(None):
                if part is not None:  # None: the resampler is empty
                    self.writer.mux(self.stream.encode(part))

    @contextlib.contextmanager
    def _named_errors(self):
        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):  # the disk, not the sound
                raise
            raise VideoError(f"{self} can't be written: {first_line(error)}.") from error

    def _encoding(self, codec):
        """Rate and layout for ``add_stream``: the source's, or the closest that the encoder supports."""
        if self.source.codec_context is None:
            raise VideoError(f"{self} can't be decoded, nor copied into {self.kind}. Remove it from the film first.")
        given = self.source.codec_context
        rates = sorted(av.Codec(codec, "w").audio_rates or [given.sample_rate])
        rate = next((rate for rate in rates if rate >= given.sample_rate), rates[-1])
        for layout in (given.layout.name, LAYOUTS.get(given.layout.nb_channels), "stereo", "mono"):
            options = {"rate": rate, "layout": layout}
            if layout and _encodes(self.kind, codec, options):
                return options
        raise VideoError(f"{self} can't be written to {self.kind}, neither as it is nor as {codec}.")

    def __str__(self):
        return f"the sound (stream {self.source.index}, {self.name})"


def _copies(path, index, kind):
    """Whether a container format accepts a stream as it is: tried in memory with its first packet."""
    with open_film(path) as reader, _tried() as worked, av.open(io.BytesIO(), "w", format=kind) as trial:
        source = reader.streams[index]
        target = trial.add_stream_from_template(source)
        for packet in reader.demux(source):
            if packet.size:
                packet.stream = target
                trial.mux(packet)
                break
    return bool(worked)


def _encodes(kind, codec, options):
    """Whether an encoder and a container accept sound in this form."""
    with _tried() as worked, av.open(io.BytesIO(), "w", format=kind) as trial:
        trial.add_stream(codec, **options)
        trial.start_encoding()
    return bool(worked)


@contextlib.contextmanager
def _tried():
    """A list that is empty unless the block ends without an FFmpeg error."""
    worked = []
    with contextlib.suppress(av.FFmpegError, ValueError):
        yield worked
        worked.append(True)
