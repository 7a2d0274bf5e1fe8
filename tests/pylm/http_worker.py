"""pylm's web worker, with the functions of the tests."""

from common import Functions, flags
from pylm.remote.server import DebugServer, RequestHandler


class Handler(Functions, RequestHandler):
    name = "web"


if __name__ == "__main__":
    args = flags("port").parse_args()
    server = DebugServer("127.0.0.1", int(args.port), Handler)
    print("bound")
    server.serve_forever()
