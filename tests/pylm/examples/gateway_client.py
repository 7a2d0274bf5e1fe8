from urllib.request import urlopen

from common import flags

if __name__ == "__main__":
    args = flags(url="http://localhost:8888")
    with urlopen(args.url + "/function", timeout=30) as answer:
        print(answer.read())
