"""Limits over all gates, and what is left when many have been here: the small sister of `make load`."""
import contextlib
import os
import signal
import socket
import sqlite3
import threading
import time

from harness import Lines, Server, expect, wait_for

ADDRESS, NETWORK, ACCOUNT = 5, 8, 6


def make_server():
    return Server(accounts=("alice", "bob", "carol"), conf=("gates = 2",),
                  settings=(("connections_per_address", ADDRESS), ("connections_per_network", NETWORK), ("plain_login_loopback", "on"),
                            ("sessions_per_account", ACCOUNT), ("connections_per_minute", 100000)))


def connect(server, source, number=143):
    """The connection and the first line it is told."""
    s = socket.socket()
    s.bind((source, 0))
    s.settimeout(10)
    s.connect(("127.0.0.1", server.port(number)))
    c = Lines(s)
    return c, c.line()


def admitted(server, source, tries, number=143):
    """Those who are greeted, one after the other."""
    found = []
    for _ in range(tries):
        c, line = connect(server, source, number)
        if line.startswith(("* OK", "+OK", "220")):
            found.append(c)
        else:
            expect("too many connections" in line, line)
            c.close()
    return found


def is_closed(c):
    c.sock.settimeout(0.01)
    try:
        return c.sock.recv(1000) == b""
    except ConnectionError:
        return True
    except OSError:
        return False


def close_all(connections):
    for c in connections:
        c.close()


def test_an_address_and_a_network_count_for_all_gates_together(server):
    for number in (143, 110, 587, 25):
        one = admitted(server, "127.1.0.1", 3 * ADDRESS, number)
        expect(len(one) == ADDRESS, f"{len(one)} from one address at port {number}")
        rest = admitted(server, "127.1.0.2", 3 * ADDRESS, number)
        expect(len(rest) == NETWORK - ADDRESS, f"{len(rest)} more from its network at port {number}")
        others = admitted(server, "127.1.1.1", 1, number) + admitted(server, "127.0.0.1", NETWORK + 2, number)
        expect(len(others) == NETWORK + 3, "other networks come in, and this machine itself")
        one.pop().close()
        # one place is free when the server has seen the end of that connection
        wait_for(lambda: rest.extend(admitted(server, "127.1.0.2", 1, number)) or len(rest) > NETWORK - ADDRESS, 10, "a place is free again")
        close_all(one + rest + others)


def test_a_gate_that_dies_takes_its_numbers_with_it(server):
    held = []
    wait_for(lambda: held.extend(admitted(server, "127.1.2.1", ADDRESS)) or len(held) == ADDRESS, 10, "all places are free")
    os.kill(server.pids_of("gate")[0], signal.SIGKILL)
    wait_for(lambda: len(server.pids_of("gate")) == 2, 10, "a new gate")
    server.wait_ready()
    lost = [c for c in held if is_closed(c)]
    more = []
    wait_for(lambda: more.extend(admitted(server, "127.1.2.1", 1)) or len(more) == len(lost), 10, "as many come in as were lost") \
        if lost else None
    expect(admitted(server, "127.1.2.1", 4) == [], "and no more")
    close_all(held + more)


def log_in(server, name, source="127.0.0.1"):
    c, _ = connect(server, source)
    return c, c.command(f'l login {name}@example.test "{server.passwords[name + "@example.test"]}"', "l ")[-1]


def test_an_account_has_so_many_sessions(server):
    held = [log_in(server, "carol") for _ in range(ACCOUNT)]
    expect(all(line.startswith("l OK") for _, line in held), held)
    c, line = log_in(server, "carol")
    expect(line.startswith("l NO [LIMIT] this account has as many sessions open as are allowed"), line)
    expect(c.command("n noop", "n OK"), "the connection goes on, for another login")
    other, line = log_in(server, "alice")
    expect(line.startswith("l OK"), "other accounts are as before")
    expect("limit=sessions_per_account" in server.log(), "the log names the setting")
    held[0][0].command("o logout", "o OK")
    wait_for(lambda: c.command('l login carol@example.test "third person"', "l ")[-1].startswith("l OK"), 10, "a place is free again")
    close_all([c, other] + [one for one, _ in held])


def descriptors(server):
    """Of the roles that live as long as the server; without cells there is nothing of a moment in them."""
    return {(role, pid): (len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
            for pid, role in server.pids().items() if role != "cell"}


def test_past_sessions_leave_nothing(server):
    def sessions(n):
        for i in range(n):
            c, line = log_in(server, "bob")
            expect(line.startswith("l OK"), line)
            c.command("s select INBOX", "s OK")
            if i % 2:
                c.command("o logout", "o OK")
            c.close()
            for number in (25, 110):
                c, _ = connect(server, "127.0.0.1", number)
                c.send("QUIT\r\n")
                c.close()

    def quiet():
        return not server.cli_json("sessions") and descriptors(server)

    sessions(10)
    before = wait_for(quiet, 20, "no session is left")
    sessions(150)
    wait_for(lambda: quiet() == before, 20, f"what was there before: {before}, not {descriptors(server)}")


def test_more_accounts_than_cells(_):
    """Idle cells make room; nobody is refused while one of them can leave."""
    names = [f"user{i}" for i in range(7)]
    with contextlib.closing(Server(accounts=names, conf=("cells_max = 3",), settings=(("plain_login_loopback", "on"),))) as few:
        held = []
        for name in names:
            c, line = log_in(few, name)
            expect(line.startswith("l OK"), line)
            c.command("s select INBOX", "s OK")
            c.send("i idle\r\n")
            c.until("+")
            held.append(c)
        few.deliver("user0@example.test")
        expect(held[0].until("* 1 EXISTS", 20), "the one that waits longest still hears news")
        expect(len(few.pids_of("cell")) <= 3, "never more than allowed")
        close_all(held)


def test_a_stop_lets_the_command_finish(server):
    c, _ = log_in(server, "alice")
    message = "Subject: half\r\n\r\n" + "x" * 2000 + "\r\n"
    c.command(f"a append INBOX {{{len(message)}}}", "+")
    c.send(message[:1000])
    wait_for(lambda: server.cli_json("sessions"), 5, "it is there")
    idle, _ = log_in(server, "bob")
    idle.command("s select INBOX", "s OK")
    idle.send("i idle\r\n")
    idle.until("+")
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    expect(idle.until("* BYE", 10), "who waits is told at once")
    c.send(message[1000:] + "\r\n")
    expect(c.until("a OK", 10), "the message is taken")
    expect(c.until("* BYE", 10), "and then the session ends")
    stopping.join()
    server.start()
    c, _ = log_in(server, "alice")
    expect("* 1 EXISTS" in c.command("s select INBOX", "s OK"), "it was kept")
    c.close()


def test_deleted_accounts_are_erased_in_the_end(server):
    number = server.cli_json("account", "show", "carol@example.test")["account"]
    server.cli("account", "delete", "carol@example.test")
    server.cli("account", "delete", "bob@example.test")
    server.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(server.dir, "control", "directory.db"))) as db, db:
        db.execute("UPDATE account SET deleted = ? WHERE account = ?", (int(time.time()) - 31 * 86400, number))
    server.start()
    wait_for(lambda: not os.path.exists(os.path.join(server.dir, "accounts", str(number))), 20, "its mail is erased")
    wait_for(lambda: [a["address"] for a in server.cli_json("account", "list", "--deleted")] == ["bob@example.test"], 10,
             "the other one can still come back")
