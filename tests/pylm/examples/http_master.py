from common import flags
from pylm.parts.connections import HttpConnection
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, PubService, PullService

if __name__ == "__main__":
    args = flags(name="server", pull=5555, pub=5556, db=5559, url="http://localhost:8888")
    master = ServerTemplate()
    master.register_inbound(PullService, "Pull", args.pull, route="HttpConnection")
    master.register_outbound(
        HttpConnection, "HttpConnection", args.url, route="Pub", max_workers=1
    )
    master.register_outbound(PubService, "Pub", args.pub)
    master.register_bypass(CacheService, "Cache", args.db)
    master.preset_cache(
        name=args.name, db_address=args.db, pull_address=args.pull, pub_address=args.pub
    )
    master.start()
