"""The server of the stream and the stream_sink example."""

from single_server import MyServer, start


class Switch(MyServer):
    """Sends results to the topics even and odd in turn."""

    counter = 0

    def handle_stream(self, message):
        topic = "odd" if self.counter % 2 else "even"
        self.counter += 1
        message.stage += 1
        return topic, message


if __name__ == "__main__":
    start(Switch, pipelined=True)
