from common import worker_flags
from pylm.servers import Worker


class MyWorker(Worker):
    def function(self, message):
        return b"acknowledged"


if __name__ == "__main__":
    args = worker_flags()
    MyWorker(args.name, db_address=args.db).start()
