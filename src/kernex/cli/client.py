"""The control plane as the CLI sees it: the only file here that speaks HTTP. One method a call.

Answers are read up to a cap and decoded into the wire's types; every problem becomes a domain error, so
that whoever calls branches by what to do next and not by status codes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast

import httpx2
import msgspec

from kernex import __version__
from kernex.bundle.descriptor import Descriptor
from kernex.domain.bundle import BundleRef, Digest
from kernex.domain.errors import (
    ConflictError,
    DeniedError,
    KernexError,
    NotFoundError,
    RejectedError,
    UnauthenticatedError,
    UnavailableError,
)
from kernex.wire import limits, paths
from kernex.wire.operator import (
    AssignmentReport,
    BundleSummary,
    BundleUploaded,
    DeploymentCreated,
    DeploymentDetail,
    DeploymentRequest,
    DeploymentSummary,
    DeviceDetail,
    DeviceSummary,
    EnrolmentKeyCreated,
    EnrolmentKeyRequest,
    EnrolmentKeySummary,
    Page,
)
from kernex.wire.problem import Problem

T = TypeVar("T")

PAGE_SIZE = 100  # items; a page of them stays below the cap on an answer, whatever they hold
TIMEOUT_S = 30.0
UPLOAD_TIMEOUT = httpx2.Timeout(600.0, connect=10.0)  # seconds; the server checks a whole archive before it answers

_ERRORS: dict[int, type[KernexError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: DeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.PRECONDITION_FAILED: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: UnavailableError,
}


class ControlPlane:
    """A connection to one control plane with one token. Close it, or use it as a context manager."""

    def __init__(self, url: str, token: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        headers = {"User-Agent": f"kernex/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        try:
            self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout_s)
        except (httpx2.InvalidURL, UnicodeEncodeError):
            raise RejectedError(f"cannot use the address {url!r} or its token: they are not ASCII text") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Whether it answers that it is well; False while nothing listens yet."""
        try:
            self._call("GET", paths.HEALTH)
        except UnavailableError:
            return False
        return True

    def devices(self, selector: str | None = None) -> Iterator[DeviceSummary]:
        """All devices that `selector` picks, a page at a time."""
        return self._pages(paths.DEVICES, DeviceSummary, {"selector": selector})

    def device(self, device_id: str) -> DeviceDetail:
        return self._read(paths.DEVICE.format(device_id=_segment(device_id)), DeviceDetail)

    def approve(self, device_id: str) -> None:
        self._call("POST", paths.APPROVE.format(device_id=_segment(device_id)))

    def revoke(self, device_id: str) -> None:
        self._call("POST", paths.REVOKE.format(device_id=_segment(device_id)))

    def upload(self, file: BinaryIO, name: str) -> BundleUploaded:
        """Send an archive, streamed: it is never in memory as a whole."""
        part = {"file": (Path(name).name, file, "application/octet-stream")}
        body = self._call("POST", paths.BUNDLES, files=part, timeout=UPLOAD_TIMEOUT)
        return _decode(body, BundleUploaded)

    def bundles(self, ref: BundleRef | None = None) -> Iterator[BundleSummary]:
        query: dict[str, str | None] = {"name": ref.name, "version": ref.version} if ref else {}
        return self._pages(paths.BUNDLES, BundleSummary, query)

    def descriptor(self, bundle: BundleSummary) -> Descriptor:
        """What names every file of the bundle by hash; it is compared with the bundle's digest."""
        path = paths.DESCRIPTOR.format(bundle_id=_segment(bundle.bundle_id))
        return Descriptor.parse(self._call("GET", path, cap=limits.DESCRIPTOR_BYTES), Digest(bundle.digest))

    def deploy(self, request: DeploymentRequest) -> DeploymentCreated:
        return _decode(self._post(paths.DEPLOYMENTS, request), DeploymentCreated)

    def deployments(self) -> Iterator[DeploymentSummary]:
        return self._pages(paths.DEPLOYMENTS, DeploymentSummary)

    def deployment(self, deployment_id: str) -> DeploymentDetail:
        return self._read(paths.DEPLOYMENT.format(deployment_id=_segment(deployment_id)), DeploymentDetail)

    def assignments(self, deployment_id: str) -> Iterator[AssignmentReport]:
        return self._pages(paths.ASSIGNMENTS.format(deployment_id=_segment(deployment_id)), AssignmentReport)

    def abort(self, deployment_id: str) -> None:
        self._call("POST", paths.ABORT.format(deployment_id=_segment(deployment_id)))

    def create_key(self, request: EnrolmentKeyRequest) -> EnrolmentKeyCreated:
        return _decode(self._post(paths.ENROLMENT_KEYS, request), EnrolmentKeyCreated)

    def keys(self) -> Iterator[EnrolmentKeySummary]:
        return self._pages(paths.ENROLMENT_KEYS, EnrolmentKeySummary)

    def _pages(self, path: str, kind: type[T], asked: dict[str, str | None] | None = None) -> Iterator[T]:
        wanted = {key: value for key, value in (asked or {}).items() if value is not None}
        after: dict[str, str] = {}
        while True:
            query = {**wanted, **after, "limit": str(PAGE_SIZE)}
            body = self._call("GET", path, cap=limits.PAGE_BYTES, params=query)
            page = cast("Page[T]", _decode(body, Page[kind]))  # type: ignore[valid-type]  # made at run time
            yield from page.items
            if page.next is None or after == {"after": page.next}:
                return
            after = {"after": page.next}

    def _read(self, path: str, kind: type[T]) -> T:
        return _decode(self._call("GET", path), kind)

    def _post(self, path: str, body: msgspec.Struct) -> bytes:
        return self._call("POST", path, content=msgspec.json.encode(body), headers={"Content-Type": "application/json"})

    def _call(self, method: str, path: str, *, cap: int = limits.JSON_BYTES, **request: Any) -> bytes:
        """One request and its whole body, at most `cap` bytes of it; a domain error for everything but 2xx."""
        with self._reaching(), self._http.stream(method, path, **request) as response:
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece
                if len(body) > cap:
                    raise UnavailableError(f"cannot read the answer of {self.url}: it is longer than {cap} bytes")
            if response.is_success:
                return bytes(body)
            raise _problem(response, bytes(body))

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException:
            raise UnavailableError(f"cannot reach the control plane at {self.url}: it did not answer in time") from None
        except (httpx2.TransportError, httpx2.DecodingError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            unreachable = UnavailableError(f"cannot reach the control plane at {self.url}: {error}")
            unreachable.add_note("is it running, and is KERNEX_URL right? start one: kernex server run --data-dir D")
            raise unreachable from None


def _problem(response: httpx2.Response, body: bytes) -> KernexError:
    """The domain error that an answer other than 2xx means."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
        words = problem.detail or problem.title
    except msgspec.DecodeError:
        words = f"cannot understand {response.url.host}: it answered {response.status_code} and no problem document"
    status = response.status_code
    kind = _ERRORS.get(status) or (UnavailableError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RejectedError)
    return kind(words)


def _decode(body: bytes, kind: Callable[..., T]) -> T:
    try:
        return cast("T", msgspec.json.decode(body, type=kind))
    except msgspec.DecodeError as error:
        raise UnavailableError(f"cannot understand the control plane's answer: {error}") from None


def _segment(identifier: str) -> str:
    """An id as one segment of a path: nothing in it leads elsewhere."""
    if not identifier.replace("-", "").replace("_", "").isalnum():
        raise NotFoundError(f"cannot find {identifier[:80]!r}: an id is made of letters, digits and '-'")
    return identifier
