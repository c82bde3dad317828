"""Streams that processes and workers share: each byte is read once, and nothing depends on the number of workers."""

import io
import itertools
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hub_photos import push_parquet
from PIL import Image

from maskhub.data.lanes import Deal, Share, deal_units
from maskhub.data.positions import endless_batches
from maskhub.data.sources import is_held_out, open_source
from maskhub.data.units import Unit
from maskhub.data.unpaired import UnpairedPhotos

COUNT, GROUP, BATCH = 48, 3, 3
"""Photos of the data set here, of its row groups, and of a batch."""


def noise(number):
    """A photo of noise, which can't be compressed, with its number in the first pixel; and its name."""
    pixels = np.random.default_rng(number).integers(0, 256, (128, 128, 3), np.uint8)
    pixels[0, 0] = number
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return {"bytes": file.getvalue(), "path": f"photo_{number:03d}.png"}


@pytest.fixture
def faces(hub_user, tmp_path):
    """Four files of four row groups."""
    rows = [noise(number) for number in range(COUNT)]
    push_parquet(tmp_path, hub_user.repo("faces"), rows, shards=4, group=GROUP, columns=("left", "right"))
    return hub_user.repo("faces")


def numbers(spec, count, start=0, rank=0, world=1, index=0, workers=1, holdout=False):
    """The photos that a worker walks, with their positions; ``count`` is that of all workers of the process."""
    source = {"unmasked": pickle.loads(pickle.dumps(open_source(spec, holdout)))}
    data = UnpairedPhotos(source, 32, 0, start=start, rank=rank, world=world, batch_size=BATCH)
    positions = itertools.takewhile(lambda place: place // world < start + count, data.positions(index, workers))
    return [(position, np.asarray(photo)[0, 0, 0]) for position, photo in data.sources["unmasked"].walk(positions, 0)]


# ---- dealing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("world", [1, 2, 8])
def test_each_pass_is_dealt_whole(count, world):
    units = [Unit(index, str(index)) for index in range(count)]
    deal = deal_units(SimpleNamespace(whole_files=units, format="webdataset"), world)
    assert deal.lanes in (1, 2, 4, 8) and deal.total == world * deal.lanes
    for turn in range(3):
        hands = [deal.hand(lane, turn, seed=0) for lane in range(deal.total)]
        assert all(hands) and max(map(len, hands)) - min(map(len, hands)) <= 1
        dealt = sorted((unit.index, part) for hand in hands for unit, part in hand)
        assert dealt == list(itertools.product(range(count), range(deal.parts)))
    if count == 100:
        assert deal.parts == 1 and deal.hand(0, 0, 0) != deal.hand(0, 1, 0) != deal.hand(0, 1, 1)


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5, 5, 1] * 19, [*range(1, 100)], [1000, *[10] * 60]])
@pytest.mark.parametrize("known", ["size", "rows"])
def test_uneven_units_are_dealt_evenly(sizes, known):
    deal = Deal([Unit(index, str(index), **{known: size}) for index, size in enumerate(sizes)], 8, 16, 1)
    hands = [[{unit.index for unit, _ in deal.hand(lane, turn, 0)} for lane in range(16)] for turn in range(3)]
    for dealt in hands:
        assert sorted(itertools.chain(*dealt)) == list(range(len(sizes)))
        held = [sum(sizes[index] for index in hand) for hand in dealt]
        uneven = sorted(held)[-2] - min(held) if max(sizes) * 16 > sum(sizes) else max(held) - min(held)
        assert uneven <= max(1, 0.15 * sum(sizes) / 16)
    shared = max(len(hand & other) for hand, other in itertools.product(hands[0], hands[1]))
    assert shared < min(map(len, sorted(hands[0], key=len)[1:]))  # another hand in each pass


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
@pytest.mark.parametrize("start", [0, 5])
def test_workers_together_make_all_batches_each_of_its_own_lanes(lanes, start):
    for workers in range(1, 10):
        data = UnpairedPhotos({}, 32, 0, start=start * BATCH, batch_size=BATCH)
        data.streams.append(SimpleNamespace(deal=SimpleNamespace(lanes=lanes)))
        turns = [list(itertools.islice(data.turns(index, workers), 20)) for index in range(workers)]
        made = [batch for turn in zip(*turns, strict=True) for batch in turn if batch is not None]
        assert made == list(range(start, start + len(made))) and len(made) >= 20
        if workers <= lanes:
            owned = [{batch % lanes for batch in turn if batch is not None} for turn in turns]
            assert sum(map(len, owned)) == lanes  # no lane has two workers


@pytest.mark.parametrize("taken", [range(6), range(2), range(0, 6, 3)])
def test_a_lane_leaves_no_photo_out(taken):
    """Where not every sample takes a photo, such as of repeated drawings, a lane still gives one after the other."""
    share, given = Share(world=2, batch_size=6, taken=taken), {}
    for position in range(2 * 6 * 8):
        if position // 2 % 6 in taken:
            lane, place = share.find(position, 4)
            given.setdefault(lane, []).append(place)
    assert given == {lane: list(range(2 * len(taken))) for lane in range(8)}


@pytest.mark.parametrize(
    ("world", "workers", "shards", "said"),
    [
        (1, 2, 2, None),
        (2, 2, 2, r"2 files for 2 process\(es\) with 2 worker\(s\) each and is read in 8 pieces of whole row groups\."),
        (4, 3, 2, "8 pieces of whole row groups; some are read by several workers: .* with smaller row groups"),
    ],
)
def test_streams_with_few_files_say_so(hub_user, tmp_path, world, workers, shards, said):
    push_parquet(tmp_path, hub_user.repo("few"), [noise(number) for number in range(8)], shards=shards, group=1)
    data = UnpairedPhotos({"unmasked": open_source(hub_user.repo("few"))}, 32, 0, world=world)
    text = data.streams[0].deal.shortage(data.streams[0], workers)
    assert re.search(said, text) if said else text is None
    if world == 4:
        with pytest.warns(UserWarning, match="2 files for 4"):
            endless_batches(data)


# ---- reading --------------------------------------------------------------------------------------------------------


def test_each_byte_is_read_once(faces, hub, hub_user):
    size, passes = sum(len(noise(number)["bytes"]) for number in range(COUNT)), 2
    served = {}
    for world, workers in ((1, 1), (2, 2)):
        before, seen = hub.served, []
        for rank, index in itertools.product(range(world), range(workers)):
            seen += numbers(f"{faces}#left", passes * COUNT // world, 0, rank, world, index, workers)
        assert sorted(position for position, _ in seen) == list(range(passes * COUNT))
        assert sorted(number for _, number in seen) == sorted([*range(COUNT)] * passes)
        served[world] = hub.served - before
    assert served[1] < 1.15 * passes * size and served[2] < 1.1 * served[1]


@pytest.mark.parametrize("world", [1, 5])
def test_one_row_group_for_many_processes(hub_user, tmp_path, world):
    push_parquet(tmp_path, hub_user.repo("one"), [noise(number) for number in range(15)], shards=1)
    seen = [numbers(hub_user.repo("one"), 15 // world, 0, rank, world) for rank in range(world)]
    assert sorted(number for one in seen for _, number in one) == list(range(15))


@pytest.mark.parametrize("holdout", [False, True])
def test_a_later_start_skips_what_is_done_without_reading_it(faces, hub, holdout):
    used = [number for number in range(COUNT) if not (holdout and is_held_out(f"photo_{number:03d}.png"))]
    whole, size = numbers(f"{faces}#left", 3 * COUNT, holdout=holdout), COUNT * len(noise(0)["bytes"])
    assert {number for _, number in whole} == {*used}
    for start in (BATCH, COUNT + 2 * BATCH, 2 * COUNT + 5 * BATCH):
        before = hub.served
        assert numbers(f"{faces}#left", 2 * BATCH, start, holdout=holdout) == whole[start : start + 2 * BATCH]
        assert hub.served - before < 0.4 * size


@pytest.mark.parametrize("done", [0, 7, 30])
def test_batches_depend_neither_on_workers_nor_on_a_restart(faces, done):
    """A run that is killed and goes on with other workers gets exactly the batches of one that never stopped."""

    def batches(count, workers, start=0):
        sources = {"unmasked": open_source(f"{faces}#left"), "masked": open_source(f"{faces}#right")}
        data = UnpairedPhotos(sources, 32, 0, start=start * BATCH, rank=1, world=2, batch_size=BATCH)
        return list(itertools.islice(endless_batches(data, workers), count))

    whole = batches(done + 5, 0)[done:]
    for workers in {0: (1, 2, 4), 7: (0, 3), 30: (2,)}[done]:
        for one, other in zip(whole, batches(5, workers, done), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in ("unmasked", "masked"))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_row_group(tmp_path):
    """A row group of 200 MB is read in pieces, and of its 2,000 photos a block is kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(file, "JPEG")
    for name, count in (("small", 8), ("large", 2000)):
        (tmp_path / name).mkdir()
        rng = np.random.default_rng(0)
        table = pa.table({"image": [file.getvalue() + rng.bytes(100_000) for _ in range(count)]})
        pq.write_table(table, tmp_path / name / "data.parquet", use_content_defined_chunking=True)  # as datasets
    code = """
import itertools, re, sys
from maskhub.data.sources import open_source
from maskhub.data.unpaired import UnpairedPhotos
for name, count in (("small", 8), ("large", 500)):
    samples = iter(UnpairedPhotos({"photo": open_source(f"{sys.argv[1]}/{name}")}, 32, 0, batch_size=4))
    assert sum(1 for _ in itertools.islice(samples, count)) == count
    # the peak of this process alone: ru_maxrss begins with that of the one that started it
    print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""
    made = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    before, after = map(int, made.stdout.split())
    assert after - before < 120
