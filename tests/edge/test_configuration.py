"""The shipped files as Debian's nginx takes them in, and as a container runs them: nginx itself is the judge."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.cli.prepared_home import SAFETY_NET
from tests.edge.running_edge import (
    NGINX,
    SHIPPED,
    free_port,
    nginx_command,
    replace_in,
    running_nginx,
    write_configuration,
)
from tests.edge.stand_in_origin import Origin
from tests.judges.program import tell

pytestmark = pytest.mark.judge("nginx")

DEBIAN = """
pid nginx.pid;
error_log log/error.log;
events { worker_connections 768; }
http {
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    gzip on;
    include conf.d/*.conf;
    include sites-enabled/*;
}
"""
"""What Debian's nginx.conf has that matters here."""


def said_of(directory: Path, main: Path) -> str:
    """What `nginx -t` says."""
    return subprocess.run(
        nginx_command(directory, main, "-t"), capture_output=True, text=True, timeout=SAFETY_NET, check=False
    ).stderr


def test_the_files_fit_into_debians(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    for name in ("conf.d", "sites-enabled"):
        (etc / name).mkdir(parents=True)
    (tmp_path / "log").mkdir()
    shutil.copytree(SHIPPED / "sealmint", etc / "sealmint")
    shutil.copy(SHIPPED / "conf.d-sealmint.conf", etc / "conf.d" / "sealmint.conf")
    shutil.copy(SHIPPED / "site.conf", etc / "sites-enabled" / "sealmint")
    replace_in(etc / "sealmint" / "host.conf", {"/var/lib/nginx/": ""})
    replace_in(etc / "sites-enabled" / "sealmint", {"/var/log/nginx/": "log/"})
    (etc / "nginx.conf").write_text(DEBIAN)
    said = said_of(tmp_path, etc / "nginx.conf")
    assert "test is successful" in said
    assert "[warn]" not in said


def test_no_module_is_needed_that_nginx_light_lacks(tmp_path: Path) -> None:
    """The whole configuration, without a load_module: only the example for streams needs one, and says so."""
    main = write_configuration(tmp_path, free_port(), "127.0.0.1:1", "127.0.0.1:1")
    assert "load_module" not in "".join(path.read_text() for path in SHIPPED.rglob("*.conf"))
    said = said_of(tmp_path, main)
    assert "test is successful" in said
    assert "[warn]" not in said


def test_it_is_debians_nginx() -> None:
    assert "nginx/1." in subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr


def test_the_repository_over_tls(origin: Origin, tmp_path: Path) -> None:
    """The example site: the same locations and copies."""
    plain, port = free_port(), free_port()
    main = write_configuration(tmp_path, plain, origin.place, origin.place)
    name = "moeaca.nat.gov.tw"
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    files = ("-keyout", tmp_path / "server-key.pem", "-out", tmp_path / "server.pem")
    tell(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        *files,
        *subject,
    )
    replace_in(
        main.parent / "site-tls.conf",
        {
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/nginx/tls/": f"{tmp_path}/",
            "/var/log/nginx/": "log/",
        },
    )
    replace_in(main, {"include site.conf;": "include site.conf;\n    include site-tls.conf;"})
    context = ssl.create_default_context(cafile=tmp_path / "server.pem")
    with running_nginx(tmp_path, main, port):
        for _ in range(2):
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SAFETY_NET, context=context)
            context.check_hostname = False  # the test reaches it by address
            connection.request("GET", "/zh/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"GET /zh/ ")
            connection.close()
    assert answer.headers["Cache-Status"] == "sealmint-edge; hit"
    assert len(origin.asked) == 1
