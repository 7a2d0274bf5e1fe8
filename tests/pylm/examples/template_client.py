from common import client_flags, job
from pylm.clients import Client

if __name__ == "__main__":
    args = client_flags(pull=5555, pub=5556)
    client = Client(
        args.server, args.db, push_address=args.pull, sub_address=args.pub, **args.quiet
    )
    for result in job(client, args.path, [b"a message"] * 10):
        print(result)
