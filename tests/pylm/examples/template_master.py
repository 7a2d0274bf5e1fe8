from common import master_flags
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import (
    CacheService,
    PubService,
    PullService,
    WorkerPullService,
    WorkerPushService,
)

if __name__ == "__main__":
    args = master_flags()
    master = ServerTemplate()
    master.register_inbound(PullService, "Pull", args.pull, route="WorkerPush")
    master.register_inbound(WorkerPullService, "WorkerPull", args.wpull, route="Pub")
    master.register_outbound(WorkerPushService, "WorkerPush", args.wpush)
    master.register_outbound(PubService, "Pub", args.pub)
    master.register_bypass(CacheService, "Cache", args.db)
    master.preset_cache(
        name=args.name,
        db_address=args.db,
        pull_address=args.pull,
        pub_address=args.pub,
        worker_pull_address=args.wpull,
        worker_push_address=args.wpush,
    )
    master.start()
