"""The admin socket of a running server (src/admin/README.md), for who makes thousands of accounts."""
import json
import os
import socket

from harness import expect


class Admin:
    """The admin socket: what `facteur` says to a running server, without a process for each command."""

    def __init__(self, folder):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.path.join(folder, "admin.sock"))

    def ask(self, command, **args):
        body = json.dumps({"command": command, "args": args, "lang": "en"}).encode()
        self.sock.sendall(len(body).to_bytes(4, "little") + body)
        while True:
            reply = json.loads(self.read(int.from_bytes(self.read(4), "little")))
            if "ok" in reply:
                expect(reply["ok"], reply)
                return reply.get("result", {})

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise EOFError("control closed the connection")
            data += more
        return data
