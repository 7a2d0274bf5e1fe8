"""What the examples' pylm side shares: the flags, and jobs whose results all arrive."""

import argparse
import logging
import os
import threading


def flags(**defaults):
    """The command line. A number as default is a port, a list that of a flag that may repeat."""
    parser = argparse.ArgumentParser()
    for name, default in defaults.items():
        if isinstance(default, list):
            parser.add_argument("--" + name, action="append")
        else:
            parser.add_argument("--" + name, default=address(default))
    args = parser.parse_args()
    for name, default in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, [address(each) for each in default])
    return args


def address(default):
    return "tcp://127.0.0.1:%d" % default if isinstance(default, int) else default


def server_flags(name="my_server"):
    return flags(name=name, db=5555, pull=5556, pub=5557)


def master_flags():
    return flags(name="server", pull=5555, pub=5556, wpush=5557, wpull=5558, db=5559)


def step_flags(previous="my_server"):
    return flags(name="my_pipeline", previous=previous, sub=5557, pub=5561, db=5560)


def worker_flags(**more):
    return flags(name="worker1", db=5559, **more)


def client_flags(server="server", db=5559, function="foo", **more):
    args = flags(server=server, function=function, db=db, **more)
    args.path = "%s.%s" % (args.server, args.function)
    # Standard output is for what the example prints.
    args.quiet = dict(logging_level=logging.ERROR)
    return args


def host_and_port(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


# The test says that a pylm peer publishes the results. Such a one drops what is published before
# the subscription is there, and a pylm client sends before that.
PYLM_PUBLISHES = "PALM_TEST_PYLM_PUBLISHES" in os.environ
PROBE = b"probe"


def job(client, path, payloads, results=None):
    """The results of a job, by default as many as payloads."""
    results = len(payloads) if results is None else results
    if not PYLM_PUBLISHES:
        return client.job(path, iter(payloads), messages=results)
    return probed(client, path, payloads, results)


def probed(client, path, payloads, left):
    """The same after probes, until the first of them comes back."""
    answered = threading.Event()

    def feed():
        while not answered.wait(0.05):
            yield PROBE
        yield from payloads

    for result in client.job(path, feed()):
        answered.set()
        if PROBE not in result:
            yield result
            left -= 1
        if left == 0:
            break


def call(client, path, payload):
    """The result of a single message. It is sent again and again with a pylm publisher."""
    if not PYLM_PUBLISHES:
        return client.eval(path, payload)
    answered = threading.Event()

    def feed():
        while not answered.is_set():
            yield payload
            answered.wait(0.05)

    for result in client.job(path, feed(), messages=1):
        answered.set()
    return result
