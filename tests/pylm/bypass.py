"""A bypass part of pylm's by itself."""

import logging
import threading

import zmq
from common import flags
from pylm.parts.connections import PullBypassConnection, PushBypassConnection
from pylm.parts.core import zmq_context
from pylm.parts.messages_pb2 import PalmMessage
from pylm.parts.services import RepBypassService


class Shouts(RepBypassService):
    def recv(self):
        self.listen_to.send(self.listen_to.recv().upper())


class Prints(PullBypassConnection):
    def recv(self):
        message = PalmMessage()
        message.ParseFromString(self.listen_to.recv())
        print(message.payload.decode())


def push(address, count):
    part = PushBypassConnection("Push", address)
    for number in range(count):
        message = PalmMessage(client="me", function="s.f", payload=b"%d" % number)
        part.send(message.SerializeToString())
    # It has no other end than that of the process, which comes when all have arrived.
    threading.Event().wait()


def pull(address, _):
    Prints("Pull", address, logger=logging.getLogger()).start()


def answer(address, _):
    Shouts("Rep", address, logger=logging.getLogger()).start()


def ask(address, count):
    """Requests with pylm's message, one after another, of a palm peer."""
    socket = zmq_context.socket(zmq.REQ)
    socket.connect(address)
    for number in range(count):
        request = PalmMessage(client="me", function="server.square", cache="mine")
        request.payload = b"%d" % number
        socket.send(request.SerializeToString())
        answered = PalmMessage()
        answered.ParseFromString(socket.recv())
        assert (answered.client, answered.cache) == ("me", "mine"), answered
        print(answered.payload.decode())


if __name__ == "__main__":
    parser = flags("address")
    parser.add_argument("what", choices=["push", "pull", "answer", "ask"])
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()
    globals()[args.what](args.address, args.count)
