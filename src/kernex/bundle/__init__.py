"""The bundle as bytes: build it, read it without trusting it, name it by hash, put it on disk.

The format. A bundle is a directory with ``manifest.json`` at its top (`kernex.domain.manifest` says what is
in it), packed as a tar archive and compressed with zstd, or with gzip: readers tell by the first bytes.
The archive holds regular files, directories, and symlinks that are relative and stay inside without leading
through another symlink; nothing else. Names are UTF-8 and relative, without ``.``, ``..``, backslashes,
control characters and what breaks or turns a line, and no two differ only in case or Unicode form. Of
permissions only "executable" is kept (0755, else 0644); owners, times and empty directories are not.
`kernex.bundle.limits` has the caps.

The descriptor is canonical JSON: no spaces, keys sorted, entries sorted by path::

    {"files":[{"mode":420,"path":"manifest.json","sha256":"…","size":61}],"format":1,
     "links":[{"path":"latest.onnx","target":"model.onnx"}],"name":"vad","version":"1.4.0"}

(in one line). Its SHA-256, the *digest*, is the identity of what is installed: one tree has one digest,
however it was packed. `kernex.bundle.build` writes the same bytes for the same files under one version of
zstd; the descriptor depends on no version of anything.

::

    verify · build           what others call, with
    archive                  describe · unpack
    reader · target          the rules, member by member · the only writer
    tar                      headers
    descriptor · streams     canonical JSON · zstd and gzip
    manifest · names         what may be said · what things may be called
    limits

`tarfile` writes archives here and never reads them (`kernex.bundle.tar` says why).
"""
