"""Sound is copied if the container supports it, otherwise encoded in a format that the encoder supports."""

from unittest.mock import Mock

import av
import numpy as np
import pytest
from films import film, unchanged, written

from maskhub import VideoError
from maskhub.film_file import open_film
from maskhub.pipelines import film_sound
from maskhub.pipelines.video import Film


def translated(source, target):
    work = Film(source, target, unchanged)
    list(work)
    return work.report


def heard(path):
    """Codec, layout, rate, and the sound mixed down to one channel, float 1×N."""
    with open_film(path) as container:
        context = container.streams.audio[0].codec_context
        resampler = av.AudioResampler("fltp", "mono")
        parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return context.name, context.layout.name, context.sample_rate, np.concatenate(parts, 1)


def has_the_tone(wave, rate):
    """Whether 440 Hz is the loudest frequency, for about the length of the film."""
    spectrum = np.abs(np.fft.rfft(wave[0] * np.hanning(wave.shape[1])))
    return abs(np.argmax(spectrum) * rate / wave.shape[1] - 440) < 15


CASES = {
    # sound, layout, rate, source container, target container: expected result
    "a camera's AVI": ("pcm_u8", "mono", 11025, "avi", "mp4", "aac"),
    "a recorder's AVI": ("pcm_s16le", "stereo", 44100, "avi", "mp4", "aac"),
    "5.1(side) to WebM": ("ac3", "5.1(side)", 48000, "mkv", "webm", "opus"),
    "5.1(side) to MP4": ("ac3", "5.1(side)", 48000, "mkv", "mp4", "ac3"),
    "5.1(side) PCM to MP4": ("pcm_s16le", "5.1(side)", 48000, "mkv", "mp4", "aac"),
    "7.1 FLAC to WebM": ("flac", "7.1", 48000, "mkv", "webm", "opus"),
    "quad(side) FLAC to WebM": ("flac", "quad(side)", 48000, "mkv", "webm", "opus"),
    "2.1 PCM to MP4": ("pcm_s16le", "2.1", 48000, "mkv", "mp4", "aac"),
    "96 kHz to WebM": ("flac", "stereo", 96000, "mkv", "webm", "opus"),
    "an odd rate to MP4": ("pcm_s16le", "mono", 22254, "mkv", "mp4", "aac"),
    "8 kHz to WebM": ("pcm_mulaw", "mono", 8000, "avi", "webm", "opus"),
    "mu-law in AVI to MOV": ("pcm_mulaw", "mono", 8000, "avi", "mov", "pcm_mulaw"),
    "ADPCM to MP4": ("adpcm_ms", "mono", 22050, "avi", "mp4", "aac"),
    "MP3 to WebM": ("libmp3lame", "stereo", 44100, "flv", "webm", "opus"),
    "stereo PCM to MOV": ("pcm_s16le", "stereo", 44100, "avi", "mov", "pcm_s16le"),
    "PCM to MKV": ("pcm_s24le", "5.1(side)", 48000, "mkv", "mkv", "pcm_s24le"),
    "AAC of a transport stream": ("aac", "stereo", 48000, "ts", "mp4", "aac"),
    "MP2 to WebM": ("mp2", "stereo", 48000, "mpg", "webm", "opus"),
    "Opus to MP4": ("libopus", "stereo", 48000, "mkv", "mp4", "opus"),
}
CODECS = {"avi": "mpeg4", "mpg": "mpeg1video", "flv": "flv1"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_sound_arrives(case, astronaut, tmp_path):
    sound, layout, rate, source, target, becomes = case
    options = {"sound": sound, "layout": layout, "sound_rate": rate, "codec": CODECS.get(source, "libx264")}
    written(tmp_path / f"a.{source}", film(astronaut, 12, size=(96, 64)), **options)
    report = translated(tmp_path / f"a.{source}", tmp_path / f"b.{target}")
    name, _, new_rate, wave = heard(tmp_path / f"b.{target}")
    assert name.removeprefix("lib") == becomes
    copied = becomes == heard(tmp_path / f"a.{source}")[0].removeprefix("lib")
    assert report.sound == ("copied" if copied else "re-encoded")
    assert report.frames == 12 and not report.damaged
    assert has_the_tone(wave, new_rate)
    assert wave.shape[1] / new_rate == pytest.approx(12 / 25, abs=0.1)


def test_channels_without_a_layout(astronaut, tmp_path):
    """As in the WAV-like sound of old recorders: two channels without a layout."""
    source = written(tmp_path / "a.mkv", film(astronaut, 8, size=(96, 64)), sound="pcm_s16le", layout="2 channels")
    translated(source, tmp_path / "b.webm")
    assert heard(tmp_path / "b.webm")[1] == "stereo"


def test_two_streams_of_sound(astronaut, tmp_path):
    source = written(tmp_path / "one.mkv", film(astronaut, 8, size=(96, 64)), sound="pcm_u8", sound_rate=8000)
    with av.open(str(source)) as reader, av.open(str(tmp_path / "two.mkv"), "w") as writer:
        copies = {stream: [] for stream in reader.streams}
        for stream in (*reader.streams, reader.streams.audio[0]):
            copies[stream].append(writer.add_stream_from_template(stream))
        for packet in reader.demux():
            for stream in copies[packet.stream] if packet.dts is not None else ():
                packet.stream = stream
                writer.mux(packet)
    assert translated(tmp_path / "two.mkv", tmp_path / "out.mp4").sound == "re-encoded"
    with open_film(tmp_path / "out.mp4") as made:
        assert [stream.codec_context.name for stream in made.streams.audio] == ["aac", "aac"]


@pytest.mark.parametrize("target", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("begins", [0.43, 0.9], ids=["an overlap", "a gap"])
def test_overlaps_and_gaps_of_sound(begins, target, astronaut, tmp_path):
    """Times that step back slightly, or leave a gap, are written in order instead of rejected."""
    for name, shift in (("a.ts", 0), ("b.ts", begins)):
        written(tmp_path / name, film(astronaut, 12, size=(96, 64)), sound="mp2", shift=shift)
    (tmp_path / "c.ts").write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("a.ts", "b.ts")))
    translated(tmp_path / "c.ts", tmp_path / f"out.{target}")
    with open_film(tmp_path / f"out.{target}") as made:
        times = [float(p.pts * p.time_base) for p in made.demux(made.streams.audio[0]) if p.pts is not None]
    assert np.diff(times).min() > 0
    assert times[-1] - times[0] == pytest.approx(begins + 0.48, abs=0.1)


def test_a_refusal_names_the_sound(astronaut, tmp_path, monkeypatch):
    source = written(tmp_path / "a.avi", film(astronaut, 4, size=(96, 64)), sound="pcm_u8", codec="mpeg4")
    monkeypatch.setattr(film_sound, "_encodes", lambda *form: False)
    with pytest.raises(VideoError, match=r"the sound \(stream 1, pcm_u8\) can't be written to mp4"):
        translated(source, tmp_path / "b.mp4")
    monkeypatch.undo()
    monkeypatch.setattr("av.AudioResampler", Mock(side_effect=ValueError("no such layout")))
    with pytest.raises(VideoError, match=r"the sound \(stream 1, pcm_u8\) can't be written: no such layout"):
        translated(source, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]


@pytest.mark.parametrize("seed", [0, 1])  # FFmpeg has two errors for a damaged header
def test_damaged_packets_of_copied_sound_are_left_out(astronaut, tmp_path, seed):
    source = written(tmp_path / "whole.ts", film(astronaut, 25), sound="aac", sound_rate=48000, layout="stereo")
    with open_film(source) as reader:
        whole = sum(bool(packet.size) for packet in reader.demux(audio=0))
        number = reader.streams.audio[0].id
    data, rng = np.frombuffer(source.read_bytes(), np.uint8).copy(), np.random.default_rng(seed)
    sound = [at for at in range(0, len(data), 188) if int(data[at + 1] & 0x1F) << 8 | int(data[at + 2]) == number]
    for at in rng.choice(sound[4:], len(sound) // 6, replace=False):
        data[at + 4 : at + 188] = rng.integers(0, 256, 184)
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(data.tobytes())
    report = translated(damaged, tmp_path / "out.mp4")
    assert report.frames == 25 and report.sound == "copied" and 0 < report.damaged < whole / 2
    with open_film(tmp_path / "out.mp4") as made:
        kept = sum(bool(packet.size) for packet in made.demux(audio=0))
    assert whole / 2 < kept < whole
