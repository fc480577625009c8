"""Talk to any model of this commit: ``python -m stages.chat`` serves a page on this machine.

VIET_CHAT_HOST (default 127.0.0.1), VIET_CHAT_PORT (7860, or the next free one; 0 takes any) and
VIET_CHAT_PASSWORD say where: a server is no experiment, so they are no params. Any address but the loopback one
needs the password. The page fetches nothing from elsewhere, opens no tunnel and sends no statistics. Ratings
become lines of feedback/<date>.jsonl. Not covered: TLS and user accounts (put a proxy in front).
"""

import hmac
import ipaddress
import os
import socket
import subprocess
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

from stages.lib import contract, determinism, recipes
from stages.lib.chat import conversation
from stages.lib.contract import Dep, Refusal

PORTS = 100  # tried from the wanted one on, before giving up


def main(models: Dep = Path("models"), *, compute: recipes.Compute, seed: int) -> None:
    host = os.environ.get("VIET_CHAT_HOST") or "127.0.0.1"
    password = os.environ.get("VIET_CHAT_PASSWORD", "")
    check_exposure(host, password)
    port = free_port(host, wanted_port(os.environ.get("VIET_CHAT_PORT") or "7860"))
    determinism.pin(seed, compute.device, compute.threads)
    # Gradio reads these when it is imported; the first would otherwise report each launch to its makers.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")

    from stages.lib.chat import page

    shelf = conversation.Models(models, compute)
    shown = page.build(shelf, seed, commit(), Path("feedback"))
    print(f"Trợ lý Việt / Viet LLM: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    shown.launch(**page.launch_options(), server_name=host, server_port=port, **asking(password))


def check_exposure(host: str, password: str) -> None:
    """Refuse an address that other machines reach, unless there is a password."""
    if not is_loopback(host) and not password:
        raise Refusal(
            f"VIET_CHAT_HOST is {host}, which other machines can reach, and VIET_CHAT_PASSWORD is not set; "
            "set a password, or leave VIET_CHAT_HOST out to serve this machine only"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only; of names only localhost is known to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def asking(password: str) -> dict[str, Any]:
    """Gradio's login, with any user name, if there is a password to ask for."""
    if not password:
        return {}

    def plain(text: str) -> bytes:
        return unicodedata.normalize("NFC", text).encode()  # keyboards differ in how they write an accented letter

    return {
        "auth": lambda _, given: hmac.compare_digest(plain(given), plain(password)),
        "auth_message": "Tên tùy ý; mật khẩu do người mở trang này đặt. / Any name; the password is the host's.",
    }


def wanted_port(text: str) -> int:
    """A port number, or a refusal."""
    if not text.isdecimal() or int(text) > 65535:
        raise Refusal(f"VIET_CHAT_PORT: found {text!r}; allowed: a whole number from 0 to 65535")
    return int(text)


def free_port(host: str, wanted: int) -> int:
    """The wanted port or the next one that nobody listens on; for 0 whichever the system gives."""
    for port in range(wanted, min(wanted + PORTS, 65536)):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with closing(socket.socket(family, kind)) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
                listener.bind(address)
                return int(listener.getsockname()[1])
        except socket.gaierror as error:
            raise Refusal(f"VIET_CHAT_HOST: {host!r} is no address of this machine ({error.strerror})") from None
        except OSError as error:
            if error.errno == 99:  # cannot assign: no later port will do either
                raise Refusal(f"VIET_CHAT_HOST: {host!r} is no address of this machine") from None
    raise Refusal(f"VIET_CHAT_PORT: no free port from {wanted} to {wanted + PORTS - 1}")


def commit() -> str:
    """The short hash of the commit that is checked out, or nothing outside a git repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    contract.run(main)
