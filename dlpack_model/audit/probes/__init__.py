"""The probes, by what they look at; importing this registers them."""

from dlpack_model.audit.probes import asking, deleting, elements, exports, pairing, reading, requests, table, taking

__all__ = ["asking", "deleting", "elements", "exports", "pairing", "reading", "requests", "table", "taking"]
