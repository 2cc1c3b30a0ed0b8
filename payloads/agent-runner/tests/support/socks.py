"""A SOCKS5 proxy (RFC 1928, without authentication) on 127.0.0.1 that leads every name to one address."""

from __future__ import annotations

import socket
import threading


class SocksProxy:
    """Remembers what it was asked for, and connects to `target` instead."""

    def __init__(self, target: int) -> None:
        self.asked: list[tuple[str, int]] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> SocksProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            _, count = incoming.read(2)
            incoming.read(count)
            connection.sendall(b"\x05\x00")
            _, _, _, kind = incoming.read(4)
            host = incoming.read(incoming.read(1)[0]) if kind == 3 else incoming.read(4 if kind == 1 else 16)
            name = host.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET, host)
            self.asked.append((name, int.from_bytes(incoming.read(2), "big")))
            connection.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            with socket.create_connection(("127.0.0.1", self._target)) as target:
                back = threading.Thread(target=_copy, args=(target, connection), daemon=True)
                back.start()
                while data := incoming.read1(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return
