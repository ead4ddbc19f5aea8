"""The page by TLS: a client certificate lets in, and without one the token does."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from tests.cli.prepared_home import PreparedHome
from tests.operator.served_home import operator_of
from tests.responders.tls_files import TlsFiles, make_ends


def context_of(files: TlsFiles, *, shows: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if shows:
        context.load_cert_chain(files.certificate, files.key)
    return context


def configure(home: PreparedHome, server: TlsFiles) -> None:
    section = {"tls_certificate": server.certificate, "tls_key": server.key, "client_ca": server.authority}
    lines = "".join(f'{name} = "{path}"\n' for name, path in section.items())
    home.configure("[token]\n", f"[operator]\n{lines}\n[token]\n")


def test_a_client_certificate_lets_in(home: PreparedHome, tmp_path: Path) -> None:
    server, client = make_ends(tmp_path / "tls")
    _, stranger = make_ends(tmp_path / "other")
    configure(home, server)
    with operator_of(home.path) as served:
        assert served.url.startswith("https://")

        def get(path: str, context: ssl.SSLContext) -> httpx.Response:
            with httpx.Client(base_url=served.url, verify=context, timeout=120, trust_env=False) as asking:
                return asking.get(path)

        known = context_of(client, shows=True)
        assert get("/en/", known).status_code == 200
        assert get("/metrics", known).status_code == 200
        nobody = context_of(client, shows=False)
        assert get("/en/", nobody).status_code == 303
        assert get("/metrics", nobody).status_code == 401
        foreign = context_of(client, shows=False)
        foreign.load_cert_chain(stranger.certificate, stranger.key)
        with pytest.raises(httpx.TransportError):  # the handshake fails
            get("/en/", foreign)
        with httpx.Client(base_url=served.url, verify=nobody, timeout=120, trust_env=False) as asking:
            origin = {"Origin": served.origin}
            answer = asking.post("/login", data={"token": served.token}, headers=origin)
            assert answer.status_code == 303
            assert "Secure" in answer.headers["Set-Cookie"]
