"""The chat page under a browser's hands, with nothing between it and a toy model."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.test_chat import toy

REPO = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    toy(tmp_path / "models" / "sft", context=4096)
    toy(tmp_path / "models" / "base", context=192)
    toy(tmp_path / "models" / "plain", context=192, template="")
    return tmp_path / "models"


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a running chat whose working directory is ``tmp_path``."""
    shutil.copy(REPO / "params.yaml", tmp_path)
    shutil.copytree(REPO / "recipes", tmp_path / "recipes")
    environment = os.environ | {"PYTHONPATH": str(REPO), "VIET_CHAT_PORT": "0"}
    for name in ("VIET_CHAT_HOST", "VIET_CHAT_PASSWORD"):
        environment.pop(name, None)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "stages.chat", str(models)], cwd=tmp_path, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield wait(lambda: listening((tmp_path / "log").read_text(), process), 40)
        finally:
            process.terminate()


def listening(log: str, process: subprocess.Popen[bytes]) -> str:
    """The address that a server's log names, once somebody listens there."""
    assert process.poll() is None, log
    found = re.search(r"http://127\.0\.0\.1:(\d+)", log)
    if found:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(found[1]))):
            return found[0]
    return ""


def wait(look: Callable[[], str], seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


@pytest.mark.skipif(not CHROMIUM, reason="Debian's chromium is not installed: apt-get install chromium")
def test_a_visit(server: str, tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, "--disable-sync"])
        page = browser.new_page(locale="vi-VN", viewport={"width": 1280, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server)
        box, answers, status = page.locator("#box textarea"), page.get_by_test_id("bot"), page.locator("#status")
        expect(box).to_have_attribute("placeholder", "Nhập câu hỏi…")
        expect(status).to_contain_text("Câu trả lời có thể sai")
        expect(page.locator("html")).to_have_attribute("lang", "vi")

        # two turns, one by an example, one by hand; both streamed
        page.get_by_label("number input for Độ dài tối đa (token)").fill("64")
        page.get_by_label("number input for Nhiệt độ").fill("0")
        page.get_by_label("number input for Nhiệt độ").press("Tab")
        page.get_by_text("Thủ đô của Nhật Bản là gì?").click()
        expect(status).to_contain_text("sft · 64 token")
        box.fill("Còn Việt Nam?")
        box.press("Enter")
        expect(answers).to_have_count(2)
        expect(status).to_contain_text("sft · 64 token")
        assert re.fullmatch("[a-z]{64}", answers.nth(1).inner_text())

        # a thumb is a line in a file
        page.get_by_label("Chưa hay").last.click()
        expect(status).to_contain_text("đánh giá đã được lưu")
        (file,) = (tmp_path / "feedback").iterdir()
        (row,) = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        assert (row["rating"], row["model"], row["sampling"]["max_new_tokens"]) == ("down", "sft", 64)
        assert [message["content"] for message in row["messages"]][::2] == [
            "Thủ đô của Nhật Bản là gì?",
            "Còn Việt Nam?",
        ]

        # stop: the answer stays as far as it came
        page.get_by_label("number input for Độ dài tối đa (token)").fill("2048")
        page.get_by_label("number input for Độ dài tối đa (token)").press("Tab")
        box.fill("Kể chuyện đi")
        box.press("Enter")
        expect(answers.nth(2)).to_have_text(re.compile("[a-z]{20}"))
        page.locator("#box .stop-button").click()
        expect(status).to_contain_text("Đã dừng.")
        assert 20 <= len(answers.nth(2).inner_text()) < 2048

        # another model, with a context too short for all of this
        pick(page, "base")
        box.fill("Bạn khỏe không?")
        box.press("Enter")
        expect(status).to_contain_text("Hội thoại dài hơn 192 token mà mô hình đọc được: 3 lượt đầu bị bỏ qua.")
        expect(status).to_contain_text("base · ")
        page.screenshot(path=tmp_path / "chat.png")
        pick(page, "plain")
        box.fill("Bạn khỏe không?")
        box.press("Enter")
        expect(status).to_contain_text("không có mẫu hội thoại")
        expect(box).to_have_value("Bạn khỏe không?")

        english = browser.new_page(locale="en-US", viewport={"width": 390, "height": 844})
        english.on("request", lambda request: asked.append(request.url))
        english.goto(server)
        expect(english.locator("#box textarea")).to_have_attribute("placeholder", "Ask in Vietnamese…")
        expect(english.locator("#status")).to_contain_text("Answers may be wrong.")
        browser.close()
    assert [url for url in asked if not url.startswith((server, "data:", "blob:"))] == []


def pick(page: Any, name: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option", name=name).click()
