"""Bundles in and out: uploads are streamed to disk, archives are streamed from the store."""

import asyncio
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, get, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from kernex.domain.role import Permission
from kernex.server.access import DeviceIdentity, Operator
from kernex.server.bundles import Bundles
from kernex.server.devices import Devices
from kernex.server.http import ranges, views
from kernex.server.http.policy import OPT, DevicesOr, Operators, at
from kernex.server.http.uploads import received
from kernex.server.settings import Settings
from kernex.server.store.blobs import Blobs
from kernex.server.store.bundles import Bundle
from kernex.server.text import cursor
from kernex.wire import limits, paths
from kernex.wire import operator as wire
from kernex.wire.operator import Page

_BYTES = "application/octet-stream"
_READERS = {OPT: DevicesOr(Permission.READ)}
Reader = Request[Operator | DeviceIdentity, Any, Any]


def routes(bundles: Bundles, devices: Devices, blobs: Blobs, settings: Settings) -> list[HTTPRouteHandler]:
    """The bundles' routes over these use cases."""

    @post(at(paths.BUNDLES), opt={OPT: Operators(Permission.PUBLISH)}, request_max_body_size=None)
    async def upload(request: Request[Operator, Any, Any]) -> Response[wire.BundleUploaded]:
        """Store a bundle: 201, or 200 when exactly these bytes are there already."""
        async with received(request, settings.incoming, settings.max_bundle_bytes) as came:
            stored, new = await asyncio.to_thread(bundles.accept, came.archive, came.manifest, request.user)
        return Response(views.uploaded(stored), status_code=201 if new else 200)

    @get(at(paths.BUNDLES), opt={OPT: Operators(Permission.READ)}, sync_to_thread=True)
    def list_bundles(
        name: FromQuery[str | None] = None,
        version: FromQuery[str | None] = None,
        after: FromQuery[str | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=limits.PAGE_ITEMS)] = 100,
    ) -> Page[wire.BundleSummary]:
        """Bundles, the newest first."""
        found, following = bundles.page(name=name, version=version, before=cursor(after) or None, limit=limit)
        return Page([views.bundle(one) for one in found], following)

    @route(at(paths.BUNDLE), http_method=[HttpMethod.GET, HttpMethod.HEAD], opt=_READERS, media_type=_BYTES)
    async def download(bundle_id: FromPath[str], request: Reader) -> Response[Any]:
        """The archive, whole or one range of it."""
        found = await asyncio.to_thread(_open, bundles, devices, bundle_id, request.user)
        etag = f'"{found.checksum_sha256}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{found.name}-{found.version}.bundle"',
            "Cache-Control": "private, immutable",
        }
        part = ranges.wanted(found.size_bytes, etag, request.headers.get("range"), request.headers.get("if-range"))
        headers["Content-Length"] = str(part.end - part.start)
        if part.partial:
            headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{found.size_bytes}"
        status = 206 if part.partial else 200
        if request.method == HttpMethod.HEAD:
            return Response(b"", status_code=status, headers=headers, media_type=_BYTES)
        content = blobs.stream(found.checksum_sha256, part.start, part.end)
        return Stream(content, status_code=status, headers=headers, media_type=_BYTES)

    @get(at(paths.DESCRIPTOR), opt=_READERS, media_type="application/json", sync_to_thread=True)
    def descriptor(bundle_id: FromPath[str], request: Reader) -> bytes:
        """The canonical descriptor: the bytes whose SHA-256 is the bundle's digest."""
        return bundles.descriptor(_open(bundles, devices, bundle_id, request.user))

    return [upload, list_bundles, download, descriptor]


def _open(bundles: Bundles, devices: Devices, bundle_id: str, reader: Operator | DeviceIdentity) -> Bundle:
    if isinstance(reader, DeviceIdentity):
        devices.require_accepted(reader)
    return bundles.open(bundle_id, reader)
