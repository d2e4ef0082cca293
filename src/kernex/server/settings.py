"""What an operator may set on the control plane. Frozen; every limit has its unit in its name."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One control plane. Without URLs everything lives below `data_dir`: SQLite and plain files."""

    data_dir: Path
    database_url: str = ""
    store_url: str = ""
    heartbeat_interval_s: float = 60.0
    long_poll_s: float = 50.0  # below the idle timeouts of common proxies (60 s); 0 turns it off
    keep_alive_s: int = 90  # above the heartbeat interval: a TLS handshake costs 35 to 60 heartbeats
    reconcile_interval_s: float = 1.0
    live_flush_interval_s: float = 1.0  # last-seen times and load are written this late at most
    max_bundle_bytes: int = 100 * 1024**3
    max_pending_devices: int = 10_000
    access_token_s: int = 3600
    nonce_s: int = 300

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'kernex.db'}"

    @property
    def store(self) -> str:
        return self.store_url or (self.data_dir / "blobs").absolute().as_uri()

    @property
    def incoming(self) -> Path:
        """Where uploads lie while they are checked."""
        return self.data_dir / "incoming"
