from common import flags
from pylm.servers import Sink


class MySink(Sink):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"and I pipelined " + message


def start(kind, **defaults):
    args = flags(**defaults)
    kind(
        args.name,
        db_address=args.db,
        sub_addresses=args.sub,
        pub_address=args.pub,
        previous=args.previous,
        to_client=True,
    ).start()


if __name__ == "__main__":
    start(MySink, name="my_pipeline", db=5560, sub=[5557], previous=["my_server"], pub=5561)
