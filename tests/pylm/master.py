"""A pylm Master."""

from common import flags
from pylm.servers import Master

if __name__ == "__main__":
    args = flags("name", "pull", "pub", "wpush", "wpull", "db").parse_args()
    Master(
        args.name,
        pull_address=args.pull,
        pub_address=args.pub,
        worker_pull_address=args.wpull,
        worker_push_address=args.wpush,
        db_address=args.db,
    ).start()
