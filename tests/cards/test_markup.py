"""Where links may lead, and how the data's URLs are written for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards.markup import href_of

LINKS = {
    "as it is": ("https://x.example/a?b=c#d", "https://x.example/a?b=c#d"),
    "a space": ("https://x.example/my file.pdf", "https://x.example/my%20file.pdf"),
    "an umlaut": ("https://x.example/Müller", "https://x.example/M%C3%BCller"),
    "an umlaut in the host": ("https://müller.example/x", "https://xn--mller-kva.example/x"),
    "a host alone": ("https://müller.example", "https://xn--mller-kva.example"),
    "quotes": ("https://x.example/a'b\"c", "https://x.example/a%27b%22c"),
    "a bar and a caret in the query": ("https://x.example/?q=a|b^c", "https://x.example/?q=a%7Cb%5Ec"),
    "angle brackets": ("https://x.example/<id>", "https://x.example/%3Cid%3E"),
    "braces": ("https://x.example/{id}", "https://x.example/%7Bid%7D"),
    "escapes stay": ("https://x.example/a%20b c", "https://x.example/a%20b%20c"),
    "a percent sign that is no escape": ("https://x.example/100% ok", "https://x.example/100%25%20ok"),
    "a port": ("https://x.example:8443/ä", "https://x.example:8443/%C3%A4"),
    "an emoji": ("https://x.example/\U0001f600", "https://x.example/%F0%9F%98%80"),
    "a URL in the query": ("https://x.example/?to=https://y.example/", "https://x.example/?to=https://y.example/"),
    "another alphabet": ("https://x.example/日本", "https://x.example/%E6%97%A5%E6%9C%AC"),
}
NOWHERE = {
    "two URLs": "https://a.example https://b.example",
    "two lines": "https://a.example/x\nsee above",
    "a tab": "https://a.example/\tx",
    "the folder above": "https://x.example/a/../b c",
    "the folder above, escaped": "https://x.example/ä/%2E%2e/b",
    "a space in the host": "https://x .example/",
    "a backslash before the path": "https://x.example\\@evil.example/ä",
    "a user": "https://ann@x.example/ä",
    "a host that is none": "https://exämple\u0640.example/",
    "no host": "https:///ä",
    "another scheme": "javascript:alert('https://x.example/')",
    "a scheme alone": "https://",
    "half a character": "https://x.example/a\ud800b",
}


@pytest.mark.parametrize(("url", "href"), LINKS.values(), ids=LINKS.keys())
def test_a_link_leads_where_the_data_says(url, href):
    assert href_of(url) == href


@pytest.mark.parametrize("url", NOWHERE.values(), ids=NOWHERE.keys())
def test_leads_nowhere(url):
    assert href_of(url) is None


@given(st.text(max_size=40))
def test_a_link_is_ascii_without_anything_that_ends_it(rest):
    href = href_of(f"https://x.example/{rest}")
    if href is not None:
        assert href.startswith("https://x.example/")
        assert href.isascii()
        assert not set(href) & set(" \"'<>\\^`{|}\n\t")
        assert href_of(href) == href
