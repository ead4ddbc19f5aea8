"""The detached signature: what OpenSSL makes is read, what we make OpenSSL accepts, everything else is refused."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from engine.authority.detached_signature import sign_detached, verify_detached
from engine.errors import ConfigurationInvalid, SignatureInvalid

CONTENT = "內容\n".encode()
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Signer:
    """A software key with a self-signed certificate."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: bytes

    async def sign(self, content: bytes) -> bytes:
        assert isinstance(self.key, rsa.RSAPrivateKey)
        return self.key.sign(content, PKCS1v15(), SHA256())

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write certificate and key for the OpenSSL command line."""
        certificate, key = directory / "signer.pem", directory / "signer.key"
        certificate.write_bytes(x509.load_der_x509_certificate(self.certificate).public_bytes(Encoding.PEM))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, key


def make_signer(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    serial: int = 5,
    usages: Sequence[str] | None = ("digital_signature",),
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
) -> Signer:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "測試製卡中心")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, start, end)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    if usages is not None:
        names = (
            *(
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
            ),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        )
        builder = builder.add_extension(
            x509.KeyUsage(**{each: each in usages for each in names}), critical=True
        )
    return Signer(key, builder.sign(key, SHA256()).public_bytes(Encoding.DER))


KEY = rsa.generate_private_key(65537, 2048)
SIGNER = make_signer(KEY)
OTHER = make_signer(rsa.generate_private_key(65537, 2048), serial=6)
TWIN = make_signer(OTHER.key)  # another key under the signer's name and serial number


async def signed(signer: Signer = SIGNER, time: datetime = NOW, chain: Sequence[bytes] = ()) -> bytes:
    return await sign_detached(
        CONTENT, certificate=signer.certificate, chain=chain, signing_time=time, sign=signer.sign
    )


def openssl_signed(directory: Path, *options: str, signer: Signer = SIGNER) -> bytes:
    certificate, key = signer.write(directory)
    (directory / "content").write_bytes(CONTENT)
    command = ["openssl", "cms", "-sign", "-binary", "-in", "content", "-outform", "DER", "-out", "signature"]
    command += ["-signer", str(certificate), "-inkey", str(key), *options]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return (directory / "signature").read_bytes()


def openssl_accepts(
    directory: Path, signature: bytes, content: bytes, *options: str, signer: Signer = SIGNER
) -> bool:
    certificate, _ = signer.write(directory)
    (directory / "content").write_bytes(content)
    (directory / "signature").write_bytes(signature)
    command = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        "signature",
        "-content",
        "content",
    ]
    command += ["-CAfile", str(certificate), "-purpose", "any", *options]
    return subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0


@pytest.mark.judge("openssl")
async def test_openssl_accepts_ours_and_only_for_its_content(tmp_path: Path) -> None:
    signature = await signed(chain=[OTHER.certificate])
    assert openssl_accepts(tmp_path, signature, CONTENT)
    assert not openssl_accepts(tmp_path, signature, CONTENT[:-1] + b"\r")


@pytest.mark.judge("openssl")
async def test_signing_time_after_2049_is_one_that_openssl_reads(tmp_path: Path) -> None:
    far = datetime(2051, 1, 1, tzinfo=UTC)
    signer = make_signer(KEY, end=far + DAY)
    signature = await signed(signer, far)
    assert b"20510101000000Z" in signature
    assert openssl_accepts(tmp_path, signature, CONTENT, "-attime", str(int(far.timestamp())), signer=signer)


@pytest.mark.judge("openssl")
@pytest.mark.parametrize(
    "options", [(), ("-keyid",), ("-nocerts",), ("-md", "sha384"), ("-md", "sha512", "-nosmimecap")]
)
def test_what_openssl_makes_is_accepted(tmp_path: Path, options: Sequence[str]) -> None:
    signature = openssl_signed(tmp_path, *options)
    assert verify_detached(CONTENT, signature, [OTHER.certificate, SIGNER.certificate]) == SIGNER.certificate
    with pytest.raises(SignatureInvalid, match="messageDigest"):
        verify_detached(CONTENT + b" ", signature, [SIGNER.certificate])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-nodetach",), "not detached"),
        (("-noattr",), "one signed attribute"),
        (("-md", "sha1"), "digest algorithm"),
        (("-keyopt", "rsa_padding_mode:pss"), "signature algorithm"),
        (("-stream",), "not DER"),
    ],
)
def test_other_forms_that_openssl_makes_are_refused(
    tmp_path: Path, options: Sequence[str], message: str
) -> None:
    with pytest.raises(SignatureInvalid, match=message):
        verify_detached(CONTENT, openssl_signed(tmp_path, *options), [SIGNER.certificate])


def test_two_signers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    certificate, key = OTHER.write(tmp_path / "second")
    signature = openssl_signed(tmp_path, "-signer", str(certificate), "-inkey", str(key))
    with pytest.raises(SignatureInvalid, match="one signer"):
        verify_detached(CONTENT, signature, [SIGNER.certificate])


def test_elliptic_curve_signer_is_refused(tmp_path: Path) -> None:
    signer = make_signer(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureInvalid, match="signature algorithm"):
        verify_detached(CONTENT, openssl_signed(tmp_path, signer=signer), [signer.certificate])


def test_trusted_certificate_with_an_elliptic_curve_key_is_no_signer(tmp_path: Path) -> None:
    same_name_and_number = make_signer(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureInvalid, match="not an RSA key"):
        verify_detached(CONTENT, openssl_signed(tmp_path, "-nocerts"), [same_name_and_number.certificate])


async def test_signer_is_pinned_by_its_whole_certificate() -> None:
    signature = await signed()
    same_key_same_number = make_signer(KEY, end=NOW + 2 * DAY)
    for trusted in ([], [OTHER.certificate], [TWIN.certificate], [same_key_same_number.certificate]):
        with pytest.raises(SignatureInvalid, match="none of the trusted"):
            verify_detached(CONTENT, signature, trusted)


async def test_embedded_certificate_does_not_make_its_key_trusted() -> None:
    forged = await sign_detached(
        CONTENT, certificate=TWIN.certificate, chain=[SIGNER.certificate], signing_time=NOW, sign=TWIN.sign
    )
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify_detached(CONTENT, forged, [SIGNER.certificate])


@pytest.mark.parametrize("time", [NOW - 2 * DAY, NOW + 2 * DAY])
async def test_signing_outside_the_validity_is_refused(time: datetime) -> None:
    with pytest.raises(SignatureInvalid, match=r"4\.1\.2\.5"):
        await signed(time=time)


async def test_key_usage_must_allow_signatures() -> None:
    with pytest.raises(SignatureInvalid, match="keyUsage"):
        await signed(make_signer(KEY, usages=["key_encipherment"]))
    assert await signed(make_signer(KEY, usages=None))


@pytest.mark.cps("6.1.9")
async def test_a_ca_key_is_never_asked_to_sign_a_file() -> None:
    authority = make_signer(KEY, usages=["digital_signature", "key_cert_sign", "crl_sign"])
    asked = []

    async def sign(content: bytes) -> bytes:
        asked.append(content)
        return b""

    with pytest.raises(ConfigurationInvalid, match=r"CPS 6\.1\.9"):
        await sign_detached(CONTENT, certificate=authority.certificate, chain=[], signing_time=NOW, sign=sign)
    assert asked == []


async def test_signature_of_another_key_is_not_handed_out() -> None:
    with pytest.raises(SignatureInvalid, match="does not verify"):
        await sign_detached(
            CONTENT,
            certificate=SIGNER.certificate,
            chain=[],
            signing_time=NOW,
            sign=OTHER.sign,
        )


@pytest.mark.parametrize("certificate", [b"", b"0\x00", SIGNER.certificate[:-1], SIGNER.certificate + b"\0"])
async def test_unreadable_trusted_certificate_is_a_configuration_error(certificate: bytes) -> None:
    with pytest.raises(ConfigurationInvalid):
        verify_detached(CONTENT, await signed(), [certificate])


@pytest.fixture(scope="module")
def openssl_signature(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return openssl_signed(tmp_path_factory.mktemp("openssl"))


@given(st.data())
def test_every_change_of_a_signature_is_refused(openssl_signature: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(openssl_signature) - 1))
    end = data.draw(st.integers(start, min(start + 8, len(openssl_signature))))
    replacement = data.draw(st.binary(max_size=8))
    changed = openssl_signature[:start] + replacement + openssl_signature[end:]
    if changed != openssl_signature:
        with pytest.raises(SignatureInvalid):
            verify_detached(CONTENT, changed, [SIGNER.certificate])


@given(
    st.binary(max_size=200)
    | st.binary(max_size=64).map(lambda tail: bytes.fromhex("308006092A864886F70D010702") + tail)
)
def test_arbitrary_bytes_are_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(CONTENT, signature, [SIGNER.certificate])


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        verify_detached(CONTENT, b"\x30\x80" * 100_000, [SIGNER.certificate])
