from common import call, client_flags
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags("server", 5555, sub=5558)
    client = Client(args.server, args.db, sub_address=args.sub, **args.quiet)
    print("Client got: ", call(client, [args.path, "hub.foo"], b"a message"))
