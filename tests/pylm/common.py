"""What the pylm peers of the tests share."""

import argparse
import sys
import time
import zlib

from google.protobuf import descriptor_pb2, message_factory

# What is printed must have been seen by the test even if the peer is killed later.
sys.stdout.reconfigure(line_buffering=True)


def flags(*names):
    """A parser of flags that all take a text, and are all needed."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument("--" + name, required=True)
    return parser


def digest(payload):
    """A large payload in a line: its first word, its length and its checksum."""
    word = payload.split(b" ", 1)[0].decode()
    return "%s %d %d" % (word, len(payload), zlib.adler32(payload))


def pair_type():
    """The message that workers of a reducer get as their payload."""
    file = descriptor_pb2.FileDescriptorProto(name="pair.proto", syntax="proto3")
    pair = file.message_type.add(name="Pair")
    field = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(["left", "right"], 1):
        kind, label = field.TYPE_BYTES, field.LABEL_OPTIONAL
        pair.field.add(name=name, number=number, type=kind, label=label)
    return message_factory.GetMessages([file])["Pair"]


Pair = pair_type()


class Functions:
    """The functions that the tests call. The tests' palm servers and workers have the same."""

    def square(self, payload):
        """The number, its square, and who has computed it; what is no number comes back."""
        if not payload.isdigit():
            return payload
        number = int(payload)
        return b"%d %d %s" % (number, number * number, self.name.encode())

    def large(self, payload):
        """The number, and a filling up to 10,000 bytes."""
        return (payload + b" ").ljust(10000, b"x")

    def slow(self, payload):
        """Takes its time."""
        time.sleep(0.005)
        return payload

    def fail(self, payload):
        raise ValueError("no luck")

    def add(self, payload):
        """For a reducer: adds the numbers up that two values begin with."""
        pair = Pair.FromString(payload)
        values = [int(value.split()[0]) for value in (pair.left, pair.right)]
        return b"%d" % sum(values)
