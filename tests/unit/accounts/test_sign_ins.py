"""Devices in words."""

import pytest

from portal.accounts.sign_ins import device_words

MOZILLA = "Mozilla/5.0 "
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (MOZILLA + "(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            MOZILLA + "(Windows NT 10.0; Win64; x64) " + WEBKIT + "Chrome/143.0.0.0 Safari/537.36",
            "Chrome on Windows",
        ),
        (
            MOZILLA + "(Windows NT 10.0) " + WEBKIT + "Chrome/143.0.0.0 Safari/537.36 Edg/143.0.0.0",
            "Edge on Windows",
        ),
        (
            MOZILLA + "(Linux; Android 16; K) " + WEBKIT + "Chrome/143.0.0.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            MOZILLA + "(iPhone; CPU iPhone OS 18_6 like Mac OS X) " + WEBKIT + "Version/18.6 Safari/604.1",
            "Safari on iOS",
        ),
        (
            MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7) " + WEBKIT + "Version/18.6 Safari/605.1.15",
            "Safari on macOS",
        ),
        ("curl/8.14.1", "Another browser"),
        ("Robot (X11)", "Another browser on Linux"),
        ("", "Another browser"),
    ],
)
def test_a_device_is_named_as_people_name_it(user_agent: str, words: str) -> None:
    assert device_words(user_agent) == words
