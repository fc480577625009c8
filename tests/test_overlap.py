"""Families in buckets: those of all pairs, at any threshold and by either engine, without comparing all pairs."""

import itertools
import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.dedup import families, minhash, overlap
from tests.test_shingles import cut, sets

WORDS = "sông núi biển trời mây gió mưa nắng cây lá hoa quả chim cá trâu bò lúa ngô khoai sắn bếp lửa khói tre".split()


@pytest.fixture(scope="module")
def engines() -> list[minhash.Engine]:
    return [make(3, 128) for make in (minhash.with_numpy, minhash.with_numba)]


def letters(rng: random.Random, count: int, fixed: int, filled: int, choices: int) -> list[str]:
    """A form with ten gaps and as many fillings of each; a few letters are copies of others with a word left out."""
    form = [[f"{rng.choice(WORDS)}{rng.randrange(99)}" for _ in range(fixed)] for _ in range(10)]
    found: list[str] = []
    for _ in range(count):
        words = [[*part, *(f"điền{rng.randrange(choices)}" for _ in range(filled))] for part in form]
        found.append(" ".join(word for part in words for word in part))
        if rng.random() < 0.2:
            parts = rng.choice(found).split()
            parts.pop(rng.randrange(len(parts)))
            found[-1] = " ".join(parts)
    return found


def bucketed(texts: list[str], keys: list[int]) -> tuple[Any, ...]:
    """What the last step takes: the buckets of some keys, and the sets of the texts."""
    drawn = [sorted(one) for one in sets(cut(*texts))]
    sizes = np.array([len(one) for one in drawn], dtype=np.uint32)
    values = np.array([value for one in drawn for value in one], dtype=np.uint32)
    members, bounds = minhash.buckets(np.array(keys, dtype=np.uint32), np.arange(len(keys), dtype=np.uint32))
    return members, bounds, values, np.cumsum(sizes, dtype=np.int64) - sizes, sizes


def families_of(join: Any, held: tuple[Any, ...], siblings: list[int], threshold: float) -> list[int]:
    members, bounds, values, starts, sizes = held
    parent = np.arange(len(sizes), dtype=np.uint32)
    join(members, bounds, parent, values, starts, sizes, np.array(siblings, dtype=np.uint64), threshold)
    return families.roots(parent).tolist()


def compared(held: tuple[Any, ...], siblings: list[int], threshold: float) -> list[int]:
    """The families of all pairs of a bucket that are alike, by nothing but sets."""
    members, bounds, values, starts, sizes = held
    drawn = [set(values[start : start + size].tolist()) for start, size in zip(starts, sizes, strict=True)]
    family = list(range(len(drawn)))
    for begin, end in itertools.pairwise(bounds):
        for one, other in itertools.combinations(members[begin:end].tolist(), 2):
            shared = len(drawn[one] & drawn[other])
            related = siblings[one] and siblings[one] == siblings[other]
            if shared / len(drawn[one] | drawn[other]) >= threshold and not related:
                low, high = sorted((family[one], family[other]))
                family = [low if root == high else root for root in family]
    return family


@settings(deadline=None, max_examples=60)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
    st.integers(2, 12),
    st.integers(0, 3),
    st.sampled_from([2, 5, 30, 10_000]),
)
def test_in_large_and_small_buckets_families_are_those_of_all_pairs(
    engines: list[minhash.Engine], rng: random.Random, threshold: float, fixed: int, filled: int, choices: int
) -> None:
    texts = letters(rng, 70, fixed, filled, choices)
    # a chain, each of which is like its neighbours, and texts of other lengths
    words = [f"{rng.choice(WORDS)}{number}" for number in range(120)]
    texts += [" ".join(words[place * 2 : place * 2 + rng.randrange(20, 40)]) for place in range(30)]
    texts += [" ".join(text.split()[: rng.randrange(1, 60)]) for text in texts[:30]]
    rng.shuffle(texts)
    held = bucketed(texts, [rng.choice([0, 0, 0, 1, 1, 2 + rng.randrange(5)]) for _ in texts])
    assert np.diff(held[1]).max() > 35  # more than a small bucket holds
    siblings = [rng.choice([0, 0, 0, 1, 2]) for _ in texts]
    true = compared(held, siblings, threshold)
    for join in (minhash.connect, engines[0].connect, engines[1].connect):
        assert families_of(join, held, siblings, threshold) == true


def test_letters_of_one_form_do_not_cost_the_square_of_their_number(engines: list[minhash.Engine]) -> None:
    rng = random.Random(11)
    texts = letters(rng, 12_000, 8, 2, 100_000)
    times = []
    for count in (3_000, 12_000):
        held = bucketed(texts[:count], [0] * count)
        spent = []
        for _ in range(3):
            start = time.process_time()
            found = families_of(engines[1].connect, held, [0] * count, 0.7)
            spent.append(time.process_time() - start)
        times.append(min(spent))
        assert count // 2 < len(set(found)) < count
    assert times[1] < 9 * times[0]  # all pairs: 16 times


def test_numpy_leaves_large_buckets_to_compiled_loops(
    monkeypatch: pytest.MonkeyPatch, engines: list[minhash.Engine]
) -> None:
    texts = letters(random.Random(12), 1_000, 8, 2, 100_000)
    calls: list[int] = []

    def counted(members: Any, *others: Any) -> None:
        calls.append(len(members))
        engines[1].connect(members, *others)

    monkeypatch.setattr(overlap, "connect", counted)
    for count in (100, 1_000):
        held = bucketed(texts[:count], [0] * count)
        one, other = (families_of(join, held, [0] * count, 0.7) for join in (minhash.connect, engines[0].connect))
        assert one == other and count // 2 < len(set(one)) < count
    assert calls == [1_000]
