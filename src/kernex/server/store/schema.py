"""The tables. Migrations make them; a test holds both against each other."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from kernex.domain.assignment import ACTIVE

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite numbers rows by itself only in a column that is exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
_ACTIVE = ", ".join(f"'{state}'" for state in sorted(ACTIVE))

setting = Table(
    "setting",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="what the control plane makes once for itself: its name and its secret",
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(32), nullable=False),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

enrolment_key = Table(
    "enrolment_key",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key_id", String(36), nullable=False, unique=True),
    Column("key_sha256", String(64), nullable=False, unique=True),
    Column("labels", Text, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("auto_approve", Boolean, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    CheckConstraint("uses_left >= 0", name="uses_left"),
)

spent_nonce = Table(
    "spent_nonce",
    metadata,
    Column("nonce_id", String(64), primary_key=True),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    comment="a nonce signs once; rows go when the nonce has expired",
)

device = Table(
    "device",
    metadata,
    Column("id", Id, primary_key=True),
    Column("device_id", String(36), nullable=False, unique=True),
    Column("thumbprint", String(64), nullable=False, unique=True),
    Column("public_key", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("device_type", String(128)),
    Column("hardware_metadata", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("facts", Text, nullable=False, server_default=text("'{}'")),
    Column("apps", Text, nullable=False, server_default=text("'[]'")),
    Column("agent_version", String(64), nullable=False, server_default=text("''")),
    Column("registered_ms", BigInteger, nullable=False),
    Index("ix_device_state_id", "state", "id"),
)

live = Table(
    "live",
    metadata,
    Column("device", Id, ForeignKey("device.id"), primary_key=True, autoincrement=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("activity", String(32), nullable=False),
    Column("cpu_pct", Float),
    Column("memory_mb", Float),
    comment="narrow and written behind: what changes with every heartbeat",
)

bundle = Table(
    "bundle",
    metadata,
    Column("id", Id, primary_key=True),
    Column("bundle_id", String(36), nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("version", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("checksum_sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("name", "version"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", Id, primary_key=True),
    Column("deployment_id", String(36), nullable=False, unique=True),
    Column("bundle", Id, ForeignKey("bundle.id"), nullable=False),
    Column("app", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("selector", Text),
    Column("waves", Text, nullable=False),
    Column("max_failures", String(16), nullable=False),
    Column("open_waves", Integer, nullable=False),
    Column("reason", Text),
    Column("created_by", String(128), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Index(
        "ix_deployment_running",
        "id",
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

assignment = Table(
    "assignment",
    metadata,
    Column("id", Id, primary_key=True),
    Column("deployment", Id, ForeignKey("deployment.id"), nullable=False),
    Column("device", Id, ForeignKey("device.id"), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(16)),
    Column("error_message", Text),
    Column("metrics", Text, nullable=False, server_default=text("'{}'")),
    Column("updated_ms", BigInteger, nullable=False),
    UniqueConstraint("deployment", "device"),
    Index("ix_assignment_deployment_wave_state", "deployment", "wave", "state"),
    Index("ix_assignment_device", "device"),
    Index(
        "ix_assignment_active",
        "device",
        sqlite_where=text(f"state IN ({_ACTIVE})"),
        postgresql_where=text(f"state IN ({_ACTIVE})"),
    ),
)

event = Table(
    "event",
    metadata,
    Column("seq", Id, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("device", Id, ForeignKey("device.id"), index=True),
    Column("deployment", Id, ForeignKey("deployment.id"), index=True),
    Column("detail", Text, nullable=False),
    comment="timeline, audit source and live feed at once; only ever added to",
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)
