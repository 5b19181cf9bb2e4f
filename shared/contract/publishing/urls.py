"""The URLs that events and notifications go to: which may be, and what of them may be shown. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# A node signs in to a hub by its token, which no other host may get.
_HUB = re.compile(
    r"sb://(?P<host>[A-Za-z0-9-]+\.servicebus\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))/(?P<hub>[\w.-]+)/?",
    re.ASCII,
)


def is_web_url(text: str) -> bool:
    """Whether a text is a URL that a body may be sent to. Plain HTTP only on this machine."""
    try:
        url = urlsplit(text)
        has_port = url.port != 0 and not url.netloc.endswith(":")
    except ValueError:  # a port that is none, brackets that are not closed
        return False
    is_local = url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost")
    is_plain = not re.search(r"[\s\x00-\x1f]", text) and url.password is None
    return bool(url.hostname) and has_port and is_plain and (url.scheme == "https" or is_local)


def parse_hub(text: str) -> tuple[str, str] | None:
    """The host and the hub of `sb://NAMESPACE.servicebus.windows.net/HUB`; None for any other text."""
    match = _HUB.fullmatch(text)
    return (match["host"], match["hub"]) if match else None


def hide_path(url: str) -> str:
    """A URL as it may be shown: that of a hub, or the scheme and the host of any other, whose path may be a secret."""
    if parse_hub(url):
        return url
    return f"{urlsplit(url).scheme}://{get_host(url)}"


def get_host(url: str) -> str:
    """The host of a URL with its port: what messages say of a receiver."""
    return urlsplit(url).netloc.rpartition("@")[2]
