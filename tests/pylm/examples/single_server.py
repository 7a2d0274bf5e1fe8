"""The server of the single example, and as the first step of a chain that of others."""

from common import server_flags
from pylm.servers import Server


class MyServer(Server):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"you sent me " + message


def start(kind, **more):
    args = server_flags()
    kind(
        args.name,
        db_address=args.db,
        pull_address=args.pull,
        pub_address=args.pub,
        **more
    ).start()


if __name__ == "__main__":
    start(MyServer)
