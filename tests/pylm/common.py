"""What the pylm peers of the tests share."""

import argparse
import sys
import zlib

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

    def fail(self, payload):
        raise ValueError("no luck")
