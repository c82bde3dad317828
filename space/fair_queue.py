"""A fair queue: no visitor can fill it, and whoever has waited longest comes first."""

import time

from gradio.queueing import Queue

from space.gate import visitor

__all__ = ["PLACES", "FairQueue"]

PLACES = 8
"""Maximum number of waiting events per visitor, of the queue's 32. The user of this machine may use all."""
FORGET = 1000
"""Number of visitors whose last turn is remembered."""


class FairQueue(Queue):
    """gradio's queue, made fair between visitors (see :func:`space.gate.visitor`)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._turns = {}

    async def push(self, body, request, username):
        """Add an event, or return why not, as in gradio."""
        who = visitor(request.scope)
        waiting = [
            visitor(event.request.scope)
            for each in self.event_queue_per_concurrency_id.values()
            for event in each.queue
        ]
        if who and waiting.count(who) >= PLACES:
            return False, f"You already have {PLACES} jobs waiting: wait until one of them ends.", "queue_full"
        return await super().push(body, request, username)

    def place(self, session, concurrency_id):
        """How long a page still has to wait for its turn, such as at the camera: the number of events before it,
        running ones included, and the seconds that they take at most; None if it is not waiting. ``session`` is
        gradio's hash of the page, ``concurrency_id`` that of the event that waits."""
        queued = self.event_queue_per_concurrency_id.get(concurrency_id)
        waiting = sorted(queued.queue, key=self._turn) if queued else []
        sessions = [event.session_hash for event in waiting]
        if session not in sessions:
            return None
        before = waiting[: sessions.index(session)]
        running = [event for job in self.active_jobs if job for event in job if event.concurrency_id == concurrency_id]
        seconds = sum((event.fn.time_limit or 0) - getattr(event, "run_time", 0) for event in [*running, *before])
        return len(running) + len(before), max(0.0, seconds)

    def compute_analytics_summary(self, records):
        """Nothing: gradio would read its last 10,000 events after each one, for a monitoring page that is off here."""
        return self.cached_event_analytics_summary

    def _turn(self, event):
        return self._turns.get(visitor(event.request.scope), 0.0)

    def get_events(self):
        """The next event to run: the oldest one of the visitor whose last turn was longest ago."""
        for each in self.event_queue_per_concurrency_id.values():
            if len(each.queue) > 1:
                each.queue.sort(key=self._turn)
        found = super().get_events()
        if found:
            who = visitor(found[0][0].request.scope)
            self._turns.pop(who, None)
            self._turns[who] = time.monotonic()
            if len(self._turns) > FORGET:
                del self._turns[next(iter(self._turns))]
        return found
