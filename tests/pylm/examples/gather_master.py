from common import PROBE
from master import start
from scatter_master import Thrice


class Counting(Thrice):
    """Changes the thirtieth result. The test's probes do not count."""

    counter = 0

    def gather(self, message):
        if PROBE not in message.payload:
            self.counter += 1
            if self.counter == 30:
                message = self.last(message)
        yield message

    def last(self, message):
        return self.change_payload(message, b"final message")


if __name__ == "__main__":
    start(Counting)
