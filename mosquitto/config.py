"""The broker's working directory: configuration, access list and certificates that it reads."""

import shutil
from pathlib import Path
from string import Template

_HERE = Path(__file__).parent


def prepare(directory: Path, pki_dir: Path, *, address: str, port: int) -> Path:
    """Return the configuration file for a broker that listens there, after filling the directory for it.

    The certificates are copied: the broker's account need not be able to enter the authority's directory.
    """
    (directory / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("ca.crt", "server.crt", "server.key"):
        shutil.copy(pki_dir / name, directory / name)
    shutil.copy(_HERE / "acl", directory / "acl")
    template = Template((_HERE / "mosquitto.conf").read_text())
    config = directory / "mosquitto.conf"
    config.write_text(template.substitute(address=address, port=port, directory=directory))
    # Mosquitto warns of an access list that others can read, and later versions refuse it.
    for name in ("acl", "mosquitto.conf", "server.key"):
        (directory / name).chmod(0o600)
    return config
