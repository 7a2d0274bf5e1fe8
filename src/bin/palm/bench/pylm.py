"""A peer of a measurement that is pylm's own. Its argument is its role, as JSON."""

import json
import os
import queue
import struct
import sys
import threading
import time

from pylm.clients import Client
from pylm.servers import Master, Server, Worker

# How long a subscription may take until it stands: a publisher drops what comes before.
SETTLE = 0.5

# After so many seconds without a result the rest is taken to be lost.
LOST = 10


# pylm logs to the standard output, which is for whoever has started this.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def tell(what):
    print(json.dumps(what), file=OUT, flush=True)


def end_when_told():
    """Ends this process when whoever started it ends."""

    def wait():
        while sys.stdin.readline():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class EchoWorker(Worker):
    def echo(self, payload):
        return payload


class EchoServer(Server):
    def echo(self, payload):
        return payload


def master(role):
    component = Master(
        "bench",
        pull_address=role["pull"],
        pub_address=role["publish"],
        worker_pull_address=role["more"][0],
        worker_push_address=role["more"][1],
        db_address=role["db"],
    )
    run(component, role)


def server(role):
    component = EchoServer(
        "bench",
        pull_address=role["pull"],
        pub_address=role["publish"],
        db_address=role["db"],
    )
    run(component, role)


def worker(role):
    run(EchoWorker("worker", db_address=role["db"]), PLACE)


def run(component, place):
    tell(place)
    end_when_told()
    component.start()


PLACE = {"db": "", "publish": "", "pull": "", "more": []}


def client(role):
    load = role["load"]
    count = load["count"]
    filling = b"\x5a" * max(load["size"] - 8, 0)
    results = queue.Queue()
    go = threading.Event()
    room = threading.Semaphore(1)
    one_at_a_time = load["kind"] == "Calls"

    def payloads():
        time.sleep(SETTLE)
        yield payload(0)
        go.wait()
        for number in range(count):
            if one_at_a_time:
                room.acquire()
            yield payload(number)

    def payload(number):
        return struct.pack("<Q", number) + filling

    def receive():
        job = connected.job("bench.echo", payloads(), messages=count + 1)
        for result in job:
            results.put(result)

    connected = Client("bench", db_address=role["db"])
    threading.Thread(target=receive, daemon=True).start()
    results.get(timeout=LOST)
    tell(PLACE)
    sys.stdin.readline()
    end_when_told()
    start = sent = time.perf_counter()
    go.set()
    seen = bytearray(count)
    doubled = 0
    calls = []
    try:
        left = count
        while left:
            (number,) = struct.unpack_from("<Q", results.get(timeout=LOST))
            if one_at_a_time:
                now = time.perf_counter()
                calls.append(now - sent)
                sent = now
                room.release()
            doubled += seen[number]
            left -= 1 - seen[number]
            seen[number] = 1
    except queue.Empty:
        pass
    report = {
        "seconds": time.perf_counter() - start,
        "lost": seen.count(0),
        "doubled": doubled,
        "calls": sorted(calls),
    }
    tell(report)
    threading.Event().wait()


if __name__ == "__main__":
    ((kind, role),) = json.loads(sys.argv[1]).items()
    {"Master": master, "Server": server, "Worker": worker, "Client": client}[kind](role)
