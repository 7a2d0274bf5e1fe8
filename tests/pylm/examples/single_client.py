"""The client of the single and the error example."""

from common import call, client_flags
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags("my_server", 5555)
    client = Client(args.server, args.db, **args.quiet)
    print("Client got: ", call(client, args.path, b"a message"))
