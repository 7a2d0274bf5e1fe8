from pylm.servers import Sink
from sink_sink import start


class MySink(Sink):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"and gathered " + message


if __name__ == "__main__":
    start(
        MySink,
        name="my_sink",
        db=5580,
        sub=[5561, 5571],
        previous=["my_pipeline", "my_pipeline"],
        pub=5581,
    )
