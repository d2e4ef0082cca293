"""Nouns and rules. No I/O, no clock: time is an argument. Standard library, and `packaging` to compare versions.

The glossary. One word, one meaning; a change that needs a new noun edits this list first.

Device      one machine in the fleet. It says *facts* about itself (arch, accelerators, disk, versions);
            operators give it *labels*.
Selector    an expression over labels and facts that picks devices: ``site=lyon,gpu.memory_mb>=8000``.
Bundle      name + version + bytes: ``vad==1.4.0``. Immutable.
Manifest    ``manifest.json`` inside a bundle: what it is, what it requires, how to deploy it, how to know
            that it is healthy.
Descriptor  the small canonical JSON that names every file of a bundle by hash. Its SHA-256 is the
            *digest*: the identity of what is installed.
Release     a bundle unpacked on a device, under its digest.
App         the name under which releases replace each other on a device: the bundle's name.
Deployment  the intent "these devices shall run this bundle". Consists of *waves* guarded by limits.
Assignment  what one device owes one deployment.
Install     one attempt on the device, made of *phases*.
Probation   the time after a success in which the device watches the new release, and puts the previous one
            back when it breaks down again and again.
Heartbeat   the device says where it is; the answer says what it should be doing.
Command     what a heartbeat's answer asks for. A value computed from state, never an entry in a queue.
Outcome     how an assignment ended. Each answers "what runs now?".
Role        what an operator may do.

*Online*, *overdue*, *progress* and all tallies are derived by query, never stored.
"""
