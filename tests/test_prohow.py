"""PROHOW Turtle: what of a how-to is told, in which order, and what a fault costs."""

import io
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib import prohow, turtle
from stages.lib.prohow import HowTo, Summary, how_tos, ordered
from stages.lib.turtle import Fault

PHO = '''\
w:1e1 rdf:type prohow:instruction_set .
w:1e1 rdfs:label """Nấu phở bò"""@vn .
w:1e1 dbo:abstract """[13] Món ngon."""@vn .
w:8e8 xsd:dateTime "2017-03-01T10:15:00.123Z"^^xsd:dateTime .
w:8e8 oa:hasBody w:1e1 .
w:1e1 prohow:has_method w:2e2 .
w:2e2 rdfs:label """ """@vn .
w:2e2 prohow:has_step w:4e4 .
w:4e4 rdfs:label """Thêm "gừng" """@vn .
w:4e4 prohow:requires w:3e3 .
w:2e2 prohow:has_step w:3e3 .
w:3e3 rdfs:label """Hầm xương
 sáu giờ"""@vn .
w:3e3 dbo:abstract """Hớt bọt ở C:\\\\pho."""@vn .
'''
TOLD = 'Món ngon.\n\n1. Hầm xương sáu giờ. Hớt bọt ở C:\\pho.\n2. Thêm "gừng".'


def read(turtle: str | bytes) -> tuple[list[HowTo], list[Fault], Summary]:
    rows = list(how_tos(io.BytesIO(turtle.encode() if isinstance(turtle, str) else turtle)))
    last = rows[-1]
    assert isinstance(last, Summary)
    told, faults = [row for row in rows if isinstance(row, HowTo)], [row for row in rows if isinstance(row, Fault)]
    assert last.faults == len(faults)
    return told, faults, last


def page(number: int, *triples: str, title: str = "Pha trà") -> str:
    """A how-to whose nodes are numbered from a number on: w:N0 is the page."""
    lines = [f"w:{number}0e1 rdf:type prohow:instruction_set", f'w:{number}0e1 rdfs:label """{title}"""@vn', *triples]
    return "".join(f"{line} .\n" for line in lines)


def one_step(number: int, step: str = '"""Đun nước"""@vn') -> str:
    return page(number, f"w:{number}0e1 prohow:has_step w:{number}1e1", f"w:{number}1e1 rdfs:label {step}")


def test_steps_follow_what_they_require_and_the_counts_add_up() -> None:
    told, faults, summary = read(PHO)
    assert told == [HowTo("1e1", "Nấu phở bò", TOLD)]
    assert not faults and summary == Summary(triples=13, how_tos=1, faults=0)


def test_how_tos_come_in_the_order_of_the_file() -> None:
    told, _, _ = read(one_step(20) + one_step(3) + one_step(11))
    assert [row.name for row in told] == ["200e1", "30e1", "110e1"]


@pytest.mark.parametrize(
    ("label", "step"),
    [
        ('"""Đun nước"""@vn', "Đun nước."),
        ('"""Đun nước!"""@vi', "Đun nước!"),
        ('"""Đun nước"""', "Đun nước."),
        ('"Đun nước"@vi-VN', "Đun nước."),
        ('"Boil"@en , "Đun nước"@vn', "Đun nước."),
        ('"Boil"@en , "Đun nước"', "Đun nước."),
        ('"Đun không tên" , "Đun nước"@vn', "Đun nước."),
        ('"Boil"@en', "Boil."),
        ('"""<b class="whb">Đun</b> n<i>ướ</i>c<sup><a href="#_note-1">[1]</a></sup>"""@vn', "Đun nước."),
        ('"""Đun nước &amp; pha tr&agrave;.[2] Rồi uống [3]."""@vn', "Đun nước & pha trà. Rồi uống."),
        ('"""Đặt a < b và c > d"""@vn', "Đặt a < b và c > d."),
        ('"""Viết <noinput> vào List<int>"""@vn', "Viết <noinput> vào List<int>."),
        ('"""Gõ <b> để in đậm"""@vn', "Gõ <b> để in đậm."),
        ('"""Mở C:\\\\\\\\pho\\\\\\\\bo"""@vn', r"Mở C:\\pho\\bo."),
        ('"""Dùng R&D"""@vn', "Dùng R&D."),
        ("'''Đun \"nước\"'''@vn", 'Đun "nước".'),
    ],
)
def test_a_literal_becomes_a_line(label: str, step: str) -> None:
    told, faults, _ = read(one_step(1, label))
    assert [row.answer for row in told] == [f"1. {step}"] and not faults


@pytest.mark.parametrize(
    ("abstracts", "answer"),
    [
        (['dbo:abstract """Trà ngon."""@vn', 'prohow:html_abstract """<b>HTML</b>"""@vn'], "Trà ngon."),
        (['dbo:abstract " "@vn', 'prohow:html_abstract """Trà <b>ngon</b> &amp; thơm"""@vn'], "Trà **ngon** & thơm"),
        (['dbo:abstract """[4] """@vn', 'prohow:html_abstract """Trà<br>thơm"""@vn'], "Trà  \nthơm"),
        (
            ['prohow:html_abstract """<sup id="_ref-1" class="reference"><a href="#_note-1">[1]</a></sup>\n<ul>\n  '
             '<li>Trà xanh</li>\n  <li>Trà đen</li>\n</ul>"""@vn'],
            "- Trà xanh\n- Trà đen",
        ),
        (['dbo:abstract "Tea"@en', 'prohow:html_abstract "<i>Trà</i>"@vn'], "*Trà*"),
    ],
)  # fmt: skip
def test_a_plain_text_is_preferred_to_html(abstracts: list[str], answer: str) -> None:
    told, _, _ = read(one_step(1) + "".join(f"w:10e1 {abstract} .\n" for abstract in abstracts))
    assert told[0].answer == f"{answer}\n\n1. Đun nước."


def test_html_details_of_a_step_are_indented_under_its_number() -> None:
    told, _, _ = read(one_step(1) + 'w:11e1 prohow:html_abstract """Chọn:<ul><li>ấm</li><li>nồi</li></ul>"""@vn .\n')
    assert told[0].answer == "1. Đun nước. Chọn:\n\n   - ấm\n   - nồi"


def test_methods_have_their_titles_but_not_the_crawlers_own() -> None:
    titles = {2: "Dùng ấm", 10: "Main Steps", 3: "Dùng nồi"}
    triples = []
    for number, title in titles.items():
        triples += [
            f"w:10e1 prohow:has_method w:{number}e1",
            f'w:{number}e1 rdfs:label "{title}"@vn',
            f"w:{number}e1 prohow:has_step w:{number}9e1",
            f'w:{number}9e1 rdfs:label "Bước {number}"@vn',
        ]
    told, _, _ = read(page(1, *triples))
    assert told[0].answer == "Dùng ấm:\n1. Bước 2.\n\nDùng nồi:\n1. Bước 3.\n\n1. Bước 10."


def test_a_step_with_a_method_of_its_own_is_a_part() -> None:
    told, faults, _ = read(
        page(
            1,
            "w:10e1 prohow:has_method w:11e1",
            'w:11e1 rdfs:label "Main Steps"@vn',
            "w:11e1 prohow:has_step w:12e1",
            'w:12e1 rdfs:label "Chuẩn bị"@vn',
            "w:12e1 prohow:has_method w:13e1",
            'w:13e1 rdfs:label "Main Steps"@vn',
            "w:13e1 prohow:has_step w:14e1",
            'w:14e1 rdfs:label "Rửa ấm"@vn',
            "w:13e1 prohow:has_step w:15e1",
            'w:15e1 rdfs:label "Đun nước"@vn',
            "w:15e1 prohow:requires w:14e1",
            "w:11e1 prohow:has_step w:16e1",
            'w:16e1 rdfs:label "Pha"@vn',
            'w:16e1 dbo:abstract "Nhẹ tay."@vn',
            "w:16e1 prohow:requires w:12e1",
            "w:16e1 prohow:has_step w:17e1",
            'w:17e1 rdfs:label "Rót nước"@vn',
            "w:11e1 prohow:has_step w:18e1",
            'w:18e1 rdfs:label "Uống"@vn',
            "w:18e1 prohow:requires w:16e1",
        )
    )
    assert not faults
    assert told[0].answer == "Chuẩn bị:\n1. Rửa ấm.\n2. Đun nước.\n\nPha:\nNhẹ tay.\n1. Rót nước.\n\n1. Uống."


def test_ingredients_stand_before_the_steps_and_tools_after_them() -> None:
    lists = [
        "w:10e1 prohow:requires w:12e1",
        'w:12e1 rdfs:label "Những thứ bạn cần"@vn',
        "w:12e1 rdf:type prohow:complete_instructions",
        "w:12e1 prohow:has_step w:13e1",
        'w:13e1 rdfs:label "Ấm"@vn',
        "w:13e1 rdf:type prohow:requirement",
        "w:10e1 prohow:requires w:14e1",
        'w:14e1 rdfs:label "Nguyên liệu"@vn',
        "w:14e1 prohow:has_step w:16e1",
        'w:16e1 rdfs:label "Nước"@vn',
        "w:14e1 prohow:has_step w:15e1",
        'w:15e1 rdfs:label "5 g trà"@vn',
        "w:15e1 rdf:type prohow:consumable",
    ]
    told, faults, _ = read(one_step(1) + "".join(f"{line} .\n" for line in lists))
    assert told[0].answer == "Nguyên liệu:\n- 5 g trà\n- Nước\n\n1. Đun nước.\n\nNhững thứ bạn cần:\n- Ấm"
    assert not faults
    told, _, _ = read(page(1) + "".join(f"{line} .\n" for line in lists))
    assert told[0].answer == ""  # a list of tools is no answer


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


@pytest.mark.parametrize("chunk", [1, 7, 64, 300, 1 << 18])
def test_pieces_of_any_size_give_the_same(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turtle, "CHUNK", chunk)
    literal = 'Dòng một .\nw:66e6 rdfs:label "không phải" .\nDòng ba'
    told, faults, _ = read(PHO + one_step(5, f'"""{literal}"""@vn') + PHO.replace("e1", "e7"))
    assert [row.answer for row in told] == [TOLD, f"1. {' '.join(literal.split())}.", TOLD] and not faults


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xef\xbb\xbf",
        "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in prohow.PREFIXES.items()).encode(),
        b"@prefix w: <http://example.org/other/> .\n",
        b"PREFIX prohow: <http://vocab.inf.ed.ac.uk/prohow#>\n",
        b"# a comment\n\n@base <http://example.org/> .\n<rel> rdfs:seeAlso <other> .\n",
    ],
)
def test_prefixes_are_added_where_they_are_missing(head: bytes) -> None:
    assert [row.answer for row in read(head + PHO.encode())[0]] == [TOLD]


def test_turtles_shorthand_is_read_too() -> None:
    told, faults, _ = read(
        '<http://a.org/1> a prohow:instruction_set ; rdfs:label "Pha trà"@vi ;\n'
        'prohow:has_step [ rdfs:label "Đun nước"@vi ] , <http://b.org/1> .\n<http://b.org/1> rdfs:label "Rót" .\n'
    )
    assert not faults and sorted(told[0].answer.replace("1. ", "").replace("2. ", "").split("\n")) == [
        "Rót.",
        "Đun nước.",
    ]


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


def test_only_a_window_of_nodes_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prohow, "WINDOW", 3)
    nodes: list[int] = []
    real = prohow.strays

    def counted(held: prohow.Nodes, until: int) -> Iterator[Fault]:
        nodes.append(len(held))
        return real(held, until)

    monkeypatch.setattr(prohow, "strays", counted)
    late = 'w:01e1 dbo:abstract """quá muộn"""@vn .\n'
    near = 'w:81e1 dbo:abstract """Cho sôi."""@vn .\n'
    pages = [one_step(number) + {8: late, 10: near}.get(number, "") for number in range(30)]
    told, faults, _ = read("".join(pages))
    assert [row.name for row in told] == [f"{number}0e1" for number in range(30)]
    assert max(nodes) <= 2 * (2 * 3 + 2)
    assert [row.answer for row in told if "sôi" in row.answer] == ["1. Đun nước. Cho sôi."]
    assert faults == [Fault("01e1", "belongs to no how-to", "quá muộn")]


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


REAL = Path(__file__).parents[2] / "shared" / "real" / "wikihow"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize(
    ("name", "summary"),
    [("class_hierarchy.ttl", Summary(7459, 0, 0)), ("RECONSTRUCTED_vn_0_rdf_result.ttl", Summary(55, 2, 0))],
)
def test_real_files_are_read_whole(name: str, summary: Summary) -> None:
    assert read((REAL / name).read_bytes())[2] == summary
