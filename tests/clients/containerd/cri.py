#!/usr/bin/python3
"""A client of the CRI for the flows: cri.py SOCKET PORT serves on 127.0.0.1:PORT, one request a connection.

A request is a line `METHOD JSON`; the answer is `ok` or `error CODE`, and then, on lines of their own, JSON or the message. It stays up since
the start of Python with gRPC takes seconds in a VM without KVM. The messages are those of cri.proto, read by protoc.
`stream {"url": …, "send": [[CHANNEL, TEXT], …], "until": TEXT}` speaks WebSocket with the server that Exec, Attach and PortForward name.
"""
import base64, json, os, socket, socketserver, struct, subprocess, sys, urllib.parse
import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

here = os.path.dirname(os.path.abspath(__file__))


def methods(channel):
    """Of each method a function from JSON to JSON."""
    compiled = subprocess.run(["protoc", f"--proto_path={here}", "--descriptor_set_out=/dev/stdout", "cri.proto"], check=True, stdout=subprocess.PIPE)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled.stdout).file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    service = pool.FindServiceByName("runtime.v1.RuntimeService")
    def caller(method):
        request, answer = factory.GetPrototype(method.input_type), factory.GetPrototype(method.output_type)
        call = channel.unary_unary(f"/{service.full_name}/{method.name}", request.SerializeToString, answer.FromString)
        def run(argument):
            given = call(json_format.ParseDict(argument, request()), timeout=200)
            return json_format.MessageToDict(given, including_default_value_fields=True, preserving_proto_field_name=True)
        return run
    return {method.name: caller(method) for method in service.methods}


class WebSocket:
    """As much of RFC 6455 as the streaming server of the kubelet needs."""
    def __init__(self, url):
        url = urllib.parse.urlparse(url)
        self.file = socket.create_connection((url.hostname, url.port), timeout=100).makefile("rwb")
        target = url.path + (f"?{url.query}" if url.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        self.file.write(f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\nOrigin: http://{url.netloc}\r\n\r\n".encode())
        self.file.flush()
        status = self.file.readline()
        if b" 101 " not in status:
            raise ConnectionError(status.decode())
        while self.file.readline().strip():
            pass

    def send(self, channel, data):
        body = bytes([channel]) + data
        mask = b"\0\0\0\0"
        self.file.write(bytes([0x82]) + (bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(body))) + mask + body)
        self.file.flush()

    def frames(self):
        """(channel, bytes), until the other side is done."""
        while len(head := self.file.read(2)) == 2:
            size = head[1] & 0x7F
            if size == 126:
                size, = struct.unpack(">H", self.file.read(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.file.read(8))
            body = self.file.read(size)
            if head[0] & 0x0F == 8:
                return
            if head[0] & 0x0F in (1, 2) and body:
                yield body[0], body[1:]


def stream(argument):
    """Channels: 0 stdin, 1 stdout, 2 stderr, 3 the status at the end, 4 a terminal's size; of a forwarded port 0 data, 1 errors."""
    connection = WebSocket(argument["url"])
    forward = "/portforward/" in argument["url"]
    got = {}
    for channel, data in argument.get("send", []):
        connection.send(channel, data.encode())
    for channel, data in connection.frames():
        # The first frame of each channel of a forwarded port is the port's number.
        if forward and channel not in got:
            got[channel] = b""
            continue
        got[channel] = got.get(channel, b"") + data
        if "until" in argument and argument["until"].encode() in got[channel]:
            break
    return {str(channel): data.decode(errors="replace") for channel, data in got.items()}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        name, _, argument = self.rfile.readline().decode().partition(" ")
        try:
            answer = "ok\n" + json.dumps(known[name](json.loads(argument)))
        except grpc.RpcError as error:
            answer = f"error {error.code().name}\n{error.details()}"
        except Exception as error:
            answer = f"error {type(error).__name__}\n{error}"
        self.wfile.write(answer.encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


known = methods(grpc.insecure_channel(f"unix://{sys.argv[1]}")) | {"stream": stream}
Server(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
