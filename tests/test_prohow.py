"""PROHOW Turtle: what of a how-to is told, in which order, and what a fault costs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.lib.sources import prohow, turtle
from stages.lib.sources.prohow import HowTo, Summary
from stages.lib.sources.turtle import Fault
from tests.pho import PHO, TOLD, one_step, page, read


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


REAL = Path(__file__).parents[2] / "shared" / "real" / "wikihow"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize(
    ("name", "summary"),
    [("class_hierarchy.ttl", Summary(7459, 0, 0)), ("RECONSTRUCTED_vn_0_rdf_result.ttl", Summary(55, 2, 0))],
)
def test_real_files_are_read_whole(name: str, summary: Summary) -> None:
    assert read((REAL / name).read_bytes())[2] == summary
