"""What is sealed opens only where it was sealed, unchanged, with a master that is known."""

from __future__ import annotations

import pytest

from mesh.seal import SealBroken, Sealer

OLD, NEW = b"o" * 32, b"n" * 32


def sealer(**masters: bytes) -> Sealer:
    return Sealer(masters or {"a": OLD})


@pytest.mark.parametrize("text", [b"", b"x", "Grüße 👋".encode(), bytes(range(256)), b"." * 100, b"long " * 100_000])
def test_a_text_comes_back(text: bytes) -> None:
    seal = sealer().job("acme", "job-1")
    assert seal.open("request", seal.seal("request", text)) == text
    assert sealer().job("acme", "job-1").open("request", seal.seal("request", text)) == text


def test_the_same_text_is_never_sealed_the_same() -> None:
    seal = sealer().job("acme", "job-1")
    sealed = {seal.seal("request", b"secret") for _ in range(1000)}
    assert len(sealed) == 1000 and not any(b"secret" in each for each in sealed)


def test_no_number_is_used_twice_under_a_jobs_key() -> None:
    seals = [sealer().job("acme", "job-1") for _ in range(20)]
    numbers = {seal.seal("event:1", b"text")[2:14] for _ in range(500) for seal in seals}
    assert len(numbers) == 20 * 500


@pytest.mark.parametrize(
    ("tenant", "job", "field"),
    [
        pytest.param("umbrella", "job-1", "event:1", id="another tenant"),
        pytest.param("acme", "job-2", "event:1", id="another job"),
        pytest.param("acme", "job-1", "event:2", id="another event"),
        pytest.param("acme", "job-1", "request", id="another field"),
        pytest.param("acme", "job-1", "", id="no field"),
        pytest.param("acme\0job-1", "", "event:1", id="a tenant that says the job too"),
        pytest.param("acm", "e\0job-1", "event:1", id="another border between tenant and job"),
    ],
)
def test_a_moved_text_is_refused(tenant: str, job: str, field: str) -> None:
    sealed = sealer().job("acme", "job-1").seal("event:1", b"text")
    with pytest.raises(SealBroken):
        sealer().job(tenant, job).open(field, sealed)


def test_a_changed_text_is_refused_wherever_it_was_changed() -> None:
    seal = sealer().job("acme", "job-1")
    sealed = seal.seal("request", b"text")
    for place in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[place] ^= bit
            with pytest.raises(SealBroken):
                seal.open("request", bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            seal.open("request", sealed[:length])
    with pytest.raises(SealBroken):
        seal.open("request", sealed + b"x")


@pytest.mark.parametrize("text", [b"", b".", b"a.", b"a", b"\xff\xfe.123", b"x" * 100, b"a." + b"\0" * 12])
def test_what_was_never_sealed_is_refused(text: bytes) -> None:
    with pytest.raises(SealBroken):
        sealer().job("acme", "job-1").open("request", text)


def test_the_first_master_seals_and_an_old_one_still_opens() -> None:
    before = sealer(old=OLD).job("acme", "job-1").seal("request", b"text")
    both = sealer(new=NEW, old=OLD).job("acme", "job-1")
    after = both.seal("request", b"text")
    assert (before[:4], after[:4]) == (b"old.", b"new.")
    assert both.open("request", before) == both.open("request", after) == b"text"
    with pytest.raises(SealBroken):
        sealer(new=NEW).job("acme", "job-1").open("request", before)
    with pytest.raises(SealBroken):  # the same name for another master
        sealer(old=NEW).job("acme", "job-1").open("request", before)


def test_the_reason_does_not_repeat_the_text() -> None:
    with pytest.raises(SealBroken) as caught:
        sealer().job("acme", "job-1").open("request", b"a." + b"secret" * 20)
    assert "secret" not in str(caught.value)
