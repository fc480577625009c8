"""The sheet for a data hub, in two languages: its head is YAML, its tables hold, and it says what was counted."""

import html
import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from stages.lib.report import datapage

TEMPLATES = [Path("stages/templates/datacard.md"), Path("stages/templates/datacard.vi.md")]
SPREAD = {"count": 1200, "sum": 9000, "median": 8, "p95": 40, "longest": 203, "bins": {"0": 0, "4": 1100, "128": 100}}
LIMITED = {"context": 256, "records": 1000, "longest": 406, "longer": 44, "tokens_beyond": 9, "bins": {"16": 1000}}
COUNTED = {"texts": 3, "syllables": 9, "tokens": 18, "characters_per_token": 2.2, "partial": 0.025, "unknown": 0.0}


def counts() -> dict[str, Any]:
    """What the stages hand over, small."""
    source = {"url": "data/a.json", "sha256": "ab" * 32, "format": "alpaca", "licence": "MIT", "lang": "en"}
    card = {
        "records": 1200,
        "sets": {"sft.train": 1000, "sft.validation": 200},
        "sources": {
            "a": {**source, "kept": 200, "translated": 200, "dropped": 3},
            "generated": dict.fromkeys(("url", "sha256", "format"), "")
            | {"licence": "LicenseRef-nhà", "lang": "vi", "kept": 1000, "translated": 0, "dropped": 0},
        },
        "languages": {"kept": {"vi": 1200}, "original": {"en": 200, "vi": 1000}},
        "kinds": {"instruction": 1200},
        "licences": {
            "MIT": {"commercial": "yes", "duties": "keep the notice", "records": 200},
            "LicenseRef-nhà": {"commercial": "unclear", "duties": "ask its holder", "records": 1000},
        },
        "teachers": {"thầy": 1200},
        "changes": {},
        "briefs": {},
        "masked": {"email": 2},
        "lengths": {part: SPREAD for part in ("prompt", "answer", "text", "turns", "record")},
        "topics": {
            "broad": {"khác": 1100, "nhà": 100},
            "clusters": [
                {"words": ["a|b", "c"], "records": 1100, "broad": "khác", "example": "Câu."},
                {"words": [], "records": 100, "broad": "nhà", "example": "1"},
            ],
        },
        "flow": [
            {"stage": "parse", "unit": "rows", "entered": 300, "dropped": 3},
            {"stage": "clean", "unit": "records", "entered": 1200, "dropped": 0},
        ],
        "benchmarks": {"questions": 3456, "alone": 77, "unsearched": 5},
        "dropped": {"parse": {"reasons": {"not JSON": 2, "empty": 1}, "sources": {}}},
        "examples": {},
    }
    token = {
        "vocabulary": 1024,
        "all": {**COUNTED, "tokens_per_syllable": 1.9},
        "sources": {"a": {**COUNTED, "tokens_per_syllable": 1.5}, "generated": {**COUNTED, "tokens_per_syllable": 2.0}},
        "sets": {"sft.train": LIMITED, "sft.validation": LIMITED},
    }
    return datapage.to_counts(json.loads(json.dumps(card)), token)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_sheet_says_what_was_counted_in_tables_that_hold(template: Path) -> None:
    text = datapage.sheet(template, "tiny", counts())
    assert text == datapage.sheet(template, "tiny", counts()) and text.endswith("\n") and "\n\n\n" not in text
    for told in (
        "1,200",
        "LicenseRef-nhà",
        "ab" * 32,
        "parse: not JSON",
        "a\\|b · c",
        "`tiny`",
        "1.90",
        "2.5%",
        "44",
        "3,456",
        "77",
    ):
        assert told in text, told
    width = 0
    for line in text.splitlines():
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells


def test_both_languages_hold_the_same_numbers() -> None:
    def tables(template: Path) -> list[list[str]]:
        lines = datapage.sheet(template, "tiny", counts()).splitlines()
        return [[cell for cell in line.split("|") if any(map(str.isdigit, cell))] for line in lines if line[:1] == "|"]

    english, vietnamese = ([[c.split()[0] for c in row] for row in tables(template)] for template in TEMPLATES)
    assert english == vietnamese and sum(map(len, english)) > 40


def test_the_head_is_what_the_hub_reads() -> None:
    head = YAML(typ="safe").load(datapage.sheet(TEMPLATES[0], "tiny", counts()).split("---\n")[1])
    assert head == {
        "license": ["mit", "other"],
        "language": ["vi"],
        "size_categories": ["1K<n<10K"],
        "task_categories": ["text-generation"],
        "tags": ["instruction"],
    }


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_sizes_have_the_hubs_names(count: int, name: str) -> None:
    assert datapage.size(count) == name


HARD = ("a|b*c*", "_d_ <i>", "[e](f) `g`", "$h$ ~~i~~", "# j &lt;", "no", "- k: {l}", "m\\n")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_names_read_as_they_are_written(template: Path) -> None:
    told, source = counts(), counts()["origins"]["a"]
    kept = {name: {**source, "licence": name, "lang": name, "url": f"https://a/{name}"} for name in HARD}
    told["origins"] |= kept
    told["licences"] |= {name: {"commercial": "unclear", "duties": name, "records": 1} for name in HARD}
    for counted in ("languages", "originals", "teachers", "masked", "changes", "broad", "reasons"):
        told[counted] |= dict.fromkeys(HARD, 1)
    told["briefs"] = {name: {name: 1} for name in HARD}
    told["dearest"] |= dict.fromkeys(HARD, 1.0)
    told["tokens"]["sources"] |= {name: told["tokens"]["sources"]["a"] for name in HARD}
    told["clusters"] += [{"words": [name], "records": 1, "broad": name, "example": ""} for name in HARD]
    text = datapage.sheet(template, "re`cipe", told)
    head, _, page = text.removeprefix("---\n").rpartition("\n---\n")
    assert not head or YAML(typ="safe").load(head)["language"] == sorted(("vi", *HARD))
    shown = MarkdownIt().enable(["table", "strikethrough"]).render(page)
    for name in HARD:
        assert shown.count(f"<td>{html.escape(name)}</td>") == 9, name
        assert f"<li>{html.escape(name)}: <code>{html.escape(f'https://a/{name}')}</code>" in shown, name
    assert "<em>d" not in shown and "<strong>" in shown and "<code>re`cipe</code>" in shown


def test_the_charts_show_clusters_lengths_and_what_is_longer_than_the_context() -> None:
    drawn = datapage.draw(counts())
    assert "a|b · c (khác): 1,100 records, 91.7%" in drawn["topics"] and "no telling word (nhà)" in drawn["topics"]
    assert list(drawn["tokens"]) == ["sft.train: 44 of 1,000 are longer than the context"]
    assert "Questions: median 8, 95% up to 40, longest 203 syllables" in drawn["lengths"]
    assert ">kept<" in drawn["flow"] and "300 rows, 3 left out" in drawn["flow"]
    assert list(counts()["dearest"].items()) == [("generated", 2.0), ("a", 1.5)]
    assert list(counts()["reasons"]) == ["parse: not JSON", "parse: empty"]
