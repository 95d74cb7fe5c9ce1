"""The broker's working directory: configuration, access list and certificates that it reads."""

import os
import shutil
import signal
from pathlib import Path
from string import Template

from mosquitto import pki

_HERE = Path(__file__).parent
_PID_FILE = "mosquitto.pid"


def prepare(directory: Path, pki_dir: Path, *, address: str, port: int, services_port: int) -> Path:
    """Return the configuration file for a broker that listens there, after filling the directory for it.

    Vehicles connect to `port`, our own processes to `services_port`. The certificates are copied: the broker's account
    need not be able to enter the authorities' directory.
    """
    (directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    vehicles = pki.ensure_authority(pki_dir).certificate
    services = pki.ensure_authority(pki_dir, "services-ca").certificate
    _write(directory, "services-ca.crt", services.read_bytes())
    # Our own identities are known to the vehicles' listener too: the system test comes in there.
    _write(directory, "vehicles-ca.crt", vehicles.read_bytes() + services.read_bytes())
    for name in ("server.crt", "server.key"):
        _write(directory, name, (pki_dir / name).read_bytes())
    _write(directory, "acl", (_HERE / "acl").read_bytes())
    publish_revocations(directory, pki_dir)
    template = Template((_HERE / "mosquitto.conf").read_text())
    text = template.substitute(address=address, port=port, services_port=services_port, directory=directory)
    return _write(directory, "mosquitto.conf", text.encode())


def publish_revocations(directory: Path, pki_dir: Path) -> None:
    """Bring both authorities' revocation lists to where the broker reads them, at its start and at `reload`."""
    lists = [(pki_dir / f"{authority}.crl").read_bytes() for authority in ("ca", "services-ca")]
    _write(directory, "revoked.crl", b"".join(lists))


def reload(directory: Path) -> None:
    """Make the broker of this directory read its access list, certificates and revocation lists again (SIGHUP).

    Sessions and connections stay. It has done so once it answers the CONNECT of somebody who connects after this
    returned; whose TCP connection is older than that answer may still be judged by the old lists (measured on 2.0.11).
    Raises ValueError where it does not run on this machine.
    """
    file = directory / _PID_FILE
    pid = int(file.read_text()) if file.exists() else 0
    arguments = Path(f"/proc/{pid}/cmdline")
    if not pid or not arguments.exists() or os.fsencode(directory / "mosquitto.conf") not in arguments.read_bytes():
        raise ValueError(f"the broker of {directory} does not run on this machine: have it reload where it runs")
    os.kill(pid, signal.SIGHUP)


def _write(directory: Path, name: str, content: bytes) -> Path:
    """Write a file at once, readable by the directory's owner alone: the broker's account.

    Mosquitto warns of an access list that others can read, and later versions refuse it.
    """
    new = directory / f".{name}"
    new.touch(mode=0o600)
    new.write_bytes(content)
    owner = directory.stat()
    if os.geteuid() == 0:
        shutil.chown(new, owner.st_uid, owner.st_gid)
    return new.rename(directory / name)
