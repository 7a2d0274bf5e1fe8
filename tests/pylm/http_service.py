"""A pylm component that publishes the messages that are POSTed to it."""

from common import flags
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import HttpService, PubService

if __name__ == "__main__":
    args = flags("port", "pub").parse_args()
    server = ServerTemplate()
    server.register_inbound(
        HttpService, "Http", "127.0.0.1", route="Pub", port=int(args.port)
    )
    server.register_outbound(PubService, "Pub", args.pub)
    server.start()
