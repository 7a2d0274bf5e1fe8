from common import PYLM_PUBLISHES, client_flags, job
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags("my_server", 5555)
    client = Client(args.server, args.db, **args.quiet)
    if PYLM_PUBLISHES:
        (result,) = job(client, args.path, [b"a message"])
    else:
        result = client.eval(args.path, b"a message")
    print("Client got: ", result)
