from common import server_flags
from pylm.servers import Server


class MyServer(Server):
    def foo(self, message):
        return b"you sent me " + message


if __name__ == "__main__":
    args = server_flags("my_server", 5556, 5557, None, None, 5555)
    MyServer(
        args.name, db_address=args.db, pull_address=args.pull, pub_address=args.pub
    ).start()
