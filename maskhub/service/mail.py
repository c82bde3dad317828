"""E-mail at the end of a job, if the app has a mail server: ``MASKHUB_SMTP``.

    smtp://USER:PASSWORD@mail.example.org:587?from=maskhub@example.org      STARTTLS
    smtps://mail.example.org?from=maskhub@example.org                       TLS from the start, port 465

A password is never sent without TLS, except to a server on this machine. The message only says what the page shows to
everyone; the visitor's address is deleted once it is sent.
"""

import ipaddress
import os
import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from maskhub.errors import ConfigError

__all__ = ["MailServer", "check_email", "mail_server"]

VARIABLE = "MASKHUB_SMTP"
TIMEOUT = 10.0
"""Seconds for each answer of the server."""
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
SUBJECTS = {"finished": "the model {model} is done", "failed": "training {name} failed"}
HOW = f"{VARIABLE} must be smtp[s]://[USER:PASSWORD@]HOST[:PORT]?from=ADDRESS"


@dataclass(frozen=True)
class MailServer:
    """A server that takes mail for delivery; ``host``, ``port`` and ``user`` as in ``MASKHUB_SMTP``. Without a user
    there is no log-in. ``sender`` is the address in From; ``tls`` is ``"start"``, STARTTLS if the server offers it, or
    ``"always"``, TLS from the first byte."""

    host: str
    port: int
    sender: str
    user: str = ""
    password: str = ""
    tls: str = "start"

    def send(self, address, job, steps):
        """Tell ``address`` how a :class:`~maskhub.service.jobs.Job` ended. Returns the problem in a few words, without
        the address, or "" if there was none."""
        try:
            with self._connection() as connection:
                connection.send_message(self._message(address, job, steps))
        except smtplib.SMTPResponseException as error:
            return f"the mail server answered {error.smtp_code}"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return f"the e-mail could not be sent ({type(error).__name__})"
        return ""

    def _connection(self):
        context = ssl.create_default_context()
        if self.tls == "always":
            connection = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
        else:
            connection = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        try:
            connection.ehlo()
            if self.tls == "start" and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
            elif self.tls == "start" and self.user and not _is_here(self.host):
                raise smtplib.SMTPNotSupportedError("the server offers no STARTTLS")
            if self.user:
                connection.login(self.user, self.password)
        except BaseException:
            connection.close()
            raise
        return connection

    def _message(self, address, job, steps):
        message = EmailMessage()
        words = SUBJECTS.get(job.state, "training {name} was cancelled").format(name=job.name, model=job.model)
        message["Subject"] = f"maskhub: {words}"
        message["From"], message["To"] = self.sender, address
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        lines = [f"{words[0].upper()}{words[1:]}.", "", f"Trained on: {job.dataset}", f"Steps: {steps:,}"]
        lines += [f"Reason: {job.message}"] if job.message else []
        space = os.environ.get("SPACE_HOST")
        lines += ["", f"https://{space}"] if space else []
        lines += [
            "",
            "You get this message because this address was given in the Train tab. It is not stored any more.",
        ]
        message.set_content("\n".join(lines) + "\n")
        return message


def mail_server():
    """The :class:`MailServer` of ``MASKHUB_SMTP``, None if it is not set; ConfigError if it has another form."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        url = urlsplit(text)
        port = url.port or (465 if url.scheme == "smtps" else 587)
    except ValueError as error:
        raise ConfigError(f"{HOW} ({error}).") from error
    sender = parse_qs(url.query).get("from", [""])[0]
    if url.scheme not in ("smtp", "smtps") or not url.hostname or not ADDRESS.fullmatch(sender):
        raise ConfigError(f"{HOW}.")
    tls = "always" if url.scheme == "smtps" else "start"
    return MailServer(url.hostname, port, sender, unquote(url.username or ""), unquote(url.password or ""), tls)


def check_email(address):
    """Check a visitor's address and return it; "" for none. ConfigError if it is invalid, or this app sends no mail."""
    address = (address or "").strip()
    if not address:
        return ""
    if len(address) > 254 or not ADDRESS.fullmatch(address) or ".." in address:
        raise ConfigError("the e-mail address must be a single one, such as name@example.org.")
    if mail_server() is None:
        raise ConfigError(f"this app sends no e-mail: its operator can set {VARIABLE}.")
    return address


def _is_here(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
