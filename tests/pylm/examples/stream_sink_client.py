from common import client_flags, job
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags("my_server", 5555, sub=5581)
    client = Client(args.server, args.db, sub_address=args.sub, **args.quiet)
    path = [args.path, "my_pipeline.foo", "my_sink.foo"]
    for result in job(client, path, [b"a message"] * 10):
        print("Client got: ", result)
