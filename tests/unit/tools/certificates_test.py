"""What tools/certificates makes, and what it leaves alone."""

import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "certificates"


def run(*arguments, check=True):
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def shown(path, extension):
    return openssl("x509", "-in", path, "-noout", "-ext", extension).splitlines()[1].strip()


def test_everybody_gets_a_certificate_for_what_it_is(tmp_path):
    where = tmp_path / "of" / "ours"
    run(where, "presence1=10.0.0.1,presence1.example", "data:ds1", "newsroom")
    for name in ("presence1", "ds1", "newsroom"):
        verified = openssl("verify", "-CAfile", where / "authority.pem", where / f"{name}.pem")
        assert verified.strip().endswith("OK"), verified
        key = openssl("pkey", "-in", where / f"{name}.key", "-pubout")
        assert key == openssl("x509", "-in", where / f"{name}.pem", "-noout", "-pubkey")
    names = {name: shown(where / f"{name}.pem", "subjectAltName") for name in
             ("presence1", "ds1", "newsroom")}
    assert names == {
        "presence1": "IP Address:10.0.0.1, DNS:presence1.example",
        "ds1": "URI:spiffe://penstock/ds/ds1",
        "newsroom": "URI:spiffe://penstock/client/newsroom",
    }
    assert "Server" in shown(where / "presence1.pem", "extendedKeyUsage")
    for caller in ("ds1", "newsroom"):
        assert shown(where / f"{caller}.pem", "extendedKeyUsage") == (
            "TLS Web Client Authentication"), "it cannot pass for presence"
        assert shown(where / f"{caller}.pem", "basicConstraints") == "CA:FALSE"


def test_keys_are_their_owners_and_certificates_everybodys(tmp_path):
    run(tmp_path / "new", "newsroom")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes == {"authority.pem": 0o644, "authority.key": 0o600,
                     "newsroom.pem": 0o644, "newsroom.key": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_the_authority_stays_and_so_does_what_it_signed(tmp_path):
    run(tmp_path, "one")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run(tmp_path, "two")
    refused = run(tmp_path, "one", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1 and "one.pem or .key is there already" in refused.stderr
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert openssl("verify", "-CAfile", tmp_path / "authority.pem",
                   tmp_path / "two.pem").strip().endswith("OK")


def test_certificates_are_good_as_long_as_wanted(tmp_path):
    run("--days", "2", tmp_path, "short")
    for seconds, ends in ((86_400, False), (3 * 86_400, True)):
        said = openssl("x509", "-in", tmp_path / "short.pem", "-checkend", str(seconds))
        assert ("will expire" in said) == ends


@pytest.mark.parametrize("words, named", [
    ([], "--help"),
    (["somewhere"], "--help"),
    (["--days", "0", "somewhere", "one"], "--days '0'"),
    (["--days"], "--days ''"),
    (["--day", "1", "somewhere", "one"], "--day"),
    (["somewhere", "../one"], "'../one'"),
    (["somewhere", "data:"], "'data:'"),
    (["somewhere", "data:ds1=10.0.0.1"], "'data:ds1=10.0.0.1'"),
    (["somewhere", "one=10.0.0.1,"], "'one=10.0.0.1,'"),
    (["somewhere", "authority"], "'authority'"),
    (["/proc/nowhere", "one"], "/proc/nowhere"),
])
def test_what_is_wrong_is_one_line(tmp_path, words, named):
    done = subprocess.run(
        [SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tools/certificates: ")
    assert named in done.stderr
    assert not (tmp_path / "somewhere").exists()


def test_help_says_who_may_be_named():
    told = run("--help").stdout
    assert told.startswith("usage: ") and "data:ID" in told and "--days" in told
