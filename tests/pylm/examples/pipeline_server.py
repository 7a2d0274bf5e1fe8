"""The server of the pipeline, the tee, the sink and the server_hub example."""

from single_server import MyServer, start

if __name__ == "__main__":
    start(MyServer, pipelined=True)
