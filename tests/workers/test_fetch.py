"""What the gateway fetches for strangers, and all that it does not."""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mesh.errors import RequestError
from tests.stack import ROOT
from tests.workers.host import GIF, JPEG, PDF, PNG, WEBP, Host, answer, open_host, redirect
from workers.fetch import IMAGES, Fetched, Fetcher, Rules, checked, is_public

ANY = ("*",)
LOOPBACK = "127.0.0.1"
INNER = "10.0.0.7"
RULES = Rules(hosts=("*.example.com",), max_bytes=100_000, timeout_s=5.0)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("cat.png", id="no scheme"),
        pytest.param("//example.com/cat.png", id="no scheme but a host"),
        pytest.param("http://example.com/cat.png", id="http"),
        pytest.param("ftp://example.com/cat.png", id="ftp"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("gopher://example.com/", id="gopher"),
        pytest.param("data:image/png;base64,AAAA", id="a data URL"),
        pytest.param("https:///cat.png", id="no host"),
        pytest.param("https://", id="nothing but the scheme"),
        pytest.param("https:cat.png", id="no slashes"),
        pytest.param("https://example.com:80/", id="port 80"),
        pytest.param("https://example.com:8443/", id="port 8443"),
        pytest.param("https://example.com:6379/", id="Redis' port"),
        pytest.param("https://example.com:0/", id="port 0"),
        pytest.param("https://example.com:99999/", id="no port"),
        pytest.param("https://example.com:abc/", id="a port in letters"),
        pytest.param("https://user@example.com/", id="a user"),
        pytest.param("https://user:secret@example.com/", id="a user and a password"),
        pytest.param("https://@example.com/", id="an empty user"),
        pytest.param("https://:@example.com/", id="an empty user and password"),
        pytest.param("https://example.com@10.0.0.1/", id="a name that is a user"),
        pytest.param("https://example.com\\@10.0.0.1/", id="a backslash"),
        pytest.param("https://example.com /", id="a space in the host"),
        pytest.param(" https://example.com/", id="a space before"),
        pytest.param("https://exam\tple.com/", id="a tab that some parsers skip"),
        pytest.param("https://example.com/\r\nX-Evil: 1", id="a line end"),
        pytest.param("https://example.com/\x00", id="a zero byte"),
        pytest.param("https://127.0.0.1/", id="loopback"),
        pytest.param("https://93.184.216.34/", id="any IPv4 address"),
        pytest.param("https://2130706433/", id="a decimal address"),
        pytest.param("https://0x7f000001/", id="a hex address"),
        pytest.param("https://0x7f.0.0.1/", id="an address with a hex part"),
        pytest.param("https://127.0.0.0x1/", id="an address with a hex end"),
        pytest.param("https://0177.0.0.1/", id="an address with an octal part"),
        pytest.param("https://017700000001/", id="an octal address"),
        pytest.param("https://127.1/", id="a short address"),
        pytest.param("https://0/", id="zero"),
        pytest.param("https://127.0.0.1./", id="an address with a dot behind"),
        pytest.param("https://[::1]/", id="IPv6 loopback"),
        pytest.param("https://[::ffff:127.0.0.1]/", id="mapped IPv4"),
        pytest.param("https://[fe80::1%25eth0]/", id="a zone"),
        pytest.param("https://[2606:4700::1111]/", id="any IPv6 address"),
        pytest.param("https://[::1/", id="a bracket that never closes"),
        pytest.param("https://①②⑦.0.0.1/", id="circled digits"),
        pytest.param("https://127。0。0。1/", id="ideographic full stops"),
        pytest.param("https://exämple.com/", id="a name not in ASCII"),
        pytest.param("https://ex%61mple.com/", id="a name in percents"),
        pytest.param("https://localhost/", id="localhost"),
        pytest.param("https://a.localhost/", id="below localhost"),
        pytest.param("https://redis/", id="a service by its short name"),
        pytest.param("https://redis.default.svc.cluster.local/", id="a service by its full name"),
        pytest.param("https://metadata.google.internal/", id="a cloud's metadata"),
        pytest.param("https://router.lan/", id="lan"),
        pytest.param("https://1.0.0.127.in-addr.arpa/", id="arpa"),
        pytest.param("https://example.com./", id="a dot behind"),
        pytest.param("https://.example.com/", id="a dot before"),
        pytest.param("https://a..example.com/", id="two dots"),
        pytest.param("https://-a.example.com/", id="a label with a hyphen before"),
        pytest.param(f"https://{'a' * 64}.example.com/", id="a label too long"),
        pytest.param(f"https://{'a.' * 130}com/", id="a name too long"),
        pytest.param("https://example.com/" + "a" * 8000, id="a URL too long"),
        pytest.param("https://example.com/é.png", id="a path not in ASCII"),
    ],
)
def test_a_url_that_may_lead_anywhere_else_is_refused_before_its_name_is_resolved(url: str) -> None:
    with pytest.raises(RequestError):
        checked(url, ANY)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/cat.png", "example.com"),
        ("HTTPS://EXAMPLE.com:443/cat.png?size=2#top", "example.com"),
        ("https://a-b.c_d.xn--bcher-kva.example/%C3%A9.png", "a-b.c_d.xn--bcher-kva.example"),
    ],
)
def test_an_ordinary_url_is_taken(url: str, host: str) -> None:
    taken = checked(url, ANY)
    assert taken.raw_host is not None
    assert (taken.scheme, taken.raw_host.lower(), taken.port, taken.fragment) == ("https", host, 443, "")


@pytest.mark.parametrize(
    ("hosts", "host", "taken"),
    [
        pytest.param((), "example.com", False, id="an empty list is nobody"),
        pytest.param(("example.com",), "example.com", True, id="the name"),
        pytest.param(("Example.COM",), "eXample.com", True, id="in any case"),
        pytest.param(("example.com",), "cdn.example.com", False, id="a name is not what is below it"),
        pytest.param(("*.example.com",), "cdn.example.com", True, id="below"),
        pytest.param(("*.example.com",), "a.b.example.com", True, id="far below"),
        pytest.param(("*.example.com",), "example.com", False, id="below is not the name itself"),
        pytest.param(("*.example.com",), "evilexample.com", False, id="no dot between"),
        pytest.param(("example.com",), "example.com.evil.org", False, id="the name as a beginning"),
    ],
)
def test_only_hosts_of_the_list_are_asked(hosts: tuple[str, ...], host: str, taken: bool) -> None:
    if taken:
        checked(f"https://{host}/", hosts)
        return
    with pytest.raises(RequestError, match="may fetch from"):
        checked(f"https://{host}/", hosts)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
        "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.0.1", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
        "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:808:808::1",
        "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1111%1", "fec0::1", "ff02::1",
        "ff0e::1", "4000::1", "localhost", "", "127.1", "0x7f.0.0.1", "2130706433",
    ],
)  # fmt: skip
def test_an_address_outside_the_public_internet_is_none(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_of_the_public_internet_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param((), id="none"),
        pytest.param((INNER,), id="one inside"),
        pytest.param(("93.184.216.34", INNER), id="one outside and one inside"),
        pytest.param(("2606:4700::1111", "::ffff:10.0.0.7"), id="mapped"),
        pytest.param(("64:ff9b::a00:7",), id="by NAT64"),
    ],
)
def test_a_name_with_any_address_inside_is_never_connected_to(answers: Sequence[str]) -> None:
    async def resolved(name: str) -> Sequence[str]:
        return answers

    with socket.create_server((LOOPBACK, 0)) as listener:
        fetcher = Fetcher(RULES, resolve=resolved, port=listener.getsockname()[1])
        with pytest.raises(RequestError, match="no address on the public internet") as refused:
            asyncio.run(fetcher.fetch("https://cdn.example.com/cat.png"))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not any(address in refused.value.message for address in answers)


HELD = ("/silent", "/stalls")
ANSWERS = {
    "/png": answer(PNG),
    "/jpeg": answer(JPEG, Content_Type="text/html"),
    "/gif": answer(GIF),
    "/webp": answer(WEBP, Content_Length=""),
    "/pdf": answer(PDF),
    "/html": answer(b"<html>" + b"x" * 500),
    "/svg": answer(b"<svg xmlns='http://www.w3.org/2000/svg'/>", Content_Type="image/svg+xml"),
    "/short": answer(b"\x89PNG"),
    "/empty": answer(b""),
    "/nothing": answer(b"", "204 No Content"),
    "/part": answer(PNG, "206 Partial Content"),
    "/error": answer(PNG, "500 Internal Server Error"),
    "/exact": answer(PNG.ljust(100_000, b"\0")),
    "/large": answer(PNG.ljust(100_001, b"\0")),
    "/says-large": answer(PNG, Content_Length="100001"),
    "/large-unsaid": answer(PNG.ljust(300_000, b"\0"), Content_Length=""),
    "/large-chunked": answer(
        b"%x\r\n" % 300_000 + PNG.ljust(300_000, b"\0"), Content_Length="", Transfer_Encoding="chunked"
    ),
    "/says-less": answer(PNG.ljust(300_000, b"\0"), Content_Length=str(len(PNG))),
    "/says-more": answer(PNG, Content_Length="5000"),
    "/bomb": answer(gzip.compress(PNG + bytes(50_000_000)), Content_Encoding="gzip"),
    "/bomb-unsaid": answer(gzip.compress(PNG + bytes(1_000_000))),
    "/identity": answer(PNG, Content_Encoding="identity"),
    "/stacked": answer(PNG, Content_Encoding="identity, gzip"),
    "/garbage": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "/closed": b"",
    "/heads": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    "/silent": b"",
    "/stalls": answer(PNG, Content_Length="5000"),
    "/to-png": redirect("/png"),
    "/to-named": redirect("https://img.example.com/png", "308 Permanent Redirect"),
    "/to-http": redirect("http://cdn.example.com/png"),
    "/to-address": redirect("https://10.0.0.7/png"),
    "/to-port": redirect("https://cdn.example.com:8443/png"),
    "/to-file": redirect("file:///etc/passwd"),
    "/to-inner": redirect("https://inner.example.com/png"),
    "/to-unlisted": redirect("https://example.org/png"),
    "/to-user": redirect("https://a:b@cdn.example.com/png"),
    "/to-nowhere": answer(b"", "302 Found"),
    "/to-nonsense": redirect("https://[::1/"),
    "/to-itself": redirect("/to-itself"),
    "/three": redirect("/two"),
    "/two": redirect("/to-png"),
    "/four": redirect("/three"),
}  # fmt: skip


class Names:
    """A resolver to which everything is this host but `inner`; it counts what it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = answers or ((LOOPBACK,),)

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name.startswith("inner."):
            return (INNER,)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with open_host(tmp_path_factory.mktemp("host"), ANSWERS, HELD) as opened:
        yield opened


def fetcher_of(host: Host, names: Names | None = None, rules: Rules = RULES) -> Fetcher:
    """Under the real rules, but that this host's loopback counts as a public address."""
    return Fetcher(
        rules,
        resolve=names or Names(),
        allowed=lambda address: address == LOOPBACK or is_public(address),
        tls=host.trust,
        port=host.port,
    )


def fetch(host: Host, path: str, names: Names | None = None, rules: Rules = RULES) -> Fetched:
    return asyncio.run(fetcher_of(host, names, rules).fetch(f"https://cdn.example.com{path}"))


@pytest.mark.parametrize(
    ("path", "data", "media_type"),
    [
        ("/png", PNG, "image/png"),
        ("/jpeg", JPEG, "image/jpeg"),
        ("/gif", GIF, "image/gif"),
        ("/webp", WEBP, "image/webp"),
        ("/identity", PNG, "image/png"),
        ("/exact", PNG.ljust(100_000, b"\0"), "image/png"),
        ("/to-png", PNG, "image/png"),
        ("/to-named", PNG, "image/png"),
        ("/three", PNG, "image/png"),
    ],
)
def test_an_image_comes_back_under_the_type_of_its_bytes(host: Host, path: str, data: bytes, media_type: str) -> None:
    assert fetch(host, path) == Fetched(data, media_type)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "status 404"),
        ("/nothing", "status 204"),
        ("/part", "status 206"),
        ("/error", "status 500"),
        ("/pdf", "none of image/png"),
        ("/html", "none of image/png"),
        ("/svg", "none of image/png"),
        ("/short", "none of image/png"),
        ("/empty", "none of image/png"),
        ("/bomb-unsaid", "none of image/png"),
        ("/large", "larger than 100000 bytes"),
        ("/says-large", "larger than 100000 bytes"),
        ("/large-unsaid", "larger than 100000 bytes"),
        ("/large-chunked", "larger than 100000 bytes"),
        ("/bomb", "compressed"),
        ("/stacked", "compressed"),
        ("/says-more", "broken"),
        ("/says-less", "broken"),
        ("/garbage", "broken"),
        ("/heads", "broken"),
        ("/closed", "closed the connection"),
        ("/to-http", "Only https"),
        ("/to-address", "not an address"),
        ("/to-port", "port 443"),
        ("/to-file", "Only https"),
        ("/to-inner", "no address on the public internet"),
        ("/to-unlisted", "may fetch from"),
        ("/to-user", "user or password"),
        ("/to-nowhere", "more than 3 times"),
        ("/to-nonsense", "cannot be read"),
        ("/to-itself", "more than 3 times"),
        ("/four", "more than 3 times"),
    ],
)
def test_what_is_no_image_of_a_public_host_is_refused_with_its_reason(host: Host, path: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as refused:
        fetch(host, path)
    assert INNER not in refused.value.message and LOOPBACK not in refused.value.message


@pytest.mark.parametrize("path", HELD)
def test_a_host_that_says_no_more_is_left_in_time(host: Host, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"not fetched within 0\.3 s"):
        fetch(host, path, rules=Rules(hosts=RULES.hosts, timeout_s=0.3))
    assert time.monotonic() - began < 3


def test_a_resolver_that_never_answers_is_left_in_time(host: Host) -> None:
    class Silent(Names):
        async def __call__(self, name: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

    with pytest.raises(RequestError, match="not fetched within"):
        fetch(host, "/png", Silent(), Rules(hosts=RULES.hosts, timeout_s=0.2))


def test_a_name_is_resolved_once_so_a_second_answer_can_lead_nowhere_else(host: Host) -> None:
    names = Names((LOOPBACK,), (INNER,))
    assert fetch(host, "/png", names).data == PNG
    assert names.asked == ["cdn.example.com"]


def test_each_redirect_is_resolved_and_judged_anew(host: Host) -> None:
    names = Names((LOOPBACK,), (INNER,))
    with pytest.raises(RequestError, match="no address on the public internet"):
        fetch(host, "/to-png", names)
    assert names.asked == ["cdn.example.com", "cdn.example.com"]


def test_a_certificate_for_another_name_is_refused(host: Host) -> None:
    fetcher = fetcher_of(host, rules=Rules(hosts=ANY))
    with pytest.raises(RequestError, match="certificate"):
        asyncio.run(fetcher.fetch("https://other.example.com/png"))


def test_a_certificate_that_nobody_vouches_for_is_refused(host: Host) -> None:
    fetcher = Fetcher(RULES, resolve=Names(), allowed=lambda address: True, port=host.port)
    with pytest.raises(RequestError, match="certificate"):
        asyncio.run(fetcher.fetch("https://cdn.example.com/png"))


def test_a_host_that_is_not_there_is_a_sentence_without_its_address() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    fetcher = Fetcher(RULES, resolve=Names(), allowed=lambda address: True, port=port)
    with pytest.raises(RequestError, match="could not be reached") as refused:
        asyncio.run(fetcher.fetch("https://cdn.example.com/png"))
    assert LOOPBACK not in refused.value.message


def test_the_host_hears_nothing_of_ours(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine cdn.example.com login us password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    host.heard.clear()
    fetch(host, "/png")
    line, *headers = host.heard[0].strip().split("\r\n")
    assert line == "GET /png HTTP/1.1"
    assert dict(header.split(": ", 1) for header in headers) == {
        "Host": "cdn.example.com",
        "Accept": ", ".join(IMAGES),
        "Accept-Encoding": "identity",
        "User-Agent": "gateway",
        "Connection": "close",
    }


def test_cookies_do_not_go_along_a_redirect(tmp_path: Path) -> None:
    answers = {"/set": redirect("/png").replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1), "/png": answer(PNG)}
    with open_host(tmp_path, answers) as host:
        fetch(host, "/set")
    assert not any("cookie" in head.lower() for head in host.heard)


def test_a_pdf_is_taken_where_it_is_allowed(host: Host) -> None:
    rules = Rules(hosts=RULES.hosts, media_types=("application/pdf",))
    assert fetch(host, "/pdf", rules=rules) == Fetched(PDF, "application/pdf")


def test_many_at_once_do_not_mix(host: Host) -> None:
    wanted = {"/png": PNG, "/jpeg": JPEG, "/gif": GIF, "/webp": WEBP}

    async def main() -> list[Fetched]:
        fetcher = fetcher_of(host)
        return await asyncio.gather(*(fetcher.fetch(f"https://cdn.example.com{path}") for path in list(wanted) * 5))

    assert [fetched.data for fetched in asyncio.run(main())] == list(wanted.values()) * 5


def test_a_fetch_that_is_cancelled_closes_its_connection(host: Host) -> None:
    async def main() -> None:
        host.heard.clear()
        task = asyncio.create_task(fetcher_of(host).fetch("https://cdn.example.com/silent"))
        while not host.heard:  # noqa: ASYNC110  # the host is in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_worker_that_has_fetched_nothing_has_not_loaded_the_client() -> None:
    said = "import sys, workers.consumer; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
