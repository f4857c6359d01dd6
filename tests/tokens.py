"""An issuer of tokens for tests: keys, as it publishes them, and what it signs with them (RFC 7519, RFC 7517)."""
import base64
import json
import os
import subprocess
import time


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer:
    def __init__(self, name, folder):
        self.name, self.folder, self.kid = name, folder, 0
        self.renew()

    def renew(self):
        """From now on another key signs; keys() are all that it publishes."""
        self.kid += 1
        self.key = os.path.join(self.folder, f"issuer{self.kid}.key")
        openssl("genrsa", "-out", self.key, "2048")

    def keys(self):
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
        return json.dumps({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": f"k{self.kid}", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}]})

    def token(self, kid=None, **claims):
        whole = {"iss": self.name, "aud": ["account", "mail"], "exp": int(time.time()) + 300, "email": "bob@example.test"} | claims
        header = {"alg": "RS256", "kid": kid or f"k{self.kid}"}
        signed = url64(json.dumps(header).encode()) + "." + url64(json.dumps(whole).encode())
        return signed + "." + url64(openssl("dgst", "-sha256", "-sign", self.key, data=signed.encode()))
