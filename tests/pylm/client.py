"""A pylm client: prints a line for each result."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from common import digest, flags
from feed import Feed
from pylm.clients import Client


def numbers(client, args):
    """A job of many numbers, each with one result."""
    feed = Feed(args.count, args.careful)
    results = feed.results(client.job(args.function, iter(feed)))
    show = digest if args.digest else bytes.decode
    print(show(next(results)))
    # The subscription stands now; what comes meanwhile must wait somewhere.
    time.sleep(args.pause)
    for result in results:
        print(show(result))


def payloads(client, args):
    """A job of the payloads in the arguments, with `--count` results."""
    source = iter([payload.encode() for payload in args.payloads])
    for result in client.job(args.function, source, messages=args.count):
        print(result.decode())


def functions(client, args):
    """A call with the payload `7` of each function in the arguments, each by a client of its
    own: a second call of the same client may be taken for one of the first's, see `evals`."""
    for function in args.payloads:
        client = connect(args)
        answered = threading.Event()
        source = again_until(answered) if args.careful else iter([b"7"])
        for result in client.job(function, source, messages=1):
            answered.set()
            print(result.decode())


def again_until(answered):
    """The payload again and again, with a pylm publisher: see `Feed` for why."""
    while not answered.is_set():
        yield b"7"
        answered.wait(0.05)




def evals(client, args):
    """Many calls of eval, each with a subscription of its own to the same topic. The one of the
    call before may still stand when a message is already there."""
    for number in range(args.count):
        print(client.eval(args.function, b"%d" % number).decode())


def cache(client, args):
    """Every cache call, once in each of its ways."""
    key = client.set(b"a value", "named")
    print("set named:", key)
    print("get named:", client.get("named"))
    print("get what set returned:", client.get(key))
    fresh = client.set(b"another value")
    print("set fresh:", len(fresh), fresh.count("-"))
    print("get fresh:", client.get(fresh))
    print("get absent:", client.get("absent"))
    print("delete:", client.delete(key) == key)
    print("get deleted:", client.get(key))
    print("get crossed:", client.get("set by the test"))
    client.set(b"from pylm", "set by pylm")


def first_calls(client, args):
    """One call of eval by each of many clients, all at the same time."""

    def first_call(number):
        return connect(args).eval(args.function, b"%d" % number).decode()

    with ThreadPoolExecutor(args.count) as clients:
        for result in clients.map(first_call, range(args.count)):
            print(result)


def connect(args):
    return Client(args.server, db_address=args.db, session=args.session)


def main():
    parser = flags("server", "db")
    parser.add_argument("what", choices=WAYS)
    parser.add_argument("payloads", nargs="*")
    parser.add_argument("--function")
    parser.add_argument("--count", type=int)
    parser.add_argument("--session")
    parser.add_argument("--careful", action="store_true")
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--pause", type=float, default=0)
    args = parser.parse_args()
    globals()[args.what](connect(args), args)


WAYS = ["numbers", "payloads", "functions", "evals", "first_calls", "cache"]

if __name__ == "__main__":
    main()
