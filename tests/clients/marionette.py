"""The way into a Mozilla program that runs headless: scripts in its own JavaScript, over Marionette (a TCP connection; each message is its
length in decimal, ":", and JSON: [0, number, command, parameters] asks, [1, number, error, result] answers)."""
import contextlib
import json
import os
import socket
import subprocess

from harness import wait_for


class Marionette:
    def __init__(self, program, profile, home, script_seconds=60):
        with contextlib.closing(socket.socket()) as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with open(os.path.join(profile, "user.js"), "a") as f:
            f.write(f'user_pref("marionette.port", {port});\n')
        self.said = open(os.path.join(home, "program.log"), "ab")
        self.process = subprocess.Popen([program, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", profile],
                                        stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, env=dict(os.environ, HOME=home, LANG="C.UTF-8"))
        self.sock = wait_for(lambda: self.connect(port), 60, f"{program} listens for Marionette")
        self.sock.settimeout(script_seconds + 30)
        self.file = self.sock.makefile("rb")
        self.number = 0
        self.read()  # its greeting
        self.ask("WebDriver:NewSession")
        self.ask("Marionette:SetContext", value="chrome")
        self.ask("WebDriver:SetTimeouts", script=script_seconds * 1000)

    def connect(self, port):
        if self.process.poll() is not None:
            raise AssertionError(f"the program ended with {self.process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            return None

    def read(self):
        length = b""
        while not length.endswith(b":"):
            digit = self.file.read(1)
            if not digit:
                raise EOFError("the program closed the connection")
            length += digit
        return json.loads(self.file.read(int(length[:-1])))

    def ask(self, command, **parameters):
        self.number += 1
        text = json.dumps([0, self.number, command, parameters]).encode()
        self.sock.sendall(str(len(text)).encode() + b":" + text)
        _, number, error, result = self.read()
        if error:
            raise AssertionError(f"{command}: {error.get('error')}: {error.get('message')}\n{error.get('stacktrace', '')}")
        if number != self.number:
            raise AssertionError(f"{command} was answered out of turn")
        return result

    def script(self, body, *args):
        """The value of an async function with this body; its arguments are args[0], args[1] …"""
        wrapped = ("const args = Array.from(arguments), done = args.pop();"
                   "(async () => {" + body + "})().then(value => done([value === undefined ? null : value]), why => done(String(why) + '\\n' + (why && why.stack)));")
        value = self.ask("WebDriver:ExecuteAsyncScript", script=wrapped, args=list(args), sandbox="system")["value"]
        if not isinstance(value, list):
            raise AssertionError(value)
        return value[0]

    def close(self):
        with contextlib.suppress(Exception):
            self.ask("Marionette:Quit", flags=["eAttemptQuit"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.sock.close()
        self.said.close()
