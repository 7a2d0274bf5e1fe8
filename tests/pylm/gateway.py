"""A pylm master that HTTP is put before."""

from common import flags
from pylm.parts.gateways import GatewayDealer, GatewayRouter, HttpGateway
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, WorkerPullService, WorkerPushService

ROUTER = "inproc://gateway_router"

if __name__ == "__main__":
    args = flags("name", "port", "wpush", "wpull", "db").parse_args()
    server = ServerTemplate()
    server.register_inbound(GatewayRouter, "gateway_router", ROUTER, route="WorkerPush")
    server.register_outbound(WorkerPushService, "WorkerPush", args.wpush)
    server.register_inbound(
        WorkerPullService, "WorkerPull", args.wpull, route="gateway_dealer"
    )
    server.register_outbound(GatewayDealer, "gateway_dealer", listen_address=ROUTER)
    server.register_bypass(
        HttpGateway, "HttpGateway", ROUTER, hostname="127.0.0.1", port=int(args.port)
    )
    server.register_bypass(CacheService, "Cache", args.db)
    server.preset_cache(
        name=args.name,
        db_address=args.db,
        worker_push_address=args.wpush,
        worker_pull_address=args.wpull,
    )
    server.start()
