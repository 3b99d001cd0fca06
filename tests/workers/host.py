"""A host of the internet, on loopback: TLS under a CA of its own, and every byte of an answer in the test's hand."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("cdn.example.com", "img.example.com", "example.org", "localhost")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
JPEG = b"\xff\xd8\xff\xe0" + b"jpeg" * 20
GIF = b"GIF89a" + b"gif" * 20
WEBP = b"RIFF\x40\x00\x00\x00WEBPVP8 " + b"webp" * 20
PDF = b"%PDF-1.7\n" + b"pdf" * 20


def answer(body: bytes = PNG, status: str = "200 OK", **headers: str) -> bytes:
    """A whole response; a header's name is written with `_` for `-`."""
    head = {"Content-Length": str(len(body)), "Content-Type": "image/png", "Connection": "close"}
    head |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, Location=location)


@dataclass
class Host:
    """
    answers: what is sent for each path; any other gets a 404.
    held: paths after whose answer the connection stays open.
    """

    answers: Mapping[str, bytes]
    ca: Path
    held: Collection[str] = ()
    port: int = 0
    heard: list[str] = field(default_factory=list)  # the heads of the requests
    bodies: list[bytes] = field(default_factory=list)

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heard.append(head)
            length = re.search(r"(?im)^content-length: (\d+)", head)
            self.bodies.append(await reader.readexactly(int(length[1])) if length else b"")
            path = head.split(" ")[1]
            writer.write(self.answers.get(path, answer(b"", "404 Not Found")))
            await writer.drain()
            if path in self.held:
                await reader.read()
        writer.close()


@contextlib.contextmanager
def open_host(folder: Path, answers: Mapping[str, bytes], held: Collection[str] = ()) -> Iterator[Host]:
    """The host, in a thread of its own."""
    identity, ca = _certificates(folder)
    host = Host(answers, ca, held)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity)
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        server = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=context)
        host.port = server.sockets[0].getsockname()[1]
        ready.set()
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve_forever()

    task = loop.create_task(main())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    assert ready.wait(10)
    try:
        yield host
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _certificates(folder: Path) -> tuple[Path, Path]:
    """The files of the host's key and certificate, and of the CA's certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    identity, ca = folder / "host.pem", folder / "ca.pem"
    identity.write_bytes(private + public)
    ca.write_bytes(public)
    return identity, ca
