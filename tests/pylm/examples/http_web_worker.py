from common import flags, host_and_port
from pylm.remote.server import DebugServer, RequestHandler


class MyHandler(RequestHandler):
    def foo(self, payload):
        return payload + b" processed online"


if __name__ == "__main__":
    args = flags(listen="localhost:8888")
    DebugServer(*host_and_port(args.listen), MyHandler).serve_forever()
