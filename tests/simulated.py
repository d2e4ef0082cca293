"""A device that is only its key and its HTTP calls: a fake at the seam, for tests of the control plane."""

from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

from kernex.trust import assertion
from kernex.trust.assertion import Purpose
from kernex.wire import paths
from kernex.wire.problem import ISSUER_HEADER, NONCE_HEADER


@dataclass(slots=True)
class SimulatedDevice:
    """One key against one control plane."""

    url: str
    private_key: bytes = field(default_factory=assertion.new_private_key)
    device_id: str = ""
    token: str = ""
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.url, timeout=30, verify=False)  # plain HTTP: no CA store to load

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def act_as(self, other: "SimulatedDevice") -> None:
        """A second connection of the same device."""
        self.device_id, self.token = other.device_id, other.token
        self.http.headers["Authorization"] = f"Bearer {other.token}"

    @property
    def public_key(self) -> assertion.PublicKey:
        return assertion.public_key(self.private_key)

    def nonce(self) -> tuple[str, str]:
        """A fresh nonce and the name of the control plane that gave it."""
        answer = self.http.post(paths.TOKEN)
        assert answer.status_code == 401, answer.text
        return answer.headers[NONCE_HEADER], answer.headers[ISSUER_HEADER]

    def proof(self) -> str:
        nonce, issuer = self.nonce()
        subject = self.public_key.thumbprint
        return assertion.sign(self.private_key, Purpose.REGISTRATION, subject=subject, audience=issuer, nonce=nonce)

    def register(self, **fields: Any) -> httpx2.Response:
        body = {"public_key": self.public_key.pem, "proof": self.proof(), **fields}
        answer = self.http.post(paths.REGISTER, json=body)
        if answer.status_code == 201:
            self.device_id = answer.json()["device_id"]
        return answer

    def assertion(self) -> str:
        nonce, issuer = self.nonce()
        return assertion.sign(self.private_key, Purpose.LOGIN, subject=self.device_id, audience=issuer, nonce=nonce)

    def login(self) -> httpx2.Response:
        answer = self.http.post(paths.TOKEN, data={"client_assertion": self.assertion()})
        if answer.status_code == 200:
            self.token = answer.json()["access_token"]
            self.http.headers["Authorization"] = f"Bearer {self.token}"
        return answer

    def enrolled(self, key: str) -> "SimulatedDevice":
        """Register with an auto-approving key and log in."""
        registered = self.register(enrolment_key=key)
        assert registered.status_code == 201, registered.text
        logged_in = self.login()
        assert logged_in.status_code == 200, logged_in.text
        return self

    def heartbeat(self, *, wait_s: int = 0, **body: Any) -> httpx2.Response:
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self.http.post(paths.HEARTBEAT.format(device_id=self.device_id), json=body, headers=headers)

    def commands(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.heartbeat(**body)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["commands"])

    def result(self, deployment_id: str, status: str, **body: Any) -> httpx2.Response:
        message = {"device_id": self.device_id, "status": status, **body}
        return self.http.post(paths.RESULT.format(deployment_id=deployment_id), json=message)
