from common import flags
from pylm.servers import Hub

if __name__ == "__main__":
    args = flags(
        name="hub", previous="server", sub=5557, pub=5558, wpull=5559, wpush=5560, db=5561
    )
    Hub(
        name=args.name,
        sub_address=args.sub,
        pub_address=args.pub,
        worker_push_address=args.wpush,
        worker_pull_address=args.wpull,
        db_address=args.db,
        previous=args.previous,
    ).start()
