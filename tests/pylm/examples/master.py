"""The master of the parallel, the cache and the applications example: they are the same."""

from common import master_flags
from pylm.servers import Master

if __name__ == "__main__":
    args = master_flags()
    Master(
        name=args.name,
        pull_address=args.pull,
        pub_address=args.pub,
        worker_push_address=args.wpush,
        worker_pull_address=args.wpull,
        db_address=args.db,
    ).start()
