"""Certificates of an authority made for a test by tools/certificates, as a user would make them."""

from pathlib import Path

from .processes import run

_SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "certificates"


class Certificates:
    """The folder that an authority fills. Programs takes one; who shows what is told there."""

    def __init__(self, directory, *who):
        """`who`: as tools/certificates takes it."""
        self.directory = Path(directory)
        self.make(*who)

    def make(self, *who, under=()):
        """`under`: a command that becomes the script, and its arguments."""
        run([*under, _SCRIPT, self.directory, *who])

    @property
    def authority(self):
        return self.directory / "authority.pem"

    def words(self, name, kind="tls", authority=None):
        """The options of the one with this certificate. `kind`: tls or etcd."""
        files = {
            "ca": authority or self.authority,
            "cert": self.directory / f"{name}.pem",
            "key": self.directory / f"{name}.key",
        }
        return [word for what, path in files.items() for word in (f"--{kind}-{what}", path)]
