"""An issuer of tokens for tests: keys, as it publishes them, and what it signs with them (RFC 7519, RFC 7517)."""
import base64
import json
import os
import subprocess
import tempfile
import time


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def url64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer:
    """alg: RS256 as most of them, or EdDSA, whose keys cost nothing to make."""

    def __init__(self, name, folder, alg="EdDSA"):
        self.name, self.folder, self.alg, self.kid = name, folder, alg, 0
        self.renew()

    def renew(self):
        """From now on another key signs; keys() are all that it publishes."""
        self.kid += 1
        self.key = os.path.join(self.folder, f"issuer{self.kid}.key")
        openssl("genpkey", "-algorithm", *(("RSA", "-pkeyopt", "rsa_keygen_bits:2048") if self.alg == "RS256" else ("ED25519",)), "-out", self.key)

    def keys(self):
        if self.alg == "RS256":
            modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
            public = {"kty": "RSA", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}
        else:
            public = {"kty": "OKP", "crv": "Ed25519", "x": url64(openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-32:])}
        return json.dumps({"keys": [public | {"use": "sig", "alg": self.alg, "kid": f"k{self.kid}"}]})

    def sign(self, text):
        if self.alg == "RS256":
            return openssl("dgst", "-sha256", "-sign", self.key, data=text)
        with tempfile.NamedTemporaryFile() as f:  # a signature of this kind looks at its text twice
            f.write(text)
            f.flush()
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", f.name)

    def token(self, kid=None, **claims):
        whole = {"iss": self.name, "aud": ["account", "mail"], "exp": int(time.time()) + 300, "email": "bob@example.test"} | claims
        header = {"alg": self.alg, "kid": kid or f"k{self.kid}"}
        signed = url64(json.dumps(header).encode()) + "." + url64(json.dumps(whole).encode())
        return signed + "." + url64(self.sign(signed.encode()))
