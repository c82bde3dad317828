"""How processes and workers share a stream, so that together they read each byte of it once in a pass.

A stream is cut into units (:mod:`maskhub.data.units`). In each pass they are shuffled and dealt to *lanes*, a power of
two per process. Batch b of a process comes from its lane ``b % lanes``, whichever worker makes it, so the order follows
from the seed, the units and the number of processes alone. Where there are at least as many lanes as workers, a worker
opens only the units of its own lanes.

Lanes do not wait for each other: one that was dealt fewer photos begins its next pass sooner, and is dealt other units
then. So over several passes all photos are used about equally often.
"""

import heapq
import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maskhub.data.units import READERS, units
from maskhub.errors import SourceError

__all__ = ["Deal", "Lane", "Share", "deal_units"]

LANES = 8
"""Most lanes of a process."""
FIRST = 4
"""Photos in the first block of a pass; each block is twice as large as the one before it, up to the source's ``block``.
So a pass begins soon, and what is read for a few photos is little more than these."""
STEPS = 8
"""Steps of size in which units are dealt."""


@dataclass(frozen=True)
class Share:
    """How a process's batches take the photos of a source: one of ``world`` processes, with ``batch_size`` samples in a
    batch; those in ``taken`` take a photo."""

    world: int = 1
    batch_size: int = 1
    taken: range = range(1)

    def find(self, position, lanes):
        """The lane of a sample's position, counted over all processes, and the number of its photo in that lane."""
        sample, rank = divmod(position, self.world)
        batch, number = divmod(sample, self.batch_size)
        turn, lane = divmod(batch, lanes)
        return rank * lanes + lane, turn * len(self.taken) + self.taken.index(number)


@dataclass(frozen=True)
class Deal:
    """The units of a source, as :class:`~maskhub.data.units.Unit`, and how they are dealt: to ``lanes`` lanes of each
    process, ``total`` of all. ``parts`` is 1; with fewer units than processes, each unit is read by several lanes,
    which keep every ``parts``-th of its photos."""

    units: list
    lanes: int
    total: int
    parts: int

    def hand(self, lane, turn, seed):
        """The pieces that a lane is dealt in a pass, in its order: pairs of a unit and the part of its photos.

        They are dealt at random, the large ones first and each to the lane with the least so far, so that lanes end a
        pass at about the same time, and those that start the next one early read little that is never used.
        """
        rng = np.random.default_rng((seed, turn))
        order, lanes = (rng.permutation(count).tolist() for count in (len(self.units) * self.parts, self.total))
        waiting, own = [(0, place, number) for place, number in enumerate(lanes)], set()
        for number in sorted(order, key=lambda number: -self.steps[number // self.parts]):
            held, place, owner = waiting[0]
            heapq.heapreplace(waiting, (held + self.sizes[number // self.parts], place, owner))
            if owner == lane:
                own.add(number)
        return [(self.units[number // self.parts], number % self.parts) for number in order if number in own]

    @cached_property
    def sizes(self):
        """How much each unit holds: bytes if they are known of all, else rows; else all are equal."""
        for name in ("size", "rows"):
            found = [getattr(unit, name) for unit in self.units]
            if all(found):
                return found
        return [1] * len(self.units)

    @cached_property
    def steps(self):
        """The sizes in steps of an eighth of the largest one: those of one step are dealt in random order."""
        return [-(-STEPS * size // max(self.sizes)) for size in self.sizes]

    def shortage(self, source, workers):
        """A sentence for a source with fewer files than readers, or that some readers have to share; else None."""
        world, files, pieces = self.total // self.lanes, len(source.files), len(self.units)
        readers, twice = world * max(workers, 1), self.parts > 1 or self.lanes < workers
        if source.format.endswith("folder") or (files >= readers and not twice):  # photos in files of their own
            return None
        text = f"{source.spec} has {files:,} files for {world:,} process(es) with {max(workers, 1)} worker(s) each"
        if pieces > files:
            text += f" and is read in {pieces:,} pieces of whole row groups"
        if twice:
            more = "smaller row groups" if source.format == "parquet" else "more files"
            text += f"; some are read by several workers: use fewer workers, or save it with {more}"
        return f"{text}."


def deal_units(source, world, most=LANES):
    """The :class:`Deal` of a :class:`~maskhub.data.hub_source.HubSource` for ``world`` processes with at most ``most``
    lanes each. Files are read in row groups if there are fewer than four for each lane. SourceError if they can't be
    read, or hold no photo."""
    found = source.whole_files
    if source.format == "parquet" and most > 1 and len(found) < 4 * world * most:
        found = units(source, sum(unit.size for unit in found) // (4 * world * most))
    if not found:
        raise SourceError(f"the dataset {source.spec} holds no photo.")
    lanes = 1  # a second one if there is a unit for it, more with two units for each, so that lanes are about as long
    while 2 * lanes <= most and (2 if lanes == 1 else 4) * lanes * world <= len(found):
        lanes *= 2
    return Deal(found, lanes, lanes * world, -(-lanes * world // len(found)))


class Lane:
    """The endless photos of one lane, undecoded, in shuffled blocks. Within a pass, whose number is ``turn``, the
    photos of up to ``source.mixed`` pieces are interleaved, and shuffled in blocks of at most ``source.block``. The
    current ``block`` begins with the lane's photo number ``first``; ``order`` has the shuffled places of its photos. A
    later start skips passes, files and row groups by their counts, without reading them."""

    def __init__(self, source, deal, number, seed):
        self.source, self.deal, self.number, self.seed = source, deal, number, seed
        self.turn, self.first, self.block, self.order, self._blocks = 0, 0, [], [], None

    def seek(self, place):
        """Make the block with the ``place``-th photo the current one; fast for ascending places."""
        if self._blocks is None or place < self.first:
            self._blocks, self.block = self.blocks(place), []
        while not self.block or place >= self.first + len(self.block):
            self.turn, self.first, self.block = next(self._blocks)
            self.order = np.random.default_rng((self.seed, self.number, self.first)).permutation(len(self.block))

    def blocks(self, place):
        """The endless blocks from the one with the ``place``-th photo, or an earlier one: the number of the pass, the
        number of the block's first photo in the lane, and its photos. SourceError if no unit has a photo, or the stream
        can't be read."""
        start, empty = 0, set()
        for turn in itertools.count():
            hand = self.deal.hand(self.number, turn, self.seed)
            counts = self._counts(hand) if place > start else None
            if counts and place >= start + sum(counts):
                start += sum(counts)
                continue
            end = yield from self._pass(turn, hand, counts, start, place)
            if start == end:
                empty.update(unit.index for unit, _ in hand)
                if len(empty) == len(self.deal.units):
                    rest = " once the held-out tenth is left out" if self.source.holdout else ""
                    raise SourceError(f"the dataset {self.source.spec} holds no photo{rest}.")
            start = end

    def _pass(self, turn, hand, counts, start, place):
        """The blocks of a pass; with counts, those before ``place`` are skipped. Returns the start of the next pass."""
        counts = counts or [None] * len(hand)
        waiting = deque(_Piece(self, unit, part, count) for (unit, part), count in zip(hand, counts, strict=True))
        reading = deque()
        for number in itertools.count():
            size = min(self.source.block, FIRST << number)
            while waiting and len(reading) < min(number + 1, self.source.mixed):
                reading.append(waiting.popleft())
            skipped, block = None not in counts and start + size <= place, []
            while reading and len(block) < size:
                piece = reading.popleft()
                photo = piece.skip() if skipped else piece.read()
                if photo is not None:
                    block.append(photo)
                    reading.append(piece)
                elif waiting:
                    reading.append(waiting.popleft())
            if not block:
                return start
            if not skipped:
                yield turn, start, block
            start += len(block)

    def _counts(self, hand):
        """The number of photos of each piece, or None where only reading the whole piece would tell."""
        with ThreadPoolExecutor(READERS) as readers:
            counts = list(readers.map(self.source.count, [unit for unit, _ in hand]))
        if None in counts:
            return None
        return [len(range(part, count, self.deal.parts)) for (_, part), count in zip(hand, counts, strict=True)]


class _Piece:
    """The photos of a piece, in order; it is opened where the first one is read."""

    def __init__(self, lane, unit, part, count):
        self.source, self.parts, self.unit, self.part = lane.source, lane.deal.parts, unit, part
        self.count, self.place, self._photos = count, 0, None

    def skip(self):
        """True, and the next photo is skipped; None at the end."""
        self.place += 1
        return True if self.place <= self.count else None

    def read(self):
        """The next photo; None at the end."""
        if self._photos is None:
            photos = self.source.photos(self.unit, self.part + self.place * self.parts)
            self._photos = itertools.islice(photos, 0, None, self.parts)
        return next(self._photos, None)
