"""One deployment on one device: what to do in which order, so that no power cut leaves it without a release.

`steps` is the table of contents. `runner` drives it, `journal` remembers it, `worker` is its thread.
"""
