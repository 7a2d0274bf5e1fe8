"""A pylm Server with the functions of the tests."""

from common import Functions, flags
from pylm.servers import Server


class TestServer(Functions, Server):
    pass


if __name__ == "__main__":
    args = flags("name", "pull", "pub", "db").parse_args()
    server = TestServer(
        args.name, db_address=args.db, pull_address=args.pull, pub_address=args.pub
    )
    print("bound")
    server.start()
