"""Pre-signed OCSP answers: one signature over all certificates of a card, under every CertID hash.

RFC 5019 section 2.2.1 (and RFC 9919) let a response carry more SingleResponses than were asked for. What is the same in
all answers is laid out once; a record gives what varies. The pre-signer signs what `tbs` gives and the responder sends
what `response` gives, out of the same segments, so the two cannot differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from engine.algorithms import SignatureAlgorithm
from engine.status.card_record import ARCHIVE_CUTOFF, HASHES, NO_REASON, AnswerHead, CertificateStanding
from engine.store.schema import CertificateState
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.ocsp_response import (
    HASH_NAMES,
    IssuerNames,
    archive_cutoff,
    assemble_response,
    cert_id,
    time_octets,
)
from engine.x509.serial_numbers import SERIAL_OCTETS

_TIMES_REMEMBERED = 65_536
"""Encoded times kept. A guess: more than the batches of a day, each with a second of its own; 6 MB."""

_FRAMES_REMEMBERED = 16_384
"""Frames kept. A guess: the batches of two days, each with times of its own; 10 MB."""

_Frames = dict[tuple[int, ...], list[bytes]]
"""By hashes, covered certificates and the three times."""

_Shape = tuple[int, tuple[int, ...]]
"""Covered hashes, and the kind of each covered certificate: all on which lengths depend."""

_REVOKED, _WITH_REASON, _WITH_CUTOFF = 1, 2, 4


class _Segments(NamedTuple):
    """What stands around the varying values in answers of one shape."""

    before_produced_at: bytes  # of tbsResponseData
    before_first: bytes  # the header of `responses`
    before_serials: tuple[
        bytes, ...
    ]  # hash by hash: header of the SingleResponse and CertID up to the serial


class _Times:
    """GeneralizedTime content octets, remembered."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def __getitem__(self, moment: int) -> bytes:
        octets = self._known.get(moment)
        if octets is None:
            if len(self._known) >= _TIMES_REMEMBERED:
                self._known.clear()
            octets = self._known[moment] = time_octets(moment)
        return octets


class AnswerLayout:
    """The layout of one responder's answers.

    Args:
        issuer: the CA whose certificates are answered for.
        responder_key_hash: names the responder (byKey).
        algorithm: with what it signs.
        certificates: what goes along: the responder's certificate.
    """

    def __init__(
        self,
        issuer: IssuerNames,
        responder_key_hash: bytes,
        algorithm: SignatureAlgorithm,
        certificates: Sequence[bytes],
    ) -> None:
        self._issuer = issuer
        self._responder = der.context(2, der.octet_string(responder_key_hash))
        self._algorithm = algorithm
        self._certificates = tuple(certificates)
        self._segments: dict[_Shape, _Segments] = {}
        self._outer: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        self._after_signature = der.context(0, der.sequence(*certificates)) if certificates else b""
        self._times = _Times()
        self._tbs_frames: _Frames = {}
        self._frames: dict[int, _Frames] = defaultdict(dict)  # by the signature's length, which ECDSA varies

    def tbs(self, certificates: Sequence[CertificateStanding], head: AnswerHead) -> bytes:
        """The tbsResponseData of an answer.

        Args:
            certificates: the standings of the card.
            head: which of them are covered, under which hashes, with which times.
        """
        if head.covered == (1 << len(certificates)) - 1 and not head.archive_cutoff:
            serials = tuple([certificate.serial for certificate in certificates if not certificate.state])
            if len(serials) == len(certificates):
                return self.tbs_all_good(serials, head)
        return b"".join(self._tbs_parts(certificates, head))

    def _tbs_parts(self, certificates: Sequence[CertificateStanding], head: AnswerHead) -> list[bytes]:
        covered = [c for place, c in enumerate(certificates) if head.covered >> place & 1]
        shape = (head.hashes, tuple([_kind(c, head) for c in covered]))
        segments = self._segments.get(shape)
        if segments is None:
            segments = self._segments[shape] = self._lay_out(shape)
        tails = [self._tail(certificate, head) for certificate in covered]
        parts = [segments.before_produced_at, self._times[head.produced_at], segments.before_first]
        places = iter(segments.before_serials)
        for _ in range(len(segments.before_serials) // len(covered)):
            for certificate, tail in zip(covered, tails, strict=True):
                parts += (next(places), certificate.serial, tail)
        return parts

    def _tail(self, certificate: CertificateStanding, head: AnswerHead) -> bytes:
        """What follows the CertID: status, thisUpdate, nextUpdate, archive cutoff."""
        times = self._times
        updates = self._update_octets(head.this_update, head.next_update)
        if certificate.state == CertificateState.GOOD:
            status = b"\x80\x00"
        elif certificate.reason == NO_REASON:
            status = b"\xa1\x11\x18\x0f" + times[certificate.since]
        else:
            status = b"\xa1\x16\x18\x0f%b\xa0\x03\x0a\x01%c" % (times[certificate.since], certificate.reason)
        if _has_cutoff(certificate, head):
            return status + updates + der.context(1, der.sequence(archive_cutoff(head.archive_cutoff)))
        return status + updates

    def _lay_out(self, shape: _Shape) -> _Segments:
        hashes, kinds = shape
        before_serials = []
        length = 0
        for place, hash_name in enumerate(HASH_NAMES):
            if not hashes >> place & 1:
                continue
            for kind in kinds:
                one = cert_id(hash_name, self._issuer, bytes(SERIAL_OCTETS))
                content = len(one) + _tail_length(kind)
                before_serials.append(der.header(der.SEQUENCE, content) + one[:-SERIAL_OCTETS])
                length += len(der.header(der.SEQUENCE, content)) + content
        before_first = der.header(der.SEQUENCE, length)
        tbs_length = len(self._responder) + 17 + len(before_first) + length
        before_produced_at = der.header(der.SEQUENCE, tbs_length) + self._responder + b"\x18\x0f"
        return _Segments(before_produced_at, before_first, tuple(before_serials))

    def response(
        self, certificates: Sequence[CertificateStanding], head: AnswerHead, signature: bytes
    ) -> bytes:
        """The whole OCSPResponse of a signed answer."""
        parts = self._tbs_parts(certificates, head)
        tbs_length = sum(map(len, parts))
        outer = self._outer.get((tbs_length, len(signature)))
        if outer is None:
            outer = self._outer[tbs_length, len(signature)] = self._around(tbs_length, len(signature))
        return b"".join((outer[0], *parts, outer[1], signature, self._after_signature))

    def tbs_all_good(self, serials: tuple[bytes, ...], head: tuple[int, ...]) -> bytes:
        """The tbsResponseData where every certificate of the card is covered, good, and has not expired.

        The same octets as `tbs` gives, in a quarter of the time (bench.ocsp): nearly all answers are of this kind.

        Args:
            serials: of the card's certificates.
            head: the values of an `AnswerHead`.
        """
        key = head[HASHES:ARCHIVE_CUTOFF]
        parts = (self._tbs_frames.get(key) or self._tbs_frame(key)).copy()
        parts[1::2] = serials * (len(parts) // 2 // len(serials))
        return b"".join(parts)

    def response_all_good(self, serials: tuple[bytes, ...], head: tuple[int, ...], signature: bytes) -> bytes:
        """The whole OCSPResponse of such an answer."""
        key = head[HASHES:ARCHIVE_CUTOFF]
        parts = (self._frames[len(signature)].get(key) or self._frame(key, len(signature))).copy()
        parts[1:-2:2] = serials * ((len(parts) // 2 - 1) // len(serials))
        parts[-2] = signature
        return b"".join(parts)

    def _tbs_frame(self, key: tuple[int, ...]) -> list[bytes]:
        """What all answers of the same hashes and times have around the serials, as places between which these go."""
        hashes, covered, produced_at, this_update, next_update = key
        segments = self._lay_out((hashes, (0,) * covered.bit_count()))
        first = segments.before_produced_at + self._times[produced_at] + segments.before_first
        tail = b"\x80\x00" + self._update_octets(this_update, next_update)
        frame = [first + segments.before_serials[0], b""]
        for before_serial in segments.before_serials[1:]:
            frame += (tail + before_serial, b"")
        frame.append(tail)
        return _remember(self._tbs_frames, key, frame)

    def _frame(self, key: tuple[int, ...], signature_length: int) -> list[bytes]:
        """The same for a whole response; the last three parts are what stands before, in and after the signature."""
        first, *middle, last = self._tbs_frame(key)
        serials = SERIAL_OCTETS * (len(middle) // 2 + 1)
        length = len(first) + sum(map(len, middle)) + serials + len(last)
        before, between = self._around(length, signature_length)
        frame = [before + first, *middle, last + between, b"", self._after_signature]
        return _remember(self._frames[signature_length], key, frame)

    def _update_octets(self, this_update: int, next_update: int) -> bytes:
        """ThisUpdate and nextUpdate."""
        return b"\x18\x0f%b\xa0\x11\x18\x0f%b" % (self._times[this_update], self._times[next_update])

    def _around(self, tbs_length: int, signature_length: int) -> tuple[bytes, bytes]:
        """What stands before tbsResponseData, and between it and the signature, taken from a sample."""
        tbs, signature = b"\xfe" * tbs_length, b"\xfd" * signature_length
        sample = assemble_response(tbs, self._algorithm, signature, self._certificates)
        identifier = ALGORITHM_IDENTIFIERS[self._algorithm]
        start = len(sample) - len(self._after_signature) - signature_length
        between = identifier + der.header(der.BIT_STRING, signature_length + 1) + b"\x00"
        return sample[: start - len(between) - tbs_length], between


def _remember(frames: _Frames, key: tuple[int, ...], frame: list[bytes]) -> list[bytes]:
    if len(frames) >= _FRAMES_REMEMBERED:
        frames.clear()
    frames[key] = frame
    return frame


def _has_cutoff(certificate: CertificateStanding, head: AnswerHead) -> bool:
    return bool(head.archive_cutoff) and certificate.not_after < head.produced_at


def _kind(certificate: CertificateStanding, head: AnswerHead) -> int:
    kind = 0
    if certificate.state != CertificateState.GOOD:
        kind = _REVOKED if certificate.reason == NO_REASON else _REVOKED | _WITH_REASON
    return kind | _WITH_CUTOFF if _has_cutoff(certificate, head) else kind


def _tail_length(kind: int) -> int:
    status = 2 if not kind & _REVOKED else 24 if kind & _WITH_REASON else 19
    cutoff = len(der.context(1, der.sequence(archive_cutoff(0)))) if kind & _WITH_CUTOFF else 0
    return status + 17 + 19 + cutoff
