"""E-mail at the end of a job, through a server on the loopback interface."""

import socket
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from maskhub.errors import ConfigError
from maskhub.service.jobs import Jobs, Request
from maskhub.service.mail import MailServer, check_email, mail_server
from maskhub.service.supervisor import Supervisor

LIGHT = "builtin:pixel-faces/light"
JOB = SimpleNamespace(state="finished", name="mine", model="mine", dataset=LIGHT, message="")


class Post:
    """Keeps the messages that it takes; refuses the address ``no@example.org``."""

    def __init__(self):
        self.messages, self.logins = [], []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 (aiosmtpd's name)
        if address == "no@example.org":
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def log_in(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


@pytest.fixture
def post(monkeypatch):
    post = Post()
    with socket.socket() as free:  # a controller can't tell which port it got
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(post, "127.0.0.1", port, authenticator=post.log_in, auth_require_tls=False)
    controller.start()
    monkeypatch.setenv("MASKHUB_SMTP", f"smtp://127.0.0.1:{port}?from=maskhub@example.org")
    yield post
    controller.stop()


def test_a_job_that_ended_is_told_by_mail_and_the_address_forgotten(home, post):
    jobs = Jobs(home)
    job = jobs.submit(Request(LIGHT, name="mine", max_steps=20, email=" me@example.org "), key="me")
    assert job.email == "me@example.org"
    Supervisor(jobs)._ended(job.id, "failed", f"{home.root}/jobs is full")
    end = time.monotonic() + 30
    while jobs.get(job.id).email and time.monotonic() < end:
        time.sleep(0.02)
    (sender, receivers, text), job = post.messages[0], jobs.get(job.id)
    assert (sender, receivers) == ("maskhub@example.org", ["me@example.org"])
    assert "Subject: maskhub: training mine failed" in text and "Auto-Submitted: auto-generated" in text
    assert "Reason: jobs is full" in text and "Steps: 0" in text and str(home.root) not in text
    assert (job.state, job.email, job.notice_problem) == ("failed", "", "")
    assert "example.org" not in (jobs.folder(job.id) / "job.json").read_text()


def test_a_user_logs_in_and_a_refusal_names_nobody(post):
    server = replace(mail_server(), user="app", password="right")
    assert server.send("me@example.org", JOB, 20) == "" and post.logins == [(b"app", b"right")]
    assert "Subject: maskhub: the model mine is done" in post.messages[0][2]
    assert replace(server, password="wrong").send("me@example.org", JOB, 20) == "the mail server answered 535"
    problem = server.send("no@example.org", JOB, 20)
    assert problem and "example" not in problem
    assert len(post.messages) == 1


def test_a_server_that_does_not_answer_is_a_few_words(post):
    assert replace(mail_server(), port=1).send("me@example.org", JOB, 20).startswith("the e-mail could not be sent (")


def test_no_password_without_tls(post, monkeypatch):
    monkeypatch.setattr("maskhub.service.mail._is_here", lambda host: False)  # as if it were another machine
    server = replace(mail_server(), user="app", password="right")
    assert server.send("me@example.org", JOB, 20) == "the e-mail could not be sent (SMTPNotSupportedError)"
    assert post.logins == []


def test_servers_as_they_are_written(monkeypatch):
    monkeypatch.delenv("MASKHUB_SMTP", raising=False)
    assert mail_server() is None
    monkeypatch.setenv("MASKHUB_SMTP", "smtps://a%40b:p%2Fw@mail.example.org?from=m@example.org")
    assert mail_server() == MailServer("mail.example.org", 465, "m@example.org", "a@b", "p/w", "always")
    for text in ("mail.example.org", "smtp://mail.example.org", "smtp://h:x?from=a@b", "http://h?from=a@b"):
        monkeypatch.setenv("MASKHUB_SMTP", text)
        with pytest.raises(ConfigError, match="MASKHUB_SMTP must be"):
            mail_server()


@pytest.mark.parametrize(
    "text", ["me", "a@b\nBcc: c@d", "a@b, c@d", "<a@b>", "a b@c", "a@b@c", "a..b@c", "x" * 250 + "@b.org"]
)
def test_an_address_is_one_address(text, monkeypatch):
    monkeypatch.setenv("MASKHUB_SMTP", "smtp://localhost?from=maskhub@example.org")
    with pytest.raises(ConfigError, match="a single one"):
        check_email(text)


def test_without_a_server_no_address_is_taken(monkeypatch):
    monkeypatch.delenv("MASKHUB_SMTP", raising=False)
    assert check_email("") == ""
    with pytest.raises(ConfigError, match="sends no e-mail"):
        check_email("me@example.org")
