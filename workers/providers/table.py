"""The tables of README.md that show how each provider takes each parameter, made from the adapters' own.

`python -m workers.providers.table` writes them into the README; a test tells when they are no longer true.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from workers.providers import ADAPTERS
from workers.providers.adapter import WHOLE, Adapter, Endpoint, Parameter

README = Path(__file__).with_name("README.md")
BEGIN = "<!-- made by `python -m workers.providers.table` from the adapters' tables; do not edit -->"
END = "<!-- end of what is made -->"
_OTHERS = "any other"


def tables(adapters: Mapping[str, Adapter] = ADAPTERS) -> str:
    """One table an endpoint, parameter × provider, as Markdown."""
    return "\n\n".join(_table(endpoint, adapters) for endpoint in WHOLE)


def _table(endpoint: Endpoint, adapters: Mapping[str, Adapter]) -> str:
    taking = {name: adapter for name, adapter in adapters.items() if endpoint in adapter.PARAMETERS}
    names = {name: None for adapter in taking.values() for name in adapter.PARAMETERS[endpoint]}
    lines = [f"| {endpoint} | {' | '.join(taking)} |", "|---" * (len(taking) + 1) + "|"]
    for name in (*names, _OTHERS):
        cells = [_cell(adapter.PARAMETERS[endpoint].get(name, adapter.UNLISTED)) for adapter in taking.values()]
        lines.append(f"| {name if name == _OTHERS else f'`{name}`'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(parameter: Parameter) -> str:
    text = parameter.how + (f": {parameter.by}" if parameter.by else "")
    if parameter.models:
        text += f"; {_listed(parameter.models)} only"
    if parameter.only:
        text += f"; {_listed(parameter.only)} only"
    if parameter.most is not None:
        text += f"; at most {parameter.most:g}"
    if parameter.accepts:
        text += f", but for {_listed(parameter.accepts)}"
    return text.replace("|", "\\|")


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(f"`{value if isinstance(value, str) else orjson.dumps(value).decode()}`" for value in values)


def written(text: str) -> str:
    """The README with the tables as they are now.

    Raises:
        ValueError: the marks between which they stand are not there once each, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"{README.name} needs the lines {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
