"""The app's events as a script outside of the browser can send them: any endpoint, any JSON."""

import json
import secrets

import httpx
from app_process import ROOT

__all__ = ["ASTRONAUT", "CLIENT", "endpoints", "join", "outcome", "send", "send_all", "upload"]


ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"
CLIENT = httpx.Client(timeout=120, verify=False)
"""One for all: each new client loads the certificates of the world."""
TOGETHER = 16
"""Events in the queue at a time, which has room for 32."""
SESSION = secrets.token_hex(8)
"""One for events that run one after the other: gradio takes 20 to 150 ms for a new one."""


def endpoints(url):
    """What runs Python: the dependencies of the app's config, and its components by id."""
    config = CLIENT.get(f"{url}config").json()
    components = {component["id"]: component for component in config["components"]}
    return [entry for entry in config["dependencies"] if entry["backend_fn"]], components


def upload(url, name, content):
    """Upload a file; its path on the server."""
    answer = CLIENT.post(f"{url}gradio_api/upload", files={"files": (name, content)})
    answer.raise_for_status()
    return answer.json()[0]


def join(url, index, data, session=None, headers=None, **more):
    """Put an event into the queue; the response and the session that it belongs to."""
    session = session or secrets.token_hex(8)
    body = {"fn_index": index, "session_hash": session, "data": data, **more}
    return CLIENT.post(f"{url}gradio_api/queue/join", json=body, headers=headers), session


def outcome(url, session, headers=None, timeout=120):
    """The message that completes a session's only event: ``{"success": ..., "output": {...}}``."""
    for _, message in _completions(url, session, 1, headers=headers, timeout=timeout):
        return message
    raise AssertionError("the stream ended without an outcome")


def _completions(url, session, count, **how):
    """The messages that complete so many events of a session, each with its event's id."""
    address = f"{url}gradio_api/queue/data?session_hash={session}"
    with CLIENT.stream("GET", address, **{"timeout": 120} | how) as stream:
        for line in stream.iter_lines() if count else ():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") in ("process_completed", "unexpected_error"):
                yield message.get("event_id"), message
                count -= 1
                if not count:
                    return


def send(url, index, data, **more):
    """Run an event; the completing message, or the refusal in the same shape."""
    answer, session = join(url, index, data, **{"session": SESSION} | more)
    return outcome(url, session) if answer.status_code == 200 else _refusal(answer)


def _refusal(answer):
    return {"success": False, "output": {"error": answer.json()["detail"]}, "status": answer.status_code}


def send_all(url, calls):
    """Run ``(index, data)`` events; what :func:`send` returns of each.

    One stream tells of many of them, which takes half the time.
    """
    answers = [None] * len(calls)
    for start in range(0, len(calls), TOGETHER):
        waiting = {}
        for place, (index, data) in enumerate(calls[start : start + TOGETHER], start):
            answer, _ = join(url, index, data, SESSION)
            if answer.status_code == 200:
                waiting[answer.json()["event_id"]] = place
            else:
                answers[place] = _refusal(answer)
        for event, message in _completions(url, SESSION, len(waiting)):
            answers[waiting.pop(event)] = message
        assert not waiting, "the stream ended without an outcome"
    return answers
