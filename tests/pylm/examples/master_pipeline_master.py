from master import start
from pylm.servers import Master

if __name__ == "__main__":
    start(Master, pipelined=True)
