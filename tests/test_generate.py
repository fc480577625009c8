"""Self-instruct: what is asked, what is kept and why not, and the same again after any interruption."""

import json
from collections import Counter
from pathlib import Path

import pytest

from stages import generate
from stages.lib import paramfile, records
from stages.lib.contract import Refusal
from stages.lib.generate import tasks
from stages.lib.params import Fallback, Nllb, Params
from stages.lib.teachers import journal
from stages.lib.teachers.journal import Entry
from stages.lib.teachers.requests import Failure, Prompt, key, usable
from stages.lib.translate import attempts
from tests.inventor import PROMPTS, Teacher, inventive, kept, reasons, run, task, words
from tools import rekey
from tools.inputs import inputs


@pytest.fixture(scope="module")
def params() -> Params:
    return paramfile.check(Path("params.yaml"), Path("recipes"))[0]


# what comes of a run


def test_every_task_is_kept_or_dropped_with_a_reason(params: Params) -> None:
    outcomes = run(params, Teacher(params))
    assert len(outcomes) == 3 * 4 * 5 + 24  # half of the 48 that were kept are evolved
    assert len(kept(outcomes)) == 48 + 24
    assert reasons(outcomes) == {"not novel": 12}


def test_a_run_that_is_killed_anywhere_goes_on_as_if_nothing_had_been(params: Params) -> None:
    whole = Teacher(params)
    expected = run(params, whole)
    for moment in (1, 6, 11, 20):
        cut = Teacher(params)
        cut.left = moment
        with pytest.raises(KeyboardInterrupt):
            run(params, cut)
        assert len(cut.known) == moment
        cut.left = -1
        assert run(params, cut) == expected
        assert cut.known == whole.known  # nothing was asked that the other run didn't ask


def test_another_seed_asks_other_things(params: Params) -> None:
    first, second = Teacher(params), Teacher(params)
    run(params, first)
    run(params, second, seed=2)
    assert not first.known.keys() & second.known.keys()


def test_evolved_tasks_stand_in_their_parents_group_and_name_them(params: Params) -> None:
    records_kept = kept(run(params, Teacher(params), evolve=2.0))
    by_id = {record["id"]: record for record in records_kept}
    evolved = [record for record in records_kept if record["upstream"] in by_id]
    assert len(evolved) == 2 * 48
    assert all(record["group"] == by_id[record["upstream"]]["group"] for record in evolved)
    generations = Counter(sum(note.startswith("evolved: ") for note in record["notes"]) for record in records_kept)
    assert generations == {0: 48, 1: 48, 2: 48}
    assert len({record["group"] for record in records_kept}) == 48


def test_a_record_keeps_the_brief_that_it_was_made_for(params: Params) -> None:
    briefed = [record for record in kept(run(params, Teacher(params), evolve=0.0)) if record["notes"]]
    assert len(briefed) == 24
    assert {note.split(": ")[0] for record in briefed for note in record["notes"]} == {"topic", "persona", "difficulty"}


@pytest.mark.parametrize(
    ("wanted", "rounds", "calls", "made"),
    [(6, 9, [2], 8), (24, 9, [4, 2], 24), (25, 9, [4, 3], 28), (1000, 2, [4, 4], 32)],
)
def test_rounds_end_with_what_is_wanted(params: Params, wanted: int, rounds: int, calls: list[int], made: int) -> None:
    teacher = Teacher(params)
    assert len(kept(run(params, teacher, wanted=wanted, rounds=rounds, evolve=0.0))) == made
    assert teacher.calls == calls


def test_a_round_that_brings_hardly_anything_new_is_the_last(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = json.dumps({"tasks": [task("Nêu cách trồng rau sạch trên ban công.")] * 5})
    teacher = Teacher(params, lambda prompt, text: stale)
    assert len(kept(run(params, teacher, evolve=0.0))) == 1
    assert teacher.calls == [4] and "round 1 brought 1 new tasks of 20" in capsys.readouterr().out


def test_what_has_no_answer_is_asked_again_and_then_stops_the_run(params: Params) -> None:
    teacher, calls = Teacher(params), list[int]()

    def late(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        calls.append(len(texts))
        found = teacher(prompt, texts, name)
        return found if len(calls) % 3 == 0 else [Failure("no answer", "busy"), *found[1:]]

    assert run(params, late) == run(params, Teacher(params))
    assert calls[:4] == [4, 1, 1, 4]  # what was answered isn't asked, and billed, again
    with pytest.raises(Refusal, match=r"round 1 of at most 3: 4 of 4 requests: no answer \(busy\)"):
        run(params, lambda prompt, texts, name: [Failure("no answer", "busy") for _ in texts])


def test_what_may_have_been_billed_is_not_asked_again(params: Params) -> None:
    calls = list[int]()

    def slow(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        calls.append(len(texts))
        return [*[Failure("no answer", "busy") for _ in texts[1:]], Failure("timed out", "slow", again=False)]

    with pytest.raises(Refusal, match=r"4 of 4 requests: timed out \(slow\)"):
        run(params, slow)
    assert calls == [4]


def test_the_whole_tasks_of_an_answer_that_was_cut_are_kept(params: Params) -> None:
    teacher = Teacher(params)

    def cut(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
        found = [answer for answer in teacher(prompt, texts, name) if not isinstance(answer, Failure)]
        for answer in found:
            answer["answer"], answer["finish_reason"] = answer["answer"][:-9], "length"
        return [usable(answer) for answer in found]

    outcomes = run(params, cut, requests=4, rounds=1, evolve=0.0)
    assert len(kept(outcomes)) == 4 * 3  # of four whole ones, one is a copy
    assert reasons(outcomes) == {"truncated": 4, "not novel": 4}


def test_an_evolved_task_may_hold_all_words_of_its_parent(params: Params) -> None:
    def longer(prompt: Prompt, text: str) -> str:
        if prompt.name != "evolve":
            return inventive(prompt, text)
        parent = json.loads(text)["task"]["instruction"]
        return json.dumps(task(f"{parent} Nhớ dùng thêm {words(text, 2)} nhé em."))  # eight words

    outcomes = run(params, Teacher(params, longer), evolve=2.0)
    assert reasons(outcomes) == {"not novel": 12} and len(kept(outcomes)) == 3 * 48


def test_what_can_only_translate_invents_nothing(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    nllb = params.teacher.model_copy(update={"engine": "nllb", "nllb": Nllb(quantization="int8", beam=4)})
    stage(params.model_copy(update={"teacher": nllb}), tmp_path, inputs().shipped)
    assert "engine nllb can only translate, and there is no fallback" in capsys.readouterr().out
    assert not records.count(tmp_path / "kept.parquet") and not records.count(tmp_path / "spend.parquet")
    stage(params.model_copy(update={"licences": ["MIT"]}), tmp_path, inputs().shipped)
    assert "nothing is asked, since licences" in capsys.readouterr().out


def test_the_fallback_invents_where_the_teacher_is_a_translation_model(params: Params) -> None:
    llm = Fallback(engine="openai", model="llm", base_url="http://localhost/v1", api_key="K")
    nllb, decoding = llm.model_copy(update={"engine": "nllb", "model": "nllb"}), Nllb(quantization="int8", beam=4)

    def who(engine: str, fallback: Fallback | None) -> tuple[str, str] | None:
        dials = {"engine": engine, "nllb": decoding, "fallback": fallback}
        found = attempts.author(params.teacher.model_copy(update=dials))
        assert found is None or found.nllb is None
        return (found.engine, found.model) if found else None

    assert who("nllb", llm) == ("openai", "llm") and who("nllb", nllb) is None and who("nllb", None) is None
    assert who("journal", llm) == ("journal", "llm")  # the answers of that run, from the journal alone
    assert who("openai", nllb) == ("openai", params.teacher.model)
    both = params.teacher.model_copy(update={"nllb": decoding, "fallback": nllb})
    assert key(both, PROMPTS[0], "x") == key(params.teacher, PROMPTS[0], "x")


def test_answers_are_filed_under_their_own_teacher_alone(params: Params) -> None:
    entries = list(journal.entries(inputs().shipped))
    rekey.check(entries, params.teacher, inputs().shipped)
    with pytest.raises(Refusal, match="holds answers of project-authors"):
        rekey.check(entries, params.teacher.model_copy(update={"model": "gpt"}), inputs().shipped)
    extra = next(entry for entry in entries if entry["prompt"] == "generate").copy()
    extra["key"] = "0" * 32
    assert rekey.replay([*entries, extra], params, inputs())[1] == [extra]


def test_an_answer_that_can_not_be_used_is_counted_and_too_many_stop_the_run(params: Params) -> None:
    teacher = Teacher(params)

    def short(share: int) -> generate.Asked:
        def asked(prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
            found = teacher(prompt, texts, name)
            cut = Failure("truncated", "stopped at max_tokens", answered=True)
            return [cut if number % share == 1 else answer for number, answer in enumerate(found)]

        return asked

    outcomes = run(params, short(40), requests=40, rounds=1, evolve=0.0)
    assert reasons(outcomes)["truncated"] == 1
    dropped = next(record for record, verdict in outcomes if verdict and verdict[0] == "truncated")
    assert dropped["upstream"] == "1.2.0" and dropped["request"]
    with pytest.raises(Refusal, match=r"generate: 4 of 40 requests failed \(truncated\)"):
        run(params, short(10), requests=40, rounds=1)


# the stage as dvc runs it


def stage(params: Params, folder: Path, shipped: Path) -> None:
    generate.main(
        *inputs()._replace(shipped=shipped),
        folder / "kept.parquet", folder / "dropped.parquet", folder / "spend.parquet",
        teacher=params.teacher, spend=params.spend, generate=params.generate, licences=params.licences,
    )  # fmt: skip


def test_the_shipped_answers_are_what_the_stage_asks_for(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    stage(params, tmp_path, inputs().shipped)
    rows = list(records.read(tmp_path / "kept.parquet"))
    answers = [entry for entry in journal.entries(inputs().shipped) if entry["prompt"] in ("generate", "evolve")]
    assert {row["request"] for row in rows} <= {entry["key"] for entry in answers}
    made = sum(len(tasks.parse(entry["answer"])) for entry in answers)
    assert len(rows) + records.count(tmp_path / "dropped.parquet") == made and len(rows) >= 160
    assert rekey.replay(answers, params, inputs()) == (answers, [])


def test_a_teacher_of_whom_nothing_can_be_kept_leaves_no_table(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polite = Teacher(params, lambda prompt, text: "Vâng ạ.")
    monkeypatch.setattr(generate, "ask", lambda *given, bill: polite(*given[3:6]))
    with pytest.raises(Refusal, match=r"none of 6 answers and tasks could be kept \(malformed 6\)"):
        stage(params, tmp_path, tmp_path / "nothing")
    assert not (tmp_path / "kept.parquet").exists()
