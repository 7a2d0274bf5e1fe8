"""A pylm Worker with the functions of the tests, or a MuxWorker with `--mux`."""

from common import Functions, flags
from pylm.servers import MuxWorker, Worker


class TestWorker(Functions, Worker):
    def remember(self, payload):
        """Uses every call of the master's cache: sets, reads and deletes a key of its own,
        and reads the key `shared` that a client has set."""
        own = b"own " + payload
        key = self.set(own, "key of " + self.name)
        fresh = self.set(payload)
        seen = [self.get("shared"), self.get(key), self.get(fresh), self.get("absent")]
        # Both are there: a pylm master's cache dies of deleting a key that is not.
        self.delete(key)
        self.delete(fresh)
        seen += [self.get(key), self.get(fresh)]
        return b"|".join(seen)


class TestMuxWorker(Functions, MuxWorker):
    def parts(self, payload):
        """As many payloads as the number says."""
        for part in range(int(payload)):
            yield b"%s.%d" % (payload, part)


if __name__ == "__main__":
    parser = flags("name", "db")
    parser.add_argument("--mux", action="store_true")
    args = parser.parse_args()
    kind = TestMuxWorker if args.mux else TestWorker
    worker = kind(args.name, db_address=args.db)
    print("ready")
    worker.start()
