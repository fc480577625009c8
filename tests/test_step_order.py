"""Steps in the order of what they require."""

from itertools import pairwise

import pytest

from stages.lib.sources.prohow import ordered


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({"w/2e2": {"w/1e1"}, "w/1e1": {"w/2e2"}}, ["w/1e1", "w/2e2"]),
        ({"3e3": set(), "10e1": {"3e3"}, "2e2": {"10e1"}}, ["3e3", "10e1", "2e2"]),
        ({"10e1": set(), "9e1": set(), "x": set()}, ["x", "9e1", "10e1"]),
        ({"1e1": {"elsewhere"}}, ["1e1"]),
        ({}, []),
    ],
)
def test_steps_are_ordered_even_in_a_circle(needs: dict[str, set[str]], order: list[str]) -> None:
    assert ordered(needs) == order


def test_a_long_chain_is_ordered_at_once() -> None:
    names = [f"{number}e1" for number in range(20_000, 0, -1)]
    needs: dict[str, set[str]] = {name: {before} for before, name in pairwise(names)}
    assert ordered({**needs, names[0]: set()}) == names
