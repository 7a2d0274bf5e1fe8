from common import flags, host_and_port
from pylm.parts.gateways import GatewayDealer, GatewayRouter, HttpGateway
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, WorkerPullService, WorkerPushService

INSIDE = "inproc://gateway_router"

if __name__ == "__main__":
    args = flags(name="server", wpush=5558, wpull=5557, db=5559, listen="localhost:8888")
    host, port = host_and_port(args.listen)
    server = ServerTemplate()
    server.register_inbound(GatewayRouter, "gateway_router", INSIDE, route="WorkerPush")
    server.register_outbound(GatewayDealer, "gateway_dealer", INSIDE)
    server.register_bypass(HttpGateway, "HttpGateway", INSIDE, hostname=host, port=port)
    server.register_inbound(
        WorkerPullService, "WorkerPull", args.wpull, route="gateway_dealer"
    )
    server.register_outbound(WorkerPushService, "WorkerPush", args.wpush)
    server.register_bypass(CacheService, "Cache", args.db)
    server.preset_cache(
        name=args.name,
        db_address=args.db,
        worker_pull_address=args.wpull,
        worker_push_address=args.wpush,
    )
    server.start()
