"""The command line with one more protocol: a file like this one, and a line in the registry, are all that it takes."""

from appliance.cli import main
from appliance.outcomes import CARD_STATUS, Response
from appliance.sidebar.inquiry import Answer, Inquiry
from appliance.sidebar.protocols import PROTOCOLS
from appliance.sidebar.protocols.base import Conversation, InquiryError, SignedRequest
from appliance.sidebar.protocols.body_signed import BodySigned


class Toy(BodySigned):
    """Another header, another body, another answer: addresses, one a line, are answered with the card alone."""

    name = "toy"
    header = "X-Toy-Seal"

    def parse(self, request: SignedRequest) -> Inquiry:
        try:
            return Inquiry(addresses=tuple(request.body.decode().splitlines()))
        except UnicodeDecodeError as error:
            raise InquiryError from error

    def render(self, answer: Answer) -> Response:
        return Response(CARD_STATUS, f"<toy>{answer.html}</toy>".encode(), "text/html; charset=utf-8")

    def read_card(self, body: bytes) -> str:
        html = body.decode()
        if not html.startswith("<toy>"):
            raise ValueError("this is no toy")
        return html.removeprefix("<toy>").removesuffix("</toy>")

    def sample(self, conversation: Conversation, shape: int = 0) -> bytes:
        return "\n".join(conversation.addresses).encode()


if __name__ == "__main__":
    PROTOCOLS[Toy.name] = Toy  # the registry line
    main()
