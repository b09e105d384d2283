"""Reads `/metrics` as Prometheus does."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Client, wait_for

PREFIX = "cowork_"


class Scrape:
    """What a server told at one moment."""

    def __init__(self, client: Client) -> None:
        reply = client.get("/metrics")
        assert reply.status_code == 200, reply.text
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.families = list(text_string_to_metric_families(reply.text))
        self._series = [each for family in self.families for each in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels; a histogram's count is `..._count`."""
        return sum(
            each.value
            for each in self._series
            if each.name == PREFIX + name and labels.items() <= each.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """What the label is, in the series of that name."""
        return {each.labels[label] for each in self._series if each.name == PREFIX + name}


def await_value(
    client: Client, wanted: Callable[[float], bool], name: str, **labels: str
) -> Scrape:
    """Scrape until the value is what is wanted: what is counted at a reply's end comes after it."""
    seen: list[Scrape] = []

    def is_there() -> bool:
        seen.append(Scrape(client))
        return wanted(seen[-1].value(name, **labels))

    wait_for(is_there, what=f"{name}{labels}")
    return seen[-1]


def await_count(client: Client, count: float, name: str, **labels: str) -> Scrape:
    """As `await_value`, of exactly that."""
    return await_value(client, lambda value: value == count, name, **labels)
