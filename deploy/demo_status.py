"""The second half of the demonstration: what a CA owes after it has issued.

Certificates are accepted, the CRLs published, an OCSP answer signed ahead for every certificate, and the responders
started on loopback. Then one certificate is suspended and another revoked, and OpenSSL is asked: by OCSP, by CRL, and
by verifying with CRL checks. All three must say the same.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.shown_commands import SEALMINT, ask, heading, name, sealmint, show

ACCEPTED = 3
"""Certificates that the demonstration accepts one by one."""

PATIENCE_SECONDS = 60.0
"""How long a change may take to arrive before the demonstration says that it failed."""


@dataclass(frozen=True, slots=True)
class Served:
    """The responders, as they said that they are."""

    ocsp: str
    http: str
    process: subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """A certificate that something is done to, as a PEM file for OpenSSL."""

    serial: str
    pem: Path


def prepare(home: Path) -> list[Demonstrated]:
    """Accept certificates, publish the CRLs, sign the answers; return the certificates to be shown."""
    heading("Accepted: who holds the card has looked at the certificate and confirmed it (CPS 4.3)")
    shown = good_certificates(home, ACCEPTED)
    for one in shown:
        if not ask("cert", "show", one.serial, "--home", str(home))["certificates"][0].get("accepted"):
            sealmint("cert", "accept", one.serial, "--home", str(home))
    heading("CRLs: one for each partition, and the complete one")
    sealmint("crl", "publish", "--home", str(home))
    heading("OCSP answers, signed ahead for every certificate: one signature covers a card")
    sealmint("ocsp", "presign", "--home", str(home))
    return shown


def good_certificates(home: Path, count: int) -> list[Demonstrated]:
    """Find certificates that are good: an earlier demonstration may have revoked some."""
    found: list[Demonstrated] = []
    for path in sorted(home.glob("demo-certificates-*/*.der")):
        document = ask("cert", "show", path.stem, "--home", str(home))["certificates"][0]
        if document["state"] == "good":
            pem = home / f"demo-{len(found) + 1}.pem"
            pem.write_text(document["pem"])
            found.append(Demonstrated(path.stem, pem))
            if len(found) == count:
                return found
    sys.exit("there are not enough good certificates; start with another home")


@contextmanager
def responders(home: Path, ocsp: str = "127.0.0.1:0", http: str = "127.0.0.1:0") -> Iterator[Served]:
    """Serve the home on loopback while the block runs."""
    arguments = ("serve", "--home", name(home), "--ocsp", ocsp, "--http", http)
    show("sealmint", *arguments)
    log = (home / "serve.log").open("ab")
    process = subprocess.Popen([*SEALMINT, *arguments, "--json"], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the responders did not start: see {home / 'serve.log'}")
        told = json.loads(line)
        print(f"  OCSP {told['ocsp']}\n  CRLs and CA certificates {told['http']}", flush=True)
        yield Served(told["ocsp"], told["http"].rstrip("/"), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)
        log.close()


def demonstrate(home: Path, served: Served, shown: list[Demonstrated]) -> None:
    """Suspend one certificate, revoke another, and let OpenSSL compare."""
    suspended, revoked, untouched = shown
    heading("Good, says OpenSSL's OCSP client of all three")
    for one in shown:
        ocsp(home, served, one, "good")
    heading("One is suspended, one is revoked")
    sealmint("cert", "suspend", suspended.serial, "--home", str(home), "--ground", "token-lost")
    sealmint("cert", "revoke", revoked.serial, "--home", str(home), "--ground", "key-compromise")
    ocsp(home, served, suspended, "revoked")
    ocsp(home, served, revoked, "revoked")
    ocsp(home, served, untouched, "good")
    heading("The CRLs that carry it, fetched where the certificates say")
    sealmint("crl", "publish", "--home", str(home))
    crl = fetch_crl(home, served, shown[0])
    text = run("openssl", "crl", "-in", name(crl), "-inform", "DER", "-noout", "-text", quiet=True)
    listed = {line.split(":", 1)[1].strip() for line in text.splitlines() if "Serial Number:" in line}
    for one, is_listed in ((suspended, True), (revoked, True), (untouched, False)):
        if (one.serial in listed) is not is_listed:
            sys.exit(f"the CRL and the record do not agree about {one.serial}")
        print(f"  {one.serial} is {'' if is_listed else 'not '}on the CRL")
    heading("openssl verify -crl_check agrees")
    for one, wanted in (
        (suspended, "certificate revoked"),
        (revoked, "certificate revoked"),
        (untouched, "OK"),
    ):
        verify(home, crl, one, wanted)
    heading("The suspended one is resumed by whoever suspended it")
    sealmint("cert", "resume", suspended.serial, "--home", str(home), "--ground", "subscriber-request")
    ocsp(home, served, suspended, "good")


def ocsp(home: Path, served: Served, one: Demonstrated, wanted: str) -> None:
    """Ask OpenSSL for a certificate's status by OCSP until it is what it must be."""
    certificates = home / "certificates"
    arguments = ["ocsp", "-issuer", name(certificates / "chain.pem"), "-cert", name(one.pem)]
    arguments += ["-url", served.ocsp, "-CAfile", name(certificates / "root.pem")]
    arguments += ["-verify_other", name(certificates / "chain.pem"), "-no_nonce"]
    show("openssl", *arguments)
    said = ""

    def arrived() -> bool:
        nonlocal said
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        return f"{one.pem.name}: {wanted}" in said and "Response verify OK" in said

    began = time.monotonic()
    until(arrived, lambda: f"OpenSSL does not say {wanted}:\n{said}")
    waited = time.monotonic() - began
    line = next(line for line in said.splitlines() if f": {wanted}" in line)
    reason = "".join(f", {part.strip()}" for part in said.splitlines() if "Reason:" in part)
    print(f"  {line}{reason}; response verify OK" + (f" (after {waited:.1f} s)" if waited > 1 else ""))


def fetch_crl(home: Path, served: Served, one: Demonstrated) -> Path:
    """Fetch the partition CRL that a certificate names, from the responders on loopback."""
    text = run("openssl", "x509", "-in", name(one.pem), "-noout", "-ext", "crlDistributionPoints", quiet=True)
    uri = next(line.split("URI:", 1)[1].strip() for line in text.splitlines() if "URI:" in line)
    path = "/" + uri.split("/", 3)[3]
    show("curl", "-o", name(home / "demo.crl"), served.http + path)
    with urllib.request.urlopen(served.http + path, timeout=PATIENCE_SECONDS) as response:
        (home / "demo.crl").write_bytes(response.read())
    return home / "demo.crl"


def verify(home: Path, crl: Path, one: Demonstrated, wanted: str) -> None:
    """Let OpenSSL verify a certificate with its CRL."""
    certificates = home / "certificates"
    arguments = ["verify", "-crl_check", "-extended_crl", "-CRLfile", name(crl)]
    arguments += ["-CAfile", name(certificates / "root.pem"), "-untrusted", name(certificates / "chain.pem")]
    said = run("openssl", *arguments, name(one.pem))
    if wanted not in said:
        sys.exit(f"OpenSSL does not say {wanted}:\n{said}")
    print(f"  {one.pem.name}: {wanted}")


def run(program: str, *arguments: str, quiet: bool = False) -> str:
    """Run a program and return all that it said."""
    if not quiet:
        show(program, *arguments)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def until(condition: Callable[[], bool], failure: Callable[[], str]) -> None:
    """Look again and again until something is so."""
    bound = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > bound:
            sys.exit(failure())
        time.sleep(0.2)


def stay_up(served: Served, public: Served, home: Path, page: str) -> None:
    """Say what can be asked, and wait until somebody stops the responders."""
    heading("The responders and the public host stay up; stop them with Ctrl-C")
    certificates = home / "certificates"
    example = [
        "openssl",
        "ocsp",
        "-issuer",
        name(certificates / "chain.pem"),
        "-cert",
        name(home / "demo-1.pem"),
    ]
    example += ["-url", public.ocsp, "-CAfile", name(certificates / "root.pem")]
    print("  try:", shlex.join([*example, "-verify_other", name(certificates / "chain.pem")]))
    print(f"       curl {served.http}/readyz")
    print(f"       the repository, in a browser: {public.http}/")
    print(f"       the operator's page: {page}, with what is in {name(home / 'secrets' / 'operator-token')}")
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        served.process.wait()
    except KeyboardInterrupt:
        print("\nstopping")
