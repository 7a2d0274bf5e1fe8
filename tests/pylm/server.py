"""A pylm Server with the functions of the tests."""

from common import Functions, flags
from pylm.servers import Server


class TestServer(Functions, Server):
    pass


if __name__ == "__main__":
    parser = flags("name", "pull", "pub", "db")
    parser.add_argument("--pipelined", action="store_true")
    args = parser.parse_args()
    server = TestServer(
        args.name,
        db_address=args.db,
        pull_address=args.pull,
        pub_address=args.pub,
        pipelined=args.pipelined,
    )
    print("bound")
    server.start()
