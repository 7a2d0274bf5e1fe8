from pylm.servers import Server
from single_server import start


class MyServer(Server):
    def foo(self, message):
        self.logger.warning("Got a message")
        raise NameError("there is no x")


if __name__ == "__main__":
    start(MyServer)
