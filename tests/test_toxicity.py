"""The classifier behind the lexicon, with a toy: what it is asked, what it drops, and that nothing is lost."""

from pathlib import Path

import pytest

from stages import clean
from stages.lib import hub, paramfile, params, records
from stages.lib.clean import toxicity
from stages.lib.contract import Refusal
from stages.lib.records import Message, Record
from tests import toy_encoders

WORDS = "hôm nay trời đẹp chúng ta đi chơi xa nhé mưa gió".split()
FINE = "Hôm nay trời đẹp, chúng ta đi chơi xa nhé, mưa gió gì đâu.".lower()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_encoders.classifier(tmp_path_factory.mktemp("classifier"), "bẩn", WORDS)


def dials(folder: Path, harmless: str = "fine") -> params.Toxicity:
    return params.Toxicity(model=str(folder), harmless=harmless, threshold=0.9, compute=toy_encoders.COMPUTE)


def record(*turns: tuple[str, str], kind: str = "instruction") -> Record:
    messages: list[Message] = [{"role": role, "content": content} for role, content in turns]
    return records.make(kind, messages, source="s", licence="CC0-1.0", lang="vi", upstream="1")


def test_a_text_is_as_toxic_as_its_worst_window(folder: Path) -> None:
    score = toxicity.scorer(folder, "fine", toy_encoders.COMPUTE)
    found = score(["trời đẹp", "trời bẩn", "", "đi " * 40 + "bẩn " + "chơi " * 40, "đi " * 80])
    assert [one > 0.9 for one in found] == [False, True, False, True, False]
    alone = [score([text])[0] for text in ("trời đẹp", "trời bẩn")]
    assert alone == found[:2]  # whatever stands beside it


def test_clean_asks_it_of_what_the_lexicon_let_pass(tmp_path: Path, folder: Path) -> None:
    rows = [
        record(("user", FINE), ("assistant", f"{FINE} {number} bẩn" if number % 3 == 0 else f"{FINE} {number}."))
        for number in range(9)
    ]
    rows += [record(("user", "sao thế?"), ("assistant", "im mồm, đồ ngu!"))]
    rows += [record(("user", FINE), ("chosen", FINE + " đẹp."), ("rejected", "bẩn"), kind="preference")]
    records.write(tmp_path / "in", rows)
    words, clean_dials = Path("stages/lexicons"), paramfile.check(Path("params.yaml"), Path("recipes"))[0].clean
    clean_dials = clean_dials.model_copy(update={"toxicity": dials(folder)})
    kept, lost = tmp_path / "kept", tmp_path / "dropped"
    clean.main(kept, lost, words / "toxic.txt", words / "spam.txt", tmp_path / "in", engine="local", clean=clean_dials)
    found = [(row["id"], str(dict(row)["reason"]), str(dict(row)["detail"])) for row in records.read(lost)]
    assert [(id, reason) for id, reason, _ in found] == [
        (rows[place]["id"], "toxic") for place in (9, 0, 3, 6)
    ]  # the lexicon's first
    assert found[0][2] == "đồ ngu" or "mồm" in found[0][2]
    assert all(detail.startswith("model 0.9") or detail == "model 1.000" for _, _, detail in found[1:])
    left = [row["id"] for row in records.read(kept)]
    assert left == [row["id"] for place, row in enumerate(rows) if place not in (0, 3, 6, 9)]
    again = {path.name: path.read_bytes() for path in (kept, lost)}
    clean.main(kept, lost, words / "toxic.txt", words / "spam.txt", tmp_path / "in", engine="local", clean=clean_dials)
    assert {path.name: path.read_bytes() for path in (kept, lost)} == again


def test_a_label_that_it_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(Refusal, match=r"clean\.toxicity\.harmless: found 'CLEAN'; the labels of .* are fine, foul"):
        toxicity.scorer(folder, "CLEAN", toy_encoders.COMPUTE)


def test_weights_that_can_run_code_are_refused(tmp_path: Path) -> None:
    toy_encoders.classifier(tmp_path, "bẩn", WORDS)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(Refusal, match="holds no safetensors"):
        toxicity.scorer(tmp_path, "fine", toy_encoders.COMPUTE)


@pytest.mark.parametrize("model", ["no/such-folder", "owner/name@main", "owner/name@0123"])
def test_a_model_is_a_folder_or_pinned(model: str) -> None:
    with pytest.raises(Refusal, match=r"k\.model: found .* owner/name@ and the 40 hex digits"):
        hub.folder(model, "k.model")


def test_a_pinned_model_that_cannot_be_had_says_so() -> None:
    with pytest.raises(Refusal, match=r"k\.model: owner/name at 0{40}: .* HF_HUB_OFFLINE is set"):
        hub.folder("owner/name@" + "0" * 40, "k.model")  # tests are offline
