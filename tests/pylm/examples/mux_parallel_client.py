from common import client_flags, job
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags()
    client = Client(args.server, args.db, **args.quiet)
    for result in job(client, args.path, [b"a message"] * 10, results=20):
        print(result)
