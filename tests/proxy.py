"""A TCP proxy in front of PostgreSQL that loses the connection at a chosen statement, before or after it ran."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

Address = Path | tuple[str, int]

# Of the first messages, which have no kind: https://www.postgresql.org/docs/current/protocol-message-formats.html
CANCEL, ENCRYPT_SSL, ENCRYPT_GSS = 80877102, 80877103, 80877104
# Kinds: from clients, and from servers, where a statement is done when it is complete, was empty, or gave enough rows.
QUERY, PARSE, BIND, EXECUTE, SYNC, FLUSH = b"Q", b"P", b"B", b"E", b"S", b"H"
READY, DONE = b"Z", (b"C", b"I", b"s")

ANSWER_S = 30


class Message(NamedTuple):
    """One message of the PostgreSQL protocol, and its bytes as they travel."""

    kind: bytes
    content: bytes

    @property
    def raw(self) -> bytes:
        return self.kind + struct.pack("!i", len(self.content) + 4) + self.content


class Proxy:
    """Listens on 127.0.0.1 and passes everything on to *upstream*, a socket's path or a host and port, until told else.

    A statement is met by *words* where they stand in its SQL as whole words, in any case: `COMMIT` does not meet
    `SHOW synchronous_commit`. It is met when it is run, whether as a simple query, in a pipeline or prepared earlier,
    and however its bytes were cut into packets. What was planned first is tried first, and each plan is followed
    *times* times. ``losses`` counts the connections lost by a plan.

    >>> with Proxy(server.socket) as proxy:                                                 # doctest: +SKIP
    ...     proxy.cut_after(b"COMMIT")
    ...     connection = psycopg.connect(conninfo(proxy.url("shop")))
    """

    def __init__(self, upstream: Address) -> None:
        self.losses = 0
        self._upstream = upstream
        self._plans: list[_Plan] = []
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._moving = threading.Event()
        self._moving.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut(self._listening)
        self.cut_all()
        self._moving.set()

    def url(self, database: str, user: str = "postgres") -> str:
        """The address of a database by way of the proxy, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def cut_before(self, words: bytes, times: int = 1) -> None:
        """Lose the connection when the client runs such a statement; the server never hears of it."""
        self._plan(words, times, _Link.cut)

    def cut_after(self, words: bytes, times: int = 1) -> None:
        """Lose the connection when the server has run such a statement and answered; the client never hears of it."""
        self._plan(words, times, _Link.cut_when_answered)

    def hold(self, words: bytes, times: int = 1) -> None:
        """Lose the client when it runs such a statement, and keep the statement from the server until `release()`.

        Until then its transaction is open, with all its locks.
        """
        self._plan(words, times, _Link.hold)

    def freeze_at(self, words: bytes) -> None:
        """Let nothing move any more, on any connection, when a client runs such a statement; nobody is told."""
        self._plan(words, 1, _Link.freeze)

    def freeze(self) -> None:
        """Let nothing move any more; nobody is told. `pass_all()` lets it move on."""
        self._moving.clear()

    def release(self) -> None:
        """Pass on every statement that is held; return when the server has answered it."""
        for link in self._open_links():
            link.release()

    def cut_all(self) -> None:
        """Lose every connection now."""
        for link in self._open_links():
            link.close()

    def pass_all(self) -> None:
        """Forget the plans and let everything move."""
        with self._lock:
            self._plans.clear()
        self._moving.set()

    # --- what the links ask ---

    def plan_for(self, statement: bytes) -> "Callable[[_Link, Message], None] | None":
        """What to do instead of passing on *statement*; None: pass it on."""
        with self._lock:
            for plan in self._plans:
                if plan.left and plan.words.search(statement):
                    plan.left -= 1
                    self.losses += plan.follow is not _Link.freeze
                    return plan.follow
        return None

    def wait_while_frozen(self) -> None:
        """Return when things move."""
        self._moving.wait()

    def _plan(self, words: bytes, times: int, follow: "Callable[[_Link, Message], None]") -> None:
        whole_words = re.compile(rb"(?<!\w)" + re.escape(words) + rb"(?!\w)", re.IGNORECASE)
        with self._lock:
            self._plans.append(_Plan(whole_words, times, follow))

    def _open_links(self) -> list["_Link"]:
        with self._lock:
            self._links = [link for link in self._links if not link.closed.is_set()]
            return list(self._links)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else small answers wait for more, 40 ms
            try:
                link = _Link(self, client, _connected(self._upstream))
            except OSError:
                _shut(client)  # as a server that is down
                continue
            with self._lock:
                self._links.append(link)
            link.start()


@dataclass
class _Plan:
    words: re.Pattern[bytes]
    left: int
    follow: "Callable[[_Link, Message], None]"


@dataclass
class _Link:
    """One connection of a client, and its own to the server."""

    proxy: Proxy
    client: socket.socket
    server: socket.socket

    closed: threading.Event = field(default_factory=threading.Event)
    statements: dict[bytes, bytes] = field(default_factory=dict)  # SQL by name of prepared statement
    portals: dict[bytes, bytes] = field(default_factory=dict)  # SQL by name of portal
    groups: int = 1  # begun by the client: one ends at each Query or Sync, the first at the server's greeting
    executed: int = 0  # by the client in the group it is in
    done: int = 0  # by the server in the group that it answers
    client_lost: bool = False
    held: Message | None = None
    # The answer at which the connection is lost: group, and how many statements into it. None stands for never.
    last_group: int | None = None
    last_statement: int = 0
    flushed: bool = False

    def start(self) -> None:
        for direction in (self._from_client, self._from_server):
            threading.Thread(target=direction, name=f"proxy {direction.__name__}", daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        _shut(self.client)
        _shut(self.server)

    # --- plans ---

    def cut(self, _: Message) -> None:
        self.close()

    def cut_when_answered(self, message: Message) -> None:
        self.last_group = self.groups
        self.last_statement = self.executed + 1
        self._pass_on(message)

    def hold(self, message: Message) -> None:
        self.client_lost = True
        self.held = message
        _shut(self.client)

    def freeze(self, message: Message) -> None:
        self.proxy.freeze()
        self._pass_on(message)

    def release(self) -> None:
        message, self.held = self.held, None
        if message is None:
            return
        with suppress(OSError):
            self.cut_when_answered(message)
            if message.kind == EXECUTE:
                self._pass_on(Message(SYNC, b""))
        if not self.closed.wait(ANSWER_S):
            raise TimeoutError(f"no answer to `{message.content!r}` in {ANSWER_S} s")

    # --- the two directions ---

    def _from_client(self) -> None:
        with suppress(OSError), self.client.makefile("rb") as incoming:
            if self._greet(incoming):
                for message in _messages(incoming):
                    self._follow_plan(message)
                    if self.client_lost:
                        return
        self.close()

    def _from_server(self) -> None:
        with suppress(OSError), self.server.makefile("rb") as incoming:
            answered = 0  # groups
            for message in _messages(incoming):
                withheld = self.last_group is not None and answered >= self.last_group
                if message.kind == READY:
                    answered, self.done = answered + 1, 0
                elif message.kind in DONE:
                    self.done += 1
                if withheld:
                    if message.kind == READY or self._flushed_answer():
                        break
                elif not self.client_lost:
                    self.proxy.wait_while_frozen()
                    self.client.sendall(message.raw)
        self.close()

    def _flushed_answer(self) -> bool:
        """Ready is only said when all is committed; but a client may flush instead, and read the statement's answer."""
        return self.flushed and self.done >= self.last_statement

    def _follow_plan(self, message: Message) -> None:
        self._remember(message)
        statement = self._runs(message)
        follow = None if statement is None else self.proxy.plan_for(statement)
        if follow is None:
            self._pass_on(message)
        else:
            follow(self, message)

    def _greet(self, incoming: BinaryIO) -> bool:
        """Pass on the first message; encryption is declined. False where no conversation follows."""
        while head := incoming.read(8):
            size, code = struct.unpack("!ii", head)
            rest = incoming.read(size - 8)
            if code in (ENCRYPT_SSL, ENCRYPT_GSS):
                self.client.sendall(b"N")
                continue
            self.proxy.wait_while_frozen()
            self.server.sendall(head + rest)
            if code != CANCEL:
                return True
            self.closed.wait(ANSWER_S)  # the server closes when it has cancelled, and the client waits for that
            return False
        return False

    def _remember(self, message: Message) -> None:
        if message.kind == PARSE:
            name, text, _ = message.content.split(b"\0", 2)
            self.statements[name] = text
        elif message.kind == BIND:
            portal, name, _ = message.content.split(b"\0", 2)
            self.portals[portal] = self.statements.get(name, b"")

    def _runs(self, message: Message) -> bytes | None:
        """The SQL that *message* makes the server run, if it does."""
        if message.kind == QUERY:
            return message.content.rstrip(b"\0")
        if message.kind == EXECUTE:
            return self.portals.get(message.content.split(b"\0", 1)[0], b"")
        return None

    def _pass_on(self, message: Message) -> None:
        self.proxy.wait_while_frozen()
        if message.kind in (QUERY, SYNC):
            self.groups += 1
            self.executed = 0
        elif message.kind == EXECUTE:
            self.executed += 1
        self.server.sendall(message.raw)
        if message.kind == FLUSH and self.last_group == self.groups:
            self.flushed = True
            if self._flushed_answer():
                self.close()


def _messages(incoming: BinaryIO) -> Iterator[Message]:
    while len(head := incoming.read(5)) == 5:
        kind, size = struct.unpack("!ci", head)
        content = incoming.read(size - 4)
        if len(content) < size - 4:
            return
        yield Message(kind, content)


def _connected(upstream: Address) -> socket.socket:
    if isinstance(upstream, tuple):
        return socket.create_connection(upstream)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(upstream))
    return connection


def _shut(connection: socket.socket) -> None:
    # Shutting down wakes whoever reads it and tells the other side, even where a forked child has the socket open too.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
