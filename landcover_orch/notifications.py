"""Notifications: e-mail (SMTP) and webhooks, off by default; at most one message a cause, day and address.

LANDCOVER_NOTIFY holds one or several addresses, separated by spaces or commas:

    smtp://HOST:PORT?from=a@b&to=c@d[&to=...][&starttls=1]
    smtps://USER:PASSWORD@HOST:PORT?from=a@b&to=c@d
    https://HOST/PATH     a webhook; also http://

Special characters of a user, a password or a webhook's path are percent-encoded (a comma is %2C, an @ is %40).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import smtplib
import socket
import sqlite3
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import assert_never
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit

from landcover_orch.errors import ConfigError, Problem, did_you_mean

SETTING = "LANDCOVER_NOTIFY"
"""Environment variable with the addresses; nothing is sent where it is empty."""

MEMORY = "notifications.sqlite"
"""Name of the SQLite file, below LANDCOVER_HOME, that remembers what was sent."""

TIMEOUT_S = 10.0
"""Longest wait for one answer of a server, and for another process that writes the SQLite file."""

CLAIM_S = 900.0
"""A claim that was neither confirmed nor released for this long was left by a killed process: it can be taken."""

RETENTION_DAYS = 90
"""Rows of the SQLite file are deleted after so many days."""

PORTS = {"smtp": 25, "smtps": 465, "http": 80, "https": 443}
"""Schemes of an address, and the port of each where the address names none; 587 for smtp with STARTTLS."""

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_MAILBOX = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]{{1,64}}@{_HOST.pattern}")
_FORMS = "smtp://HOST:PORT?from=a@b&to=c@d, smtps://USER:PASSWORD@HOST:PORT?from=a@b&to=c@d or https://HOST/PATH"
_ENCODE = "percent-encode special characters (space %20, comma %2C, @ %40, : %3A, / %2F, # %23, ? %3F)"


@dataclass(frozen=True)
class Notice:
    """Notification: what happened to a dataset.

    Args:
        dataset: name of the dataset.
        cause: stable key, such as 'failed run ground_truth t3'; it is sent once a day for its dataset.
        subject: one line, the subject of a mail.
        text: the message; complete in itself, as a chat service shows it alone.
    """

    dataset: str
    cause: str
    subject: str
    text: str


@dataclass(frozen=True)
class MailAddress:
    """SMTP server with sender and recipients; `smtps` is TLS from the start, STARTTLS upgrades `smtp`."""

    scheme: str
    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    starttls: bool = False
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return _label(self.scheme, self.host)

    def key(self, recipient: str) -> str:
        """Hash that stands for a recipient in the SQLite file."""
        return _hash(f"{self}:{self.port} {recipient}")


@dataclass(frozen=True)
class Webhook:
    """HTTP endpoint that takes a POST of JSON; its URL is a secret."""

    scheme: str
    host: str
    url: str = field(repr=False)

    recipients = ("webhook",)

    def __str__(self) -> str:
        return _label(self.scheme, self.host)

    def key(self, _recipient: str) -> str:
        """Hash that stands for the endpoint in the SQLite file."""
        return _hash(self.url)


Address = MailAddress | Webhook
_Post = Callable[[Notice, Sequence[str]], dict[str, str]]
"""Sends a notice to recipients of an address; gives the reason of each recipient that was refused."""


def send(notices: Sequence[Notice], home: Path, now: datetime) -> list[str]:
    """Sends notifications to every address of LANDCOVER_NOTIFY, at most once a cause, dataset, day and recipient.

    A notice is remembered once it is delivered, in `notifications.sqlite` below `home`. What a server did not take is
    not queued: it is sent by a later call of the same day that holds the notice again. Two processes do not send the
    same notice, as each claims it in the SQLite file first.

    Args:
        notices: what can be sent; what was sent today already is passed over.
        home: the folder LANDCOVER_HOME.
        now: the present time, with its time zone; the day is that in UTC.

    Returns:
        A sentence for each address that did not take everything, for the log; it names scheme and host alone.

    Raises:
        ConfigError: LANDCOVER_NOTIFY holds addresses that cannot be understood.
    """
    addresses = parse_addresses(os.environ.get(SETTING, ""))
    if not addresses or not notices:
        return []
    failures = []
    try:
        home.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(home / MEMORY, timeout=TIMEOUT_S, isolation_level="IMMEDIATE")) as connection:
            memory = _Memory(connection, now)
            for address in addresses:
                if reasons := _send_to(address, notices, memory, now):
                    failures.append(_sentence(str(address), reasons))
    except (sqlite3.Error, OSError) as error:
        reason = str(error) if isinstance(error, sqlite3.Error) else _reason(error)
        failures.append(_sentence(f"{MEMORY} below LANDCOVER_HOME cannot be used", [reason]))
    return failures


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Addresses of notifications, parsed from the text of LANDCOVER_NOTIFY.

    Raises:
        ConfigError: with every problem of every address; none quotes an address, as it may hold a password.
    """
    words = [word for word in re.split(r"[\s,]+", text) if word]
    addresses: list[Address] = []
    problems: list[Problem] = []
    for number, word in enumerate(words, 1):
        match _parse(f"address {number} of {len(words)}", word):
            case list() as invalid:
                problems += invalid
            case address:
                addresses.append(address)
    if problems:
        raise ConfigError(*problems)
    return tuple(addresses)


def _parse(name: str, word: str) -> Address | list[Problem]:
    scheme, separator, _ = word.partition("://")
    scheme = scheme.lower()
    if not separator:
        fix = f"write several recipients as &to=c@d&to=e@f, and {_ENCODE}"
        return [Problem(SETTING, f"{name} has no scheme", _FORMS, fix)]
    if scheme not in PORTS:
        fix = did_you_mean(scheme, list(PORTS)) or "correct the scheme"
        return [Problem(SETTING, f"{name} has an unknown scheme", f"one of {', '.join(PORTS)}", fix)]
    parts = _split(word)
    if parts is None:
        return [Problem(SETTING, f"{name} ({scheme}) has no valid host and port", _FORMS, f"correct it, or {_ENCODE}")]
    return _mail_address(name, parts) if scheme in ("smtp", "smtps") else _webhook(name, parts, word)


def _split(word: str) -> SplitResult | None:
    """Parts of a URL; None where it is no valid URL, of which Python's own errors would quote the secrets."""
    with suppress(ValueError):
        parts = urlsplit(word)
        host = parts.hostname or ""
        if ":" in host:
            ipaddress.ip_address(host)
        valid = ":" in host or _HOST.fullmatch(host)
        if valid and parts.port != 0 and re.fullmatch("[!-~]+", word):
            return parts
    return None


def _webhook(name: str, parts: SplitResult, url: str) -> Webhook | list[Problem]:
    if "@" in parts.netloc:
        text = f"{name} ({parts.scheme}) has a user or password"
        return [Problem(SETTING, text, "a webhook with its token in path or query", "remove what stands before the @")]
    return Webhook(parts.scheme, parts.hostname or "", url)


def _mail_address(name: str, parts: SplitResult) -> MailAddress | list[Problem]:
    # Not urllib's parse_qs, which reads the + of a mail address as a space.
    pairs = [option.partition("=") for option in parts.query.split("&") if option]
    options = [(key, unquote(value)) for key, _, value in pairs]
    senders = [value for key, value in options if key == "from"]
    recipients = [value for key, value in options if key == "to"]
    modes = [value for key, value in options if key == "starttls"]
    unknown = [key for key, _ in options if key not in ("from", "to", "starttls")]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    starttls = modes == ["1"]
    encrypted = starttls or parts.scheme == "smtps"
    rules = (
        (parts.path in ("", "/") and not parts.fragment, "has a path or fragment", "options after '?'", _ENCODE),
        (not unknown, "has an unknown option", "from, to, starttls", _unknown_fix(unknown)),
        (len(senders) == 1, f"has {len(senders)} senders", "one", "write from=a@b once"),
        (bool(recipients), "has no recipient", "one or several", "add &to=c@d"),
        (all(map(_MAILBOX.fullmatch, senders)), "has an invalid sender", "a mail address", "write from=a@b"),
        (all(map(_MAILBOX.fullmatch, recipients)), "has an invalid recipient", "mail addresses", "write to=c@d"),
        (modes in ([], ["0"], ["1"]), "has an unknown value of starttls", "0 or 1", "write starttls=1"),
        (not starttls or parts.scheme == "smtp", "has starttls", "it with smtp alone", "remove it: smtps is TLS"),
        (bool(user) == bool(password), "has a user or a password alone", "both or none", "write USER:PASSWORD@"),
        ((user + password).isascii(), "has a user or password with letters beyond ASCII", "ASCII", "choose another"),
        (encrypted or not password, "sends a password unencrypted", "TLS", "write smtps://, or add &starttls=1"),
    )
    if invalid := [
        Problem(SETTING, f"{name} ({parts.scheme}) {fault}", *rest) for valid, fault, *rest in rules if not valid
    ]:
        return invalid
    port = parts.port or (587 if starttls else PORTS[parts.scheme])
    host = parts.hostname or ""
    return MailAddress(parts.scheme, host, port, senders[0], tuple(dict.fromkeys(recipients)), starttls, user, password)


def _unknown_fix(unknown: list[str]) -> str:
    offers = [offer for key in unknown if (offer := did_you_mean(key, ["from", "to", "starttls"]))]
    return offers[0] if offers else f"remove it, or {_ENCODE}"


@dataclass
class _Claim:
    """Recipients that this process alone sends a notice to; those in `accepted` have it."""

    recipients: tuple[str, ...]
    accepted: set[str] = field(default_factory=set)


class _Memory:
    """Claims and deliveries of a day in SQLite: a row is a claim until it is confirmed (`sent`)."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self._connection = connection
        self._day = now.astimezone(UTC).date()
        oldest = self._day - timedelta(days=RETENTION_DAYS)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS notifications (day TEXT, dataset TEXT, cause TEXT, recipient TEXT,"
                " claim TEXT, claimed REAL, sent INT, PRIMARY KEY (day, dataset, cause, recipient))"
            )
            connection.execute("DELETE FROM notifications WHERE day < ?", (oldest.isoformat(),))

    @contextmanager
    def claim(self, address: Address, notice: Notice) -> Iterator[_Claim]:
        """Claims the recipients that have not got a notice today; confirms those accepted, releases the others."""
        token, seconds = uuid.uuid4().hex, time.time()
        rows = {
            recipient: (self._day.isoformat(), _clean(notice.dataset), _clean(notice.cause), address.key(recipient))
            for recipient in address.recipients
        }
        with self._connection as transaction:
            claimed = tuple(
                recipient
                for recipient, row in rows.items()
                if transaction.execute(
                    "INSERT INTO notifications VALUES (?, ?, ?, ?, ?, ?, 0)"
                    " ON CONFLICT DO UPDATE SET claim = excluded.claim, claimed = excluded.claimed"
                    " WHERE NOT sent AND claimed < ?",
                    (*row, token, seconds, seconds - CLAIM_S),
                ).rowcount
            )
        claim = _Claim(claimed)
        try:
            yield claim
        finally:
            with self._connection as transaction:
                transaction.executemany(
                    "INSERT OR REPLACE INTO notifications VALUES (?, ?, ?, ?, ?, ?, 1)",
                    [(*rows[recipient], token, seconds) for recipient in claim.accepted],
                )
                transaction.execute("DELETE FROM notifications WHERE claim = ? AND NOT sent", (token,))


def _send_to(address: Address, notices: Sequence[Notice], memory: _Memory, now: datetime) -> list[str]:
    """Reasons why an address did not take everything; after one that concerns the server, no more is sent to it."""
    reasons: list[str] = []
    with _session(address, now) as post:
        for notice in notices:
            try:
                with memory.claim(address, notice) as claim:
                    if claim.recipients:
                        refused = post(notice, claim.recipients)
                        claim.accepted.update(set(claim.recipients) - refused.keys())
                        reasons += refused.values()
            except (OSError, HTTPException, ValueError) as error:  # ValueError: of a proxy's address
                return [*reasons, _reason(error)]
    return reasons


@contextmanager
def _session(address: Address, now: datetime) -> Iterator[_Post]:
    """Session with an address; an SMTP connection is opened by its first message, and serves all."""
    match address:
        case MailAddress():
            with ExitStack() as stack:

                @cache
                def server() -> smtplib.SMTP:
                    return stack.enter_context(_smtp(address))

                yield lambda notice, recipients: _post_mail(server(), address, notice, recipients, now)
        case Webhook():
            yield lambda notice, recipients: _post_json(address, notice, recipients, now)
        case _:
            assert_never(address)


@contextmanager
def _smtp(address: MailAddress) -> Iterator[smtplib.SMTP]:
    """SMTP connection, encrypted and logged in as the address says."""
    name = socket.gethostname()
    name = name if "." in name else "[127.0.0.1]"  # what smtplib says too, but without asking a name server
    context = ssl.create_default_context()
    server = (
        smtplib.SMTP_SSL(address.host, address.port, name, timeout=TIMEOUT_S, context=context)
        if address.scheme == "smtps"
        else smtplib.SMTP(address.host, address.port, name, timeout=TIMEOUT_S)
    )
    try:
        if address.starttls:
            server.starttls(context=context)
        if address.user:
            server.login(address.user, address.password)
        yield server
        with suppress(OSError):  # the messages are delivered, however the server takes its leave
            server.quit()
    finally:
        server.close()


def _post_mail(
    server: smtplib.SMTP, address: MailAddress, notice: Notice, recipients: Sequence[str], now: datetime
) -> dict[str, str]:
    message = _message(address, notice, now)
    try:
        refused = server.send_message(message, address.sender, list(recipients))
    except smtplib.SMTPRecipientsRefused as error:
        # A server that hangs up among the recipients leaves those out that it was not asked for yet.
        refused = dict.fromkeys(recipients, (421, b"")) | error.recipients
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return dict.fromkeys(recipients, _reason(error))
    return {recipient: f"recipient refused, SMTP {code}" for recipient, (code, _) in refused.items()}


def _message(address: MailAddress, notice: Notice, now: datetime) -> EmailMessage:
    """Mail of a notice; its Message-ID is that of cause and day, so that a program can drop a second copy."""
    day = now.astimezone(UTC)
    domain = address.sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Subject"] = _line(notice.subject)
    message["From"] = address.sender
    message["To"] = ", ".join(address.recipients)
    message["Date"] = format_datetime(day)
    message["Message-ID"] = f"<{_hash(repr((notice.dataset, notice.cause, day.date().isoformat())))}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_clean(notice.text))
    return message


def _post_json(webhook: Webhook, notice: Notice, recipients: Sequence[str], now: datetime) -> dict[str, str]:
    opener = request.OpenerDirector()  # no redirects, no files: only what is added here
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    fields = {name: _clean(value) for name, value in asdict(notice).items()}
    body = json.dumps({**fields, "time": now.astimezone(UTC).isoformat(timespec="seconds")}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "landcover-orch"}
    post = request.Request(webhook.url, body, headers, method="POST")  # noqa: S310 - http or https
    try:
        with opener.open(post, timeout=TIMEOUT_S):
            return {}
    except HTTPError as error:
        error.close()
        if error.code == 429 or error.code >= 500:
            raise
        return dict.fromkeys(recipients, _reason(error))


def _sentence(subject: str, reasons: Sequence[str]) -> str:
    listed = "; ".join(dict.fromkeys(reasons))
    return f"{subject}: notifications were not delivered ({listed}); the next call that holds them tries again."


def _reason(error: Exception) -> str:
    """Why a delivery failed, without the text of a server or URL, which could hold secrets."""
    match error:
        case HTTPError():
            return f"HTTP {error.code}"
        case URLError(reason=Exception() as reason):
            return _reason(reason)
        case smtplib.SMTPResponseException():
            return f"{type(error).__name__} {error.smtp_code}"
        case OSError(strerror=str(text)):
            return text
        case _:
            return type(error).__name__


def _label(scheme: str, host: str) -> str:
    return f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _line(text: str) -> str:
    """A single line for a header, without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _clean(text: str) -> str:
    """Text that UTF-8 can hold: a file name that could not be decoded brings surrogates along."""
    return text.encode("utf-8", "replace").decode()
