"""The pipeline of the examples in which it answers the client."""

from common import step_flags
from pylm.servers import Pipeline


class MyPipeline(Pipeline):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"and I pipelined " + message


def start(kind, **more):
    args = step_flags()
    kind(
        args.name,
        db_address=args.db,
        sub_address=args.sub,
        pub_address=args.pub,
        previous=args.previous,
        **more
    ).start()


if __name__ == "__main__":
    start(MyPipeline, to_client=True)
