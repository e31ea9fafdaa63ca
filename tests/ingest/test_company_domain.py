"""What a cell names as the company's domain, and the domains that are nobody's company."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.address import domain_of, normalise
from appliance.ingest.company_domain import read_domains
from appliance.ingest.public_mail import is_public_mail

READ = {
    "a domain": ("example.com", ["example.com"]),
    "another case": ("Example.COM", ["example.com"]),
    "spaces around": ("  example.com\t", ["example.com"]),
    "a no-break space behind": ("example.com\u00a0", ["example.com"]),
    "a mark of no width before": ("\ufeffexample.com", ["example.com"]),
    "www.": ("www.example.com", ["example.com"]),
    "WWW.": ("WWW.example.com", ["example.com"]),
    "www. that is the name": ("www.com", ["www.com"]),
    "www2.": ("www2.example.com", ["www2.example.com"]),
    "an at": ("@example.com", ["example.com"]),
    "a URL": ("https://example.com", ["example.com"]),
    "a whole URL": ("HTTPS://www.Example.com:8443/about?x=1#top", ["example.com"]),
    "a URL without TLS": ("http://example.com/", ["example.com"]),
    "a URL without a scheme": ("//example.com/", ["example.com"]),
    "a path": ("example.com/about", ["example.com"]),
    "a port": ("example.com:443", ["example.com"]),
    "a dot at the end": ("example.com.", ["example.com"]),
    "umlauts": ("www.Exämple.com", ["xn--exmple-cua.com"]),
    "umlauts in two pieces": ("exa\u0308mple.com", ["xn--exmple-cua.com"]),
    "its A-form": ("XN--EXMPLE-CUA.com", ["xn--exmple-cua.com"]),
    "another alphabet": ("пример.рф", ["xn--e1afmkfd.xn--p1ai"]),
    "full-width letters": ("ｅｘａｍｐｌｅ.com", ["example.com"]),
    "a subdomain": ("shop.example.com", ["shop.example.com"]),
    "many labels": ("a.b.c.d.e.example.co.uk", ["a.b.c.d.e.example.co.uk"]),
    "dashes": ("my-example.com", ["my-example.com"]),
    "digits": ("3m.com", ["3m.com"]),
    "a new ending": ("example.photography", ["example.photography"]),
    "several": ("example.com, www.example.org;example.net", ["example.com", "example.org", "example.net"]),
    "one twice": ("example.com www.example.com", ["example.com"]),
    "nothing": ("", []),
    "white space": (" \n", []),
    "public mail": ("gmail.com", []),
    "public mail's site": ("https://www.gmail.com/", []),
    "public mail in another case": ("GMail.com", []),
    "public mail and its own": ("gmail.com, example.com", ["example.com"]),
    "an address": ("ann@example.com", None),
    "a link to an address": ("mailto:ann@example.com", None),
    "a URL with a user": ("https://ann@example.com/", None),
    "a domain and an address": ("example.com, ann@example.com", None),
    "a name": ("Example Ltd", None),
    "one word": ("example", None),
    "a name and a domain": ("Example (example.com)", None),
    "a star": ("*.example.com", None),
    "two ats": ("@@example.com", None),
    "a dash": ("-", None),
    "not given": ("n/a", None),
    "an IP address": ("192.0.2.7", None),
    "an IPv6 address": ("[2001:db8::7]", None),
    "two dots": ("example..com", None),
    "a dot before": (".example.com", None),
    "a dash at the end": ("example-.com", None),
    "another scheme": ("ftp://example.com", None),
    "only a scheme": ("https://", None),
    "only www.": ("www.", None),
    "bytes that were no text": ("ex\ufffdmple.com", None),
    "a telephone number": ("+1.555.0100", None),
    "fifty": (" ".join(f"a{n}.com" for n in range(50)), [f"a{n}.com" for n in range(50)]),
    "more than fifty": (" ".join(f"a{n}.com" for n in range(51)), None),
    "very long": ("x" * 100_000 + ".com", None),
    "very many dots": ("a." * 50_000, None),
}


@pytest.mark.parametrize(("text", "domains"), READ.values(), ids=READ.keys())
def test_a_cell(text, domains):
    assert read_domains(text) == (None if domains is None else tuple(domains))


@given(st.text(alphabet="aä.-@/:w\u200b[]1 ", max_size=30))
def test_what_is_read_is_the_domain_of_some_address_and_no_public_mail(text):
    for domain in read_domains(text) or ():
        assert domain_of(normalise(f"x@{domain}") or "") == domain
        assert not is_public_mail(domain)
        assert read_domains(domain) == (domain,)


PUBLIC = (
    *("gmail.com", "googlemail.com", "outlook.com", "outlook.de", "hotmail.com", "hotmail.co.uk", "hotmail.com.br"),
    *(
        "live.nl",
        "msn.com",
        "yahoo.com",
        "yahoo.co.jp",
        "yahoo.com.mx",
        "ymail.com",
        "rocketmail.com",
        "aol.com",
        "me.com",
    ),
    *("icloud.com", "mac.com", "proton.me", "protonmail.com", "pm.me", "gmx.de", "gmx.net", "web.de", "t-online.de"),
    *("mail.ru", "yandex.ru", "qq.com", "163.com", "126.com", "naver.com", "orange.fr", "libero.it", "wp.pl"),
    *("comcast.net", "btinternet.com", "mail.com", "zoho.com", "fastmail.com", "tutanota.com", "hey.com", "seznam.cz"),
)
PRIVATE = (
    *(
        "example.com",
        "google.com",
        "microsoft.com",
        "apple.com",
        "mail.example.com",
        "gmail.example.com",
        "mygmail.com",
    ),
    *("gmail.com.example.org", "live.example", "outlook.consulting", "helpscout.com", "yahooligans.com", "gmx.agency"),
)


@pytest.mark.parametrize("domain", PUBLIC)
def test_public_mail_is_nobodys_company(domain):
    assert is_public_mail(domain)


@pytest.mark.parametrize("domain", PRIVATE)
def test_other_domains_are_not_public_mail(domain):
    assert not is_public_mail(domain)
