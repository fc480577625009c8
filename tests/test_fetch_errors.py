"""Which faults of a download may pass."""

import errno
import ssl

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from stages.lib.sources import fetch_errors


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (TimeoutError(), True),
        (OfflineModeIsEnabled(), False),
        (ssl.SSLCertVerificationError(), False),
        (OSError(errno.ENOSPC, "full"), False),
        (FileNotFoundError("s3://bucket/key"), False),
        (FileNotFoundError(errno.ENOENT, "none", "path"), False),
        (ValueError("Protocol not known"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, helps: bool) -> None:
    wrapped = RuntimeError("from a library")
    wrapped.__cause__ = error
    assert fetch_errors.passing(error) == helps
    assert helps == fetch_errors.passing(wrapped)
