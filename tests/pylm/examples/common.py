"""What the examples' pylm side shares: the flags, and a job whose results all arrive."""

import argparse
import logging
import os
import threading


def server_flags(name, pull, pub, wpush, wpull, db):
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default=name)
    ports = dict(pull=pull, pub=pub, wpush=wpush, wpull=wpull, db=db)
    for role, port in ports.items():
        parser.add_argument("--" + role, default="tcp://127.0.0.1:%s" % port)
    return parser.parse_args()


def master_flags():
    return server_flags("server", 5555, 5556, 5557, 5558, 5559)


def worker_flags():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="worker1")
    parser.add_argument("--db", default="tcp://127.0.0.1:5559")
    return parser.parse_args()


def client_flags(server="server", db=5559):
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default=server)
    parser.add_argument("--function", default="foo")
    parser.add_argument("--db", default="tcp://127.0.0.1:%d" % db)
    args = parser.parse_args()
    args.path = "%s.%s" % (args.server, args.function)
    # Standard output is for what the example prints.
    args.quiet = dict(logging_level=logging.ERROR)
    return args


# The test says that results are published by a pylm server or master. Such a one drops what is
# published before the subscription is there, and a pylm client sends before that.
PYLM_PUBLISHES = "PALM_TEST_PYLM_PUBLISHES" in os.environ
PROBE = b"probe"


def job(client, function, payloads):
    """The results of a job, as many as payloads."""
    if not PYLM_PUBLISHES:
        return client.job(function, iter(payloads), messages=len(payloads))
    return probed(client, function, payloads)


def probed(client, function, payloads):
    """The same after probes, until the first of them comes back."""
    answered = threading.Event()

    def feed():
        while not answered.wait(0.05):
            yield PROBE
        yield from payloads

    left = len(payloads)
    for result in client.job(function, feed()):
        answered.set()
        if not result.endswith(PROBE):
            yield result
            left -= 1
        if left == 0:
            break
