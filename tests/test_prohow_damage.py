"""What a fault in PROHOW Turtle costs: itself, by name."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.sources import turtle
from stages.lib.sources.prohow import Summary, how_tos
from tests.pho import PHO, TOLD, one_step, read


@pytest.mark.parametrize(
    ("turtle", "where", "reason"),
    [
        ("w:1e1 prohow:has_step w:99e1 .\n", "1e1", "step 99e1"),
        ("w:3e3 prohow:has_method w:2e2 .\n", "1e1", "method 2e2 is not at one place"),
        ('w:77e1 rdfs:label "Lạc loài"@vn .\n', "77e1", "no how-to"),
        ("w:1e1 rdfs:label unheard:of .\n", "line 15", "unheard: has not been declared"),
        ('w:1e1 rdfs:label """Thiếu dấu đóng"@vn .\n', "line 15", ""),
    ],
)
def test_what_is_damaged_is_named(turtle: str, where: str, reason: str) -> None:
    shown = PHO if "e1 prohow:has_step" not in turtle else PHO.replace("w:1e1 prohow:has_method w:2e2 .\n", "")
    _, faults, summary = read(shown + turtle)
    assert where in [fault.where for fault in faults]
    assert any(reason in fault.reason + fault.detail for fault in faults) and summary.faults == len(faults)


BROKEN = [
    (b'w:5e5 rdfs:label """thi\xe9u"""@vn .\n', "not UTF-8"),
    (b'w:5e5 rdfs:label """"""ba d\xe1\xba\xa5u"""@vn .\n', "three quotes at the start, as the crawler leaves them"),
    (b'w:5e5 rdfs:label """m\xe1\xbb\x9f m\xc3\xa0 kh\xc3\xb4ng \xc4\x91\xc3\xb3ng@vn .\n', "an open literal"),
    (b'w:5e5 rdfs:label """x"""@vn\n', "no full stop"),
    (b"w:5e5 rdfs:label .\n", "no object"),
    (b'w:5e5 linked:to http://x.org/"y" .\n', "an address without its brackets"),
    (b"<<<<<<< HEAD\n", "a merge conflict"),
    (b"\x00\x00\x00\n", "NUL"),
]


@pytest.mark.parametrize("line", [line for line, _ in BROKEN], ids=[name for _, name in BROKEN])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_broken_statement_costs_no_more_than_itself(line: bytes, ending: bytes) -> None:
    turtle = (one_step(4).encode() + line + PHO.encode()).replace(b"\n", ending)
    told, faults, _ = read(turtle)
    assert [fault.where for fault in faults] == ["line 5"]
    assert faults[0].reason and faults[0].raw.split("\n")[0].strip() == line.decode("utf-8", "replace").strip()
    assert [row.answer for row in told][-1:] == [TOLD]
    assert len(told) == 2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_broken_statements_in_every_chunk_are_all_named(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turtle, "CHUNK", 500)
    pages = [one_step(number) for number in range(100)]
    lines = random.Random(count).sample(range(99), count)
    for number in lines:
        pages[number] += 'w:5e5 rdfs:label """mở mà không đóng@vn .\n'
    told, faults, _ = read("".join(pages))
    assert [row.name for row in told] == [f"{number}0e1" for number in range(100)]
    starts = {number: sum(text.count("\n") for text in pages[: number + 1]) for number in lines}
    assert {fault.where for fault in faults} == {f"line {line}" for line in starts.values()}


@pytest.mark.parametrize(
    "turtle", [b"this is <no turtle", b'[{"instruction": "A"}]', b"\xff\xfea\x00", b"<p>x</p>\n" * 5000]
)
def test_what_is_no_turtle_is_refused_as_a_whole(turtle: bytes) -> None:
    with pytest.raises(ValueError, match=r"^no Turtle: line 1: "):
        list(how_tos(io.BytesIO(turtle)))


@pytest.mark.parametrize(
    ("turtle", "triples"), [("", 0), ("# none\n", 0), ("<http://a> rdfs:subClassOf <http://b> .\n", 1)]
)
def test_a_file_without_how_tos_says_how_many_triples_it_has(turtle: str, triples: int) -> None:
    assert read(turtle) == ([], [], Summary(triples, 0, 0))


@given(st.data())
def test_damage_is_never_a_traceback(data: st.DataObject) -> None:
    turtle = bytearray(PHO.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(turtle)))
        turtle[at : at + data.draw(st.integers(0, 9))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b'"""', b" .\n"])
        )
    try:
        *_, last = how_tos(io.BytesIO(bytes(turtle)))
    except ValueError as error:
        assert str(error).startswith("no Turtle: line ")
    else:
        assert isinstance(last, Summary)
