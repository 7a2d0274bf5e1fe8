"""A component of two pylm parts: what comes in at the one goes to the other."""

from common import flags
from pylm.parts import connections, services
from pylm.parts.servers import ServerTemplate


def part(name):
    """A class of pylm's, by its name."""
    return getattr(services, name, None) or getattr(connections, name)


if __name__ == "__main__":
    parser = flags("inbound", "from", "outbound", "to")
    parser.add_argument("--previous")
    args = vars(parser.parse_args())
    more = {"previous": args["previous"]} if args["previous"] else {}
    template = ServerTemplate()
    template.register_inbound(
        part(args["inbound"]), "In", args["from"], route="Out", **more
    )
    template.register_outbound(part(args["outbound"]), "Out", args["to"])
    template.start()
