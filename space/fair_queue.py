"""A queue in which no visitor takes all places, and those who waited longest for a turn come first."""

import time

from gradio.queueing import Queue

from space.gate import visitor

__all__ = ["PLACES", "FairQueue"]

PLACES = 8
"""Events of one visitor that may wait, of the queue's 32. Whoever sits at this machine may fill all of them."""
FORGET = 1000
"""Visitors whose last turn is remembered."""


class FairQueue(Queue):
    """gradio's queue, fair between visitors as :func:`space.gate.visitor` tells them apart."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._turns = {}

    async def push(self, body, request, username):
        """Add an event, or say why not; as in gradio."""
        who = visitor(request.scope)
        waiting = [
            visitor(event.request.scope)
            for each in self.event_queue_per_concurrency_id.values()
            for event in each.queue
        ]
        if who and waiting.count(who) >= PLACES:
            return False, f"You have {PLACES} jobs waiting here: let one of them end first.", "queue_full"
        return await super().push(body, request, username)

    def get_events(self):
        """The next event to run: of the visitor whose last turn is the longest ago, in the order of arrival."""
        for each in self.event_queue_per_concurrency_id.values():
            if len(each.queue) > 1:
                each.queue.sort(key=lambda event: self._turns.get(visitor(event.request.scope), 0.0))
        found = super().get_events()
        if found:
            who = visitor(found[0][0].request.scope)
            self._turns.pop(who, None)
            self._turns[who] = time.monotonic()
            if len(self._turns) > FORGET:
                del self._turns[next(iter(self._turns))]
        return found
