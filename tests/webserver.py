#!/usr/bin/env python3
"""A web server for tests, over TLS on loopback: a few texts at given paths, wrong in the ways a test wants.

    with WebServer(chain, key) as web:                    # PEM files; 127.0.0.1, a free port
        web.put("mta-sts.example.test", "/.well-known/mta-sts.txt", 200, "text/plain", "version: STSv1\\n...")
        web.asked                                         # [("mta-sts.example.test", "/.well-known/mta-sts.txt"), ...]

A status of 0 answers with the text alone, as raw bytes, and cuts the connection; -2 with the text and a proper end (close_notify);
-1 with silence. As a program (arguments: chain, key) it obeys lines on standard
input, `put HOST PATH STATUS TYPE TEXT` with "\\n" for line ends, says "ok" after each, and "N" requests after `count`; the first line
it says is its port. src/deliver/sts_test.c uses it so."""
import socket, ssl, sys, threading


class WebServer:
    def __init__(self, chain, key, address="127.0.0.1"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain, key)
        self.pages, self.asked, self.closed = {}, [], threading.Event()
        self.socket = socket.create_server((address, 0), backlog=64)
        self.address, self.port = self.socket.getsockname()[:2]
        threading.Thread(target=self.run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def put(self, host, path, status, kind, text):
        self.pages[host, path] = status, kind, text

    def run(self):
        while not self.closed.is_set():
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        peer.settimeout(30)
        try:
            with self.context.wrap_socket(peer, server_side=True) as tls:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = tls.recv(4096)
                    if not piece:
                        return
                    head += piece
                lines = head.decode("latin-1").split("\r\n")
                host = next((l.split(":")[1].strip() for l in lines if l.lower().startswith("host:")), "")
                path = lines[0].split()[1]
                self.asked.append((host, path))
                status, kind, text = self.pages.get((host, path), (404, "text/plain", "nothing here"))
                if status == -1:
                    self.closed.wait(30)
                elif status == 0:
                    tls.sendall(text.encode())
                elif status == -2:
                    tls.sendall(text.encode())
                    tls.unwrap()
                else:
                    body = text.encode()
                    tls.sendall(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except OSError:  # ssl.SSLError is one
            pass


def main():
    with WebServer(sys.argv[1], sys.argv[2]) as web:
        print(web.port, flush=True)
        for line in sys.stdin:
            words = line.rstrip("\n").split(" ", 5)
            if words[0] == "put":
                host, path, status, kind, text = words[1:]
                web.put(host, path, int(status), kind, text.replace("\\r", "\r").replace("\\n", "\n"))
                print("ok", flush=True)
            elif words[0] == "count":
                print(len(web.asked), flush=True)


if __name__ == "__main__":
    main()
