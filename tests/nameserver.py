#!/usr/bin/env python3
"""A name server for tests: a few zones in memory, signed where a test wants it, wrong where a test wants that.

    with NameServer() as ns:                              # 127.0.0.1, a free port, UDP and TCP
        ns.add("example.test", "MX", "10 mail.example.test")
        ns.add("mail.example.test", "A", "127.0.0.2")
        ns.sign("example.test")                           # DNSSEC; ns.anchor(path) writes the key of the root to trust
        ns.fail("slow.test", "drop")                      # servfail, refused, drop, tcp, forge, garbage
        ns.asked                                          # [("example.test", "MX"), ...]

It plays every server at once, from the root down, and answers as a resolver that was asked to look (`dns_server` in facteur.conf).
Names that no zone() or sign() has claimed are in an unsigned zone of their last two labels. Only the standard library: keys are
Ed25519 (RFC 8032), written out below.

As a program it obeys lines on standard input (`add NAME TYPE VALUE`, `set …`, `sign ZONE`, `fail NAME HOW`, `anchor PATH`,
`ttl SECONDS`), says "ok" after
each, and ends with its input; the first line it says is its port. src/dns/*_test.c use it so."""
import base64, hashlib, ipaddress, os, secrets, socket, struct, sys, threading, time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43, "RRSIG": 46,
         "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "CAA": 257}
NAMES = {number: name for name, number in TYPES.items()}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


# ---- Ed25519 (RFC 8032 §5.1): points as (X, Y, Z, T) -------------------------------------------------------------------------
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def base_point():
    y = 4 * pow(5, P - 2, P) % P
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = P - x if x & 1 else x
    return x, y, 1, x * y % P


DOUBLES = [base_point()]
while len(DOUBLES) < 256:
    DOUBLES.append(point_add(DOUBLES[-1], DOUBLES[-1]))


def times_base(k):
    r = (0, 1, 1, 0)
    for i in range(256):
        if k >> i & 1:
            r = point_add(r, DOUBLES[i])
    z = pow(r[2], P - 2, P)
    x, y = r[0] * z % P, r[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Key:
    """A zone's one key: DNSKEY 257 3 15 (RFC 8080)."""

    def __init__(self, zone):
        h = hashlib.sha512(secrets.token_bytes(32)).digest()
        self.a = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix, self.public = h[32:], times_base(self.a)
        self.rdata = struct.pack("!HBB", 257, 3, 15) + self.public
        padded = self.rdata + b"\0" * (len(self.rdata) % 2)
        total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
        self.tag = total + (total >> 16) & 0xffff
        self.ds = struct.pack("!HBB", self.tag, 15, 2) + hashlib.sha256(wire(zone) + self.rdata).digest()

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % Q
        commitment = times_base(r)
        k = int.from_bytes(hashlib.sha512(commitment + self.public + message).digest(), "little") % Q
        return commitment + ((r + k * self.a) % Q).to_bytes(32, "little")


# ---- names and records -------------------------------------------------------------------------------------------------------
def plain(name):
    return name.rstrip(".").lower()


def wire(name):
    out = b""
    for label in plain(name).split(".") if plain(name) else []:
        label = label.encode() if isinstance(label, str) else label
        out += bytes([len(label)]) + label
    return out + b"\0"


def read_name(message, at):
    labels = []
    while message[at]:
        if message[at] & 0xc0:
            raise ValueError("a compressed name in a question")
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return plain(".".join(labels)), at + 1


def is_within(name, zone):
    return not zone or name == zone or name.endswith("." + zone)


def order(name):
    """The canonical order of names (RFC 4034 §6.1)."""
    return [label.encode() for label in reversed(name.split("."))] if name else []


def rdata(kind, value):
    """What a zone file would say, as bytes; bytes stay as they are; a list is the strings of one TXT record."""
    if isinstance(value, bytes):
        return value
    if kind == "A":
        return ipaddress.IPv4Address(value).packed
    if kind == "AAAA":
        return ipaddress.IPv6Address(value).packed
    if kind in ("NS", "CNAME", "PTR"):
        return wire(value)
    if kind == "TXT":
        pieces = value if isinstance(value, list) else [value[i:i + 255] for i in range(0, len(value), 255)] or [""]
        return b"".join(bytes([len(p.encode())]) + p.encode() for p in pieces)
    words = value.split()
    if kind == "MX":
        return struct.pack("!H", int(words[0])) + wire(words[1])
    if kind == "SRV":
        return struct.pack("!HHH", *map(int, words[:3])) + wire(words[3])
    if kind == "TLSA":
        return bytes(map(int, words[:3])) + bytes.fromhex(words[3])
    if kind == "CAA":
        tag = words[1].encode()
        return bytes([int(words[0]), len(tag)]) + tag + " ".join(words[2:]).strip('"').encode()
    if kind == "SOA":
        return wire(words[0]) + wire(words[1]) + struct.pack("!IIIII", *map(int, words[2:]))
    raise ValueError(f"no record type {kind}")


def bitmap(kinds):
    """RFC 4034 §4.1.2"""
    windows = {}
    for number in sorted(TYPES[kind] for kind in kinds):
        bits = windows.setdefault(number >> 8, bytearray(32))
        bits[(number & 255) >> 3] |= 0x80 >> (number & 7)
    out = b""
    for window, bits in windows.items():
        bits = bytes(bits).rstrip(b"\0")
        out += bytes([window, len(bits)]) + bits
    return out


class Zone:
    def __init__(self, name, ttl):
        self.name, self.ttl, self.key, self.records, self.signatures = name, ttl, None, {}, {}
        self.set(name, "SOA", [rdata("SOA", f"ns.{name} admin.{name} 1 3600 600 86400 {ttl}")])
        self.set(name, "NS", [wire(f"ns.{name}")])

    def set(self, name, kind, values):
        self.signatures.clear()
        if values:
            self.records.setdefault(name, {})[kind] = values
        elif kind in self.records.get(name, {}):
            del self.records[name][kind]
            if not self.records[name]:
                del self.records[name]

    def exists(self, name):
        return any(is_within(own, name) for own in self.records)

    def signature(self, name, kind, values):
        """RFC 4034 §3.1; kept until the zone changes."""
        found = self.signatures.get((name, kind))
        if found and found[0] == values:
            return found[1]
        now, labels = int(time.time()), len(name.split(".")) if name else 0
        head = struct.pack("!HBBIIIH", TYPES[kind], 15, labels, self.ttl, now + 86400, now - 86400, self.key.tag) + wire(self.name)
        text = b"".join(wire(name) + struct.pack("!HHIH", TYPES[kind], 1, self.ttl, len(v)) + v for v in sorted(values))
        made = head + self.key.sign(head + text)
        self.signatures[name, kind] = values, made
        return made

    def nsec(self, name):
        """The NSEC record at this name, or the one whose gap it lies in."""
        names = sorted(self.records, key=order)
        at = max(i for i, own in enumerate(names) if order(own) <= order(name))
        owner, following = names[at], names[(at + 1) % len(names)]
        return owner, [wire(following) + bitmap([*self.records[owner], "RRSIG", "NSEC"])]


# ---- the server --------------------------------------------------------------------------------------------------------------
class NameServer:
    def __init__(self, address="127.0.0.1", port=0, ttl=60):
        self.lock = threading.RLock()
        self.asked, self.ttl = [], ttl
        self.clear()
        for _ in range(100):  # the same free port for both
            self.tcp = socket.create_server((address, port), backlog=64)
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # a thousand questions at once
            self.address, self.port = self.tcp.getsockname()[:2]
            try:
                self.udp.bind((address, self.port))
                break
            except OSError:
                self.tcp.close()
                self.udp.close()
        else:
            raise OSError("no port is free for both UDP and TCP")
        self.closed = False
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.run_udp, self.run_tcp)]
        for t in self.threads:
            t.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for t in self.threads:
            t.join(5)
        self.udp.close()
        self.tcp.close()

    @property
    def setting(self):
        """For dns_server in facteur.conf."""
        return f"{self.address}@{self.port}"

    # what it serves
    def clear(self):
        with self.lock:
            self.zones, self.faults = {"": Zone("", self.ttl)}, {}
            self.zones[""].key = key = Key("")
            self.zones[""].set("", "DNSKEY", [key.rdata])

    def zone(self, name):
        """A zone of its own, unsigned until sign()."""
        name = plain(name)
        with self.lock:
            if name not in self.zones:
                parent = self.zone_of(name)
                self.zones[name] = Zone(name, self.ttl)
                parent.set(name, "NS", [wire(f"ns.{name}")])
                for own in [n for n in parent.records if n != name and is_within(n, name)]:
                    self.zones[name].records[own] = parent.records.pop(own)
            return self.zones[name]

    def sign(self, name):
        name = plain(name)
        with self.lock:
            zone = self.zone(name)
            zone.key = Key(name)
            zone.set(name, "DNSKEY", [zone.key.rdata])
            self.zone_of(name, above=True).set(name, "DS", [zone.key.ds])

    def zone_of(self, name, above=False):
        """The zone that has the name; above: the one whose delegation it is."""
        fitting = [z for z in self.zones if is_within(name, z) and not (above and z == name)]
        return self.zones[max(fitting, key=len)]

    def claim(self, name):
        zone = self.zone_of(name)
        return zone if zone.name else self.zone(".".join(name.split(".")[-2:]))

    def add(self, name, kind, *values):
        name = plain(name)
        with self.lock:
            zone = self.claim(name)
            zone.set(name, kind, zone.records.get(name, {}).get(kind, []) + [rdata(kind, v) for v in values])

    def set(self, name, kind, *values):
        """In place of what was there; without values: gone."""
        name = plain(name)
        with self.lock:
            self.claim(name).set(name, kind, [rdata(kind, v) for v in values])

    def fail(self, name, how):
        """Questions for this name and below go wrong: servfail, refused, drop, tcp (answered over TCP only), forge (a wrong signature),
        garbage; None: not any more."""
        with self.lock:
            self.faults[plain(name)] = how

    def anchor(self, path):
        with self.lock:
            key = self.zones[""].key
        with open(path, "w") as f:
            f.write(f". IN DNSKEY 257 3 15 {base64.b64encode(key.public).decode()}\n")
        return path

    # how it answers
    def fault_of(self, name):
        found = [n for n in self.faults if is_within(name, n)]
        return self.faults[max(found, key=len)] if found else None

    def look(self, name, kind):
        """rcode, answer, authority: lists of (zone, name, kind, values)."""
        answer, authority = [], []
        for _ in range(8):  # CNAMEs
            zone = self.zone_of(name, above=kind == "DS" and name != "")
            here = zone.records.get(name, {})
            if kind in here:
                return NOERROR, answer + [(zone, name, kind, here[kind])], authority
            if "CNAME" not in here:
                break
            answer.append((zone, name, "CNAME", here["CNAME"]))
            name, _ = read_name(here["CNAME"][0], 0)
        authority.append((zone, zone.name, "SOA", zone.records[zone.name]["SOA"]))
        exists = zone.exists(name)
        if zone.key:
            proofs = [name]
            if not exists:
                above = name
                while not zone.exists(above):
                    above = above.partition(".")[2]
                proofs.append(f"*.{above}".rstrip("."))
            for owner, values in dict(map(zone.nsec, proofs)).items():
                authority.append((zone, owner, "NSEC", values))
        return NOERROR if exists else NXDOMAIN, answer, authority

    def reply(self, query, is_tcp):
        ident, flags, questions, _, _, additional = struct.unpack("!HHHHHH", query[:12])
        name, at = read_name(query, 12)
        number, _ = struct.unpack("!HH", query[at:at + 4])
        question, kind = query[12:at + 4], NAMES.get(number, str(number))
        size, wants_signatures = 512, False
        if additional and len(query) >= at + 15:  # EDNS (RFC 6891): root name, type 41, size, …, DO
            _, _, size, ttl, _ = struct.unpack("!BHHIH", query[at + 4:at + 15])
            wants_signatures = bool(ttl & 0x8000)
        with self.lock:
            self.asked.append((name, kind))
            fault = self.fault_of(name)
            if fault == "drop":
                return None
            if fault == "garbage":
                return query[:2] + b"\x84\x00" + b"\xff" * 40
            rcode, answer, authority = self.look(name, kind)
            if fault in ("servfail", "refused"):
                rcode, answer, authority = {"servfail": SERVFAIL, "refused": REFUSED}[fault], [], []
            counts, body = [], b""
            for section in (answer, authority):
                n = 0
                for zone, owner, rtype, values in section:
                    is_delegation = rtype == "NS" and owner != zone.name
                    if wants_signatures and zone.key and not is_delegation:
                        signature = zone.signature(owner, rtype, values)
                        if fault == "forge":
                            signature = signature[:-1] + bytes([signature[-1] ^ 1])
                        n, body = n + 1, body + self.record(owner, "RRSIG", signature)
                    for v in values:
                        n, body = n + 1, body + self.record(owner, rtype, v)
                counts.append(n)
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0x8000 if wants_signatures else 0, 0) if additional else b""
        head = 0x8480 | flags & 0x0100 | rcode  # an answer, authoritative, recursion available
        whole = struct.pack("!HHHHHH", ident, head, 1, *counts, bool(opt)) + question + body + opt
        if not is_tcp and (len(whole) > size or fault == "tcp"):
            return struct.pack("!HHHHHH", ident, head | 0x0200, 1, 0, 0, bool(opt)) + question + opt
        return whole

    def record(self, name, kind, value):
        return wire(name) + struct.pack("!HHIH", TYPES[kind], 1, self.ttl, len(value)) + value

    def run_udp(self):
        while not self.closed:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            answer = self.safely(query, False) if query else None
            if answer and not self.closed:
                self.udp.sendto(answer, peer)

    def run_tcp(self):
        while not self.closed:
            try:
                peer, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_tcp, args=(peer,), daemon=True).start()

    def serve_tcp(self, peer):
        with peer, peer.makefile("rb") as stream:
            peer.settimeout(30)
            try:
                while head := stream.read(2):
                    answer = self.safely(stream.read(int.from_bytes(head, "big")), True)
                    if answer is None:
                        return
                    peer.sendall(struct.pack("!H", len(answer)) + answer)
            except OSError:
                pass

    def safely(self, query, is_tcp):
        """What is no question is not answered; a mistake of this program must not end its thread."""
        try:
            return self.reply(query, is_tcp)
        except (ValueError, IndexError, struct.error) as e:
            print(f"nameserver: {e!r}", file=sys.stderr)
            return None


def obey(ns, line):
    words = line.split(None, 3)
    if words[0] in ("add", "set"):
        getattr(ns, words[0])(words[1], words[2], *words[3:])
    elif words[0] in ("sign", "zone", "anchor"):
        getattr(ns, words[0])(words[1])
    elif words[0] == "fail":
        ns.fail(words[1], None if words[2] == "none" else words[2])
    elif words[0] == "ttl":  # of everything from here on: the zones begin anew
        ns.ttl = int(words[1])
        ns.clear()
    else:
        raise ValueError(f"what is {words[0]}?")


def main():
    with NameServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as ns:
        print(ns.port, flush=True)
        for line in sys.stdin:
            if line.strip():
                obey(ns, line.strip())
                print("ok", flush=True)


if __name__ == "__main__":
    main()
