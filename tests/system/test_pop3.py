"""POP3: two devices, one keeps and one deletes."""
import poplib

from harness import Server, expect, wait_for


def make_server():
    return Server()


def test_keep_and_delete(server):
    for i in range(3):
        server.deliver("alice@example.test", subject=f"pop {i}", body=f"line {i}\r\n.dot\r\n")

    def three():
        p = server.pop3("alice")
        n = p.stat()[0]
        p.quit()
        return n == 3
    wait_for(three, 10, "three messages")
    first = server.pop3("alice")
    ids = [line.split()[1] for line in first.uidl()[1]]
    expect(len(set(ids)) == 3, "UIDL unique")
    expect(b".dot" in first.retr(2)[1], "dot-stuffing is undone")
    expect(len(first.top(1, 0)[1]) > 0, "TOP")
    first.dele(1)
    first.rset()
    first.quit()
    second = server.pop3("alice")
    expect([line.split()[1] for line in second.uidl()[1]] == ids, "leaving copies: the same UIDL")
    second.dele(1)
    second.close()  # without QUIT nothing is deleted (RFC 1939 §6)
    third = wait_for(lambda: try_login(server), 10, "the lock is free after a lost connection")
    expect(third.stat()[0] == 3, "deletions only at QUIT")
    third.dele(1)
    third.quit()
    fourth = server.pop3("alice")
    expect([line.split()[1] for line in fourth.uidl()[1]] == ids[1:], "one is gone")
    fourth.quit()


def try_login(server):
    try:
        return server.pop3("alice")
    except poplib.error_proto:
        return None


def test_one_session_at_a_time(server):
    first = server.pop3("alice")
    try:
        server.pop3("alice")
        raise AssertionError("a second session was let in")
    except poplib.error_proto as e:
        expect(b"[IN-USE]" in e.args[0], str(e))
    first.quit()


def test_capa_and_no_clear_text(server):
    c = server.raw(110)
    c.line()
    lines = c.command("CAPA", ".")
    expect("STLS" in lines and not any(line.startswith(("USER", "SASL")) for line in lines), f"{lines}")
    expect(c.command("USER alice@example.test", "-ERR"), "no login")
    c.close()
    p = server.pop3("alice")
    caps = p.capa()
    for word in ("TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8"):
        expect(word in caps, f"{word} in {caps}")
    p.quit()
