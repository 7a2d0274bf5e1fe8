"""A pylm master whose functions are run over HTTP."""

from common import flags
from pylm.parts.connections import HttpConnection
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, PubService, PullService

if __name__ == "__main__":
    args = flags("name", "pull", "pub", "db", "url").parse_args()
    server = ServerTemplate()
    server.register_inbound(PullService, "Pull", args.pull, route="Http")
    server.register_outbound(HttpConnection, "Http", args.url, route="Pub", max_workers=1)
    server.register_outbound(PubService, "Pub", args.pub)
    server.register_bypass(CacheService, "Cache", args.db)
    server.preset_cache(
        name=args.name,
        db_address=args.db,
        pull_address=args.pull,
        pub_address=args.pub,
    )
    server.start()
