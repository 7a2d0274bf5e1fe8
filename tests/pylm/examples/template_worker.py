from common import worker_flags
from pylm.servers import Worker


class MyWorker(Worker):
    def foo(self, message):
        return self.name.encode() + b" processed " + message


if __name__ == "__main__":
    args = worker_flags(wpush=5557, wpull=5558)
    # It pulls from where the master pushes to.
    MyWorker(
        args.name, db_address=args.db, push_address=args.wpush, pull_address=args.wpull
    ).start()
