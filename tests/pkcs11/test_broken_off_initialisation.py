"""A token whose initialisation was broken off between C_InitToken and C_InitPIN is finished."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.softhsm import SOFTHSM

FINISH = """
import subprocess, sys
from pathlib import Path
from engine.pkcs11 import token_initialisation
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import find_token

module = load_module(Path(sys.argv[1]))
pins = {"security_officer_pin": Pin("87654321"), "pin": Pin("123456")}
real, token_initialisation._set_pin = token_initialisation._set_pin, lambda *_: None
token_initialisation.initialise_token(module, label="half made", **pins)  # killed before the PIN was set
token_initialisation._set_pin = real

half = find_token(module, label="half made")
print(half.has_user_pin, token_initialisation.set_missing_pin(half, **pins))
whole = find_token(module, label="half made")
print(whole.has_user_pin, token_initialisation.set_missing_pin(whole, **pins))
session = whole.open_session()
whole.log_in(session, pins["pin"])
print(whole.is_logged_in(session))
"""


def test_missing_pin_is_set_once(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    finished = subprocess.run(
        [sys.executable, "-c", FINISH, str(SOFTHSM)],
        env={"SOFTHSM2_CONF": str(configuration)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.stdout.split(), finished.stderr) == (["False", "True", "True", "False", "True"], "")
