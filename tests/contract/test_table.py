"""The README's tables of parameters say what the adapters do."""

from __future__ import annotations

import pytest

from workers.providers import ADAPTERS, table


def test_the_readme_shows_the_adapters_own_tables() -> None:
    text = table.README.read_text()

    assert table.written(text) == text, "run `python -m workers.providers.table`"


def test_every_provider_and_every_parameter_has_its_cell() -> None:
    shown = table.tables()

    head = next(line for line in shown.splitlines() if line.startswith("| chat.completions |"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == list(ADAPTERS)
    for adapter in ADAPTERS.values():
        for endpoint, parameters in adapter.PARAMETERS.items():
            assert f"| {endpoint} |" in shown
            assert all(f"| `{name}` |" in shown for name in parameters)


@pytest.mark.parametrize(
    "text", ["", table.BEGIN, table.END, f"{table.END}{table.BEGIN}", f"{table.BEGIN}{table.END}" * 2]
)
def test_a_readme_without_its_marks_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        table.written(text)
