"""The master of the parallel, the cache, the mux_parallel and the applications example."""

from common import master_flags
from pylm.servers import Master


def start(kind, **more):
    args = master_flags()
    kind(
        name=args.name,
        pull_address=args.pull,
        pub_address=args.pub,
        worker_push_address=args.wpush,
        worker_pull_address=args.wpull,
        db_address=args.db,
        **more
    ).start()


if __name__ == "__main__":
    start(Master)
