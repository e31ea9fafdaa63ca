"""Requests as they are on the wire, and the response that each gets.

One table: the parser alone gets every case cut at every place, each path of the edge (fast, fallback) gets every case
once, and real sockets get a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.edge.refusals import MAX_BODY_BYTES, MAX_FIELDS, MAX_HEADER_BYTES, Refusal
from appliance.outcomes import Outcome, Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE
from tests.factory import body_for, sign

BODY = body_for("ann@example.com")
SIGNED = sign(BODY)
HOST = b"Host: support.example.com\r\n"
SIGNATURE = b"X-HelpScout-Signature: " + SIGNED + b"\r\n"

FOUND = Outcome.FOUND
Answer = Outcome | Refusal | Reply
WRONG_METHOD: Answer = Refusal.BAD_METHOD


def reply_of(answer: Answer) -> Reply | None:
    """Return the reply that is expected, or None for a card."""
    return answer.reply if isinstance(answer, Refusal) else answer if isinstance(answer, Reply) else None


@dataclass(frozen=True)
class Case:
    """`answers` in order; `closes`: the server ends the connection after them; `lines` at most in the log."""

    id: str
    raw: bytes
    answers: tuple[Answer, ...]
    closes: bool
    head: bool = False  # the answer to HEAD has no body
    continues: bool = False  # "100 Continue" comes first

    @property
    def lines(self) -> int:
        """How many request lines it may cost."""
        return len(self.answers)


def post(
    *fields: bytes, line: bytes = b"POST /helpscout HTTP/1.1\r\n", body: bytes = BODY, host: bytes = HOST
) -> bytes:
    """Return a signed request with these fields more."""
    length = b"Content-Length: %d\r\n" % len(body)
    return line + host + b"".join(fields) + b"X-HelpScout-Signature: " + sign(body) + b"\r\n" + length + b"\r\n" + body


def framed(framing: bytes, rest: bytes = b"", line: bytes = b"POST /helpscout HTTP/1.1\r\n") -> bytes:
    """Return a signed request whose framing fields and what comes after the head are the test."""
    return line + HOST + SIGNATURE + framing + b"\r\n" + rest


def chunked(rest: bytes, *fields: bytes) -> bytes:
    """Return a signed chunked request."""
    return framed(b"Transfer-Encoding: chunked\r\n" + b"".join(fields), rest)


def chunks(body: bytes = BODY, size: int = 20, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """Return a chunked body."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces) + b"0\r\n" + trailers + b"\r\n"


def good(name: str, raw: bytes, *answers: Answer, **more: bool) -> Case:
    """A request that is answered and leaves the connection open."""
    return Case(name, raw, answers or (FOUND,), closes=False, **more)


def last(name: str, raw: bytes, *answers: Answer, **more: bool) -> Case:
    """A request that is answered and ends the connection."""
    return Case(name, raw, answers or (FOUND,), closes=True, **more)


def bad(name: str, raw: bytes, *answers: Answer) -> Case:
    """Not HTTP/1.1: one 400, and the connection ends."""
    return Case(name, raw, answers or (Refusal.BAD_REQUEST,), closes=True)


def line(text: bytes) -> bytes:
    """Return a signed request with another request line."""
    return post(line=text + b"\r\n")


def hosted(host: bytes) -> bytes:
    """Return a signed request with other Host fields."""
    return post(host=host)


def padded(total: int) -> bytes:
    """Return a request whose header block has exactly this size."""
    bare = len(post(b"X-Pad: \r\n")) - len(BODY)
    return post(b"X-Pad: " + b"x" * (total - bare) + b"\r\n")


TE = b"Transfer-Encoding: "
CL = b"Content-Length: "
N = len(BODY)
GET = b"GET /helpscout HTTP/1.1\r\n" + HOST + b"\r\n"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"

ANSWERED = [
    good("plain", post()),
    good("blank lines before", b"\r\n\r\n" + post()),  # RFC 9112, 2.2
    good("no space after colons", post(b"X-A:b\r\n").replace(b"Host: ", b"Host:")),
    good("white space around values", post(b"X-A:  \t a \t \r\n", host=b"Host: \t support.example.com \t\r\n")),
    good("empty value", post(b"X-Empty:\r\n")),
    good("obs-text in a value", post(b"X-A: \xe9\xff\r\n")),
    good("names in upper case", post().replace(b"X-HelpScout-Signature", b"X-HELPSCOUT-SIGNATURE")),
    good("names in lower case", post().replace(b"X-HelpScout-Signature", b"x-helpscout-signature")),
    good("query", line(b"POST /helpscout?a=b&c HTTP/1.1")),
    good("many fields", post(*(b"X-%d: y\r\n" % n for n in range(200)))),
    good("as many fields as may be", post(*[b"X:\r\n"] * (MAX_FIELDS - 3))),
    good("header block just right", padded(MAX_HEADER_BYTES)),
    good("content type of a form", post(b"Content-Type: application/x-www-form-urlencoded\r\n")),
    good("leading zeros in length", framed(CL + b"000%d\r\n" % N, BODY)),
    good("many leading zeros in length", framed(CL + b"0" * 5000 + b"%d\r\n" % N, BODY)),
    good("white space after length", framed(CL + b"%d \t\r\n" % N, BODY)),
    good("keep-alive said", post(b"Connection: keep-alive\r\n")),
    last("close", post(b"Connection: close\r\n")),
    last("close in capitals", post(b"Connection: CLOSE\r\n")),
    last("close in a list", post(b"Connection: foo, close\r\n")),
    last("proxy-connection counts too", post(b"Proxy-Connection: close\r\n")),
    last("HTTP/1.0", line(b"POST /helpscout HTTP/1.0")),
    last("HTTP/1.0 without Host", post(line=b"POST /helpscout HTTP/1.0\r\n", host=b"")),
    good("HTTP/1.0 keep-alive", post(b"Connection: keep-alive\r\n", line=b"POST /helpscout HTTP/1.0\r\n")),
    good("no body", post(body=b""), BAD_PAYLOAD),
    good("no length, no body", b"POST /helpscout HTTP/1.1\r\n" + HOST + b"\r\n", BAD_SIGNATURE),
    good("body not JSON", post(body=b"a=b"), BAD_PAYLOAD),
    good("body of NULs", post(body=b"\0\0\r\n\r\n\0"), BAD_PAYLOAD),
    good("body that looks like a request", post(body=GET), BAD_PAYLOAD),
    good("body just right", post(body=b"x" * MAX_BODY_BYTES), BAD_PAYLOAD),
    good("two signatures", post(SIGNATURE), BAD_SIGNATURE),
    good("two signatures, one empty", post(b"X-HelpScout-Signature:\r\n"), BAD_SIGNATURE),
    good("two signatures, other case", post(b"x-helpscout-signature: x\r\n"), BAD_SIGNATURE),
    good("signature with white space", post().replace(SIGNATURE, SIGNATURE[:-2] + b" \t\r\n")),
    good("signature not ASCII", post().replace(SIGNED, b"\xff" * 28), BAD_SIGNATURE),
]

ROUTED = [
    good("another path", line(b"POST / HTTP/1.1"), Refusal.NOT_FOUND),
    good("path with a slash more", line(b"POST /helpscout/ HTTP/1.1"), Refusal.NOT_FOUND),
    good("escaped path", line(b"POST /helpscou%74 HTTP/1.1"), Refusal.NOT_FOUND),
    good("two slashes", line(b"POST //helpscout HTTP/1.1"), Refusal.NOT_FOUND),
    good("dots", line(b"POST /x/../helpscout HTTP/1.1"), Refusal.NOT_FOUND),
    good("strange characters", line(b'POST /<>"\\^`{|} HTTP/1.1'), Refusal.NOT_FOUND),
    good("GET", GET, Refusal.BAD_METHOD),
    good("GET elsewhere", GET.replace(b"/helpscout", b"/x"), Refusal.NOT_FOUND),
    good("HEAD", GET.replace(b"GET", b"HEAD"), Refusal.BAD_METHOD, head=True),
    good("HEAD elsewhere", GET.replace(b"GET /helpscout", b"HEAD /x"), Refusal.NOT_FOUND, head=True),
    good("PUT with a body", line(b"PUT /helpscout HTTP/1.1"), Refusal.BAD_METHOD),
    good("DELETE", GET.replace(b"GET", b"DELETE"), Refusal.BAD_METHOD),
    good("PATCH", line(b"PATCH /helpscout HTTP/1.1"), Refusal.BAD_METHOD),
    good("OPTIONS", GET.replace(b"GET", b"OPTIONS"), Refusal.BAD_METHOD),
    good("TRACE", GET.replace(b"GET", b"TRACE"), Refusal.BAD_METHOD),
    good("PROPFIND", GET.replace(b"GET", b"PROPFIND"), Refusal.BAD_METHOD),
    good("GET with a body", line(b"GET /helpscout HTTP/1.1"), Refusal.BAD_METHOD),
    good("OPTIONS *", GET.replace(b"GET /helpscout", b"OPTIONS *"), Refusal.NOT_FOUND),
    good("absolute", line(b"POST http://support.example.com/helpscout HTTP/1.1")),
    good("absolute with port and query", line(b"POST https://support.example.com:443/helpscout?x HTTP/1.1")),
    good("absolute, scheme in capitals", line(b"POST HTTPS://support.example.com/helpscout HTTP/1.1")),
    good("absolute overrides Host", post(line=b"POST http://a/helpscout HTTP/1.1\r\n", host=b"Host: b\r\n")),
    good("absolute without path", line(b"POST http://support.example.com HTTP/1.1"), Refusal.NOT_FOUND),
    good("absolute IPv6", line(b"POST http://[::1]:8443/helpscout HTTP/1.1")),
    last("GET, close", GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), Refusal.BAD_METHOD),
    last("GET, HTTP/1.0", GET.replace(b"HTTP/1.1", b"HTTP/1.0"), Refusal.BAD_METHOD),
]

TARGETS_AND_VERSIONS = [
    bad("fragment", line(b"POST /helpscout#a HTTP/1.1")),
    bad("asterisk for POST", line(b"POST * HTTP/1.1")),
    bad("authority for POST", line(b"POST example.com:80 HTTP/1.1")),
    bad("no slash", line(b"POST helpscout HTTP/1.1")),
    bad("empty target", line(b"POST  HTTP/1.1")),
    bad("other scheme", line(b"POST ftp://example.com/helpscout HTTP/1.1")),
    bad("absolute with user", line(b"POST http://a@example.com/helpscout HTTP/1.1")),
    bad("absolute without host", line(b"POST http:///helpscout HTTP/1.1")),
    bad("control character in target", line(b"POST /help\x01 HTTP/1.1")),
    bad("DEL in target", line(b"POST /help\x7f HTTP/1.1")),
    bad("NUL in target", line(b"POST /help\0 HTTP/1.1")),
    bad("tab in target", line(b"POST /help\tscout HTTP/1.1")),
    bad("space in target", line(b"POST /help scout HTTP/1.1")),
    bad("8 bits in target", line("POST /é HTTP/1.1".encode())),
    bad("two spaces before target", line(b"POST  /helpscout HTTP/1.1")),
    bad("two spaces before version", line(b"POST /helpscout  HTTP/1.1")),
    bad("tab for a space", line(b"POST\t/helpscout HTTP/1.1")),
    bad("space after version", line(b"POST /helpscout HTTP/1.1 ")),
    bad("space before method", line(b" POST /helpscout HTTP/1.1")),
    bad("lower-case method", line(b"post /helpscout HTTP/1.1")),
    bad("unknown method", line(b"BREW /helpscout HTTP/1.1")),
    bad("lower-case protocol", line(b"POST /helpscout http/1.1")),
    bad("HTTP/0.9", b"GET /helpscout\r\n\r\n"),
    bad("HTTP/0.9 said", line(b"POST /helpscout HTTP/0.9")),
    bad("HTTP/1.2", line(b"POST /helpscout HTTP/1.2")),
    bad("HTTP/1.10", line(b"POST /helpscout HTTP/1.10")),
    bad("HTTP/1", line(b"POST /helpscout HTTP/1")),
    bad("HTTP/2.0", line(b"POST /helpscout HTTP/2.0")),
    bad("HTTP/3.0", line(b"POST /helpscout HTTP/3.0")),
    bad("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("RTSP", line(b"POST /helpscout RTSP/1.1")),
    bad("RTSP OPTIONS", line(b"OPTIONS * RTSP/1.0")),
    bad("ICE", b"SOURCE /helpscout ICE/1.0\r\n\r\n"),
    bad("no version", line(b"POST /helpscout")),
    bad("version alone", line(b"HTTP/1.1")),
    bad("bare LF", post().replace(b"\r\n", b"\n")),
    bad("bare LF after the line", post().replace(b"\r\n", b"\n", 1)),
    bad("bare CR in the line", line(b"POST /helpscout\r HTTP/1.1")),
    bad("CR CR LF", post().replace(b"\r\n", b"\r\r\n", 1)),
    bad("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    bad("TLS on a plain port", bytes.fromhex("160301020001000000fc0303")),
    bad("garbage", bytes(range(128, 256))),
    # A field that holds the right line does not make up for a wrong one.
    *(
        bad(f"{name}, and the right line in a field", line(wrong).replace(HOST, HOST + b"X: %b\r\n" % right))
        for name, wrong, right in (
            ("two spaces", b"POST  /helpscout HTTP/1.1", b"POST /helpscout HTTP/1.1"),
            ("two spaces before the version", b"POST /helpscout  HTTP/1.1", b"POST /helpscout HTTP/1.1"),
            ("RTSP/1.0", b"POST /helpscout RTSP/1.0", b"POST /helpscout HTTP/1.0"),
            ("RTSP/1.1", b"POST /helpscout RTSP/1.1", b"POST /helpscout HTTP/1.1"),
            ("RTSP elsewhere", b"OPTIONS /x RTSP/1.1", b"OPTIONS /x HTTP/1.1"),
        )
    ),
    last("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", Refusal.UNSUPPORTED),
]

FIELDS = [
    bad("space before colon", post(b"X-A : b\r\n")),
    bad("tab before colon", post(b"X-A\t: b\r\n")),
    bad("space before colon of length", framed(b"Content-Length : %d\r\n" % N, BODY)),
    bad("space before colon of coding", framed(b"Transfer-Encoding : chunked\r\n", chunks())),
    bad("no colon", post(b"X-A\r\n")),
    bad("empty name", post(b": a\r\n")),
    bad("space before first field", post(host=b" Host: a\r\n")),
    bad("folded line", post(b"X-A: b\r\n c\r\n")),
    bad("folded with tab", post(b"X-A: b\r\n\tc\r\n")),
    bad("folded coding", framed(b"Transfer-Encoding:\r\n chunked\r\n", chunks())),
    bad("NUL in value", post(b"X-A: b\0c\r\n")),
    bad("NUL in name", post(b"X\0A: b\r\n")),
    bad("bare CR in value", post(b"X-A: b\rc\r\n")),
    bad("bare LF in value", post(b"X-A: b\nX-B: c\r\n")),
    bad("control character in value", post(b"X-A: \x01\r\n")),
    bad("DEL in value", post(b"X-A: \x7f\r\n")),
    bad("8 bits in name", post("X-É: a\r\n".encode())),
    bad("parenthesis in name", post(b"X(A): a\r\n")),
    bad("no Host", hosted(b"")),
    bad("empty Host", hosted(b"Host:\r\n")),
    bad("blank Host", hosted(b"Host: \t \r\n")),
    bad("two Hosts", hosted(HOST + HOST)),
    bad("two Hosts that differ", hosted(HOST + b"Host: other\r\n")),
    bad("two Hosts in one", hosted(b"Host: a, b\r\n")),
    bad("two Hosts in HTTP/1.0", post(line=b"POST /helpscout HTTP/1.0\r\n", host=HOST + HOST)),
    bad("Host with a path", hosted(b"Host: a/b\r\n")),
    bad("Host with a user", hosted(b"Host: a@b\r\n")),
    bad("Host with a space", hosted(b"Host: a b\r\n")),
    bad("Host with a bad port", hosted(b"Host: a:b\r\n")),
    bad("Host not ASCII", hosted("Host: é\r\n".encode())),
    good("Host with a port", hosted(b"Host: a:8443\r\n")),
    good("Host of IPv6", hosted(b"Host: [::1]:8443\r\n")),
    good("Host in capitals", hosted(b"HOST: EXAMPLE.COM\r\n")),
    last("header block too large", padded(MAX_HEADER_BYTES + 1), Refusal.HEADERS_TOO_LARGE),
    last("endless value", b"GET / HTTP/1.1\r\nX: " + b"x" * 20000, Refusal.HEADERS_TOO_LARGE),
    last("endless name", b"GET / HTTP/1.1\r\n" + b"x" * 20000, Refusal.HEADERS_TOO_LARGE),
    last("endless target", b"GET /" + b"x" * 20000, Refusal.HEADERS_TOO_LARGE),
    last("endless blank lines", b"\r\n" * 10000, Refusal.HEADERS_TOO_LARGE),
    last("one field too many", post(*[b"X:\r\n"] * (MAX_FIELDS - 2)), Refusal.HEADERS_TOO_LARGE),
    last(
        "a GET of many empty fields",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * 3000 + b"\r\n",
        Refusal.HEADERS_TOO_LARGE,
    ),
    last("endless fields", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000, Refusal.HEADERS_TOO_LARGE),
    last("upgrade", post(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), Refusal.UNSUPPORTED),
    last("upgrade to HTTP/2", post(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"), Refusal.UNSUPPORTED),
    last("upgrade unannounced", post(b"Upgrade: h2c\r\n"), Refusal.UNSUPPORTED),
]

LENGTHS = [
    bad("two lengths", framed(CL + b"%d\r\n" % N + CL + b"%d\r\n" % N, BODY)),
    bad("two lengths that differ", framed(CL + b"%d\r\n" % N + CL + b"0\r\n", BODY)),
    bad("two lengths in one", framed(CL + b"%d, %d\r\n" % (N, N), BODY)),
    bad("length with plus", framed(CL + b"+%d\r\n" % N, BODY)),
    bad("length with minus", framed(CL + b"-1\r\n", BODY)),
    bad("length in hexadecimal", framed(CL + b"0x%x\r\n" % N, BODY)),
    bad("length with underscore", framed(CL + b"1_0\r\n", BODY)),
    bad("length with point", framed(CL + b"%d.0\r\n" % N, BODY)),
    bad("length with space within", framed(CL + b"1 0\r\n", BODY)),
    bad("length not ASCII", framed(CL + "１\r\n".encode(), BODY)),
    bad("empty length", framed(CL + b"\r\n", BODY)),
    bad("length of words", framed(CL + b"many\r\n", BODY)),
    bad("length over 64 bits", framed(CL + b"18446744073709551616\r\n", BODY)),
    bad("length with NUL", framed(CL + b"1\0\r\n", BODY)),
    last("body too large", framed(CL + b"%d\r\n" % (MAX_BODY_BYTES + 1), b"{"), Refusal.BODY_TOO_LARGE),
    last("body far too large", framed(CL + b"18446744073709551615\r\n", b"{"), Refusal.BODY_TOO_LARGE),
    last(
        "body too large elsewhere",
        framed(CL + b"999999\r\n", b"{", b"PUT /x HTTP/1.1\r\n"),
        Refusal.BODY_TOO_LARGE,
    ),
    last(
        "HEAD with a body too large",
        framed(CL + b"999999\r\n", b"{", b"HEAD / HTTP/1.1\r\n"),
        Refusal.BODY_TOO_LARGE,
        head=True,
    ),
    bad("more than the length", post() + b"garbage\r\n", FOUND, Refusal.BAD_REQUEST),
]

CODINGS = [
    good("chunked", chunked(chunks())),
    good("one chunk", chunked(chunks(size=1000))),
    good("chunks of one", chunked(chunks(size=1))),
    good("chunk sizes in capitals", chunked(b"%X\r\n" % N + BODY + b"\r\n0\r\n\r\n")),
    good("chunk sizes with zeros", chunked(b"000%x\r\n" % N + BODY + b"\r\n000\r\n\r\n")),
    good("chunk extensions", chunked(chunks(extension=b";a=b;c"))),
    good("quoted chunk extension", chunked(chunks(extension=b';a="b c"'))),
    good("trailers", chunked(chunks(trailers=b"X-A: b\r\nX-C: d\r\n"))),
    good("trailer signature", chunked(chunks(trailers=SIGNATURE))),
    good(
        "signature only in trailer",
        b"POST /helpscout HTTP/1.1\r\n" + HOST + TE + b"chunked\r\n\r\n" + chunks(trailers=SIGNATURE),
        BAD_SIGNATURE,
    ),
    good("trailer Host", chunked(chunks(trailers=b"Host: x\r\n"))),
    bad("trailer length", chunked(chunks(trailers=b"Content-Length: 3\r\n"))),
    bad("trailer coding", chunked(chunks(trailers=b"Transfer-Encoding: chunked\r\n"))),
    good("coding in capitals", framed(TE + b"CHUNKED\r\n", chunks())),
    good("coding with white space", framed(TE + b" chunked \r\n", chunks())),
    bad("coding with a tab after", framed(TE + b"chunked\t\r\n", chunks())),
    good("chunked GET", framed(TE + b"chunked\r\n", chunks(), b"GET /helpscout HTTP/1.1\r\n"), Refusal.BAD_METHOD),
    bad("length and coding", framed(CL + b"%d\r\n" % N + TE + b"chunked\r\n", chunks())),
    bad("coding and length", framed(TE + b"chunked\r\n" + CL + b"4\r\n", b"0\r\n\r\n" + SMUGGLED)),
    bad("coding twice", framed(TE + b"chunked\r\n" + TE + b"chunked\r\n", chunks())),
    bad("coding after chunked", framed(TE + b"chunked, gzip\r\n", chunks())),
    bad("chunked twice in one", framed(TE + b"chunked, chunked\r\n", chunks())),
    bad("coding after chunked, two fields", framed(TE + b"chunked\r\n" + TE + b"identity\r\n", chunks())),
    bad("empty coding", framed(TE + b"\r\n", chunks())),
    bad("coding in HTTP/1.0", framed(TE + b"chunked\r\n", chunks(), b"POST /helpscout HTTP/1.0\r\n")),
    last("gzip", framed(TE + b"gzip\r\n", chunks()), Refusal.UNSUPPORTED),
    last("gzip, chunked", framed(TE + b"gzip, chunked\r\n", chunks()), Refusal.UNSUPPORTED),
    last("gzip and chunked in two", framed(TE + b"gzip\r\n" + TE + b"chunked\r\n", chunks()), Refusal.UNSUPPORTED),
    last("identity", framed(TE + b"identity\r\n", chunks()), Refusal.UNSUPPORTED),
    last("xchunked", framed(TE + b"xchunked\r\n", chunks()), Refusal.UNSUPPORTED),
    last("quoted chunked", framed(TE + b'"chunked"\r\n', chunks()), Refusal.UNSUPPORTED),
    last("chunked with a parameter", framed(TE + b"chunked;q=1\r\n", chunks()), Refusal.UNSUPPORTED),
    last("vertical tab before chunked", framed(TE + b"a\xa0chunked\r\n", chunks()), Refusal.UNSUPPORTED),
    bad("chunk size empty", chunked(b"\r\n" + BODY)),
    bad("chunk size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    bad("chunk size negative", chunked(b"-1\r\nx\r\n0\r\n\r\n")),
    bad("chunk size with plus", chunked(b"+1\r\nx\r\n0\r\n\r\n")),
    bad("chunk size with underscore", chunked(b"1_0\r\nx\r\n0\r\n\r\n")),
    bad("chunk size no number", chunked(b"zz\r\nx\r\n0\r\n\r\n")),
    bad("chunk size over 64 bits", chunked(b"fffffffffffffffff\r\nx\r\n0\r\n\r\n")),
    bad("space before chunk size", chunked(b" 1\r\nx\r\n0\r\n\r\n")),
    bad("space after chunk size", chunked(b"1 \r\nx\r\n0\r\n\r\n")),
    bad("bare LF after chunk size", chunked(b"1\nx\r\n0\r\n\r\n")),
    bad("bare CR after chunk size", chunked(b"1\rx\r\n0\r\n\r\n")),
    bad("bare LF after chunk", chunked(b"1\r\nx\n0\r\n\r\n")),
    bad("bare LF in chunk extension", chunked(b"1;a\nx\r\n0\r\n\r\n")),
    bad("CR in chunk extension", chunked(b"1;a\rb\r\nx\r\n0\r\n\r\n")),
    bad("NUL in chunk extension", chunked(b"1;a=\0\r\nx\r\n0\r\n\r\n")),
    bad("chunk longer than it says", chunked(b"1\r\nxx\r\n0\r\n\r\n")),
    bad("chunk shorter than it says", chunked(b"5\r\nx\r\n0\r\n\r\n!")),
    bad("bad trailer", chunked(b"1\r\nx\r\n0\r\nX A: b\r\n\r\n")),
    bad("folded trailer", chunked(b"1\r\nx\r\n0\r\nX-A: b\r\n c\r\n\r\n")),
    last(
        "chunks too large together",
        chunked(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" + (b"30001\r\n" + b"x" * 0x30001)),
        Refusal.BODY_TOO_LARGE,
    ),
    last("endless chunk extension", chunked(b"1;" + b"a" * 2_000_000), Refusal.BODY_TOO_LARGE),
    last("endless trailers", chunked(b"0\r\n" + b"X: y\r\n" * 300_000), Refusal.BODY_TOO_LARGE),
]

POST = post()
HALF = POST[:-5]
EXPECT = b"Expect: 100-continue\r\n"
IN_A_ROW = [
    good("two", post() * 2, FOUND, FOUND),
    good("five", post() * 5, *[FOUND] * 5),
    good("two with blank lines between", post() + b"\r\n" + post(), FOUND, FOUND),
    good("both paths", GET + post() + GET + post(), *[WRONG_METHOD, FOUND] * 2),
    good("both paths the other way", post() + GET + GET + post(), FOUND, *[Refusal.BAD_METHOD] * 2, FOUND),
    good("chunked and plain", chunked(chunks()) + post() + chunked(chunks()), *[FOUND] * 3),
    good("a refused one does not end it", post(SIGNATURE) + post(), BAD_SIGNATURE, FOUND),
    last("close ends it", post(b"Connection: close\r\n") + post(), FOUND),
    last("garbage after close adds nothing", post(b"Connection: close\r\n") + b"garbage\0", FOUND),
    last("close on the fallback ends it", GET[:-2] + b"Connection: close\r\n\r\n" + post(), Refusal.BAD_METHOD),
    last("HTTP/1.0 ends it", line(b"POST /helpscout HTTP/1.0") + post(), FOUND),
    last("fault after a good one", post() + hosted(b""), FOUND, Refusal.BAD_REQUEST),
    last("fault after the fallback", GET + hosted(b"") + post(), Refusal.BAD_METHOD, Refusal.BAD_REQUEST),
    last("too large after the fallback", GET + framed(CL + b"999999\r\n"), Refusal.BAD_METHOD, Refusal.BODY_TOO_LARGE),
    *(
        last(f"{name} after a {first}", raw + line(wrong), answer, Refusal.BAD_REQUEST)
        for first, raw, answer in (("good one", post(), FOUND), ("GET", GET, Refusal.BAD_METHOD))
        for name, wrong in (
            ("two spaces", b"POST  /helpscout HTTP/1.1"),
            ("RTSP/1.1", b"POST /helpscout RTSP/1.1"),
            ("HTTP/2.0", b"POST /helpscout HTTP/2.0"),
            ("HTTP/0.9", b"POST /helpscout HTTP/0.9"),
            ("no version", b"GET /helpscout"),
        )
    ),
    good(
        "a right line in the body of the one before",
        post(body=b"POST /helpscout HTTP/1.1\r\n") + post(),
        BAD_PAYLOAD,
        FOUND,
    ),
    last("refused ten times", post(SIGNATURE) * 10 + post(), *[BAD_SIGNATURE] * 10),
    last("refused ten times on both paths", (GET + post(SIGNATURE)) * 6, *[WRONG_METHOD, BAD_SIGNATURE] * 5),
    good("refused nine times", GET * 9 + post(), *[Refusal.BAD_METHOD] * 9, FOUND),
    last("nothing after a fault", hosted(b"") + post(), Refusal.BAD_REQUEST),
    last("nothing after too large", framed(CL + b"999999\r\n", b"x" * 9000) + post(), Refusal.BODY_TOO_LARGE),
    good("expects to be told to go on", post(EXPECT), continues=True),
    good("expects in capitals", post(b"Expect: 100-CONTINUE\r\n"), continues=True),
    good(
        "expects on the fallback",
        post(EXPECT, line=b"PUT /helpscout HTTP/1.1\r\n"),
        Refusal.BAD_METHOD,
        continues=True,
    ),
    good("expects something else", post(b"Expect: a-miracle\r\n")),
    last("expects in HTTP/1.0", post(EXPECT, line=b"POST /helpscout HTTP/1.0\r\n")),
    last("expects, but too large", framed(EXPECT + CL + b"999999\r\n"), Refusal.BODY_TOO_LARGE),
    last("expects, but refused", post(EXPECT, host=b""), Refusal.BAD_REQUEST),
]

CASES = [*ANSWERED, *ROUTED, *TARGETS_AND_VERSIONS, *FIELDS, *LENGTHS, *CODINGS, *IN_A_ROW]

SAMPLE_IDS = {
    "plain": "the fast path",
    "GET": "the fallback",
    "HEAD": "a response whose Content-Length is not that of its body",
    "many fields": "a head of several KiB",
    "body just right": "256 KiB in many reads, for which the receive buffer grows",
    "chunked": "a body without Content-Length",
    "five": "a pipeline: several turns of the loop, and responses that are written together",
    "both paths the other way": "a pipeline in which both paths answer",
    "two signatures": "a refusal after which the connection goes on",
    "HTTP/1.0 keep-alive": "a connection that says that it persists",
    "close": "the server ends the connection",
    "close on the fallback ends it": "the same after a task",
    "garbage after close adds nothing": "bytes that nobody reads when the connection ends",
    "no Host": "a refusal that ends the connection",
    "upgrade": "the same for what is not supported",
    "fault after the fallback": "the same for the second of a pipeline, which must wait for the first",
    "refused ten times": "the same for too many refusals",
    "endless value": "the same while the client is still sending",
    "nothing after too large": "the same with a body on its way",
    "endless trailers": "the same after megabytes",
    "expects to be told to go on": "a response before the response",
    "expects, but refused": "none before the refusal",
}
"""What real sockets get, and what each of them stands for there: how bytes arrive and depart, not what they mean."""

SAMPLE = [case for case in CASES if case.id in SAMPLE_IDS]
