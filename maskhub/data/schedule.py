"""Which unit a process works on next, if all it knows of the others is which units are finished.

A process with a rank starts with its own block of units, then takes random units of other blocks, except the first
missing one of each, which its owner is working on. When nothing else is left, it waits, and takes over units that no
one finishes. A process without a rank starts at a random unit and skips what others have finished.

So machines can come and go. At worst a unit is made twice, with the same bytes.
"""

import random
import time
from itertools import pairwise

__all__ = ["Schedule"]

POLL, POLL_HUB = 2.0, 60.0
"""Seconds between two checks of what others have finished, in a folder and on the Hub."""
PATIENCE = 60.0
"""Seconds without progress, plus twice the time of a unit, after which other processes count as lost."""


class Schedule:
    """The units of a :class:`~maskhub.data.plan.Plan` for one process, which has this ``rank``, or None, of ``world``;
    ``target`` is one of :mod:`maskhub.data.targets`. ``waited``: another process made the last shard."""

    def __init__(self, plan, target, rank=None, world=1):
        self.plan, self.target, self.rank = plan, target, rank
        self.poll = POLL_HUB if target.lag else POLL
        edges = [len(plan.units) * number // world for number in range(world + 1)]
        self.blocks = [range(*pair) for pair in pairwise(edges)]
        self.own = self.blocks[rank or 0]
        self.random = random.Random(rank)
        self.taken, self.missing, self.listed, self.began = set(), None, 0.0, time.monotonic()
        self.others_from, self.lost, self.waited = None, False, False

    def own_units(self):
        return [self.plan.units[place] for place in self.own]

    def free(self):
        """Yield units to work on, until all missing ones are the work of others, or may be."""
        place = self.own.start if self.rank is not None else None
        while True:
            free = self._free()
            if not free:
                return
            if place not in free:
                place = free[0] if free[0] in self.own and self.rank is not None else self.random.choice(free)
            self.taken.add(place)
            yield self.plan.units[place]
            place += 1

    def wait(self):
        """Wait for the other processes; returns whether units are left for this one."""
        before, since, self.waited = None, time.monotonic(), False
        patience = PATIENCE + self.target.lag + 2 * (since - self.began) / max(1, len(self.taken))
        while missing := self._missing(now=True):
            if self._free():
                return True
            if missing != before:
                before, since = missing, time.monotonic()
            self.lost = time.monotonic() - since > patience
            self.waited = True
            if not self.lost:
                time.sleep(self.poll)
        return False

    def _free(self):
        missing = self._missing()
        own = sorted(place for place in missing if place in self.own)
        if own:
            return own
        if self.others_from is None:
            self.others_from = time.monotonic() + self.target.lag
        if time.monotonic() < self.others_from:  # others may have finished more than can be seen yet
            return []
        first = {min((place for place in block if place in missing), default=None) for block in self.blocks}
        return sorted(missing if self.lost else missing - first)

    def _missing(self, now=False):
        """Places of units that are neither finished nor taken by this process."""
        age = time.monotonic() - self.listed
        if self.missing is None or age > self.target.lag or (now and age > self.poll):
            there, self.listed = self.target.shards(), time.monotonic()
            self.missing = {place for place, name in enumerate(self.plan.shards) if name not in there}
        return self.missing - self.taken
