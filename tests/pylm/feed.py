"""Payloads for a job of a pylm client, in step with the results that it has read."""

import threading

# A test gives up long before.
FOREVER = 600

PROBE = b"probe"
END = b"end"

# A pylm publisher drops what its subscriber has not read when 1,000 messages wait.
OPEN_AT_MOST = 400


class Feed:
    """The numbers up to a count, then, when all results have been read, an end mark: a result
    that came twice would stand before the end mark's, or in its place.

    A pylm client subscribes anew for each job and sends at once. A palm publisher holds the
    results until the subscription is there. A pylm publisher drops them: so with one (`careful`)
    the feed sends probes until one comes back, and then no faster than results are read.
    """

    def __init__(self, count, careful):
        self.count = count
        self.careful = careful
        self.answered = threading.Event()
        self.complete = threading.Event()
        self.room = threading.Semaphore(OPEN_AT_MOST)
        self.read = 0

    def __iter__(self):
        while self.careful and not self.answered.wait(0.05):
            yield PROBE
        for number in range(self.count):
            if self.careful:
                self.room.acquire(timeout=FOREVER)
            yield b"%d" % number
        self.complete.wait(FOREVER)
        yield END

    def results(self, job):
        """The results of the job without those of probes and of the end mark."""
        for result in job:
            self.answered.set()
            if result == PROBE:
                continue
            if result == END:
                break
            self.room.release()
            self.read += 1
            if self.read == self.count:
                self.complete.set()
            yield result
