"""Peers that stop: in the handshake, in a command, in DATA, in a literal, while reading. Others must not notice."""
import socket
import time

from harness import Server, expect

EACH = 400  # of five kinds


def make_server():
    return Server()  # loopback is never limited


def test_2000_stopped_clients_and_one_login(server):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    kept = []
    try:
        for _ in range(EACH):
            kept.append(server.raw(993))                       # never says hello in TLS
            c = server.raw(143)
            c.send("a LOGIN {20}\r\n")                         # never sends the literal
            kept.append(c)
            c = server.raw(25)
            c.send("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: x\r\n")
            kept.append(c)
            c = server.raw(110)
            c.send("CAPA\r\n" * 200)                           # never reads
            kept.append(c)
            c = server.raw(587)
            c.send("EHLO")                                     # half a line
            kept.append(c)
        times = []
        for _ in range(20):
            start = time.monotonic()
            box = server.imap("bob")
            box.select("INBOX")
            box.logout()
            times.append(time.monotonic() - start)
        expect(max(times) < 2.0, f"login beside 2,000 stopped peers: {max(times):.2f} s at worst")
        start = time.monotonic()
        server.deliver("bob@example.test", subject="beside")
        expect(time.monotonic() - start < 2.0, "delivery beside them")
    finally:
        for c in kept:
            c.close()


def test_own_slow_reader_delays_only_itself(server):
    for i in range(20):
        server.deliver("alice@example.test", subject=f"m{i}", body="x" * 70 + "\r\n" * 30000)
    slow = server.raw(993, tls=True)
    slow.line()
    slow.command(f'a login alice@example.test "{server.passwords["alice@example.test"]}"', "a OK")
    slow.command("b select INBOX", "b OK")
    for i in range(20):
        slow.send(f"f{i} uid fetch 1:* BODY.PEEK[]\r\n")       # asks for megabytes and reads nothing
    time.sleep(0.5)
    start = time.monotonic()
    box = server.imap("alice")
    box.select("INBOX")
    box.fetch("1:*", "(FLAGS)")
    box.logout()
    expect(time.monotonic() - start < 2.0, "the same account's second device")
    slow.close()
