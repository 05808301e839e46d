"""Throw-away certificates, made with the openssl program. Elliptic curve P-256, valid for a few days.

They begin an hour ago, so that they are good for a process whose clock a test has put back.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import faketime_environment


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, env={**os.environ, **faketime_environment("-1h")})


def make_key(path):
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    Path(path).chmod(0o600)
    return Path(path)


def make_public_key(key, path):
    _openssl("pkey", "-in", key, "-pubout", "-out", path)
    return Path(path)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM files."""
    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives in `folder`."""

    def __init__(self, folder, name="test-ca"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = make_key(self.folder / "ca.key")
        self.certificate = self.folder / "ca.crt"
        _openssl("req", "-x509", "-new", "-key", self.key, "-subj", f"/CN={name}", "-days", "3", "-out",
                 self.certificate, "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext",
                 "basicConstraints=critical,CA:TRUE")

    def issue(self, name, subject, hosts=(), folder=None):
        """`name`.crt and `name`.key: for a server when `hosts` has names and addresses, else for a client."""
        folder = Path(folder or self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        key = make_key(folder / f"{name}.key")
        request, certificate, extensions = (folder / f"{name}.{end}" for end in ("csr", "crt", "ext"))
        lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
                 f"extendedKeyUsage={'serverAuth' if hosts else 'clientAuth'}"]
        if hosts:
            lines.append("subjectAltName=" + ",".join(
                ("IP:" if host.replace(".", "").isdigit() or ":" in host else "DNS:") + host for host in hosts))
        extensions.write_text("\n".join(lines) + "\n", encoding="ascii")
        _openssl("req", "-new", "-key", key, "-subj", subject, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", "2", "-extfile", extensions, "-out", certificate)
        request.unlink()
        extensions.unlink()
        return Pair(certificate, key)
