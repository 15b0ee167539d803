"""The packed values of a cell into the store and out of it; what cells have in common is stored once.

Put the values first, then commit the outcome that carries the manifest and refers to `payloads_of` it: who dies between
leaves pieces that `gc` removes a day later, and no gc removes what was put and waits for its commit.

The manifest belongs into a signed value: its mark covers the name of the payload, which covers the SHA-256 of every
piece of head and buffers. So nothing is unpickled that this user has not stored, and no buffer can be exchanged; and
buffers are data even if somebody could: only the head says what is called.
"""

from base64 import b64decode, b64encode
from typing import Any

from durable_nb.codec import framing
from durable_nb.codec.chunks import Stream
from durable_nb.errors import Corrupt
from durable_nb.flows import payloads
from durable_nb.notebook.cells.graph import Packed

Manifest = dict[str, Any]
"""Plain JSON: {"payload": name, "size": bytes} or, small, {"data": base64}; and what the values refer to."""


def put(store: payloads.Kept, packed: Packed) -> Manifest:
    """Store head and buffers; small ones lie in the manifest itself."""
    buffers = [memoryview(buffer) for buffer in packed.buffers]
    parts = framing.framed(packed.head, buffers)
    size = payloads.size_of(parts)
    if size < payloads.LARGE:
        manifest: Manifest = {"data": b64encode(b"".join(parts)).decode("ascii")}
    else:
        manifest = {"payload": payloads.put(store, parts), "size": size}
    if packed.references:
        manifest["references"] = sorted(packed.references)
    if packed.unstorable:
        manifest["unstorable"] = dict(packed.unstorable)
    return manifest


def get(store: payloads.Kept, manifest: Manifest) -> Packed:
    """Head and buffers again, each buffer memory of its own; Corrupt when they are gone or were altered."""
    name = manifest.get("payload")
    found = payloads.take(store, name) if name else Stream([b64decode(manifest.get("data", ""))])
    if not framing.is_framed(found):
        raise Corrupt("the manifest of a cell has no values")
    head, buffers = framing.unframed(found)
    references = frozenset(manifest.get("references", ()))
    return Packed(head, buffers, manifest.get("unstorable", {}), references)


def payloads_of(manifest: Manifest) -> list[str]:
    """What the commit that holds the manifest refers to."""
    return [manifest["payload"]] if "payload" in manifest else []
