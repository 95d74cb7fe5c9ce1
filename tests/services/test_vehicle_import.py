"""`tcu vehicle import`: many vehicles at once, and each fault told with its line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from admin import fleet
from admin.__main__ import app
from db.pool import Connection

VINS = [f"KMHMPRT{number:010d}" for number in range(1, 6)]


@pytest.fixture
def import_csv(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("TCU_ENVIRONMENT", "demo")
    monkeypatch.setenv("TCU_DATABASE_URL", database_url)
    monkeypatch.setenv("TCU_PKI_DIR", str(tmp_path / "pki"))

    def run(content: str | bytes, *options: str) -> Result:
        file = tmp_path / "fleet.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CliRunner().invoke(app, ["vehicle", "import", str(file), *options])

    return run


def registered(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT vin FROM vehicles ORDER BY vin")]


def certified(tmp_path: Path) -> list[str]:
    return sorted(path.stem for path in (tmp_path / "pki" / "vehicles").glob("*.crt"))


def test_every_vehicle_of_a_file_is_registered_and_certified(
    import_csv: Callable[..., Result], conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "BATCH", 2)
    rows = "".join(f"{vin},BMW,320i,2022,,+82-10-1234-5678\n" for vin in reversed(VINS))
    done = import_csv(f"\ufeffvin,make,model,model_year,customer_name,customer_phone\n{rows}")

    assert done.exit_code == 0, done.output
    assert registered(conn) == certified(tmp_path) == VINS
    assert done.stderr.splitlines() == [f"{n} vehicles, 0 faulty lines" for n in (2, 4, 5)]
    found = conn.execute(
        "SELECT make, model, model_year, customer_name, customer_phone FROM vehicles LIMIT 1"
    ).fetchone()
    assert found == ("BMW", "320i", 2022, None, "+82-10-1234-5678")
    certificate = x509.load_pem_x509_certificate((tmp_path / "pki" / "vehicles" / f"{VINS[0]}.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == f"CN={VINS[0]}"


def test_a_faulty_line_is_told_with_its_number_and_stops_no_other(
    import_csv: Callable[..., Result], conn: Connection, tmp_path: Path
) -> None:
    done = import_csv(
        f"vin, model_year\n{VINS[0]},2022\n+,2022\n\n{VINS[1]},soon\n{VINS[0]},2023\n{VINS[2]}\n"
        f'"{VINS[3]},2022\n{VINS[4]},\n'.encode()
        + VINS[3].encode()
        + b"\xff,2022\n"
    )

    assert done.exit_code == 1
    assert registered(conn) == certified(tmp_path) == [VINS[0], VINS[4]]
    told = [line.partition("fleet.csv:")[2] for line in done.stderr.splitlines() if "fleet.csv:" in line]
    assert [line.split(":")[0] for line in told] == ["3", "5", "6", "7", "8", "10"]
    assert "vin: " in told[0]
    assert "got '+'" in told[0]
    assert "model_year: " in told[1]
    assert f"{VINS[0]} is on line 2 already" in told[2]
    assert "expected 2 fields (vin, model_year), got 1" in told[3]
    assert done.stderr.splitlines()[-1] == "2 vehicles, 6 faulty lines"
    assert conn.execute("SELECT model_year FROM vehicles ORDER BY vin").fetchall() == [(2022,), (None,)]


@pytest.mark.parametrize("header", ["", "make,model", "vin,colour", "vin,vin"])
def test_a_file_with_another_header_is_refused_whole(
    import_csv: Callable[..., Result], conn: Connection, header: str
) -> None:
    done = import_csv(f"{header}\n{VINS[0]},x\n")
    assert isinstance(done.exception, ValueError)
    assert "expected a header of vin and any of make" in str(done.exception)
    assert registered(conn) == []


def test_signing_requests_are_taken_from_a_directory(
    import_csv: Callable[..., Result], conn: Connection, tmp_path: Path
) -> None:
    requests = tmp_path / "requests"
    requests.mkdir()
    for vin, name in ((VINS[0], VINS[0]), (VINS[1], VINS[2])):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key = ec.generate_private_key(ec.SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        (requests / f"{vin}.csr").write_bytes(csr.public_bytes(serialization.Encoding.PEM))
    done = import_csv("vin\n" + "\n".join(VINS[:3]) + "\n", "--csr-dir", str(requests))

    assert done.exit_code == 1
    assert registered(conn) == certified(tmp_path) == [VINS[0]]
    assert not list((tmp_path / "pki" / "vehicles").glob("*.key"))
    assert f"expected the subject CN={VINS[1]} and nothing else, got CN={VINS[2]}" in done.stderr
    assert "No such file" in done.stderr


def test_a_second_run_changes_no_certificate(import_csv: Callable[..., Result], tmp_path: Path) -> None:
    import_csv(f"vin\n{VINS[0]}\n")
    first = (tmp_path / "pki" / "vehicles" / f"{VINS[0]}.crt").read_bytes()
    assert import_csv(f"vin,make\n{VINS[0]},BMW\n").exit_code == 0
    assert (tmp_path / "pki" / "vehicles" / f"{VINS[0]}.crt").read_bytes() == first


def test_vehicles_of_another_authority_are_registered_only(
    import_csv: Callable[..., Result], conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TCU_PKI_DIR")
    assert import_csv(f"vin\n{VINS[0]}\n", "--register-only").exit_code == 0
    assert CliRunner().invoke(app, ["vehicle", "add", VINS[1], "--register-only"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["vehicle", "add", "+", "--register-only"]).exception, ValueError)
    assert registered(conn) == VINS[:2]
    assert not (tmp_path / "pki").exists()
