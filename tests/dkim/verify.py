#!/usr/bin/python3
"""What python3-dkim makes of messages: {"texts": {name: TXT}, "messages": [base64]} on standard input, for each message the algorithms
whose signature is good on standard output. A program of its own, because the package is Debian's python's."""
import base64
import json
import sys

import dkim


def good_signatures(message, texts):
    def lookup(name, timeout=5):
        text = texts.get(name.decode())
        return text.encode() if text is not None else None

    found = []
    for index in range(message.split(b"\r\n\r\n")[0].count(b"DKIM-Signature:")):
        d = dkim.DKIM(message)
        try:
            if d.verify(idx=index, dnsfunc=lookup):
                found.append(d.signature_fields[b"a"].decode())
        except dkim.ValidationError:  # a hash of the body that is another one
            pass
    return sorted(found)


asked = json.load(sys.stdin)
print(json.dumps([good_signatures(base64.b64decode(m), asked["texts"]) for m in asked["messages"]]))
