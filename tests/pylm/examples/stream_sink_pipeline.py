"""Both pipelines of the stream_sink example: the flags tell which."""

from pipeline_pipeline import MyPipeline, start

if __name__ == "__main__":
    start(MyPipeline, to_client=False)
