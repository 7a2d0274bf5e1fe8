import logging

from gather_master import Counting
from master import start


class Telling(Counting):
    def last(self, message):
        self.logger.critical("Changing the payload of the message")
        return super().last(message)


if __name__ == "__main__":
    start(Telling, log_level=logging.WARNING)
