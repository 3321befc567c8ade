"""Notifications by e-mail and webhook, against SMTP and HTTP servers in threads on 127.0.0.1."""

from __future__ import annotations

import base64
import email
import email.policy
import ipaddress
import json
import socketserver
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from landcover_orch import notifications
from landcover_orch.errors import ConfigError
from landcover_orch.notifications import MEMORY, SETTING, MailAddress, Notice, Webhook, parse_addresses, send

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FAILED = Notice("demo", "failed run ground_truth t3", "A run failed", "ground_truth of t3 failed.\nSee the log.\n")
CHAMPION = Notice("demo", "champion changed", "New champion", "Größer als zuvor: 0.81")
USER, PASSWORD = "robot", "s3cret,pass@word"
LOGIN = "robot:s3cret%2Cpass%40word"


@dataclass
class Mail:
    """What an SMTP server was given: envelope and message."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        return str(self.message.get_content()).replace("\r\n", "\n")


class MailServer(socketserver.ThreadingTCPServer):
    """Minimal SMTP server: EHLO, HELO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA, RSET, QUIT."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, tls: ssl.SSLContext | None = None, starttls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler, bind_and_activate=False)
        self.tls, self.starttls = tls, starttls
        self.mails: list[Mail] = []
        self.connections = 0
        self.logins: list[str] = []
        self.refused: dict[str, int] = {}
        self.data_reply = "250 taken"
        self.silent = False
        self.server_bind()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def address(self, *recipients: str, user: str = "", scheme: str = "smtp", options: str = "") -> str:
        to = "".join(f"&to={recipient}" for recipient in recipients or ("c@d.org",))
        return f"{scheme}://{user and user + '@'}127.0.0.1:{self.port}?from=a@b.org{to}{options}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up during its handshake is no error of the test."""


class MailHandler(socketserver.StreamRequestHandler):
    server: MailServer
    secure = False
    sender = ""
    recipients: tuple[str, ...] = ()

    def handle(self) -> None:
        self.server.connections += 1
        if self.server.silent:
            self.rfile.read()
            return
        if self.server.tls and not self.server.starttls:
            self.encrypt()
        self.reply("220 ready")
        for line in iter(lambda: self.rfile.readline(), b""):  # STARTTLS exchanges the file
            verb, _, rest = line.decode().strip().partition(" ")
            if not getattr(self, f"on_{verb.lower()}", self.on_unknown)(rest):
                break
        for file in (self.rfile, self.wfile):
            file.close()
        self.connection.close()

    def encrypt(self) -> None:
        assert self.server.tls
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.secure = True

    def reply(self, text: str) -> bool:
        self.wfile.write(f"{text}\r\n".encode())
        return not text.startswith(("221", "421"))

    def on_unknown(self, _: str) -> bool:
        return self.reply("502 unknown")

    def on_helo(self, _: str) -> bool:
        return self.reply("250 hello")

    def on_ehlo(self, _: str) -> bool:
        if self.server.starttls and not self.secure:
            return self.reply("250-hello\r\n250 STARTTLS")
        return self.reply("250-hello\r\n250 AUTH PLAIN")

    def on_starttls(self, _: str) -> bool:
        self.reply("220 go ahead")
        self.encrypt()
        return True

    def on_auth(self, rest: str) -> bool:
        assert self.secure
        text = base64.b64decode(rest.split()[1]).decode()
        self.server.logins.append(text)
        return self.reply("235 welcome" if text == f"\0{USER}\0{PASSWORD}" else f"535 {PASSWORD} is wrong")

    def on_mail(self, rest: str) -> bool:
        self.sender, self.recipients = rest.split("<")[1].split(">")[0], ()
        return self.reply("250 yes")

    def on_rcpt(self, rest: str) -> bool:
        recipient = rest.split("<")[1].split(">")[0]
        if code := self.server.refused.get(recipient):
            return self.reply(f"{code} no")
        self.recipients = (*self.recipients, recipient)
        return self.reply("250 yes")

    def on_data(self, _: str) -> bool:
        self.reply("354 go on")
        lines = [line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n")]
        if self.server.data_reply.startswith("250"):
            message = email.message_from_bytes(b"".join(lines), EmailMessage, policy=email.policy.default)
            self.server.mails.append(Mail(self.sender, list(self.recipients), message))
        return self.reply(self.server.data_reply)

    def on_rset(self, _: str) -> bool:
        return self.reply("250 yes")

    def on_quit(self, _: str) -> bool:
        return self.reply("221 bye")


class Hook(ThreadingHTTPServer):
    """HTTP server that keeps what is posted to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler, bind_and_activate=False)
        self.posts: list[dict[str, str]] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.status = 200
        self.location = ""
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.server_bind()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/T0KEN?key=S3CRET"


class HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, self.headers["Content-Type"]))
        self.server.arrived.set()
        self.server.go_on.wait(30)
        if self.server.status == 200:
            self.server.posts.append(json.loads(body))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Not to the test's output."""


@contextmanager
def bound(server: socketserver.TCPServer) -> Iterator[None]:
    """A server whose port is taken and not listened at: it is down."""
    try:
        yield
    finally:
        server.server_close()


@contextmanager
def running(server: socketserver.TCPServer) -> Iterator[None]:
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@dataclass
class Servers:
    mail: MailServer = field(default_factory=MailServer)
    hook: Hook = field(default_factory=Hook)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """A mail server and a webhook that both run, and are the two addresses of the setting."""
    servers = Servers()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(SETTING, f"{servers.mail.address()}, {servers.hook.address}")
    with bound(servers.mail), bound(servers.hook), running(servers.mail), running(servers.hook):
        yield servers


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    pytest.importorskip("cryptography", reason="makes the certificate of the TLS servers")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - DAY)
        .not_valid_after(datetime.now(UTC) + DAY)
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def tls(tls_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS of a server, whose certificate is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_files[0]))
    return context


def rows(home: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / MEMORY)) as memory:
        return memory.execute("SELECT day, dataset, cause, sent FROM notifications ORDER BY 1, 2, 3").fetchall()


@pytest.mark.parametrize("setting", [None, "", " , \n"])
def test_nothing_is_sent_by_default(home: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    if setting is not None:
        monkeypatch.setenv(SETTING, setting)
    assert send([FAILED], home, NOW) == []
    assert list(home.iterdir()) == []


def test_both_addresses_get_a_notice(home: Path, servers: Servers) -> None:
    assert send([FAILED, CHAMPION], home, NOW) == []
    assert servers.hook.posts == [
        {
            "dataset": notice.dataset,
            "cause": notice.cause,
            "subject": notice.subject,
            "text": notice.text,
            "time": "2026-03-01T12:00:00+00:00",
        }
        for notice in (FAILED, CHAMPION)
    ]
    assert set(servers.hook.requests) == {("POST", "/hook/T0KEN?key=S3CRET", "application/json")}
    first, second = servers.mail.mails
    assert servers.mail.connections == 1
    assert (first.sender, first.recipients) == ("a@b.org", ["c@d.org"])
    assert (first.message["Subject"], first.message["From"], first.message["To"]) == (
        FAILED.subject,
        "a@b.org",
        "c@d.org",
    )
    assert first.message["Date"].datetime == NOW
    assert first.message["Message-ID"].endswith("@b.org>")
    assert first.message["Message-ID"] != second.message["Message-ID"]
    assert first.message["Auto-Submitted"] == "auto-generated"
    assert first.text == FAILED.text
    assert second.text.strip() == CHAMPION.text
    assert second.message["Content-Transfer-Encoding"] != "8bit"


def test_a_cause_is_sent_once_a_day(home: Path, servers: Servers) -> None:
    again = Notice(FAILED.dataset, FAILED.cause, "Another subject", "another text")
    for _ in range(3):
        assert send([FAILED, again], home, NOW) == []
    assert len(servers.mail.mails) == len(servers.hook.posts) == 1


def test_other_causes_datasets_and_days_are_sent(home: Path, servers: Servers) -> None:
    other = Notice("other", FAILED.cause, FAILED.subject, FAILED.text)
    for notice, now in ((FAILED, NOW), (CHAMPION, NOW), (other, NOW), (FAILED, NOW + DAY)):
        assert send([notice], home, now) == []
    assert [post["cause"] for post in servers.hook.posts] == [FAILED.cause, CHAMPION.cause, FAILED.cause, FAILED.cause]
    assert len(servers.mail.mails) == 4


def test_the_day_is_that_of_utc(home: Path, servers: Servers) -> None:
    late = datetime(2026, 3, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))  # 1 March, 23:30 UTC
    assert send([FAILED], home, NOW) + send([FAILED], home, late) == []
    assert len(servers.hook.posts) == 1
    assert send([FAILED], home, late + timedelta(hours=1)) == []
    assert len(servers.hook.posts) == 2


def test_old_rows_are_deleted(home: Path, servers: Servers) -> None:
    for days in (0, 1, 91):
        assert send([FAILED], home, NOW + days * DAY) == []
    assert sorted({day for day, *_ in rows(home)}) == ["2026-03-02", "2026-05-31"]


def test_a_server_that_is_down_gets_it_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mail, hook = MailServer(), Hook()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(SETTING, f"{mail.address()} {hook.address}")
    with bound(mail), bound(hook):
        failures = send([FAILED, CHAMPION], home, NOW)
        assert [sentence.partition(": ")[0] for sentence in failures] == ["smtp://127.0.0.1", "http://127.0.0.1"]
        assert all("Connection refused" in sentence for sentence in failures)
        assert rows(home) == []
        with running(hook):
            assert [sentence[:5] for sentence in send([FAILED, CHAMPION], home, NOW)] == ["smtp:"]
        with running(mail):
            assert send([FAILED, CHAMPION], home, NOW) == []
    assert len(hook.posts) == len(mail.mails) == 2
    assert {sent for *_, sent in rows(home)} == {1}


@pytest.mark.parametrize(("status", "attempts"), [(404, 2), (429, 1), (500, 1)])
def test_a_webhook_that_refuses(home: Path, servers: Servers, status: int, attempts: int) -> None:
    servers.hook.status = status
    (sentence,) = send([FAILED, CHAMPION], home, NOW)
    assert sentence.startswith(f"http://127.0.0.1: notifications were not delivered (HTTP {status});")
    assert "T0KEN" not in sentence
    assert len(servers.hook.requests) == attempts
    assert len(servers.mail.mails) == 2
    servers.hook.status = 200
    assert send([FAILED, CHAMPION], home, NOW) == []
    assert len(servers.hook.posts) == len(servers.mail.mails) == 2


@pytest.mark.parametrize("location", ["file:///etc/passwd", "/elsewhere"])
def test_redirects_are_not_followed(home: Path, servers: Servers, location: str) -> None:
    servers.hook.status, servers.hook.location = 302, location
    (sentence,) = send([FAILED], home, NOW)
    assert "HTTP 302" in sentence
    assert len(servers.hook.requests) == 1


def test_a_server_that_does_not_answer(home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "TIMEOUT_S", 0.2)
    servers.mail.silent = True
    servers.hook.go_on.clear()
    failures = send([FAILED], home, NOW)
    servers.hook.go_on.set()
    assert [sentence.partition(": ")[0] for sentence in failures] == ["smtp://127.0.0.1", "http://127.0.0.1"]
    assert rows(home) == []


def test_a_refused_recipient_keeps_the_mail_from_nobody_else(
    home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, servers.mail.address("c@d.org", "e+f@g.org"))
    servers.mail.refused = {"c@d.org": 450}
    for _ in range(2):
        (sentence,) = send([FAILED], home, NOW)
        assert "recipient refused, SMTP 450" in sentence
        assert "d.org" not in sentence
    assert [mail.recipients for mail in servers.mail.mails] == [["e+f@g.org"]]
    servers.mail.refused = {}
    assert send([FAILED], home, NOW) == []
    assert [mail.recipients for mail in servers.mail.mails] == [["e+f@g.org"], ["c@d.org"]]
    assert {mail.message["To"] for mail in servers.mail.mails} == {"c@d.org, e+f@g.org"}
    assert len({mail.message["Message-ID"] for mail in servers.mail.mails}) == 1


def test_a_server_that_hangs_up_among_the_recipients_has_taken_nothing(
    home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, servers.mail.address("c@d.org", "e@f.org", "g@h.org"))
    servers.mail.refused = {"e@f.org": 421}
    (sentence,) = send([FAILED, CHAMPION], home, NOW)
    assert "SMTP 421" in sentence
    assert servers.mail.mails == []
    assert rows(home) == []


def test_a_refused_message_does_not_stop_the_next(home: Path, servers: Servers) -> None:
    servers.mail.data_reply = "554 spam of T0KEN"
    (sentence,) = send([FAILED, CHAMPION], home, NOW)
    assert sentence.startswith("smtp://127.0.0.1: notifications were not delivered (SMTPDataError 554);")
    assert servers.mail.connections == 1
    servers.mail.data_reply = "250 taken"
    assert send([FAILED, CHAMPION], home, NOW) == []
    assert len(servers.mail.mails) == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\u2028", "\x00"])
def test_a_newline_in_a_subject_adds_no_header(home: Path, servers: Servers, newline: str) -> None:
    notice = Notice("demo", f"a{newline}cause", f"Failed{newline}Bcc: eve@x.org{newline}{newline}body", "text")
    assert send([notice], home, NOW) == []
    (mail,) = servers.mail.mails
    assert mail.message["Subject"] == "Failed Bcc: eve@x.org body"
    assert mail.message["Bcc"] is None
    assert mail.recipients == ["c@d.org"]
    assert mail.text == "text\n"
    assert servers.hook.posts[0]["subject"] == notice.subject


def test_text_that_is_no_utf8_and_long_lines(home: Path, servers: Servers) -> None:
    text = "t\udcff.tif " + "x" * 3000 + "\n.\nQUIT\n"
    assert send([Notice("d\udcff", "c\udcff", "Größe \udcff", text)], home, NOW) == []
    (mail,) = servers.mail.mails
    assert mail.text == text.replace("\udcff", "?")
    assert mail.message["Subject"] == "Größe"
    assert servers.hook.posts[0]["text"] == text.replace("\udcff", "?")


@pytest.mark.parametrize("starttls", [False, True])
def test_encrypted_mail_with_login(
    home: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, starttls: bool
) -> None:
    server = MailServer(tls, starttls)
    scheme, options = ("smtp", "&starttls=1") if starttls else ("smtps", "")
    monkeypatch.setenv(SETTING, server.address(user=LOGIN, scheme=scheme, options=options))
    with bound(server), running(server):
        assert send([FAILED, CHAMPION], home, NOW) == []
    assert server.logins == [f"\0{USER}\0{PASSWORD}"]
    assert len(server.mails) == 2


def test_a_refused_login_is_named_without_its_password(
    home: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MailServer(tls)
    monkeypatch.setenv(SETTING, server.address(user="robot:s3cret", scheme="smtps"))
    with bound(server), running(server):
        (sentence,) = send([FAILED], home, NOW)
    assert "SMTPAuthenticationError 535" in sentence
    assert "s3cret" not in sentence
    assert server.mails == []


def test_no_password_for_an_unknown_certificate(
    home: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MailServer(tls)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(SETTING, server.address(user=LOGIN, scheme="smtps"))
    with bound(server), running(server):
        (sentence,) = send([FAILED], home, NOW)
    assert "certificate verify failed" in sentence
    assert server.logins == []


def test_no_password_without_starttls(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MailServer()
    monkeypatch.setenv(SETTING, server.address(user=LOGIN, options="&starttls=1"))
    with bound(server), running(server):
        (sentence,) = send([FAILED], home, NOW)
    assert "SMTPNotSupportedError" in sentence
    assert (server.logins, server.mails) == ([], [])


def test_two_threads_send_once(home: Path, servers: Servers) -> None:
    barrier, failures = threading.Barrier(6), []

    def run() -> None:
        barrier.wait()
        failures.extend(send([FAILED, CHAMPION], home, NOW))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(post["cause"] for post in servers.hook.posts) == [CHAMPION.cause, FAILED.cause]
    assert sorted(mail.message["Subject"] for mail in servers.mail.mails) == [FAILED.subject, CHAMPION.subject]


def test_two_processes_send_once(home: Path, servers: Servers) -> None:
    script = f"""
import sys, datetime, pathlib
from landcover_orch.notifications import Notice, send
print("ready", flush=True)
sys.stdin.readline()
assert send([{FAILED!r}], pathlib.Path({str(home)!r}), {NOW!r}) == []
"""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True))
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0]
    assert len(servers.hook.posts) == len(servers.mail.mails) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_what_another_process_sends_is_passed_over(
    home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv(SETTING, servers.hook.address)
    servers.hook.status = status
    servers.hook.go_on.clear()
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.extend(send([FAILED], home, NOW)))
    thread.start()
    assert servers.hook.arrived.wait(30)
    assert send([FAILED], home, NOW) == []
    assert len(servers.hook.requests) == 1
    servers.hook.go_on.set()
    thread.join()
    assert len(failures) == (status != 200)
    servers.hook.status = 200
    assert send([FAILED], home, NOW) == []
    assert len(servers.hook.posts) == 1


def test_the_claim_of_a_killed_process_ends(home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, servers.hook.address)
    assert send([FAILED], home, NOW) == []
    with closing(sqlite3.connect(home / MEMORY)) as memory, memory:
        memory.execute("UPDATE notifications SET sent = 0")
    assert send([FAILED], home, NOW) == []
    assert len(servers.hook.posts) == 1
    with closing(sqlite3.connect(home / MEMORY)) as memory, memory:
        memory.execute("UPDATE notifications SET claimed = claimed - ?", (notifications.CLAIM_S + 1,))
    assert send([FAILED], home, NOW) == []
    assert len(servers.hook.posts) == 2
    assert [sent for *_, sent in rows(home)] == [1]


def test_a_memory_that_cannot_be_used_is_a_sentence(home: Path, servers: Servers) -> None:
    (home / MEMORY).write_text("no database, whatever its name says " * 50)
    (sentence,) = send([FAILED], home, NOW)
    assert sentence.startswith(f"{MEMORY} below LANDCOVER_HOME cannot be used: ")
    assert "not a database" in sentence
    assert (servers.hook.posts, servers.mail.mails) == ([], [])


def test_a_folder_that_cannot_be_made_is_a_sentence(home: Path, servers: Servers) -> None:
    (home / "file").touch()
    (sentence,) = send([FAILED], home / "file", NOW)
    assert "File exists" in sentence
    assert servers.hook.posts == []


def test_addresses_are_parsed() -> None:
    assert parse_addresses(
        "smtp://mail.x.org?from=a@b.org&to=c@d.org&to=e@f.org&to=c@d.org,\n"
        f"smtps://{LOGIN}@mail.x.org?from=a@b.org&to=c%2Bd@d.org "
        "SMTP://[::1]/?from=a@b&to=c@d&starttls=1 https://hooks.x.org/a/b?c=d"
    ) == (
        MailAddress("smtp", "mail.x.org", 25, "a@b.org", ("c@d.org", "e@f.org")),
        MailAddress("smtps", "mail.x.org", 465, "a@b.org", ("c+d@d.org",), user=USER, password=PASSWORD),
        MailAddress("smtp", "::1", 587, "a@b", ("c@d",), starttls=True),
        Webhook("https", "hooks.x.org", "https://hooks.x.org/a/b?c=d"),
    )


def test_secrets_are_not_shown() -> None:
    text = f"smtps://{LOGIN}@mail.x.org?from=a@b.org&to=c@d.org https://hooks.x.org/T0KEN"
    shown = " ".join(f"{address!r} {address}" for address in parse_addresses(text))
    assert "mail.x.org" in shown
    assert not any(secret in shown for secret in (USER, "s3cret", PASSWORD, "T0KEN"))


@pytest.mark.parametrize(
    ("address", "texts"),
    [
        ("S3CRET@x.org", ["has no scheme", "&to=c@d&to=e@f"]),
        ("smpt://x.org/S3CRET", ["unknown scheme", "did you mean 'smtp'?"]),
        ("S3CRET://x.org", ["unknown scheme", "smtp, smtps, http, https"]),
        ("https:///S3CRET", ["no valid host and port"]),
        ("https://x..org/S3CRET", ["no valid host and port"]),
        ("https://x.org:0/S3CRET", ["no valid host and port"]),
        ("https://x.org/S3CRÈT", ["no valid host and port", "percent-encode"]),
        ("https://[S3CRET]/", ["no valid host and port"]),
        ("https://user:S3CRET@x.org/", ["has a user or password"]),
        ("smtps://user:S3CRET", ["no valid host and port", "percent-encode"]),
        ("smtps://user:1/S3CRET@x.org?from=a@b&to=c@d", ["has a path", "percent-encode"]),
        ("smtps://user:1#S3CRET@x.org?from=a@b&to=c@d", ["has a path or fragment", "0 senders", "no recipient"]),
        ("smtps://user:1?S3CRET@x.org?from=a@b&to=c@d", ["an unknown option", "0 senders"]),
        ("smtp://x.org?form=S3CRET&to=c@d", ["unknown option", "did you mean 'from'?", "has 0 senders"]),
        ("smtp://x.org?from=a@b&from=S3CRET", ["has 2 senders", "invalid sender", "no recipient"]),
        ("smtp://x.org?from=a@b&to=c@d%0ABcc:S3CRET@x.org", ["invalid recipient"]),
        ("smtp://x.org?from=a@b&to=c@d&starttls=S3CRET", ["unknown value of starttls"]),
        ("smtps://x.org?from=a@b&to=c@d&starttls=1", ["smtps is TLS"]),
        ("smtps://S3CRET@x.org?from=a@b&to=c@d", ["a user or a password alone"]),
        ("smtps://user:S3CRET%C3%88@x.org?from=a@b&to=c@d", ["letters beyond ASCII"]),
        ("smtp://user:S3CRET@x.org?from=a@b&to=c@d", ["sends a password unencrypted", "&starttls=1"]),
    ],
)
def test_a_bad_address(address: str, texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_addresses(f"https://hooks.x.org/T0KEN {address}")
    message = str(caught.value)
    assert {problem.where for problem in caught.value.problems} == {SETTING}
    assert all(text in message for text in ("address 2 of 2", *texts))
    assert not any(secret in message for secret in ("S3CR", "T0KEN"))
    assert caught.value.__context__ is None


def test_every_bad_address_is_named_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "ftp://x.org https://hooks.x.org/T0KEN smtp://user:S3CRET@x.org?from=a&to=b")
    with pytest.raises(ConfigError) as caught:
        send([], home, NOW)
    assert [problem.found.partition(" has ")[0].partition(" sends ")[0] for problem in caught.value.problems] == [
        "address 1 of 3",
        *["address 3 of 3 (smtp)"] * 3,
    ]
    assert "S3CRET" not in str(caught.value)
    assert list(home.iterdir()) == []
