"""The client of the pipeline, the tee and the sink example."""

from common import call, client_flags
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags("my_server", 5555, sub=5561)
    client = Client(args.server, args.db, sub_address=args.sub, **args.quiet)
    path = [args.path, "my_pipeline.foo"]
    print("Client got: ", call(client, path, b"a message"))
