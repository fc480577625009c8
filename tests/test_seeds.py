"""The seed tasks: this project's are sound and unlike each other, and a team's own file is read or refused by row."""

from pathlib import Path

import pytest

from stages.lib import records
from stages.lib.contract import Refusal
from stages.lib.generate import seeds, tasks
from stages.lib.generate.pool import new_pool
from tools.inputs import inputs


def test_the_seed_tasks_are_many_sound_and_unlike_each_other() -> None:
    found = seeds.read(inputs().seed_file)
    assert len(found) >= 175
    assert [(one["instruction"], tasks.fault(one)) for one in found if tasks.fault(one)] == []
    with new_pool([], 0.7) as pool:
        for one in found:
            assert pool.judge(one) is None
            pool.add(one, records.make("instruction", [], source="s", licence="", lang="vi", upstream=""))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"instruction": "Kể.", "instances": [{"input": "mèo", "output": "Rồi."}, {"output": "Nữa."}]}\n'),
        ("a.jsonl", '{"instruction": "Kể.", "input": "mèo", "output": "Rồi."}\n'),
        ("a.json", '[{"instruction": "Kể.", "input": "mèo", "output": " Rồi. "}]'),
        ("a.csv", "instruction,input,output\nKể.,mèo,Rồi.\n"),
        ("a.csv", "output;instruction;input\nRồi.;Kể.;mèo\n"),
    ],
)
def test_any_usual_file_gives_seeds(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert seeds.read(tmp_path / name) == [{"instruction": "Kể.", "input": "mèo", "output": "Rồi."}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"instruction": "Kể.", "output": "Rồi."}\n{"instruktion": "Kể.", "output": "x"}\n',
         r"row 2: instruction is missing; did you mean 'instruktion'"),
        ('{"instruction": "Kể.", "output": "Rồi."}\n{"instruction": "Kể."}\n', r"row 2: output is missing"),
        ('{"instruction": " ", "output": "Rồi."}\n', "row 1: instruction is empty"),
        ('{"instruction": "Kể.", "output": 3}\n', "row 1: output: found int; it must be a text"),
        ('{"instruction": "Kể.", "instances": []}\n', r"row 1: instances: found '\[\]'"),
        ('{"instruction": "Kể.", "instances": [{"input": ""}]}\n', r"row 1: instances\[0\]: output is missing"),
        ('{"instruction": "Kể.", "output": "Rồi."}\n[1]\n', "row 2: found list"),
        ('{"instruction": "Kể."\n', "row 1: not JSON"),
        ("\n\n", "holds no seed task|is empty"),
    ],
)  # fmt: skip
def test_a_seed_file_with_a_fault_is_refused_by_row_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match=rf"mine\.jsonl.*({said})"):
        seeds.read(tmp_path / "mine.jsonl")
