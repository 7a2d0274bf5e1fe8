from master import start
from pylm.servers import Master


class Thrice(Master):
    def scatter(self, message):
        yield from [message] * 3


if __name__ == "__main__":
    start(Thrice)
