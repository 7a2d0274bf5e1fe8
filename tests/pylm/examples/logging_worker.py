from common import worker_flags
from pylm.servers import Worker


class MyWorker(Worker):
    calls = 0

    def foo(self, message):
        self.calls += 1
        if self.calls % 10 == 0:
            self.logger.info("Processed %d messages", self.calls)
        return self.name.encode() + self.get("cached") + message


if __name__ == "__main__":
    args = worker_flags()
    MyWorker(args.name, db_address=args.db).start()
