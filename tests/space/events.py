"""The app's events as a script outside of the browser can send them: any endpoint, any JSON."""

import json
import secrets

import httpx

__all__ = ["CLIENT", "endpoints", "join", "outcome", "send", "upload"]


CLIENT = httpx.Client(timeout=120, verify=False)
"""One for all: each new client loads the certificates of the world."""
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
    address = f"{url}gradio_api/queue/data?session_hash={session}"
    with CLIENT.stream("GET", address, headers=headers, timeout=timeout) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") in ("process_completed", "unexpected_error"):
                return message
    raise AssertionError("the stream ended without an outcome")


def send(url, index, data, **more):
    """Run an event; the completing message, or the refusal in the same shape."""
    answer, session = join(url, index, data, **{"session": SESSION} | more)
    if answer.status_code != 200:
        return {"success": False, "output": {"error": answer.json()["detail"]}, "status": answer.status_code}
    return outcome(url, session)
