"""The worker of most examples."""

from common import worker_flags
from pylm.servers import Worker


class MyWorker(Worker):
    def foo(self, message):
        return self.name.encode() + b" processed " + message


if __name__ == "__main__":
    args = worker_flags()
    MyWorker(args.name, db_address=args.db).start()
