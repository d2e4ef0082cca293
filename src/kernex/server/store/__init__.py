"""Rows and bytes: SQL beside the mapping, one file a subject, and blobs by hash.

Guards live where the data is: ``UPDATE … WHERE id = ? AND state = ?``, and a row that did not match is
a conflict. Functions take the connection of the caller's transaction, so a use case is one transaction.
Times are unix milliseconds of the control plane's clock; ids that travel are UUIDs, ids that join are
integers.
"""
