from common import worker_flags
from pylm.servers import MuxWorker


class MyWorker(MuxWorker):
    def foo(self, message):
        for part in b" 1", b" 2":
            yield self.name.encode() + b" processed " + message + part


if __name__ == "__main__":
    args = worker_flags()
    MyWorker(args.name, db_address=args.db).start()
