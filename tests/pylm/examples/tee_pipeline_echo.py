"""The branch of the tee and the stream example that ends."""

from pipeline_pipeline import start
from pylm.servers import Pipeline


class MyPipeline(Pipeline):
    def foo(self, message):
        self.logger.warning("Just echo, nothing else")


if __name__ == "__main__":
    start(MyPipeline, to_client=True)
