"""The pretend HSM does what its README says: the log, errors, caps on sessions, hangs, restarts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.hsm_shim import HsmShim, build
from tests.hsm_shim.conftest import Run

ECDSA, RSA_PKCS, SHA256_RSA_PKCS, SHA384_RSA_PKCS_PSS = 0x1041, 0x1, 0x40, 0x44


def test_gcc_builds_it_without_a_warning_once(tmp_path: Path) -> None:
    built = build(tmp_path / "deep" / "libhsm_shim.so")
    first = built.stat().st_mtime_ns
    assert build(built).stat().st_mtime_ns == first


def test_every_signature_is_logged_with_its_digest(run: Run, shim: HsmShim) -> None:
    run("""
        session = logged_in()
        key = find_private_key(session, rsa)
        key.sign(b"combined", mechanism=Mechanism.SHA256_RSA_PKCS)
        import hashlib
        info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(b"bare").digest()
        key.sign(info, mechanism=Mechanism.RSA_PKCS)
        pss = (Mechanism.SHA384, pkcs11.MGF.SHA384, 48)
        key.sign(b"pss", mechanism=Mechanism.SHA384_RSA_PKCS_PSS, mechanism_param=pss)
        find_private_key(session, KeyReference("ec")).sign(hashlib.sha256(b"ec").digest(), mechanism=Mechanism.ECDSA)
    """)
    assert [(line.mechanism, line.digest, line.result, line.discarded) for line in shim.signatures()] == [
        (SHA256_RSA_PKCS, hashlib.sha256(b"combined").hexdigest(), 0, False),
        (RSA_PKCS, hashlib.sha256(b"bare").hexdigest(), 0, False),
        (SHA384_RSA_PKCS_PSS, hashlib.sha384(b"pss").hexdigest(), 0, False),
        (ECDSA, hashlib.sha256(b"ec").hexdigest(), 0, False),
    ]
    times = [line.time_ns for line in shim.signatures()]
    assert times == sorted(times)


def test_an_injected_error_ends_the_real_operation_and_is_logged(run: Run, shim: HsmShim) -> None:
    said = run("""
        key = find_private_key(logged_in(), rsa)
        hsm.fail_next("C_Sign", 0x30, 2)
        for _ in range(3):
            print(refused(key.sign, b"x", **by_hash))
    """)
    assert said == ["CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR", "CKR_OK"]
    assert [line.discarded for line in shim.signatures()] == [True, True, False]


def test_a_count_is_not_renewed_when_the_file_is_read_again(run: Run) -> None:
    said = run("""
        hsm.fail_next("C_OpenSession", 0x30, 2)
        print(refused(token.open_session))
        hsm.latency("C_Sign", 1)
        print(refused(token.open_session))
        print(refused(token.open_session))
        hsm.fail_next("C_OpenSession", 0x31)
        print(refused(token.open_session))
    """)
    assert said == ["CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR", "CKR_OK", "CKR_DEVICE_MEMORY"]


def test_a_rate_draws_the_same_calls_for_the_same_seed(run: Run) -> None:
    said = run("""
        def draw(seed):
            hsm.seed(seed)
            arm = hsm.fail_one_in("C_GetSessionInfo", 0x30, 4)
            drawn = "".join("x" if refused(token.is_logged_in, session) != "CKR_OK" else "." for _ in range(200))
            hsm.disarm(arm)
            return drawn
        session = token.open_session()
        one, other, again = draw(1), draw(2), draw(1)
        print(one == again, one == other, 25 < one.count("x") < 75)
    """)
    assert said == ["True False True"]


def test_the_cap_on_sessions_is_kept_and_reported(run: Run) -> None:
    said = run("""
        hsm.cap_sessions(2)
        first, second = token.open_session(), token.open_session()
        print(refused(token.open_session), token.limits())
        first.close()
        print(refused(token.open_session), token.limits())
    """)
    assert said == [
        "CKR_SESSION_COUNT TokenLimits(max_sessions=2, open_sessions=2)",
        "CKR_OK TokenLimits(max_sessions=2, open_sessions=2)",
    ]


def test_a_restart_kills_sessions_and_log_in(run: Run) -> None:
    said = run("""
        session = logged_in()
        key = find_private_key(session, rsa)
        hsm.restart()
        print(refused(key.sign, b"x", **by_hash))
        print(refused(token.is_logged_in, session))
        fresh = token.open_session()
        print(token.is_logged_in(fresh))
        token.log_in(fresh, pin)
        print(refused(find_private_key(fresh, rsa).sign, b"x", **by_hash))
    """)
    assert said == ["CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_HANDLE_INVALID", "False", "CKR_OK"]


def test_a_hidden_mechanism_is_gone_from_list_and_use(run: Run) -> None:
    said = run("""
        hsm.hide(Mechanism.SHA256_RSA_PKCS)
        token = find_token(module, label="shim")
        print(0x40 in token.mechanisms, 0x41 in token.mechanisms)
        key = find_private_key(logged_in(), rsa)
        print(refused(key.sign, b"x", **by_hash))
    """)
    assert said == ["False True", "CKR_MECHANISM_INVALID"]


def test_hanging_calls_hang_side_by_side_until_disarmed(run: Run) -> None:
    said = run("""
        keys = [find_private_key(logged_in(), rsa) for _ in range(2)]
        # the first C_Sign of python-pkcs11 asks for the length, and hangs like any other
        arm = hsm.hang_next("C_Sign", 2)
        threads = [threading.Thread(target=key.sign, args=(b"x",), kwargs=by_hash) for key in keys]
        for thread in threads:
            thread.start()
        while hsm.hanging() < 2:
            pass
        print(len(hsm.signatures()))
        hsm.disarm(arm)
        for thread in threads:
            thread.join()
        print(len(hsm.signatures()))
    """)
    assert said == ["0", "2"]


def test_other_ways_to_sign_are_closed(run: Run, shim: HsmShim) -> None:
    said = run("""
        key = find_private_key(logged_in(), rsa)
        print(refused(key.sign, iter([b"x", b"y"]), mechanism=Mechanism.SHA256_RSA_PKCS))
    """)
    assert said == ["CKR_FUNCTION_NOT_SUPPORTED"]
    assert shim.signatures() == []


def test_without_a_module_to_wrap_it_does_not_load(library: Path, tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from engine.pkcs11.module import load_module\n"
    program += "load_module(Path(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HSM_SHIM")}
    ended = subprocess.run(
        [sys.executable, "-c", program, str(library)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "HSM_SHIM_MODULE does not name a PKCS#11 module" in ended.stderr
