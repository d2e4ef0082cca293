"""The device agent: says where the device is, hears what it should run, installs it so that nothing stops it half-way.

Read in this order: `agent` (the loop), `install` (one deployment, step by step), `drivers` (what keeps a
workload running), `control_plane` (the only file that speaks HTTP), `state` and `apps` (what lies where).
Small on purpose: synchronous, standard library and msgspec. Cryptography lives in a child process for the
moment of a signature; archives and zstd are imported by the first install.
"""
